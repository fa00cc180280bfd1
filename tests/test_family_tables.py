"""SCARF: what a corruption replaces and by what, the network, the four rows, the rank of the partner."""

import functools
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from toy_family import made, seeded

from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.family.common import pretrain, with_projector
from ncvqvae_lite.family.contrast import nt_xent
from ncvqvae_lite.family.tables import Mlp, corrupt, four_rows, labelled_part, positive_rank, scarf_views


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


# --- corruption ---


@pytest.mark.parametrize(("rate", "columns", "replaced"), [(0.6, 30, 18), (0.6, 13, 7), (0, 9, 0), (1, 9, 9)])
def test_of_each_row_so_many_columns_come_from_the_reference(rate, columns, replaced):
    x, reference = normal(200, columns), normal(40, columns, seed=1)
    new, is_replaced = corrupt(x, rate, reference, seeded())
    assert (is_replaced.sum(dim=1) == replaced).all()
    assert torch.equal(new[~is_replaced], x[~is_replaced])
    for column in range(columns):
        assert torch.isin(new[:, column][is_replaced[:, column]], reference[:, column]).all()
    if 0 < rate < 1:  # each column as often as any other
        assert is_replaced.double().mean(dim=0).sub(replaced / columns).abs().max() < 4.5 * math.sqrt(0.25 / 200)


def test_values_are_drawn_apart_and_keep_the_distribution_of_their_column():
    reference = normal(500, 2).cumsum(dim=1) + torch.tensor([3.0, -5.0])  # correlated
    x = reference.repeat(8, 1)
    new, _ = corrupt(x, 1, reference, seeded())
    error = reference.std(dim=0) / math.sqrt(len(new))
    assert ((new.mean(dim=0) - reference.mean(dim=0)).abs() < 4 * error).all()
    assert abs(np.corrcoef(new.T.numpy())[0, 1]) < 4 / math.sqrt(len(new)) < np.corrcoef(reference.T.numpy())[0, 1]
    half, _ = corrupt(x, 0.5, reference, seeded())
    assert ((half.mean(dim=0) - reference.mean(dim=0)).abs() < 4 * error).all()


def test_views_are_the_row_and_its_corruption():
    x, reference = normal(20, 6), normal(9, 6, seed=1)
    before = x.clone()
    clean, changed = scarf_views(reference, 0.5)(x, seeded(2))
    assert clean is x and torch.equal(x, before)
    assert torch.equal(changed, corrupt(x, 0.5, reference, seeded(2)).x)


# --- the network and the table ---


def test_the_network():
    net = made(Mlp, 6)
    assert sum(p.numel() for p in net.parameters()) == 7 * 256 + 3 * 257 * 256
    x, h = normal(5, 6).float(), normal(5, 6).float()
    for layer in net.layers[::2]:
        h = (h @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(net(x), h)
    torch.testing.assert_close(net(x[:, None]), h)


@pytest.fixture(scope="module")
def cancer():
    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = torch.tensor(x[order], dtype=torch.float32), torch.tensor(y[order])
    x = (x - x[:400].mean(dim=0)) / x[:400].std(dim=0)
    return x[:400], y[:400], x[400:], y[400:]


def test_scarf_learns_and_is_set_beside_the_raw_columns(cancer):
    x, y, x_test, y_test = cancer
    net = made(lambda: with_projector(Mlp(30), 256, 256, 256))
    history = pretrain(
        net, scarf_views(x), functools.partial(nt_xent, tau=1.0), x, steps=40, batch=64, lr=1e-3, g=seeded()
    )  # fmt: skip
    assert np.mean(history[-5:]) < np.mean(history[:3]) - 0.2
    with torch.no_grad():
        ranks = [positive_rank(*(net(view) for view in scarf_views(x)(x_test, seeded()))) for _ in range(1)]
    assert ranks[0] > 0.75 * len(x_test)
    weights = [p.clone() for p in net.encoder.parameters()]
    rows = labelled_part(y, 0.25, g=seeded())
    scores = four_rows(net.encoder, x[rows], y[rows], x_test, y_test, g=seeded(), epochs=10)
    assert all(torch.equal(p, old) for p, old in zip(net.encoder.parameters(), weights))
    assert min(scores) > 0.85
    raw = LogisticRegression(max_iter=1000)
    mean, deviation = x[rows].double().mean(dim=0), x[rows].double().std(dim=0, correction=0)
    scaled = [((part.double() - mean) / deviation).numpy() for part in (x[rows], x_test)]
    assert scores.linear == pytest.approx(raw.fit(scaled[0], y[rows]).score(scaled[1], y_test))
    seed = int(torch.randint(2**31 - 1, (), generator=seeded()))
    forest = RandomForestClassifier(100, random_state=seed).fit(x[rows].numpy(), y[rows].numpy())
    assert scores.forest == forest.score(x_test.numpy(), y_test.numpy())


def test_a_share_of_each_class_is_labelled():
    y = torch.tensor([0] * 50 + [1] * 20 + [2] * 2)
    rows = labelled_part(y, 0.1, g=seeded())
    assert torch.bincount(y[rows]).tolist() == [5, 2, 1] and len(set(rows.tolist())) == 8
    assert not torch.equal(rows, labelled_part(y, 0.1, g=seeded(1)))


def test_the_rank_counts_those_that_are_no_more_similar():
    a, b = normal(9, 4), normal(9, 4, seed=1)
    u, v = (z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True) for z in (a, b))
    loop = np.mean([sum(u[i] @ v[j] <= u[i] @ v[i] for j in range(9)) for i in range(9)])
    assert positive_rank(a, b) == pytest.approx(loop)
    assert positive_rank(a, a) == 9 and positive_rank(torch.ones(9, 4), torch.ones(9, 4)) == 5


# --- refused ---

A = normal(4, 3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: corrupt(A, 1.2, A, None), "rate must be in 0..1"),
        (lambda: corrupt(A, 0.5, A[:, :2], None), "rows have 3 columns, the reference 2"),
        (lambda: corrupt(A * math.nan, 0.5, A, None), "NaN or infinite values in 4 of 4 rows"),
        (lambda: corrupt(A, 0.5, A / 0, None), "reference: NaN or infinite"),
        (lambda: corrupt(A[0], 0.5, A, None), r"expected a table \(n, M\), got \(3,\)"),
        (lambda: corrupt(A, 0.5, A, 7), "must be None or a torch.Generator"),
        (lambda: scarf_views(A, -1), "rate must be in 0..1"),
        (lambda: Mlp(3)(normal(4, 5)), r"expected shape \(B, 3\)"),
        (lambda: Mlp(0), "columns must be a whole number of 1 or more"),
        (lambda: labelled_part(torch.zeros(0, dtype=torch.int64), 0.5, g=None), r"expected labels \(n,\)"),
        (lambda: labelled_part(torch.arange(3), 0, g=None), "between 0 and 1"),
        (lambda: four_rows(Mlp(3), A, [0, 1, 0], A, [0, 1, 0, 1], g=None), "need labels of shape"),
        (lambda: positive_rank(A[:1], A[:1]), "B at least 2"),
    ],
)
def test_refused_in_one_sentence(call, words):
    with pytest.raises(BadInput, match=words) as error:
        call()
    assert "\n" not in str(error.value)
