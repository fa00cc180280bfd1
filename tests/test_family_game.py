"""SS-GAN: the signs of both objectives, who learns from which series, equal seeds, and the scores of samples."""

import copy
import math

import numpy as np
import pytest
import torch
from toy_family import made, seeded
from toy_training import operations_of

from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.family import game
from ncvqvae_lite.family.game import (
    Discriminator,
    Generator,
    discriminator_loss,
    generator_loss,
    play,
    spread,
    two_sample_accuracy,
    value,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed))


# --- objectives ---

LOGITS, WHICH = normal(5, 4).double(), torch.tensor([0, 3, 1, 2, 2])


def test_the_value_is_eq_1_of_gan():
    real, fake = normal(5).double(), normal(6, seed=1).double()
    d = [1 / (1 + math.exp(-s)) for s in real], [1 / (1 + math.exp(-s)) for s in fake]
    expected = np.mean(np.log(d[0])) + np.mean(np.log(1 - np.array(d[1])))
    assert value(real, fake).item() == pytest.approx(expected)
    assert value(torch.zeros(3), torch.zeros(3)).item() == pytest.approx(-2 * math.log(2))
    assert -1e-6 < value(torch.full((3,), 50.0), torch.full((3,), -50.0)).item() <= 0


def test_objectives():
    real, fake = normal(5).double(), normal(5, seed=1).double()
    entropy = np.mean([-torch.log_softmax(row, 0)[k].item() for row, k in zip(LOGITS, WHICH)])
    loss = discriminator_loss(real, fake, LOGITS, WHICH, beta=0.7)
    assert loss.total.item() == pytest.approx(-value(real, fake).item() + 0.7 * entropy)
    loss = generator_loss(fake, LOGITS, WHICH, alpha=0.3)
    expected = np.mean([-math.log(1 / (1 + math.exp(-s))) for s in fake])
    assert loss.total.item() == pytest.approx(expected + 0.3 * entropy)
    assert discriminator_loss(real, fake, LOGITS, WHICH, 0).total.item() == pytest.approx(-value(real, fake).item())


def test_signs():
    """Gradient descent raises the scores of real series, lowers those of fakes, or raises them if the generator moves;
    both lower the entropy of the right flip, whose logit they raise."""
    real, fake = (torch.zeros(5, requires_grad=True) for _ in range(2))
    logits = LOGITS.clone().requires_grad_()
    right = torch.nn.functional.one_hot(WHICH, 4).bool()
    discriminator_loss(real, fake, logits, WHICH).total.backward()
    assert (real.grad < 0).all() and (fake.grad > 0).all()
    assert (logits.grad[right] < 0).all() and (logits.grad[~right] > 0).all()
    fake, logits = torch.zeros(5, requires_grad=True), LOGITS.clone().requires_grad_()
    generator_loss(fake, logits, WHICH).total.backward()
    assert (fake.grad < 0).all() and (logits.grad[right] < 0).all() and (logits.grad[~right] > 0).all()


# --- networks ---


def test_shapes_and_samples():
    maker, critic = made(Generator, 24, 2), made(Discriminator, 24, 2)
    x = maker.sample(7, g=seeded())
    assert x.shape == (7, 2, 24) and maker.training and not x.requires_grad
    assert torch.equal(x, maker.sample(7, g=seeded())) and not torch.equal(x, maker.sample(7, g=seeded(1)))
    scores, logits = critic(x)
    assert scores.shape == (7,) and logits.shape == (7, 4) and critic.features(x).shape == (7, 192)
    with torch.no_grad():
        for p in maker.parameters():
            p *= 4
    assert maker.sample(50, g=seeded()).abs().max() > 1


# --- the game ---


def ramps(n, seed=0):
    """Saw teeth that rise slowly and fall at once, above zero: each flip shows."""
    place = torch.rand(n, 1, 1, generator=seeded(seed))
    return (torch.arange(16) / 8 + place) % 1 + 0.05 * normal(n, 1, 16, seed=seed)


def new():
    return made(Generator, 16), made(Discriminator, 16)


def flip_accuracy(critic, x):
    seen, which = game.flips(x, seeded(5))
    with torch.no_grad():
        return (critic(seen)[1].argmax(dim=1) == which).double().mean().item()


