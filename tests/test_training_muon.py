"""Muon against singular values, and against one matrix at a time in float64; resumed to the bit, never waiting."""

import functools

import pytest
import torch
from torch import nn
from toy_training import assert_equal_to_the_bit, interrupted_run, operations_of

from ncvqvae_lite.prior import MaskGIT
from ncvqvae_lite.training_muon import Muon, muon, orthogonal
from ncvqvae_lite.training_optim import Optim
from ncvqvae_lite.training_prior import prior_engine


@pytest.mark.parametrize("shape", [(6, 6), (12, 4), (4, 12), (1, 5)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    values = torch.logspace(0, -2.3, min(shape), dtype=torch.float64)  # from 1 to .005 of the largest
    matrices = u * values @ v
    found = orthogonal(matrices)
    for matrix, result in zip(matrices, found, strict=True):
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        inside = u.T @ result @ v.T  # diagonal, if the singular vectors are those of the matrix
        assert inside.diagonal().min() > 0.68 and inside.diagonal().max() < 1.21
        assert (inside - inside.diagonal().diag()).abs().max() < 1e-6


def test_a_gradient_of_zero_moves_nothing():
    assert torch.equal(orthogonal(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


def plain_muon(start, gradients, lr, times, momentum, weight_decay):
    """The same for one matrix, step after step, as numbers in float64."""
    p, average = start.double(), torch.zeros_like(start, dtype=torch.float64)
    for gradient in gradients:
        g = gradient.double()
        average = momentum * average + (1 - momentum) * g
        ahead = momentum * average + (1 - momentum) * g
        tall = ahead.shape[0] > ahead.shape[1]
        x = (ahead.T if tall else ahead) / ahead.norm()
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x - 4.7750 * a @ x + 2.0315 * a @ a @ x
        step = lr * times * (x.T if tall else x)
        p = p * (1 - lr * times * weight_decay) - step * max(1, p.shape[0] / p.shape[1]) ** 0.5
    return p


def test_steps_equal_one_matrix_at_a_time():
    generator = torch.Generator().manual_seed(1)
    shapes = [(6, 6), (12, 4), (6, 6), (4, 12)]  # two of one shape
    start = [torch.randn(shape, generator=generator) for shape in shapes]
    gradients = [[torch.randn(shape, generator=generator) for _ in range(4)] for shape in shapes]
    matrices = [nn.Parameter(matrix.clone()) for matrix in start]
    settings = dict(lr=0.01, times=3.0, momentum=0.9, weight_decay=0.1)
    optimizer = Muon(matrices, **settings)
    for step in range(4):
        for matrix, of_matrix in zip(matrices, gradients, strict=True):
            matrix.grad = of_matrix[step].clone()
        optimizer.step()
    for matrix, first, of_matrix in zip(matrices, start, gradients, strict=True):
        torch.testing.assert_close(matrix.double(), plain_muon(first, of_matrix, **settings), atol=1e-4, rtol=1e-4)


def test_one_step_is_that_of_torch():
    """torch's own rounds to bfloat16 inside; newer than the oldest torch that this package runs on."""
    theirs = getattr(torch.optim, "Muon", None)
    if theirs is None:
        pytest.skip("this torch has no Muon")
    start, gradient = torch.randn(2, 24, 16, generator=torch.Generator().manual_seed(2))
    moved = []
    for make in (
        functools.partial(Muon, momentum=0.95),
        functools.partial(theirs, momentum=0.95, nesterov=True, weight_decay=0.0),
    ):
        matrix = nn.Parameter(start.clone())
        matrix.grad = gradient.clone()
        make([matrix], lr=0.1).step()
        moved.append(matrix.detach() - start)
    torch.testing.assert_close(*moved, atol=5e-3, rtol=5e-2)


def tiny_engine(**settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = MaskGIT(6, 5, 2, dim=16, width=16, depth=2, heads=1, zero_blocks=True)
    generator = torch.Generator().manual_seed(3)
    logits, classes = torch.randn(17, 6, 5, generator=generator), torch.arange(17) % 2
    optim = dict(epochs=4, batch_size=5, lr=0.01, schedule="warm-up", muon_times=10.0)
    return prior_engine(prior, logits, classes, **optim | settings)


def test_matrices_of_the_blocks_move_by_muon_and_nothing_else_does():
    engine = tiny_engine()
    prior = engine.module
    matrices, rest = (set(map(id, o.param_groups[0]["params"])) for o in engine.optimizers)
    assert matrices == {id(p) for block in prior.blocks for p in block.parameters() if p.ndim == 2}
    assert rest == set(map(id, prior.parameters())) - matrices
    before = prior.blocks[1].attention.qkv.weight.detach().clone()
    for _ in range(3):  # blocks start as the identity: gradients need a step to come through
        engine.step(torch.arange(5))
    assert (prior.blocks[1].attention.qkv.weight - before).abs().max() > 0


@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_resumed_run_equals_an_undisturbed_one(tmp_path, stop_at):
    undisturbed = tiny_engine()
    undisturbed.run()
    resumed, _, _ = interrupted_run(tiny_engine, tmp_path / "x.checkpoint", stop_at)
    assert_equal_to_the_bit(undisturbed, resumed)


def test_a_step_never_waits_for_the_device():
    engine = tiny_engine()
    assert operations_of(engine, 5) == operations_of(engine, 2)


def test_the_schedule_moves_both():
    module = MaskGIT(6, 5, 2, dim=16, width=16, depth=1, heads=1)
    rate = torch.tensor(0.0)
    optimizers = muon(module, rate, Optim(epochs=1, weight_decay=0.0), False, times=2.0)
    before = [p.detach().clone() for p in module.parameters()]
    for p in module.parameters():
        p.grad = torch.ones_like(p)
    for optimizer in optimizers:
        optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(before, module.parameters(), strict=True))
    rate.fill_(0.1)
    for optimizer in optimizers:
        optimizer.step()
    assert all((one != other).any() for one, other in zip(before, module.parameters(), strict=True))
