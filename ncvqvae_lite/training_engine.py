"""The step engine: one loop for every network, eager on a CPU, captured once into CUDA graphs on a GPU.

The data live on the device, a batch is an index tensor, and a step has fixed shapes and never asks the device for a
value. Losses are summed on the device; the learning rate is computed there.
"""

import contextlib
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


class FitLoss(NamedTuple):
    """The terms of a training that has only one."""

    total: torch.Tensor


class StepEngine:
    """Trains `module` with AdamW and one cosine from `lr` to 0 over all steps.

    module       every trained parameter and every buffer that a step changes
    draw         (index, generator) -> tuple of batch tensors; everything random in a step is drawn here
    loss         (*tensors) -> NamedTuple of scalar tensors whose first field is the loss to minimise
    n            number of series on the device
    micro_batch  split a batch into parts of this size and add up their gradients (same gradient, less memory);
                 only for losses that average over independent series
    precision    "fp32" or "bf16": format of the networks' matrix products
    """

    def __init__(
        self, module, draw, loss, *, n, epochs, batch_size, lr, weight_decay, seed, micro_batch=None, precision="fp32"
    ):
        self.module, self.draw, self.loss = module, draw, loss
        self.n, self.epochs, self.seed, self.precision = n, epochs, seed, precision
        self.sizes = batch_sizes(n, batch_size)
        self.micro_batch = micro_batch or max(self.sizes)
        self.device = next(module.parameters()).device
        self.generator = torch.Generator(self.device)
        self.base_lr, self.total_steps = lr, max(1, epochs * len(self.sizes))
        self.lr = torch.zeros((), device=self.device)
        self.steps_done = torch.zeros((), device=self.device, dtype=torch.float64)
        self.first_bad = torch.full((), -1.0, device=self.device, dtype=torch.float64)  # step of the first NaN loss
        self.sums = None  # (terms,) summed over the series of the running epoch
        self.term_names, self.history = (), None  # (epochs, terms) on the device
        self.graphs = {}
        on_gpu = self.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            module.parameters(), lr=self.lr, weight_decay=weight_decay, fused=True, capturable=on_gpu
        )
        self._create_optimizer_state()

    # --- one step: no host synchronisation, fixed shapes ---

    def step(self, index):
        """One optimisation step on the series `index` (B,)."""
        self.lr.copy_(0.5 * self.base_lr * (1 + torch.cos(math.pi * self.steps_done / self.total_steps)))
        self.optimizer.zero_grad(set_to_none=True)
        parts = zip(*(t.split(self.micro_batch) for t in self.draw(index, self.generator)), strict=True)
        sums = 0
        for part in parts:
            with fast_matmul(self.precision, self.device.type):
                terms = self.loss(*part)
            (terms[0] * (len(part[0]) / len(index))).backward()
            sums = sums + torch.stack([term.detach().float() for term in terms]) * len(part[0])
        self.optimizer.step()
        self._keep_account(type(terms)._fields, sums)

    def _keep_account(self, names, sums):
        if self.sums is None:
            self.term_names, self.sums = names, torch.zeros_like(sums)
            self.history = torch.full((self.epochs, len(names)), torch.nan, device=self.device)
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
        reported = done
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
                    rate = (epoch + 1 - reported) * len(self.sizes) / max(now - reported_at, 1e-9)
                    progress(epoch + 1, self.epochs, self._terms(epoch), rate)
                reported_at, reported = now, epoch + 1
            if save:
                self._save(checkpoint, epoch + 1, evaluations)
                saved_at = time.monotonic()
        return self._rows(evaluations)

    def _run_epoch(self, epoch):
        self.generator.manual_seed(derive_seed(self.seed, epoch))
        order = torch.randperm(self.n, device=self.device, generator=self.generator)
        for index in order.split(self.sizes):
            self._run_step(index)
        self.history[epoch] = self.sums / self.n
        self.sums.zero_()

    def _terms(self, epoch):
        return dict(zip(self.term_names, self.history[epoch].tolist(), strict=True))

    def _rows(self, evaluations):
        values = self.history.tolist() if self.history is not None else []
        rows = [{"epoch": 0, **evaluations[0]}] if 0 in evaluations else []
        for epoch, row in enumerate(values, start=1):
            rows.append({"epoch": epoch, **dict(zip(self.term_names, row, strict=True)), **evaluations.get(epoch, {})})
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
        moments = [dict(self.optimizer.state[p]) for p in self.module.parameters() if p in self.optimizer.state]
        counters = {"steps_done": self.steps_done, "first_bad": self.first_bad}
        if self.sums is not None:
            counters |= {"sums": self.sums, "history": self.history}
        return {"module": self.module.state_dict(), "moments": moments, "counters": counters}

    def load_state(self, state):
        """Copy a state into the live tensors, which captured graphs refer to."""
        self.module.load_state_dict(state["module"])
        moments = self.state()["moments"]
        with torch.no_grad():
            for live, saved in zip(moments, state["moments"], strict=True):
                for name, value in saved.items():
                    live[name].copy_(value)
            for name in ("steps_done", "first_bad"):
                getattr(self, name).copy_(state["counters"][name])
            if "sums" in state["counters"]:
                self.sums = state["counters"]["sums"].to(self.device, copy=True)
                self.history = state["counters"]["history"].to(self.device, copy=True)
            elif self.sums is not None:
                self.sums.zero_()

    def _create_optimizer_state(self):
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
            torch.save(content | {"term_names": list(self.term_names)}, file)

    def _restore(self, checkpoint):
        try:
            content = torch.load(checkpoint, map_location=self.device, weights_only=True)
        except Exception as error:
            raise BadInput(f"{checkpoint} cannot be read: delete it to start this stage again") from error
        self.term_names = tuple(content["term_names"])
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
