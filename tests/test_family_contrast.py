"""The contrastive losses beside loops in float64, their values at collapse, and where each of them is NT-Xent."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from toy_family import seeded

from ncvqvae_lite import ssl_losses_contrastive
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.family import contrast
from ncvqvae_lite.family.common import pretrain
from ncvqvae_lite.family.contrast import (
    NNCLR,
    MoCo,
    Momentum,
    Queue,
    SimSiam,
    debiased,
    hard_negatives,
    info_nce,
    mixup,
    mixup_loss,
    nce,
    negative_cosine,
    nt_xent,
    nt_xent_floor,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def queue_of(size=7, dim=4):
    queue = Queue(size, dim, g=seeded(8))
    queue.vectors = queue.vectors.double()
    return queue


A = normal(6, 4)
B = 0.7 * A + normal(6, 4, seed=1)
UNIT = [row / np.linalg.norm(row) for row in torch.cat([A, B]).numpy()]  # 12 embeddings; partners are 6 apart


def mean_loss(negatives, tau):
    """-log(e^s+ / (e^s+ + N g)) by loops; negatives(cosines of an anchor's 10 negatives, of its partner) is g."""
    total = 0.0
    for i in range(12):
        partner = UNIT[i] @ UNIT[(i + 6) % 12]
        others = [UNIT[i] @ UNIT[j] for j in range(12) if j not in (i, (i + 6) % 12)]
        total -= math.log(math.exp(partner / tau) / (math.exp(partner / tau) + 10 * negatives(others, partner)))
    return total / 12


def test_nt_xent_is_the_tokenizers():
    assert contrast.nt_xent is ssl_losses_contrastive.nt_xent and contrast.simclr is ssl_losses_contrastive.simclr
    loop = mean_loss(lambda others, _: np.mean([math.exp(s / 0.2) for s in others]), 0.2)
    assert nt_xent(A, B).item() == pytest.approx(loop, rel=1e-10)


@pytest.mark.parametrize(("batch", "tau"), [(2, 0.2), (5, 1.0), (64, 0.5)])
def test_the_floor_is_reached_by_a_simplex(batch, tau):
    corners = torch.eye(batch, dtype=torch.float64) - 1 / batch
    assert nt_xent_floor(batch, tau) == pytest.approx(nt_xent(corners, corners, tau).item(), abs=1e-12)


# --- InfoNCE and NCE ---


def test_info_nce():
    logits = 3 * normal(5, 5)
    loop = -np.mean([logits[i, i] - math.log(sum(math.exp(v) for v in logits[i])) for i in range(5)])
    assert info_nce(logits).item() == pytest.approx(loop)
    assert info_nce(torch.full((8, 8), 3.0, dtype=torch.float64)).item() == pytest.approx(math.log(8), abs=1e-12)
    assert info_nce(100 * torch.eye(4)) < 1e-6


def test_info_nce_with_the_best_scores_is_bounded_by_log_n_and_by_the_information():
    """Gaussian pairs of a mutual information of 5 nats; the best score is the log-ratio of densities."""
    rho = math.sqrt(1 - math.exp(-2 * 5 / 10))  # ten dimensions, each of 0.5 nats
    bounds = []
    for n in (4, 16, 64):
        values = []
        for seed in range(40):
            x, noise = normal(2, n, 10, seed=seed)
            y = rho * x + math.sqrt(1 - rho**2) * noise
            squared = ((y[None] - rho * x[:, None]) ** 2).sum(dim=2) / (1 - rho**2)
            values.append(math.log(n) - info_nce((y**2).sum(dim=1)[None] / 2 - squared / 2).item())
        bounds.append(np.mean(values))
        assert bounds[-1] < min(5, math.log(n))
    assert bounds == pytest.approx([1.36, 2.61, 3.6], abs=0.1) and bounds == sorted(bounds)


def test_nce_finds_the_log_ratio_of_densities():
    """Real from N(1, 1), noise from N(0, 1): the log-ratio is x - 1/2, of slope 1."""
    x, noise = normal(4000) + 1, normal(4000, seed=1)
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = nce(w[0] * x + w[1], w[0] * noise + w[1])
        value.backward()
        return value

    assert loss().item() == pytest.approx(math.log(2))
    optimizer.step(loss)
    assert w.tolist() == pytest.approx([1, -0.5], abs=0.1)
    real, shuffled = normal(4), normal(3)
    loop = np.mean([math.log(1 + math.exp(-s)) for s in real]) + np.mean([math.log(1 + math.exp(s)) for s in shuffled])
    assert nce(real, shuffled).item() == pytest.approx(loop / 2)


# --- negatives that weigh otherwise ---


@pytest.mark.parametrize("tau", [0.1, 0.5])
@pytest.mark.parametrize("prior", [0.0, 0.1, 0.5])
def test_debiased(tau, prior):
    def corrected(others, partner):
        mean = np.mean([math.exp(s / tau) for s in others])
        return max((mean - prior * math.exp(partner / tau)) / (1 - prior), math.exp(-1 / tau))

    assert debiased(A, B, tau, prior).item() == pytest.approx(mean_loss(corrected, tau), rel=1e-9)
    torch.testing.assert_close(debiased(A, B, tau, 0), nt_xent(A, B, tau), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tau", [0.1, 0.5])
@pytest.mark.parametrize("beta", [0.0, 1.0, 10.0])
def test_hard_negatives(tau, beta):
    def weighted(others, _):
        weights = np.exp(beta * np.array(others))
        return weights / weights.sum() @ np.exp(np.array(others) / tau)

    assert hard_negatives(A, B, tau, beta).item() == pytest.approx(mean_loss(weighted, tau), rel=1e-9)
    torch.testing.assert_close(hard_negatives(A, B, tau, 0), nt_xent(A, B, tau), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("loss", [debiased, hard_negatives])
def test_at_collapse_all_are_a_guess(loss):
    for tau in (0.005, 0.2):
        same = torch.ones(5, 3, requires_grad=True)
        value = loss(same, same, tau)
        value.backward()
        assert value.item() == pytest.approx(math.log(9), abs=1e-4) and same.grad.isfinite().all()


@pytest.mark.parametrize("loss", [debiased, hard_negatives])
def test_fp32_holds_what_small_temperatures_need(loss):
    assert loss(A.float(), B.float(), 0.01).item() == pytest.approx(loss(A, B, 0.01).item(), rel=1e-3)


# --- no negatives ---


def test_simsiam():
    loss = SimSiam(4, 8).double()
    p, q = loss.predict(A), loss.predict(B)  # in train mode: statistics of each view's own

    def cosines(p, z):
        return np.mean([u @ v / np.linalg.norm(u) / np.linalg.norm(v) for u, v in zip(p.detach().numpy(), z.numpy())])

    assert loss(A, B).item() == pytest.approx(-(cosines(p, B) + cosines(q, A)) / 2)
    assert negative_cosine(A, 3 * A).item() == pytest.approx(-1)
    a, b = (z.clone().requires_grad_() for z in (A, B))
    loss(a, b).backward()
    ga = torch.autograd.grad(negative_cosine(loss.predict(a), B) / 2, a)[0]  # what passes the predictor, nothing else
    torch.testing.assert_close(a.grad, ga)


def test_without_the_stop_of_gradients_simsiam_collapses():
    """The mean deviation of unit vectors over the batch: 1 / sqrt(8) = .35 where they are spread; it falls to .15."""
    spread = []
    for stops in (True, False):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 8))
            loss = SimSiam(8, 16)

        def free(a, b, loss=loss):
            return (negative_cosine(loss.predict(a), b) + negative_cosine(loss.predict(b), a)) / 2

        def views(x, g):
            return x, x + 0.5 * torch.randn(x.shape, generator=g)

        x = torch.randn(128, 1, 16, generator=seeded())
        pretrain(net, views, loss if stops else free, x, steps=150, batch=64, lr=0.1, g=seeded())
        spread.append(nn.functional.normalize(net(x), dim=1).std(dim=0).mean().item())
    assert spread[0] > 0.24 and spread[1] < 0.18


# --- a queue ---


def test_a_queue_keeps_the_last_ones():
    queue, pushed = Queue(5, 2, g=seeded()), []
    torch.testing.assert_close(queue.vectors.norm(dim=1), torch.ones(5))
    for n in (2, 2, 3, 7):
        new = torch.arange(2.0 * n).view(n, 2) + 100 * n
        queue.push(new)
        pushed += new.tolist()
        kept = sorted(map(tuple, queue.vectors.tolist()))
        assert len(pushed) < 5 or kept == sorted(map(tuple, pushed[-5:]))


def test_moco():
    queue = queue_of()
    vectors, u = [*queue.vectors.numpy()], UNIT
    loop = 0.0
    for i in range(6):
        scores = [u[i] @ u[i + 6] / 0.2, *(u[i] @ v / 0.2 for v in vectors)]
        loop += math.log(sum(map(math.exp, scores))) - scores[0]
    assert MoCo(queue)(A, B).item() == pytest.approx(loop / 6)
    np.testing.assert_allclose(queue.vectors[:6], u[6:])  # the keys took the place of the oldest
    np.testing.assert_allclose(queue.vectors[6], vectors[6])


def test_nnclr():
    queue = queue_of()
    vectors, u, loop = [*queue.vectors.numpy()], UNIT, 0.0
    for here, there in ((0, 6), (6, 0)):
        for i in range(6):
            nearest = max(vectors, key=lambda v, i=i: v @ u[here + i])
            scores = [nearest @ u[there + j] / 0.2 for j in range(6)]
            loop += (math.log(sum(map(math.exp, scores))) - scores[i]) / 12
    assert NNCLR(queue)(A, B).item() == pytest.approx(loop)
    np.testing.assert_allclose(queue.vectors[:6], u[:6])


def test_a_slow_network_follows():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    slow, before = Momentum(net, 0.9), copy.deepcopy(net)
    for p in net.parameters():
        p.data += 1
    slow.follow(net)
    for mine, old in zip(slow.net.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(mine, old + 0.1)
    assert not slow(torch.randn(4, 3)).requires_grad
    queue = Queue(16, 4, g=seeded())
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    slow, first = Momentum(encoder), encoder[1].weight.clone()
    history = pretrain(
        encoder, lambda x, g: (x, x), MoCo(queue), torch.randn(20, 1, 12, generator=seeded()),
        steps=5, batch=10, lr=0.01, g=seeded(), slow=slow,
    )  # fmt: skip
    followed, moved = (net[1].weight - first for net in (slow.net, encoder))
    assert len(history) == 5 and 0 < followed.abs().max() < 0.1 * moved.abs().max()


# --- mixup ---


def test_mixup():
    x = normal(300, 2, 6)
    mixed, other, share = mixup(x, g=seeded(), alpha=0.5)
    for i in range(300):
        torch.testing.assert_close(mixed[i], share[i] * x[i] + (1 - share[i]) * x[other[i]])
    assert sorted(other.tolist()) == list(range(300))
    assert stats.kstest(share.numpy(), stats.beta(0.5, 0.5).cdf).pvalue > 1e-3


def test_mixup_loss():
    other, share = torch.tensor([1, 2, 3, 4, 5, 0]), torch.linspace(0, 1, 6, dtype=torch.float64)
    u, v, loop = UNIT[:6], UNIT[6:], 0.0
    for i in range(6):
        scores = [u[i] @ v[j] / 0.2 for j in range(6)]
        total = math.log(sum(map(math.exp, scores)))
        loop -= share[i] * (scores[i] - total) + (1 - share[i]) * (scores[other[i]] - total)
    assert mixup_loss(A, B, other, share).item() == pytest.approx(float(loop) / 6)
    cosines = torch.tensor(np.array(u) @ np.array(v).T)
    torch.testing.assert_close(mixup_loss(A, B, other, torch.ones(6)), info_nce(cosines / 0.2))


# --- refused ---

ONE = torch.ones(1, 4)


@pytest.mark.parametrize("loss", [nt_xent, debiased, hard_negatives])
def test_a_batch_of_one_and_other_temperatures_are_refused(loss):
    with pytest.raises(BadInput, match="at least 2 series, got 1"):
        loss(ONE, ONE)
    for tau in (0, -1):
        with pytest.raises(BadInput, match=f"tau must be above 0, got {tau}"):
            loss(A, B, tau=tau)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: SimSiam(4)(ONE, ONE), "at least 2 series, got 1"),
        (lambda: MoCo(queue_of())(ONE, ONE), "at least 2 series, got 1"),
        (lambda: NNCLR(queue_of())(ONE, ONE), "at least 2 series, got 1"),
        (lambda: MoCo(queue_of(), tau=0), "tau must be above 0"),
        (lambda: NNCLR(queue_of(), tau=-1), "tau must be above 0"),
        (lambda: mixup_loss(A, B, torch.arange(6), torch.ones(6), tau=0), "tau must be above 0"),
        (lambda: mixup_loss(A, B, torch.arange(5), torch.ones(6)), r"expected other and share \(6,\)"),
        (lambda: info_nce(torch.ones(1, 1)), "N at least 2"),
        (lambda: info_nce(torch.ones(3, 4)), "N x N pairs"),
        (lambda: nce(torch.ones(0), torch.ones(3)), "scores of both kinds"),
        (lambda: nt_xent_floor(1), "batch must be 2 or more"),
        (lambda: nt_xent_floor(4, 0), "tau must be above 0"),
        (lambda: debiased(A, B, prior=1), r"prior must be in \[0, 1\)"),
        (lambda: hard_negatives(A, B, beta=-1), "beta must be 0 or more"),
        (lambda: Momentum(nn.Linear(2, 2), 1.5), r"momentum must be in 0\.\.1"),
        (lambda: mixup(torch.full((2, 1, 3), math.nan), g=None), "fill gaps first"),
        (lambda: mixup(torch.ones(2, 1, 3), g=None, alpha=0), "alpha must be above 0"),
        (lambda: negative_cosine(A, B[:5]), "two views of one shape"),
    ],
)
def test_refused_in_one_sentence(call, words):
    with pytest.raises(BadInput, match=words) as error:
        call()
    assert "\n" not in str(error.value)
