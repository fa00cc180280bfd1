"""Flips, segments and channels beside loops, that they are learned; that training on test series leaves no trace."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from toy_family import made, seeded

from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.family.common import ResNet1d
from ncvqvae_lite.family.loop import learn
from ncvqvae_lite.family.masked import MAE, PatchNet
from ncvqvae_lite.family.pretexts import ORDERS, Pretext, flipped, flips, other_channels, segments, ttt_predict


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed))


# --- tasks ---


def test_flips():
    x = normal(200, 2, 9)
    seen, which = flips(x, seeded())
    rules = [lambda v: v, lambda v: v[:, ::-1], lambda v: -v, lambda v: -v[:, ::-1]]
    for i in range(200):
        np.testing.assert_array_equal(seen[i], rules[which[i]](x[i].numpy()))
    assert torch.bincount(which, minlength=4).min() > 30
    assert torch.equal(flips(x.numpy(), seeded())[0], seen)
    assert torch.equal(flipped(flipped(x, which), which), x)


def test_segments():
    x = normal(300, 2, 18)
    seen, which = segments(x, seeded())
    assert len({tuple(row) for row in ORDERS.tolist()}) == 24 and ORDERS[0].tolist() == [0, 1, 2, 3]
    assert seen.shape == (300, 2, 16) and set(which.tolist()) == set(range(24))
    for i in range(300):
        for k, source in enumerate(ORDERS[which[i]].tolist()):
            assert torch.equal(seen[i, :, 4 * k : 4 * k + 4], x[i, :, 4 * source : 4 * source + 4])


def test_another_channel():
    x = normal(5, 3, 8)
    seen, answer = other_channels(1)(x, seeded())
    assert torch.equal(seen, x[:, [0, 2]]) and torch.equal(answer, x[:, 1])


def test_classes_have_cross_entropy_and_values_squared_error():
    x = normal(6, 2, 16)
    model = made(lambda: Pretext(ResNet1d(2), flips, 4)).eval()
    seen, which = flips(x, seeded(1))
    torch.testing.assert_close(model.loss(x, seeded(1)), F.cross_entropy(model(seen), which))
    share = (model(seen).argmax(dim=1) == which).double().mean().item()
    assert model.accuracy(x, g=seeded(1)) == share
    model = made(lambda: Pretext(ResNet1d(1), other_channels(0), 16)).eval()
    torch.testing.assert_close(model.loss(x, None), (model(x[:, 1:]) - x[:, 0]).square().mean())


def ramps(n, seed=0):
    """Saw teeth that rise slowly and fall at once, above zero: each flip shows."""
    place = torch.rand(n, 1, 1, generator=seeded(seed))
    return (torch.arange(32) / 16 + place) % 1 + 0.1 * normal(n, 1, 32, seed=seed)


def test_a_task_is_learned_where_there_is_something_to_see():
    model = made(lambda: Pretext(ResNet1d(), flips, 4))
    learn(model, model.loss, ramps(200), steps=60, batch=32, lr=3e-3, g=seeded())
    assert model.accuracy(ramps(100, 1), g=seeded()) > 0.8
    assert model.accuracy(normal(400, 1, 32), g=seeded()) < 0.4  # of noise no flip can be told


# --- training on test series ---


@pytest.fixture
def model():
    return made(lambda: MAE(PatchNet(32, 1, 4, 16, 1, 2), 2)).train()


def test_all_weights_are_restored_and_each_batch_trains_for_itself(model):
    x, seen = normal(10, 1, 32), []
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def predict(part):
        seen.append((len(part), [p.clone() for p in model.parameters()]))
        return model.encoder(part)

    loss = model.masked_loss(0.5)
    found = ttt_predict(model, loss, predict, x, g=seeded(), steps=3, batch=4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training and all(p.grad is None for p in model.parameters())
    assert [n for n, _ in seen] == [4, 4, 2] and found.shape == (10, 16) and not found.requires_grad
    clean = [value for name, value in before.items()]
    for _, weights in seen:
        assert all((w != old).any() for w, old in zip(weights, clean))
    # the second batch alone, with the draws that it had
    g = seeded()
    for part in (x[:4],) * 3:
        loss(part, g)
    alone = ttt_predict(model, loss, model.encoder, x[4:8], g=g, steps=3, batch=4)
    torch.testing.assert_close(alone, found[4:8])


def test_no_steps_are_the_plain_prediction_and_steps_lower_the_loss(model):
    x = normal(8, 1, 32)
    plain = ttt_predict(model, model.masked_loss(0.5), model.encoder, x, g=seeded(), steps=0)
    torch.testing.assert_close(plain, model.encoder(x).detach())

    def fixed(x, g):
        return model.masked_loss(0.5)(x, seeded(3))

    losses = [
        ttt_predict(model, fixed, lambda x: fixed(x, None)[None], x, g=None, steps=n, lr=0.1).item() for n in (0, 20)
    ]
    assert losses[1] < 0.9 * losses[0]


def test_an_error_in_between_leaves_the_weights_too(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def fails(x):
        raise RuntimeError("no prediction")

    with pytest.raises(RuntimeError, match="no prediction"):
        ttt_predict(model, model.masked_loss(0.5), fails, normal(4, 1, 32), g=seeded())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# --- refused ---

X = torch.ones(3, 1, 8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: flips(X[0], None), r"as \(n, C, L\), got \(1, 8\)"),
        (lambda: Pretext(ResNet1d(), flips, 4).loss(X * math.nan, None), "fill gaps first"),
        (lambda: segments(X[..., :3], None), "at least 4 steps, got 3"),
        (lambda: other_channels(0)(X), "no channel 0 beside others in series of 1"),
        (lambda: other_channels(3)(torch.ones(3, 2, 8)), "no channel 3"),
        (lambda: Pretext(ResNet1d(), "flips", 4), "task must be a function"),
        (lambda: ttt_predict(3, flips, flips, X, g=None), "must be a network"),
        (lambda: ttt_predict(ResNet1d(), flips, flips, X / 0, g=None), "NaN or infinite"),
        (lambda: ttt_predict(ResNet1d(), flips, flips, X, g=None, batch=0), "batch must be a whole"),
    ],
)
def test_refused_in_one_sentence(call, words):
    with pytest.raises(BadInput, match=words) as error:
        call()
    assert "\n" not in str(error.value)
