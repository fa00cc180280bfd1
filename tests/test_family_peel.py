"""Neighbours, tables and eigenmaps: exact equations, scikit-learn beside them, and that VICReg's peeling ends there."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.manifold import spectral_embedding
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import kneighbors_graph
from toy_family import made, seeded

from ncvqvae_lite import cbf, synthetic_control, two_patterns, vicreg
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.family import peel
from ncvqvae_lite.family.common import effective_rank, knn_probe, pretrain, with_projector
from ncvqvae_lite.family.peel import (
    auto_decoder,
    dissect,
    eigenmaps,
    free_table,
    neighbour_graph,
    neighbour_pairs,
    neighbour_views,
    purity,
    row_pairs,
    same_class_pairs,
    subspace_cosine,
)
from ncvqvae_lite.inference import batched

X = torch.randn(40, 1, 12, generator=seeded(3), dtype=torch.float64)
Y = torch.arange(40) % 4


# --- neighbours ---


@pytest.mark.parametrize("k", [1, 3, 39])
def test_neighbour_pairs_are_the_nearest_others(k):
    index = neighbour_pairs(X, k)
    assert index.shape == (40, k) and index.dtype == torch.int64
    for i in range(40):
        distance = [math.dist(X[i, 0].tolist(), X[j, 0].tolist()) for j in range(40)]
        assert index[i].tolist() == sorted((j for j in range(40) if j != i), key=distance.__getitem__)[:k]
    assert torch.equal(index, neighbour_pairs(X[:, 0].numpy(), k))


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_share_of_neighbours_is_replaced(share):
    x = torch.randn(200, 4, generator=seeded())
    near, other = neighbour_pairs(x), neighbour_pairs(x, replace=share, g=seeded(1))
    changed = (near != other).sum().item()
    assert 0.95 * share * 600 < changed <= share * 600  # a random series may be the neighbour itself
    assert (other != torch.arange(200)[:, None]).all() and other.min() >= 0 and other.max() < 200
    assert torch.equal(other, neighbour_pairs(x, replace=share, g=seeded(1)))
    if share == 1:
        y = torch.arange(200) % 2
        assert purity(other, y) == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 600))


def test_purity_and_neighbours_of_the_same_class():
    index = neighbour_pairs(X, 3)
    assert purity(index, Y) == sum(int(Y[j] == Y[i]) for i in range(40) for j in index[i].tolist()) / 120
    names = np.array(["a", "b", "c", "d"])[Y]
    assert purity(index, names) == purity(index.numpy(), Y.numpy()) == purity(index, Y)
    same = same_class_pairs(Y, 5, g=seeded())
    assert same.shape == (40, 5) and purity(same, Y) == 1 and (same != torch.arange(40)[:, None]).all()
    drawn = torch.bincount(same_class_pairs(Y, 4000, g=seeded())[0], minlength=40)
    assert drawn[4::4].min() > 300 and drawn.sum() == drawn[4::4].sum()


def test_neighbours_as_views():
    x, index = X.float(), neighbour_pairs(X, 3)
    views = neighbour_views(x, index)
    rows = torch.arange(40).repeat(50)
    a, b = views(rows, seeded())
    assert torch.equal(a, x[rows])
    numbers = {tuple(row.flatten().tolist()): i for i, row in enumerate(x)}
    seen = [set() for _ in range(40)]
    for i, series in zip(rows.tolist(), b, strict=True):
        seen[i].add(numbers[tuple(series.flatten().tolist())])
    assert seen == [set(neighbours) for neighbours in index.tolist()]
    net = made(lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4)))
    history = pretrain(
        net, views, lambda a, b: vicreg(a, b).total, torch.arange(40), steps=3, batch=20, lr=0.01, g=seeded()
    )
    assert len(history) == 3


# --- eigenmaps ---


def graph_by_loops(x, k):
    index, w = neighbour_pairs(x, k), np.zeros((len(x), len(x)))
    for i in range(len(x)):
        for j in index[i].tolist():
            w[i, j] = w[j, i] = 1
    return w


@pytest.mark.parametrize(("k", "dim"), [(2, 3), (5, 39), (10, 8), (39, 2)])
def test_codes_solve_the_eigen_equation_and_are_orthogonal_by_degree(k, dim):
    w, y = graph_by_loops(X, k), eigenmaps(X, k, dim).numpy()
    assert np.array_equal(neighbour_graph(X, k), w) and y.shape == (40, dim)
    degree = np.diag(w.sum(axis=1))
    values = np.array([(c @ (degree - w) @ c) / (c @ degree @ c) for c in y.T])
    np.testing.assert_allclose((degree - w) @ y, degree @ y * values, atol=1e-6)
    np.testing.assert_allclose(y.T @ degree @ y, np.eye(dim), atol=1e-6)
    np.testing.assert_allclose(np.ones(40) @ degree @ y, 0, atol=1e-6)  # the constant one is left out
    all_values = scipy.linalg.eigh(degree - w, degree, eigvals_only=True)
    np.testing.assert_allclose(values, all_values[1 : dim + 1], atol=1e-6)  # the smallest ones, in order


def test_codes_are_those_of_scikit_learn():
    x = torch.randn(80, 3, generator=seeded(6))
    graph = kneighbors_graph(x.numpy(), 10, include_self=False)
    graph = graph.maximum(graph.T)
    theirs = spectral_embedding(graph, n_components=4, drop_first=True, random_state=0)
    ours = eigenmaps(x, 10, 4).numpy()
    for mine, its in zip(ours.T, theirs.T, strict=True):
        cosine = mine @ its / np.linalg.norm(mine) / np.linalg.norm(its)
        assert abs(cosine) == pytest.approx(1, abs=1e-6)


def test_a_graph_that_falls_apart_has_codes_that_tell_its_parts():
    x = torch.cat([torch.randn(20, 2, generator=seeded()), 100 + torch.randn(20, 2, generator=seeded(1))])
    codes = eigenmaps(x, 5, 2)[:, 0]
    assert codes[:20].std() < 1e-6 and codes[20:].std() < 1e-6 and codes[0] * codes[-1] < 0


def test_a_fixed_order_of_the_time_steps_changes_nothing():
    order = torch.randperm(12, generator=seeded())
    assert subspace_cosine(eigenmaps(X, 5, 4), eigenmaps(X[..., order], 5, 4)) == pytest.approx(1)


def test_subspace_cosine():
    a = np.random.default_rng(0).standard_normal((50, 3))
    assert subspace_cosine(a, a @ [[1, 2, 0], [0, 1, 3], [1, 0, 5]] + 7) == pytest.approx(1)
    columns = np.linalg.qr(np.column_stack([np.ones(50), np.random.default_rng(1).standard_normal((50, 6))]))[0]
    assert subspace_cosine(columns[:, 1:4], columns[:, 4:7]) == pytest.approx(0, abs=1e-12)
    angle = 0.3
    turned = math.cos(angle) * columns[:, 1] + math.sin(angle) * columns[:, 2]
    assert subspace_cosine(columns[:, [1]], turned[:, None]) == pytest.approx(math.cos(angle) ** 2)
    draws = [np.random.default_rng(s).standard_normal((2, 300, 8)) for s in range(20)]
    assert np.mean([subspace_cosine(*two) for two in draws]) == pytest.approx(8 / 299, abs=0.005)


# --- free tables ---


@pytest.mark.parametrize("make", [cbf, two_patterns, synthetic_control])
def test_vicreg_on_a_free_table_with_neighbour_pairs_is_the_eigenmap(make):
    """Mean squared cosine of the angles with the first 8 eigenvectors; .03 for a wrong graph and random columns."""
    x = make(300, 1, seed=1).x_train
    right = free_table(row_pairs(neighbour_pairs(x, 10)), 8, g=seeded(), steps=300)
    codes = eigenmaps(x, 10, 8)
    assert subspace_cosine(right, codes) > 0.9
    assert subspace_cosine(right, eigenmaps(x[torch.randperm(300, generator=seeded())], 10, 8)) < 0.15


def test_two_vectors_for_each_series_know_nothing_of_it():
    x, y = (t[:120] for t in (two_patterns(120, 1).x_train, two_patterns(120, 1).y_train))
    pairs = torch.stack([torch.arange(120), 120 + torch.arange(120)], dim=1)
    table = free_table(pairs, 16, g=seeded(), steps=150)
    assert table.shape == (240, 16) and len(x) == 120
    a, b = table[:120], table[120:]
    assert vicreg(a, b).sim < 0.01 and vicreg(a, b).var < 0.05
    assert knn_probe(a[:80], y[:80], a[80:], y[80:]) < 0.25 + 4 * math.sqrt(0.1875 / 40)
    assert torch.equal(table, free_table(pairs, 16, g=seeded(), steps=150))


def test_the_table_is_adam_on_vicreg():
    pairs = row_pairs(neighbour_pairs(X, 2))
    assert pairs[:4].tolist() == [[i // 2, j] for i, j in enumerate(neighbour_pairs(X, 2)[:2].flatten().tolist())]
    table = torch.randn(40, 3, generator=seeded(5)).requires_grad_()
    optimizer = torch.optim.Adam([table], lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        vicreg(table[pairs[:, 0]], table[pairs[:, 1]], cov=25.0).total.backward()
        optimizer.step()
    torch.testing.assert_close(free_table(pairs, 3, g=seeded(5), steps=4, lr=0.1, cov=25.0), table.detach())


# --- collapse ---


def test_without_the_variance_term_vicreg_collapses():
    x = synthetic_control(128, 1).x_train
    found = {}
    for weight in (25.0, 0.0):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = torch.nn.Sequential(torch.nn.Flatten(), with_projector(torch.nn.Identity(), 60, 64, 32))

        def loss(a, b, weight=weight):
            return vicreg(a, b, var=weight).total

        def views(x, g):
            return x + torch.randn(x.shape, generator=g), x + torch.randn(x.shape, generator=g)

        pretrain(net, views, loss, x, steps=300, batch=64, lr=0.03, g=seeded())
        z = batched(net, x)
        found[weight] = z.std(dim=0).mean().item(), effective_rank(z)
    assert found[0.0][0] < 0.05 and found[0.0][1] < 2
    assert found[25.0][0] > 0.5 and found[25.0][1] > 5


def test_a_constant_embedding_costs_exactly_the_hinge():
    assert vicreg(torch.ones(8, 4), torch.ones(8, 4)).total.item() == pytest.approx(25 * 2 * 0.99)


# --- codes with a decoder ---


def test_auto_decoder():
    ds = synthetic_control(120, 60)
    x = ds.x_train.clone()
    state = torch.random.get_rng_state()
    model = auto_decoder(ds.x_train, g=seeded(), steps=150)
    assert torch.equal(ds.x_train, x) and torch.equal(torch.random.get_rng_state(), state)
    assert model.codes.shape == (120, 16) and model(model.codes[:3], 2).shape == (3, 1, 60)
    made_by = [model(model.codes, a) for a in range(4)]
    seen = [x, peel.FIXED[1](x), x.flip(2), -x]
    loop = np.mean([((m - s) ** 2).mean().item() for m, s in zip(made_by, seen, strict=True)])
    assert model.error(model.codes, x).item() == pytest.approx(loop, rel=1e-5) and loop < 0.7  # of variance 1
    before = [p.clone() for p in model.parameters()]
    codes = model.encode(ds.x_test, steps=60)
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
    assert model.error(codes, ds.x_test) < 0.9 < model.error(torch.zeros_like(codes), ds.x_test)
    torch.testing.assert_close(
        model.encode(ds.x_test[:2], steps=60), codes[:2], rtol=1e-3, atol=1e-3
    )  # each for itself
    assert knn_probe(model.codes.detach(), ds.y_train, codes, ds.y_test) > 0.4  # chance 0.17
    again = auto_decoder(ds.x_train, g=seeded(), steps=2)
    assert torch.equal(again.codes, auto_decoder(ds.x_train, g=seeded(), steps=2).codes)


# --- units ---


def test_dissect():
    rng = np.random.default_rng(0)
    f, concepts = rng.integers(6, size=(50, 3)).astype(float), rng.integers(2, size=(50, 2))
    areas = dissect(f, concepts)
    for unit in range(3):
        for concept in range(2):
            area = roc_auc_score(concepts[:, concept], f[:, unit])
            assert areas[unit, concept].item() == pytest.approx(max(area, 1 - area))
    assert dissect(f[:, :1], f[:, 0] > 2).item() == dissect(-f[:, :1], f[:, 0] > 2).item() == 1


# --- refused ---

GAP = X.masked_fill(X > 2, math.nan)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: neighbour_pairs(X, 40), "k=40 of 39 other rows: k must be below the number of series"),
        (lambda: neighbour_graph(X, 40), "k must be below"),
        (lambda: eigenmaps(X, 40), "k must be below"),
        (lambda: eigenmaps(X, 5, 40), "dim must be below"),
        (lambda: eigenmaps(GAP), "NaN"),
        (lambda: neighbour_pairs(GAP), "NaN"),
        (lambda: neighbour_pairs(X, replace=1.5, g=seeded()), r"replace must be in 0\.\.1"),
        (lambda: neighbour_pairs(X, replace=-0.5, g=seeded()), r"replace must be in 0\.\.1"),
        (lambda: neighbour_pairs(X, replace=0.5), "draws at random: pass g"),
        (lambda: purity(neighbour_pairs(X), Y[:30]), "need labels"),
        (lambda: purity(torch.full((40, 2), 50), Y), "run to row 50 of 40"),
        (lambda: purity(torch.ones(40, 2), Y), "whole numbers"),
        (lambda: same_class_pairs([0, 0, 1], g=seeded()), "class 1 has one series only"),
        (lambda: neighbour_views(X[:30], neighbour_pairs(X)), "use those of one set"),
        (lambda: free_table(torch.ones(4, 3, dtype=torch.int64), g=None), r"pairs \(m, 2\)"),
        (lambda: subspace_cosine(X[:, 0], X[:30, 0]), "same series"),
        (lambda: subspace_cosine(X[:, 0], torch.ones(40, 2)), "collapsed"),
        (lambda: auto_decoder(X[:1].float(), g=None), "at least 2 series, got 1"),
        (lambda: auto_decoder(GAP.float(), g=None), "fill gaps first"),
        (lambda: dissect(X[:, 0], torch.ones(40)), "concept 0 is the same in all series"),
        (lambda: dissect(X[:, 0], torch.ones(30)), "expected concepts"),
    ],
)
def test_refused_in_one_sentence(call, words):
    with pytest.raises(BadInput, match=words) as error:
        call()
    assert "\n" not in str(error.value)
