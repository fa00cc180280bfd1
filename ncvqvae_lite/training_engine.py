"""The step engine: one loop for every network, eager on a CPU, captured once into CUDA graphs on a GPU.

The data live on the device, a batch is an index tensor, and a step has fixed shapes and never asks the device for a
value. Losses are summed on the device; the learning rate is computed there.
"""

import contextlib
import dataclasses
import hashlib
import math
import time
from pathlib import Path
from typing import NamedTuple

import torch

from .errors import BadInput, TrainingDiverged, UserError
from .files import atomic
from .numerics import fast_matmul, keep_freed_memory


def derive_seed(*parts):
    """A 63-bit seed from any printable parts, so that every stage and epoch has a stream of its own."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little") >> 1


def batch_sizes(n, batch_size):
    """Sizes of an epoch's batches: full ones and the remainder; a remainder of one series joins the batch before it."""
    full, rest = divmod(n, batch_size)
    sizes = [batch_size] * full + ([rest] if rest else [])
    if rest == 1 and full:
        sizes[-2:] = [batch_size + 1]
    return sizes


def epochs_for(n, batch_size, epochs, min_steps):
    """`epochs`, or as many as it takes to make `min_steps` steps on n series."""
    return max(epochs, math.ceil(min_steps / len(batch_sizes(n, batch_size))))


# --- how a network is trained ---


def cosine(step, total):
    """Half a cosine from 1 at step 0 to 0 at step `total`."""
    return 0.5 * (1 + torch.cos(math.pi * step / total))


def one_cycle(step, total):
    """Up from 1/25 to 1 in the first 0.3 of the steps, then down to 1/250,000, each along half a cosine.

    Smith & Topin 2018 (arXiv 1708.07120), with the constants of torch's OneCycleLR; the momentum is not cycled.
    """

    def between(start, end, share):
        return end + (start - end) / 2 * (1 + torch.cos(math.pi * share))

    top = 0.3 * total - 1  # the step at which the rate is largest
    rise, fall = between(1 / 25, 1, step / top), between(1, 1 / 250_000, (step - top) / (total - 1 - top))
    return torch.where(step <= top, rise, fall)


# (steps done, a () float64 tensor; steps in all) -> learning rate in units of the largest, a () tensor
SCHEDULES = {"cosine": cosine, "one-cycle": one_cycle}


