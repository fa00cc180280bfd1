"""NT-Xent against its formula, written as a loop over embeddings in float64, and as an arm of the tokenizer."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from ncvqvae_lite import ExperimentConfig, nt_xent, simclr
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.names import METHODS, function_of
from ncvqvae_lite.numerics import fast_matmul


def by_loops(a, b, tau):
    """(total, pull, push): eq. 1 of arXiv 2002.05709, embedding by embedding."""
    z = [row / math.sqrt(sum(row**2)) for row in np.concatenate([a, b])]
    batch, pull, push = len(a), 0.0, 0.0
    for i in range(2 * batch):
        partner = i + batch if i < batch else i - batch
        pull -= sum(z[i] * z[partner]) / tau
        push += math.log(sum(math.exp(sum(z[i] * z[j]) / tau) for j in range(2 * batch) if j != i))
    return (pull + push) / (2 * batch), pull / (2 * batch), push / (2 * batch)


def views(batch, dim, dtype=torch.float64):
    generator = torch.Generator().manual_seed(batch + dim)
    a, noise = torch.randn(2, batch, dim, generator=generator, dtype=dtype)
    return 3 * a, 0.8 * a + 0.6 * noise


@pytest.mark.parametrize(("batch", "dim"), [(2, 1), (4, 9), (9, 4), (6, 6)])
@pytest.mark.parametrize("tau", [0.1, 0.2, 1.0])
def test_equals_loops(batch, dim, tau):
    a, b = views(batch, dim)
    assert [t.item() for t in simclr(a, b, tau)] == pytest.approx(by_loops(a.numpy(), b.numpy(), tau), rel=1e-10)
    assert nt_xent(a, b, tau) == simclr(a, b, tau).total
    assert nt_xent(a.float(), b.float(), tau).item() == pytest.approx(nt_xent(a, b, tau).item(), rel=1e-5)


def test_gradient():
    pair = [v.requires_grad_() for v in views(5, 3)]
    assert torch.autograd.gradcheck(lambda a, b: tuple(simclr(a, b)), pair)


@pytest.mark.parametrize("batch", [2, 7, 64])
@pytest.mark.parametrize("tau", [0.01, 0.2, 1.0])
def test_equal_embeddings_cost_what_a_guess_costs(batch, tau):
    """log(2B - 1), and the gradient is finite, also of embeddings of length 0."""
    for value in (1.0, 0.0):
        same = torch.full((batch, 5), value, dtype=torch.float64, requires_grad=True)
        loss = nt_xent(same, same, tau)
        loss.backward()
        assert loss.item() == pytest.approx(math.log(2 * batch - 1), abs=1e-12)
        assert same.grad.isfinite().all()


@pytest.mark.parametrize(("batch", "tau", "value"), [(64, 0.5, 2.86), (128, 1.0, 4.54), (5, 0.2, None)])
def test_the_least_value_is_that_of_a_simplex(batch, tau, value):
    corners = torch.eye(batch, dtype=torch.float64) - 1 / batch  # of mean 0: any two at the cosine -1 / (B - 1)
    floor = math.log(1 + (2 * batch - 2) * math.exp(-(1 + 1 / (batch - 1)) / tau))
    assert nt_xent(corners, corners, tau).item() == pytest.approx(floor, abs=1e-12)
    assert value is None or floor == pytest.approx(value, abs=5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        near = corners + 0.01 * torch.randn(batch, batch, generator=generator, dtype=torch.float64)
        assert nt_xent(near, corners, tau) > floor


def test_only_directions_count_and_views_may_change_places():
    a, b = views(6, 4)
    loss = nt_xent(a, b)
    for other in (nt_xent(b, a), nt_xent(5 * a, b / 7), nt_xent(a.flip(0), b.flip(0))):
        torch.testing.assert_close(other, loss)


def test_computes_in_fp32_whatever_the_context():
    a, b = views(8, 30, torch.bfloat16)
    expected = nt_xent(a.float(), b.float())
    with fast_matmul("bf16", "cpu"):
        assert nt_xent(a, b).dtype == torch.float32 and torch.equal(nt_xent(a, b), expected)


@pytest.mark.parametrize("tau", [0, -0.2, math.nan, "0.2"])
def test_refuses_other_temperatures(tau):
    with pytest.raises(BadInput, match="^tau must be"):
        nt_xent(*views(4, 3), tau=tau)


def test_refuses_a_batch_of_one_and_unequal_views():
    with pytest.raises(BadInput, match="at least 2 series, got 1"):
        nt_xent(torch.randn(1, 8), torch.randn(1, 8))
    with pytest.raises(BadInput, match="two views of one shape"):
        nt_xent(torch.randn(4, 8), torch.randn(3, 8))


# --- the arm ---


def test_simclr_is_a_method_by_its_record():
    record = METHODS["simclr"]
    assert function_of(record.loss) is simclr and record.scale == 1 and not record.whiten
    cfg = ExperimentConfig.preset("improved", dataset="mine", method="simclr", augmentation="warp")
    assert cfg.loss_weights() == (1.0, {"tau": 0.2})
    other = dataclasses.replace(cfg, simclr_tau=0.5)
    assert other.tokenizer_folder("runs") != cfg.tokenizer_folder("runs")
    for tau in (0, -1):
        with pytest.raises(BadInput, match="simclr_tau must be positive"):
            dataclasses.replace(cfg, simclr_tau=tau)
