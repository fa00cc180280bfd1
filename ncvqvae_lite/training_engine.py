"""The step engine: one loop for every network, eager on a CPU, captured once into CUDA graphs on a GPU.

The data live on the device, a batch is an index tensor, and a step has fixed shapes and never asks the device for a
value. Losses are summed on the device; the learning rate is computed there.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalOperand=false, reportReturnType=false
import functools
import hashlib
import math
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from .errors import BadInput, TrainingDiverged, UserError
from .numerics import fast_matmul, training_numerics
from .training_checkpoint import clone, copy, restore, save
from .training_optim import SCHEDULES, Optim, Player, adamw, optimizers_of


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
    """The terms of a loss that has only one."""

    total: torch.Tensor


class StepEngine:
    """Trains `module`, by AdamW if nothing else is said.

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
    optimizers   (module, lr, optim, capturable) -> list of torch optimisers: see `adamw`
    second       Player that moves after `module` in each step, on the same batch: a GAN's discriminator. Its terms join
                 the history; an average of the weights leaves it out
    """

    def __init__(
        self,
        module,
        draw,
        loss,
        *,
        terms,
        n,
        optim: Optim,
        seed,
        micro_batch=None,
        precision="fp32",
        optimizers=adamw,
        second=None,
    ):
        self.module, self.draw, self.loss = module, draw, loss
        players = [Player(module, loss, terms, optimizers), *([second] if second else [])]
        self.networks = nn.ModuleList(player.module for player in players)
        self.terms = tuple(name for player in players for name in player.terms)
        if len(set(self.terms)) < len(self.terms):
            raise BadInput(f"expected a name of its own for each term of the losses, got {', '.join(self.terms)}")
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
        self.average = clone(module.state_dict()) if optim.average else {}  # type: dict[str, torch.Tensor]
        self.graphs = {}
        on_gpu = self.device.type == "cuda"
        self.moves = [(player, optimizers_of(player, self.lr, optim, on_gpu)) for player in players]
        self.optimizers = [optimizer for _, own in self.moves for optimizer in own]

    # --- one step: no host synchronisation, fixed shapes ---

    def step(self, index):
        """One optimisation step on the series `index` (B,)."""
        self.lr.copy_(self.optim.lr * SCHEDULES[self.optim.schedule](self.steps_done, self.total_steps))
        batch = self.draw(index, self.generator)
        sums = [self._move(player, own, batch) for player, own in self.moves]
        self.sums += torch.cat(sums)
        is_bad = ~torch.isfinite(sum(terms[0] for terms in sums)) & (self.first_bad < 0)
        self.first_bad.copy_(torch.where(is_bad, self.steps_done, self.first_bad))
        self.steps_done += 1
        if self.average:
            self._move_average()

    def _move(self, player, optimizers, batch) -> torch.Tensor:
        """One player's step on a batch; returns its terms, summed over the series."""
        for optimizer in self.optimizers:  # of all players: a loss may reach into the other's network
            optimizer.zero_grad(set_to_none=True)
        sums = 0
        for part in zip(*(t.split(self.micro_batch) for t in batch), strict=True):
            with fast_matmul(self.precision, self.device.type):
                terms = player.loss(*part, self.generator)
            (terms[0] * (len(part[0]) / len(batch[0]))).backward()
            sums = sums + torch.stack([term.detach().float() for term in terms]) * len(part[0])
        for optimizer in optimizers:
            optimizer.step()
        return sums

    @torch.no_grad()
    def _move_average(self):
        """After step k the average of parameters and buffers moves with decay min(average, (1 + k) / (10 + k))."""
        decay = ((1 + self.steps_done) / (10 + self.steps_done)).clamp(max=self.optim.average)
        for name, value in self.module.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, (1 - decay).to(value.dtype))
            else:  # a counter
                self.average[name].copy_(value)

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
        before = clone(self.state())
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
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            with torch.cuda.graph(graph):
                self.step(static_index)
            self.graphs[size] = graph, static_index

    # --- the loop ---

    def run(self, *, checkpoint=None, checkpoint_seconds=60.0, on_epoch=None, progress=None):
        """Train all epochs, from the checkpoint if there is one; returns the history, one dict per epoch.

        checkpoint  file for the state of an unfinished run, also within an epoch; equal seeds end in equal numbers,
                    interrupted or not
        on_epoch    (epochs done) -> dict of extra values for the history, or None; called before the first epoch
                    too. Runs after every epoch; what it changes in the module stays changed. If an average of the
                    weights is kept, the module holds that meanwhile, as it does when the run has ended
        progress    (epochs done, epochs, terms of the last epoch, steps per second); called about once a second.
                    Within an epoch a fraction of it is done, and the terms are those of its series so far
        raises      TrainingDiverged at the first non-finite loss, naming the step
        """
        with training_numerics(self.device):
            return self._run(checkpoint and Path(checkpoint), checkpoint_seconds, on_epoch, progress)

    def _run(self, checkpoint, checkpoint_seconds, on_epoch, progress):
        evaluations, done, within = {}, 0, {}
        if checkpoint and checkpoint.exists():
            done, evaluations, generator_state = restore(checkpoint, self)
            within = {"first": int(self.steps_done) - done * len(self.sizes), "generator_state": generator_state}
        elif extra := self._evaluate(on_epoch, 0):
            evaluations[0] = extra
        self.networks.train()
        if self.device.type == "cuda" and done < self.epochs:
            self.capture()
        saved_at = reported_at = time.monotonic()
        reported = done * len(self.sizes) + within.get("first", 0)  # steps

        def look(epochs, steps=0):
            """Report and save where it is time to: the only moments at which the host waits for the device."""
            nonlocal saved_at, reported_at, reported
            now, last = time.monotonic(), epochs == self.epochs
            due = checkpoint and (last or now - saved_at > checkpoint_seconds)
            if not (due or last or now - reported_at > 1):
                return
            self._raise_if_diverged(checkpoint)
            if progress:
                step = min(epochs * len(self.sizes) + steps, self.total_steps)
                rate = (step - reported) / max(now - reported_at, 1e-9)
                share = steps / len(self.sizes) if steps else 0
                progress(epochs + share, self.epochs, self._terms(epochs, steps), rate)
                reported = step
            reported_at = now
            if due:
                save(checkpoint, self, epochs, evaluations)
                saved_at = time.monotonic()

        for epoch in range(done, self.epochs):
            self.networks.train()
            self._run_epoch(epoch, functools.partial(look, epoch), **within)
            within = {}
            try:
                extra = self._evaluate(on_epoch, epoch + 1)
            except UserError:  # NaN weights make NaN scores: name the cause, not the symptom
                self._raise_if_diverged(checkpoint)
                raise
            if extra:
                evaluations[epoch + 1] = extra
            look(epoch + 1)
        if self.average:
            copy(self.module.state_dict(), self.average)
        return self._rows(evaluations)

    def _evaluate(self, on_epoch, epoch):
        if on_epoch is None:
            return None
        self._swap_average()
        try:
            return on_epoch(epoch)
        finally:
            self._swap_average()

    def _swap_average(self):
        live = self.module.state_dict()
        for name, value in clone(self.average).items():
            self.average[name].copy_(live[name])
            live[name].copy_(value)

    def _run_epoch(self, epoch, look, first=0, generator_state=None):
        """The steps of an epoch; look(steps done) is called between them.

        first, generator_state   of a checkpoint within this epoch: its steps, and where the next one draws
        """
        self.generator.manual_seed(derive_seed(self.seed, epoch))
        order = torch.randperm(self.n, device=self.device, generator=self.generator)
        batches = order.split(self.sizes)[: self.total_steps - epoch * len(self.sizes)]
        if first:
            self.generator.set_state(generator_state)
        for done, index in enumerate(batches[first:], start=first):
            if done:
                look(done)
            self._run_step(index)
        self.history[epoch] = self.sums / sum(map(len, batches))
        self.sums.zero_()

    def _terms(self, epochs, steps):
        """Mean terms over the first steps of the running epoch, or over the last one."""
        means = self.sums / sum(self.sizes[:steps]) if steps else self.history[epochs - 1]
        return dict(zip(self.terms, means.tolist(), strict=True))

    def _rows(self, evaluations):
        rows = [{"epoch": 0, **evaluations[0]}] if 0 in evaluations else []
        for epoch, row in enumerate(self.history.tolist(), start=1):
            rows.append({"epoch": epoch, **dict(zip(self.terms, row, strict=True)), **evaluations.get(epoch, {})})
        return rows

    def _raise_if_diverged(self, checkpoint):
        step = int(self.first_bad)
        if step < 0 and not all(bool(torch.isfinite(p).all()) for p in self.networks.parameters()):
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
        return {
            "networks": self.networks.state_dict(),
            "average": self.average,
            "moments": [[o.state[p] for group in o.param_groups for p in group["params"]] for o in self.optimizers],
            "counters": {name: getattr(self, name) for name in ("steps_done", "first_bad", "sums", "history")},
        }

    @torch.no_grad()
    def load_state(self, state):
        """Copy a state into the live tensors, which captured graphs refer to."""
        copy(self.state(), state)