@dataclasses.dataclass(frozen=True)
class Optim:
    """How a network is trained.

    epochs, steps  one of the two: passes over the series, or optimisation steps (the last pass is then cut short)
    batch_size     series a step
    lr             largest learning rate
    weight_decay   of AdamW, per step and in units of the learning rate
    schedule       a name in SCHEDULES
    betas          of AdamW: decay of the moving averages of the gradient and of its square
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 128
    lr: float = 1e-3
    weight_decay: float = 1e-3
    schedule: str = "cosine"
    betas: tuple = (0.9, 0.999)

    def __post_init__(self):
        if (self.epochs is None) == (self.steps is None):
            raise BadInput(f"expected either epochs or steps, got epochs {self.epochs} and steps {self.steps}")
        known = ", ".join(SCHEDULES)
        for name, is_good, expected in (
            ("epochs", self.epochs is None or self.epochs >= 0, "0 or more"),
            ("steps", self.steps is None or self.steps >= 0, "0 or more"),
            ("batch_size", self.batch_size >= 1, "1 or more"),
            ("lr", 0 <= self.lr < math.inf, "0 or more, and finite"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more, and finite"),
            ("schedule", self.schedule in SCHEDULES, f"one of {known}"),
            ("betas", len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas), "two numbers in [0, 1)"),
        ):
            if not is_good:
                raise BadInput(f"{name} must be {expected}, got {getattr(self, name)!r}")

    def changed(self, **fields):
        """These settings with some fields changed; a number of steps takes the place of the number of epochs."""
        without_epochs = {"epochs": None} if fields.get("steps") is not None else {}
        return dataclasses.replace(self, **without_epochs | fields)


# --- the engine ---


class FitLoss(NamedTuple):
    """The terms of a loss that has only one."""

    total: torch.Tensor


class StepEngine:
    """Trains `module` with AdamW.

    module       every trained parameter and every buffer that a step changes
    draw         (index, generator) -> tuple of batch tensors; what is random in a batch is drawn here
    loss         (*tensors, generator) -> NamedTuple of scalar tensors whose first field is the loss to minimise
    terms        names of these scalars
    n            number of series on the device
    optim        Optim
    seed         of the batches and of everything that is drawn in a step
    micro_batch  split a batch into parts of this size and add up their gradients (same gradient, less memory);
                 only for losses that average over independent series
    precision    "fp32" or "bf16": format of the networks' matrix products
    """

    def __init__(self, module, draw, loss, *, terms, n, optim, seed, micro_batch=None, precision="fp32"):
        self.module, self.draw, self.loss, self.terms = module, draw, loss, tuple(terms)
        self.n, self.optim, self.seed, self.precision = n, optim, seed, precision
        self.sizes = batch_sizes(n, optim.batch_size)
        self.micro_batch = micro_batch or max(self.sizes)
        self.total_steps = optim.epochs * len(self.sizes) if optim.steps is None else optim.steps
        self.epochs = math.ceil(self.total_steps / len(self.sizes))
        self.device = next(module.parameters()).device
        self.generator = torch.Generator(self.device)
        self.lr = torch.zeros((), device=self.device)
        self.steps_done = torch.zeros((), device=self.device, dtype=torch.float64)
        self.first_bad = torch.full((), -1.0, device=self.device, dtype=torch.float64)  # step of the first NaN loss
        self.sums = torch.zeros(len(self.terms), device=self.device)  # over the series of the running epoch
        self.history = torch.full((self.epochs, len(self.terms)), torch.nan, device=self.device)
        self.graphs = {}
        settings = dict(betas=optim.betas, weight_decay=optim.weight_decay, capturable=self.device.type == "cuda")
        self.optimizer = torch.optim.AdamW(module.parameters(), lr=self.lr, fused=True, **settings)
        self._create_moments()

    # --- one step: no host synchronisation, fixed shapes ---

    def step(self, index):
        """One optimisation step on the series `index` (B,)."""
        self.lr.copy_(self.optim.lr * SCHEDULES[self.optim.schedule](self.steps_done, self.total_steps))
        self.optimizer.zero_grad(set_to_none=True)
        parts = zip(*(t.split(self.micro_batch) for t in self.draw(index, self.generator)), strict=True)
        sums = 0
        for part in parts:
            with fast_matmul(self.precision, self.device.type):
                terms = self.loss(*part, self.generator)
            (terms[0] * (len(part[0]) / len(index))).backward()
            sums = sums + torch.stack([term.detach().float() for term in terms]) * len(part[0])
        self.optimizer.step()
        self.sums += sums
        is_bad = ~torch.isfinite(sums[0]) & (self.first_bad < 0)
        self.first_bad.copy_(torch.where(is_bad, self.steps_done, self.first_bad))
        self.steps_done += 1

    def _run_step(self, index):
        if self.device.type != "cuda":
            self.step(index)
            return
        graph, static_index = self.graphs[len(index)]
        static_index.copy_(index)
        graph.replay()

    def capture(self):
        """Record one CUDA graph for each batch size. Warm-up steps leave no trace in the module or the optimiser."""
        index = torch.arange(self.n, device=self.device)
        before = _clone(self.state())
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for size in dict.fromkeys(self.sizes):
                for _ in range(3):
                    self.step(index[:size])
        torch.cuda.current_stream().wait_stream(side)
        self.load_state(before)
        for size in dict.fromkeys(self.sizes):
            graph, static_index = torch.cuda.CUDAGraph(), index[:size].clone()
            graph.register_generator_state(self.generator)
            self.optimizer.zero_grad(set_to_none=True)
            with torch.cuda.graph(graph):
                self.step(static_index)
            self.graphs[size] = graph, static_index

    # --- the loop ---

    def run(self, *, checkpoint=None, checkpoint_seconds=60.0, on_epoch=None, progress=None):
        """Train all epochs, from the checkpoint if there is one; returns the history, one dict per epoch.

        checkpoint  file for the state of an unfinished run; equal seeds end in equal numbers, interrupted or not
        on_epoch    (epochs done) -> dict of extra values for the history, or None; called before the first epoch
                    too. Runs after every epoch; what it changes in the module stays changed
        progress    (epochs done, epochs, terms of the last epoch, steps per second); called about once a second
        raises      TrainingDiverged at the first non-finite loss, naming the step
        """
        with _training_numerics(self.device):
            return self._run(checkpoint and Path(checkpoint), checkpoint_seconds, on_epoch, progress)

    def _run(self, checkpoint, checkpoint_seconds, on_epoch, progress):
        evaluations = {}
        done = 0
        if checkpoint and checkpoint.exists():
            done, evaluations = self._restore(checkpoint)
        elif on_epoch and (extra := on_epoch(0)):
            evaluations[0] = extra
        self.module.train()
        if self.device.type == "cuda" and done < self.epochs:
            self.capture()
        saved_at = reported_at = time.monotonic()
        reported = done * len(self.sizes)  # steps
        for epoch in range(done, self.epochs):
            self.module.train()
            self._run_epoch(epoch)
            try:
                extra = on_epoch and on_epoch(epoch + 1)
            except UserError:  # NaN weights make NaN scores: name the cause, not the symptom
                self._raise_if_diverged(checkpoint)
                raise
            if extra:
                evaluations[epoch + 1] = extra
            now, last = time.monotonic(), epoch + 1 == self.epochs
            save = checkpoint and (last or now - saved_at > checkpoint_seconds)
            if save or last or now - reported_at > 1:  # the only moments at which the host waits for the device
                self._raise_if_diverged(checkpoint)
                if progress:
                    steps = min((epoch + 1) * len(self.sizes), self.total_steps) - reported
                    progress(epoch + 1, self.epochs, self._terms(epoch), steps / max(now - reported_at, 1e-9))
                reported_at, reported = now, (epoch + 1) * len(self.sizes)
            if save:
                self._save(checkpoint, epoch + 1, evaluations)
                saved_at = time.monotonic()
        return self._rows(evaluations)

    def _run_epoch(self, epoch):
        self.generator.manual_seed(derive_seed(self.seed, epoch))
        order = torch.randperm(self.n, device=self.device, generator=self.generator)
        batches = order.split(self.sizes)[: self.total_steps - epoch * len(self.sizes)]
        for index in batches:
            self._run_step(index)
        self.history[epoch] = self.sums / sum(map(len, batches))
        self.sums.zero_()

    def _terms(self, epoch):
        return dict(zip(self.terms, self.history[epoch].tolist(), strict=True))

    def _rows(self, evaluations):
        rows = [{"epoch": 0, **evaluations[0]}] if 0 in evaluations else []
        for epoch, row in enumerate(self.history.tolist(), start=1):
            rows.append({"epoch": epoch, **dict(zip(self.terms, row, strict=True)), **evaluations.get(epoch, {})})
        return rows

    def _raise_if_diverged(self, checkpoint):
        step = int(self.first_bad)
        if step < 0 and not all(bool(torch.isfinite(p).all()) for p in self.module.parameters()):
            step = int(self.steps_done)
        if step >= 0:
            kept = " The last good checkpoint is kept." if checkpoint and checkpoint.exists() else ""
            raise TrainingDiverged(
                f"the loss became NaN or infinite at step {step} of {self.total_steps}: lower the learning rate or "
                f"check the scale of the series.{kept}"
            )

    # --- state ---

    def state(self):
        """Everything that a step changes, as a nested dict of the live tensors."""
        moments = [self.optimizer.state[p] for p in self.module.parameters()]
        counters = {name: getattr(self, name) for name in ("steps_done", "first_bad", "sums", "history")}
        return {"module": self.module.state_dict(), "moments": moments, "counters": counters}

    @torch.no_grad()
    def load_state(self, state):
        """Copy a state into the live tensors, which captured graphs refer to."""
        _copy(self.state(), state)

    @torch.no_grad()
    def _create_moments(self):
        """One step with learning rate 0 and zero gradients makes the moments exist and changes no parameter."""
        for p in self.module.parameters():
            p.grad = torch.zeros_like(p)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for moments in self.optimizer.state.values():
            moments["step"].zero_()

    def _save(self, checkpoint, epochs_done, evaluations):
        content = {"state": self.state(), "epochs_done": epochs_done, "evaluations": evaluations}
        with atomic(checkpoint, "wb") as file:
            torch.save(content, file)

    def _restore(self, checkpoint):
        try:
            content = torch.load(checkpoint, map_location=self.device, weights_only=True)
        except Exception as error:
            raise BadInput(f"{checkpoint} cannot be read: delete it to start this stage again") from error
        self.load_state(content["state"])
        return content["epochs_done"], content["evaluations"]


@contextlib.contextmanager
def _training_numerics(device):
    """TF32 products on a GPU; on a CPU memory is kept, denormals are flushed (decaying codes pass through them)."""
    if device.type == "cpu":
        keep_freed_memory()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else "highest")
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _clone(state):
    if isinstance(state, dict):
        return {name: _clone(value) for name, value in state.items()}
    if isinstance(state, list):
        return [_clone(value) for value in state]
    return state.clone()


def _copy(into, state):
    """Copy a nested dict and lists of tensors into another of the same names and shapes."""
    if torch.is_tensor(into):
        if into.shape != state.shape:
            raise ValueError(f"expected a tensor of shape {tuple(into.shape)}, got {tuple(state.shape)}")
        into.copy_(state)
        return
    names = into.keys() if isinstance(into, dict) else range(len(into))
    if len(into) != len(state):
        raise ValueError(f"expected {len(into)} tensors, got {len(state)}")
    for name in names:
        _copy(into[name], state[name])
