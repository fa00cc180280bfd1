"""Settings of a training: its epochs, batches, learning rates and schedule, and the constants of AdamW.

What all three trainings share; each changes it by the `OPTIM` of its own room.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from .arguments import how_to_train
from .errors import BadInput


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


def warm_up(step, total):
    """Linearly up to 1 in the first tenth of the steps, then half a cosine down to 0."""
    rise = max(1.0, total / 10)
    return torch.where(step < rise, (step + 1) / rise, cosine(step - rise, total - rise)).clamp(max=1)


# (steps done, a () float64 tensor; steps in all) -> learning rate in units of the largest, a () tensor.
# The settings `schedule`, `prior_schedule` and `fcn_schedule` of config.py, which loads no torch, name them too.
SCHEDULES = {"cosine": cosine, "one-cycle": one_cycle, "warm-up": warm_up}


@dataclasses.dataclass(frozen=True)
class Optim:
    """How a network is trained.

    epochs, steps  one of the two: passes over the series, or optimisation steps (the last pass is then cut short)
    batch_size     series a step
    lr             largest learning rate
    weight_decay   of AdamW, per step and in units of the learning rate
    schedule       a name in SCHEDULES
    betas          of AdamW: decay of the moving averages of the gradient and of its square
    average        decay per step of a moving average of the weights, at which the run ends; 0 keeps none
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 128
    lr: float = 1e-3
    weight_decay: float = 1e-3
    schedule: str = "cosine"
    betas: tuple = (0.9, 0.999)
    average: float = 0.0

    def __post_init__(self):
        how_to_train(self, SCHEDULES)

    def changed(self, **fields):
        """These settings with some fields changed; a number of steps takes the place of the number of epochs."""
        without_epochs = {"epochs": None} if fields.get("steps") is not None else {}
        return dataclasses.replace(self, **without_epochs | fields)


def adamw(module, lr, optim, capturable):
    """The usual optimisers of a module: one AdamW over all its parameters.

    lr          () tensor that the schedule moves
    capturable  True on a GPU, where the steps are captured
    returns     list of torch optimisers; together they hold each parameter of the module once
    """
    return [adamw_over(module.parameters(), lr, optim, capturable)]


def adamw_over(parameters, lr, optim, capturable):
    """One fused AdamW over some parameters; arguments as of `adamw`."""
    settings = dict(betas=optim.betas, weight_decay=optim.weight_decay, capturable=capturable)
    return torch.optim.AdamW(parameters, lr=lr, fused=True, **settings)


class Player(NamedTuple):
    """A network and what it minimises."""

    module: nn.Module  # every trained parameter and every buffer that a step changes
    loss: Callable  # (*tensors, generator) -> NamedTuple of scalar tensors; its first field is minimised
    terms: tuple  # names of these scalars
    optimizers: Callable = adamw


def optimizers_of(player, lr, optim, capturable):
    """A player's optimisers, their state as it is before the first step; raises BadInput if they cannot be resumed.

    To make the state, every parameter makes one step from 0 with gradient 0; then it gets its value back.
    """
    optimizers = player.optimizers(player.module, lr, optim, capturable)
    parameters = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    if sorted(map(id, parameters)) != sorted(map(id, player.module.parameters())):
        raise BadInput("expected optimisers that together hold each parameter of the module once")
    values = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p in parameters:
            p.zero_()
            p.grad = torch.zeros_like(p)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            for moments in optimizer.state.values():
                for name, value in moments.items():
                    if not torch.is_tensor(value):
                        kind = type(optimizer).__name__
                        raise BadInput(f"the state {name!r} of {kind} is {value!r}: make it a tensor, to be resumed")
                    if name == "step":
                        value.zero_()
        for p, value in zip(parameters, values, strict=True):
            p.copy_(value)
    return optimizers
