"""Muon: momentum whose matrices are made orthogonal before they are a step.

K. Jordan et al. 2024; J. Liu et al. 2025, arXiv 2502.16982. A gradient's few large singular values drown the others;
the orthogonal factor has them all at 1, so that every direction learns. Embeddings, gains, biases, heads: AdamW.
"""

import torch

from .training_optim import adamw_over

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's quintic: five rounds take values of .003 to 1 to .68 to 1.21


def orthogonal(matrices, rounds=5):
    """About U V^T of each matrix U S V^T (k, a, b), by Newton-Schulz iterations: products only, no decomposition."""
    a, b, c = NEWTON_SCHULZ
    x = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    for _ in range(rounds):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Steps of `orthogonal` Nesterov momentum for weight matrices, for (a, b) sqrt(max(1, a / b)) learning rates long.

    params        matrices; those of one shape move in one batched product
    lr            () tensor or number, which a schedule may move
    times         the step in units of lr, to let another optimiser share the schedule
    momentum      decay of the moving average of the gradient
    weight_decay  per step, in units of the step

    All state is tensors and a step asks the device for nothing: it can be captured and resumed.
    """

    def __init__(self, params, lr, times=1.0, momentum=0.95, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, times=times, momentum=momentum, weight_decay=weight_decay))
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["average"] = torch.zeros_like(p)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            rate, moving = group["lr"] * group["times"], group["momentum"]
            by_shape = {}
            for p in group["params"]:
                by_shape.setdefault(p.shape, []).append(p)
            for shape, alike in by_shape.items():
                ahead = []
                for p in alike:
                    average = self.state[p]["average"].lerp_(p.grad, 1 - moving)
                    ahead.append(p.grad.lerp(average, moving))
                length = max(1.0, shape[0] / shape[1]) ** 0.5
                for p, direction in zip(alike, orthogonal(torch.stack(ahead)), strict=True):
                    p.mul_(1 - rate * group["weight_decay"]).sub_(direction * (rate * length))


def muon(module, lr, optim, capturable, *, times):
    """Optimisers of a transformer: Muon, at `times` the rate, for matrices of `module.blocks`, AdamW for the rest."""
    matrices = [p for p in module.blocks.parameters() if p.ndim == 2]
    taken = set(map(id, matrices))
    rest = [p for p in module.parameters() if id(p) not in taken]
    decay = optim.weight_decay / times  # so that each step takes off the same share of a weight as with AdamW
    return [Muon(matrices, lr, times, weight_decay=decay), adamw_over(rest, lr, optim, capturable)]
