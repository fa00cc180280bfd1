"""TS2Vec beside its definitions: the loss as loops, what crops share, which weights are left, what a gap changes."""

import copy
import math

import numpy as np
import pytest
import torch
from sklearn.svm import SVC
from toy_family import made, seeded

from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.family.loop import learn
from ncvqvae_lite.family.scales import (
    DilatedNet,
    centred,
    crop_pair,
    features,
    hierarchical_loss,
    level_losses,
    svm_probe,
    ts2vec,
)

NAN = math.nan


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


# --- the loss ---


def loop_loss(r1, r2, alpha):
    """The mean over scales by plain loops, as the paper writes it; and how many scales there are."""
    batch, total, levels = len(r1), 0.0, 0
    while True:
        steps, instance, temporal = len(r1[0]), 0.0, 0.0
        for i in range(batch):
            for t in range(steps):
                for own, other in ((r1, r2), (r2, r1)):
                    partner = own[i][t] @ other[i][t]
                    others = [own[j][t] for j in range(batch) if j != i] + [other[j][t] for j in range(batch)]
                    instance += math.log(sum(math.exp(own[i][t] @ o) for o in others)) - partner
                    others = [own[i][s] for s in range(steps) if s != t] + [other[i][s] for s in range(steps)]
                    temporal += math.log(sum(math.exp(own[i][t] @ o) for o in others)) - partner
        n, levels = 2 * batch * steps, levels + 1
        total += alpha * instance / n + (1 - alpha) * temporal / n * (steps > 1)
        if steps == 1:
            return total / levels, levels
        r1, r2 = (
            [[np.maximum(rows[2 * s], rows[2 * s + 1]) for s in range(steps // 2)] for rows in r] for r in (r1, r2)
        )


@pytest.mark.parametrize(("steps", "alpha"), [(1, 0.5), (2, 0.5), (7, 0.5), (8, 0.0), (8, 1.0), (13, 0.3)])
def test_the_loss_is_that_of_plain_loops(steps, alpha):
    r1, r2 = normal(3, steps, 4), normal(3, steps, 4, seed=1)
    expected, levels = loop_loss(r1.numpy(), r2.numpy(), alpha)
    assert hierarchical_loss(r1, r2, alpha).item() == pytest.approx(expected, abs=1e-6)
    assert levels == len(level_losses(r1, r2)) == math.floor(math.log2(steps)) + 1


def test_views_may_be_exchanged_and_equal_ones_are_a_guess():
    r1, r2 = normal(3, 6, 4), normal(3, 6, 4, seed=1)
    torch.testing.assert_close(hierarchical_loss(r1, r2), hierarchical_loss(r2, r1))
    same = torch.ones(5, 4, 3, requires_grad=True)
    levels = level_losses(same, same)
    assert [instance.item() for instance, _ in levels] == pytest.approx([math.log(9)] * 3)
    assert [temporal.item() for _, temporal in levels] == pytest.approx([math.log(7), math.log(3), 0])
    hierarchical_loss(same, same).backward()
    assert same.grad.isfinite().all()


def test_gradients_of_the_loss():
    r = [normal(2, 5, 3, seed=s).requires_grad_() for s in (0, 1)]
    assert torch.autograd.gradcheck(hierarchical_loss, r)


# --- crops ---


def test_what_crops_share_are_the_same_steps():
    """Series are their own time index, so that what is cut shows where it was cut."""
    x = torch.arange(20.0).expand(6, 2, 20).clone()
    seen = set()
    for seed in range(200):
        view1, view2, overlap = crop_pair(x, seeded(seed))
        assert 2 <= overlap <= min(view1.shape[2], view2.shape[2])
        assert torch.equal(view1[..., -overlap:], view2[..., :overlap])
        for view in (view1, view2):
            assert (view.diff(dim=2) == 1).all() and view.min() >= 0 and view.max() <= 19
        assert view1.shape[2] + view2.shape[2] - overlap <= 20
        seen |= {("overlap", overlap), ("first", int(view1[0, 0, 0])), ("last", int(view2[0, 0, -1]))}
        seen.add(("places", len(view1[:, 0, 0].unique()) > 1))
    assert {n for what, n in seen if what == "overlap"} == set(range(2, 21))
    assert {n for what, n in seen if what == "first"} >= set(range(10))
    assert {n for what, n in seen if what == "last"} >= set(range(10, 20))
    assert ("places", True) in seen  # series of a batch are cut at places of their own


def test_crops_keep_gaps_and_equal_seeds_are_equal():
    x = normal(4, 1, 12)
    x[1, 0, 5:7] = NAN
    one, other = crop_pair(x, seeded(3)), crop_pair(x, seeded(3))
    torch.testing.assert_close(one[:2], other[:2], equal_nan=True)


# --- the network ---


def test_the_network_reads_as_far_as_its_dilations():
    """depth + 1 blocks of two convolutions of 3 steps: 2 (2^(depth+1) - 1) steps to either side."""
    net = made(DilatedNet, 1, 8, 2, 5).double().eval()
    x = normal(1, 1, 41).requires_grad_()
    h = net(x)
    assert h.shape == (1, 41, 5)
    (gradient,) = torch.autograd.grad(h[0, 20].sum(), x)
    reached = gradient[0, 0].nonzero()[:, 0]
    assert (reached.min(), reached.max()) == (20 - 14, 20 + 14)
    paper = sum(p.numel() for p in DilatedNet().parameters())
    assert paper == 64 * 2 + 10 * 2 * (3 * 64 * 64 + 64) + (3 * 64 * 320 + 3 * 320 * 320 + 2 * 320) + (64 * 320 + 320)


def test_a_missing_step_is_unseen():
    """Whatever the other channels have there: its input is 0, and so is what the first layer makes of it."""
    net = made(DilatedNet, 2, 8, 2, 5).eval()
    x = normal(3, 2, 16).float()
    x[:, 0, 4] = NAN
    moved = x.clone()
    moved[:, 1, 4] += 7
    torch.testing.assert_close(net(x), net(moved))
    blocks, inputs = net.blocks, net.inputs(x.nan_to_num().transpose(1, 2))
    inputs[:, 4] = 0
    torch.testing.assert_close(net(x), blocks(inputs.transpose(1, 2)).transpose(1, 2))
    torch.testing.assert_close(features(net, x, batch=2), net(x).max(dim=1).values)


def test_training_masks_half_of_the_steps_by_the_generator():
    net = made(DilatedNet, 1, 8, 0, 4)
    with torch.no_grad():
        net.blocks = torch.nn.Identity()
        h = net(torch.ones(50, 1, 100), seeded())
    assert (h == 0).all(dim=2).float().mean() == pytest.approx(0.5, abs=0.03)
    kept = h[(h != 0).any(dim=2)]
    assert (kept == 0).float().mean() == pytest.approx(0.1, abs=0.02)
    torch.testing.assert_close(h, net(torch.ones(50, 1, 100), seeded()))


# --- training ---

SINES = torch.sin(torch.arange(24.0) * torch.tensor([0.3, 0.9]).repeat(10)[:, None])[:, None]  # (20, 1, 24)
SINES = SINES + 0.3 * torch.randn(SINES.shape, generator=seeded(5))


def test_training_leaves_the_mean_of_all_weights():
    net = made(DilatedNet, 1, 8, 2, 8)
    twin = copy.deepcopy(net)
    weights = [twin.inputs.weight.detach().clone()]
    history = ts2vec(net, SINES, g=seeded(), steps=5)
    again = learn(
        twin, lambda x, g: crop_loss(twin, x, g), SINES, steps=5, batch=8, lr=1e-3, g=seeded(),
        after=lambda: weights.append(twin.inputs.weight.detach().clone()),
    )  # fmt: skip
    assert history == again and not net.training
    torch.testing.assert_close(net.inputs.weight, torch.stack(weights).mean(dim=0))


def crop_loss(net, x, g):
    view1, view2, overlap = crop_pair(x, g)
    return hierarchical_loss(net(view1, g)[:, -overlap:], net(view2, g)[:, :overlap])


def test_it_learns_with_gaps_and_by_the_seed():
    x = SINES.clone()
    x[::2, 0, :3] = NAN
    x[0] = NAN  # lacks all values: left out
    found, losses = [], []
    for steps in (0, 40, 40):
        net = made(DilatedNet, 1, 16, 3, 16)
        if steps:
            ts2vec(net, x, g=seeded(), steps=steps, lr=0.01)
        losses.append(np.mean([crop_loss(net.train(), SINES, seeded(s)).item() for s in range(10)]))
        found.append(features(net, x))
    assert losses[1] < losses[0] - 0.1
    assert torch.equal(*found[1:]) and found[1].isfinite().all()
    score = svm_probe(found[1][1:], np.arange(1, 20) % 2, found[1][1:], np.arange(1, 20) % 2)
    assert score.accuracy > 0.9


def test_steps_follow_the_size_of_the_set(monkeypatch):
    asked = []
    monkeypatch.setattr("ncvqvae_lite.family.scales.learn", lambda *_, steps, **__: asked.append(steps))
    for n in (1000, 1001):
        ts2vec(DilatedNet(1, 2, 0, 2), torch.zeros(n, 1, 100), g=seeded())
    assert asked == [200, 600]


def test_centred():
    x = torch.tensor([[NAN, NAN, NAN, 1, 2, 3, NAN], [1, NAN, 2, 3, NAN, NAN, NAN], [NAN] * 7, [1, 2, 3, 4, 5, 6, 7]])
    expected = [[NAN, NAN, 1, 2, 3, NAN, NAN], [NAN, 1, NAN, 2, 3, NAN, NAN], [NAN] * 7, [1, 2, 3, 4, 5, 6, 7]]
    for series in (x[:, None], x[:, None].numpy()):
        torch.testing.assert_close(centred(series)[:, 0], torch.tensor(expected), equal_nan=True)


# --- the SVM ---


def test_the_svm_searches_c_where_there_are_enough_series():
    x, y = normal(60, 3), np.arange(60) % 2
    x[:, 0] += torch.from_numpy(2.0 * y)
    few = svm_probe(x[:40], y[:40], x, y)
    assert few.cost == math.inf
    assert few.accuracy == SVC(C=math.inf).fit(x[:40], y[:40]).score(x, y)
    many = svm_probe(x, y, x, y)
    assert 1e-4 <= many.cost < math.inf and 0.7 < many.accuracy <= 1
    margins = SVC(C=many.cost).fit(x, y).decision_function(x)
    pairs = [margins[i] > margins[j] for i in range(60) for j in range(60) if y[i] > y[j]]
    assert many.auroc == pytest.approx(np.mean(pairs))
    ranked = y[np.argsort(-margins)]
    precision = np.cumsum(ranked) / np.arange(1, 61)
    assert many.auprc == pytest.approx(precision[ranked == 1].mean())


def test_a_hard_margin_of_overlapping_classes_ends():
    x, y = np.zeros((100, 1)), np.arange(100) % 2
    x[:50, 0] = normal(50, 1)[:, 0]  # each of the other half has a twin in the other class
    score = svm_probe(x, y, x, y)
    assert score.cost < math.inf and 0.4 < score.accuracy < 1


def test_rare_and_absent_classes_and_names_are_allowed():
    x, y = normal(60, 3), np.array(["a", "b", "c"]).repeat(20)
    y[:2] = "d"
    score = svm_probe(x, y, x[20:60], y[20:60])
    assert 0 <= score.accuracy <= 1 and 0.5 < score.auroc <= 1
    assert math.isnan(svm_probe(x, y, x[:2], y[:2]).auroc)


# --- refused ---

A = normal(3, 4, 2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: hierarchical_loss(A[:1], A[:1]), "at least 2 series, got 1"),
        (lambda: hierarchical_loss(A, A[:, :3]), r"\(B, T, D\) of one shape"),
        (lambda: hierarchical_loss(A, A, alpha=1.5), "alpha must be in 0..1"),
        (lambda: crop_pair(torch.ones(3, 1, 1), seeded()), "at least 2 steps, got 1"),
        (lambda: crop_pair(torch.ones(3, 5), seeded()), r"\(n, C, L\), got \(3, 5\)"),
        (lambda: DilatedNet(0), "channels must be a whole number of 1 or more"),
        (lambda: DilatedNet(2, 4, 1, 4)(torch.ones(3, 1, 5)), r"of shape \(B, 2, L\)"),
        (lambda: ts2vec(DilatedNet(1, 2, 0, 2), torch.full((3, 1, 5), math.inf), g=None), "infinite values"),
        (lambda: ts2vec(DilatedNet(1, 2, 0, 2), torch.full((3, 1, 5), NAN), g=None), "2 series with values, got 0"),
        (lambda: ts2vec(DilatedNet(2, 2, 0, 2), torch.tensor([[[1, NAN], [NAN, 1]]] * 4), g=None), "no step of any"),
        (lambda: ts2vec(DilatedNet(1, 2, 0, 2), torch.ones(3, 1, 5), g=3), "must be None or a torch.Generator"),
        (lambda: learn(torch.nn.Linear(2, 2), sum, torch.ones(3, 2), steps=1, batch=4, lr=0.1, g=None), "at most the"),
        (lambda: learn(torch.nn.Linear(2, 2), "x", torch.ones(3, 2), steps=1, batch=1, lr=0.1, g=None), "a function"),
        (lambda: svm_probe(A[0], [0, 0, 0, 0], A[0], [0, 0, 0, 0]), "at least two classes"),
    ],
)
def test_refused_in_one_sentence(call, words):
    with pytest.raises(BadInput, match=words) as error:
        call()
    assert "\n" not in str(error.value)