def test_it_is_played():
    x, (maker, critic) = ramps(200), new()
    history = play(maker, critic, x, g=seeded(), steps=80, batch=50)
    assert len(history) == 20 and not maker.training and not critic.training
    assert history[0]["critic_flip"] == pytest.approx(math.log(4), abs=0.2)
    assert history[-1]["critic_flip"] < 0.95 * history[0]["critic_flip"]
    assert history[0]["critic"] == pytest.approx(history[0]["critic_game"] + history[0]["critic_flip"], rel=1e-5)
    assert history[0]["maker"] == pytest.approx(history[0]["maker_game"] + 0.2 * history[0]["maker_flip"], rel=1e-5)
    assert flip_accuracy(critic, ramps(200, 1)) > 0.35


def test_equal_seeds_play_equally():
    samples = []
    for seed in (0, 0, 1):
        maker, critic = new()
        play(maker, critic, ramps(20), g=seeded(seed), steps=3, batch=10)
        samples.append(maker.sample(5, g=seeded()))
    assert torch.equal(*samples[:2]) and not torch.equal(*samples[1:])


def test_without_the_second_head_flips_are_a_guess_and_the_rate_stays():
    maker, critic = new()
    before = copy.deepcopy(critic.flip.state_dict()["parametrizations.weight.original"])
    history = play(maker, critic, ramps(60), g=seeded(), steps=6, batch=30, alpha=0, beta=0)
    assert torch.equal(critic.flip.state_dict()["parametrizations.weight.original"], before)
    assert history[-1]["maker"] == pytest.approx(history[-1]["maker_game"])


def test_each_player_moves_its_own_weights_from_its_own_series(monkeypatch):
    """Flips of the first player are those of generated series, of the second those of the real ones."""
    asked, x = [], ramps(20)
    true = game.flips
    monkeypatch.setattr(game, "flips", lambda series, g: asked.append(series.detach().clone()) or true(series, g))
    play(*new(), x, g=seeded(), steps=2, batch=20)
    rows = {tuple(series.flatten().tolist()) for series in x}
    real = [all(tuple(series.flatten().tolist()) in rows for series in batch) for batch in asked]
    assert real == [False, True] * 2


def test_a_step_never_waits_for_the_device():
    engine = game._engine(*new(), ramps(30), 4, 20, 0, 0.2, 1.0)
    full, remainder = (operations_of(engine, size) for size in (20, 10))
    assert len(full) > 30 and full == remainder


# --- scores ---


def test_two_samples():
    real, other = normal(60, 1, 8), normal(60, 1, 8, seed=1)
    assert two_sample_accuracy(real, real + 100) == 1
    assert two_sample_accuracy(real, real) == 0  # each has its copy in the other set
    assert two_sample_accuracy(real, other) == pytest.approx(0.5, abs=0.15)
    both = torch.cat([real, other]).flatten(1).numpy()
    hits = 0
    for i in range(120):
        distance = ((both - both[i]) ** 2).sum(axis=1)
        distance[i] = np.inf
        hits += (distance.argmin() >= 60) == (i >= 60)
    assert two_sample_accuracy(real, other) == hits / 120


def test_spread():
    real = normal(60, 1, 8)
    assert spread(real, 0.5 * real + 3) == pytest.approx(0.5)
    assert spread(real, real[:1].expand(9, 1, 8)) == pytest.approx(0, abs=1e-7)


# --- refused ---

X = ramps(6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Generator(20), "length must be a multiple of 8, got 20"),
        (lambda: Discriminator(20), "length must be a multiple of 8, got 20"),
        (lambda: Discriminator(24)(X), r"expected series \(B, 1, 24\)"),
        (lambda: play(*new(), X, g=None, batch=1), "batch must be from 2 to the number of series, 6, got 1"),
        (lambda: play(*new(), X, g=None, batch=7), "batch must be from 2"),
        (lambda: play(*new(), X * math.nan, g=None, batch=2), "NaN or infinite values"),
        (lambda: play(*new(), X, g=None, batch=2, alpha=-1), "alpha must be 0 or more"),
        (lambda: Generator(16).sample(0, g=None), "n must be a whole number of 1 or more"),
        (lambda: two_sample_accuracy(X, X[:3]), "expected as many of each"),
        (lambda: spread(torch.ones(3, 1, 4), torch.ones(3, 1, 4)), "all the same"),
    ],
)
def test_refused_in_one_sentence(call, words):
    with pytest.raises(BadInput, match=words) as error:
        call()
    assert "\n" not in str(error.value)
