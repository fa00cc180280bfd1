"""Captions that say what is in a series, two towers, their loss beside loops, the gap between them and its shift."""

import math

import numpy as np
import pytest
import torch
from toy_family import made, seeded

from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.family.captions import (
    LONGEST,
    ORDERS,
    SYNONYMS,
    WORDS,
    captioned,
    drop_words,
    encode,
    phrasings,
    swap_words,
)
from ncvqvae_lite.family.common import ResNet1d
from ncvqvae_lite.family.pairs import (
    CaptionTower,
    Locked,
    TwoTowers,
    class_vectors,
    clip_loss,
    cone,
    fit_pairs,
    modality_gap,
    recall_at_1,
    shifted,
    split_half_gap,
    zero_shot,
)
from ncvqvae_lite.family.reduced import spectrum


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def data():
    return captioned(1000, length=64, g=seeded())


# --- series and captions ---


def test_captions_say_what_is_so_and_the_order_always(data):
    assert len(WORDS) == 25 and len(set(WORDS)) == 25
    said = dict.fromkeys(("size", "noise", "position"), 0)
    for i, caption in enumerate(data.captions):
        words = caption.split()
        steps = [sign for word in words for sign in (0, 1) if word in SYNONYMS["step"][sign]]
        assert steps == [data.factors["order"][i] // 2, data.factors["order"][i] % 2]
        for name in said:
            values = [value for word in words for value in (0, 1) if word in SYNONYMS[name][value]]
            assert values in ([], [data.factors[name][i]])
            said[name] += len(values)
        assert 3 <= len(words) <= LONGEST
    assert all(abs(count - 500) < 4.5 * math.sqrt(250) for count in said.values())
    assert max(len(caption.split()) for caption in data.captions) == LONGEST
    assert {word for caption in data.captions for word in caption.split()} == set(WORDS[1:])
    assert len(set(data.captions)) > 300


def test_tokens_are_words(data):
    assert torch.equal(encode(data.captions), data.tokens) and data.tokens.shape == (1000, LONGEST)
    for tokens, caption in zip(data.tokens.tolist(), data.captions):
        assert " ".join(WORDS[token] for token in tokens if token) == caption
    for order in range(4):
        texts = phrasings(order)
        assert len(set(texts)) == 6 and all(
            ORDERS[order].split() == [w for w in t.split() if w in ("up", "down")] for t in texts
        )


def test_series_are_what_the_factors_say(data):
    """By the levels at the start, at the end and between, by the differences, and by the spectrum of these."""
    x, factors = data.x[:, 0].double(), data.factors
    assert all(
        torch.bincount(values).min() > len(values) / (len(torch.bincount(values)) + 1) for values in factors.values()
    )
    sign = 1 - 2 * torch.stack([factors["order"] // 2, factors["order"] % 2])
    end = x[:, -6:].mean(dim=1)
    expected = (1 + factors["size"]) * sign.sum(dim=0)
    assert (end - expected).abs().mean() < 0.2 and (x[:, :4].mean(dim=1)).abs().mean() < 0.2
    rough = x.diff(dim=1).abs().median(dim=1).values
    assert rough[factors["noise"] == 1].mean() > 2 * rough[factors["noise"] == 0].mean()
    early = (x[:, 14:20].mean(dim=1).abs() > 0.5).double()
    assert early[factors["position"] == 0].mean() > 0.6 > 0.2 > early[factors["position"] == 1].mean()
    clean = data.x[factors["noise"] == 0, 0]
    power = torch.fft.rfft(clean.diff(dim=1), dim=1).abs().mean(dim=0)
    assert power[7:14].max() > 1.3 * power[15:25].median()
    again = captioned(1000, length=64, g=seeded())
    assert torch.equal(again.x, data.x) and again.captions == data.captions


def test_words_may_be_swapped_or_dropped(data):
    texts = data.captions[:300]
    swapped, dropped = swap_words(texts, g=seeded()), drop_words(texts, 0.3, g=seeded())
    for before, after in zip(texts, swapped):
        changed = [i for i, (one, other) in enumerate(zip(before.split(), after.split())) if one != other]
        assert sorted(before.split()) == sorted(after.split()) and len(changed) in (0, 2)
    words = [sum(len(text.split()) for text in kind) for kind in (texts, dropped)]
    assert words[1] / words[0] == pytest.approx(0.7, abs=0.03)
    assert min(len(text.split()) for text in drop_words(texts, 1.0, g=seeded())) == 1


# --- the loss ---


def test_clip_loss_is_that_of_loops_and_symmetric():
    u, v = normal(6, 4), normal(6, 4, seed=1)
    a, b = (z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True) for z in (u, v))
    loop = 0.0
    for one, other in ((a, b), (b, a)):
        for i in range(6):
            scores = [one[i] @ other[j] / 0.3 for j in range(6)]
            loop += (math.log(sum(map(math.exp, scores))) - scores[i]) / 12
    assert clip_loss(u, v, 0.3).item() == pytest.approx(loop)
    assert clip_loss(v, u, 0.3).item() == pytest.approx(clip_loss(u, v, 0.3).item(), abs=1e-12)
    same = torch.ones(7, 4, dtype=torch.float64, requires_grad=True)
    value = clip_loss(same, same, 0.01)
    value.backward()
    assert value.item() == pytest.approx(math.log(7), abs=1e-12) and same.grad.isfinite().all()
    assert clip_loss(u, u, 0.01).item() < 1e-3
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(clip_loss, (u.requires_grad_(), v, tau))


# --- towers ---


def towers(ordered=True, **arguments):
    return made(lambda: TwoTowers(ResNet1d(), CaptionTower(ordered=ordered, **arguments)))


def test_embeddings_are_unit_vectors_and_tau_is_clipped(data):
    net = towers().eval()
    u, v = net(data.x[:9], data.tokens[:9])
    for z in (u, v):
        assert z.shape == (9, 32)
        torch.testing.assert_close(z.norm(dim=1), torch.ones(9))
    torch.testing.assert_close(net.embed_series(data.x[:9]), u.detach())
    torch.testing.assert_close(net.embed_captions(data.tokens[:9]), v.detach())
    assert net.tau.item() == pytest.approx(0.07)
    net.log_scale.data += 10
    assert net.tau.item() == pytest.approx(0.01)


def test_words_in_another_order_are_another_caption_unless_in_a_bag():
    tokens = encode(["up then down", "down then up", "up then up"])
    for ordered in (True, False):
        h = towers(ordered).eval().embed_captions(tokens)
        assert torch.allclose(h[0], h[1], atol=1e-5) is not ordered
        assert not torch.allclose(h[0], h[2], atol=1e-3)


def accuracy(net, data):
    classes = class_vectors(net, [phrasings(order) for order in range(4)])
    return (zero_shot(net.embed_series(data.x), classes) == data.factors["order"]).double().mean().item()


def test_classes_are_told_by_their_names_but_not_by_a_bag_of_words(data):
    test, found = captioned(300, length=64, g=seeded(1)), {}
    for ordered in (True, False):
        net = towers(ordered)
        assert accuracy(net, test) < 0.4
        history = fit_pairs(net, data.x, data.tokens, g=seeded(), steps=100, batch=64, lr=3e-3)
        assert np.mean(history[-10:]) < 0.85 * math.log(64)
        found[ordered] = accuracy(net, test)
    assert found[True] > 0.8 > found[False]


def test_a_locked_tower_stays_and_the_others_learn(data):
    series = made(ResNet1d)
    net = made(lambda: TwoTowers(Locked(series), CaptionTower()))
    before = {name: value.clone() for name, value in series.state_dict().items()}
    caption = net.caption[0].words.detach().clone()
    fit_pairs(net, data.x, data.tokens, g=seeded(), steps=3, batch=32)
    assert all(torch.equal(value, before[name]) for name, value in series.state_dict().items())
    assert not torch.equal(net.caption[0].words, caption)
    net.train()
    assert net.training and not series.training


def test_two_series_towers_meet_through_one_caption_tower(data):
    """The bridge: spectrum and series never appear together, both learn to lie near their captions."""
    first = towers()
    fit_pairs(first, data.x, data.tokens, g=seeded(), steps=60, batch=64)
    second = made(lambda: TwoTowers(ResNet1d(), Locked(first.caption[0])))
    second.caption[1].load_state_dict(first.caption[1].state_dict())
    second.caption[1].requires_grad_(False)
    fit_pairs(second, spectrum(data.x), data.tokens, g=seeded(), steps=40, batch=64)
    torch.testing.assert_close(second.embed_captions(data.tokens), first.embed_captions(data.tokens))
    test = captioned(200, length=64, g=seeded(1))
    u, v = first.embed_series(test.x), second.embed_series(spectrum(test.x))
    cosines = u @ v.T
    assert cosines.diagonal().mean() > cosines.mean() + 0.05


def test_equal_seeds_are_equal(data):
    losses = [fit_pairs(towers(), data.x, data.tokens, g=seeded(), steps=2, batch=32, tau=0.2) for _ in range(2)]
    assert losses[0] == losses[1]


# --- retrieval and the gap ---


def test_recall_and_zero_shot():
    u, v = normal(30, 4), normal(30, 4, seed=1)
    a, b = (z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True) for z in (u, v))
    nearest = [max(range(30), key=lambda j, i=i: a[i] @ b[j]) for i in range(30)]
    assert zero_shot(u, v).tolist() == nearest
    assert recall_at_1(u, v) == pytest.approx(np.mean([i == j for i, j in enumerate(nearest)]))
    assert recall_at_1(u.tolist(), (3 * u).tolist()) == 1


def test_the_gap_and_its_shift():
    u, v = normal(40, 5) + torch.tensor([3.0, 0, 0, 0, 0]), normal(50, 5, seed=1) + torch.tensor([0, 2.0, 0, 0, 0])
    a, b = (z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True) for z in (u, v))
    gap = modality_gap(u, v)
    np.testing.assert_allclose(gap, a.mean(axis=0) - b.mean(axis=0))
    moved = shifted(u, v, 0)
    assert moved[0] is u and moved[1] is v
    for share in (-0.5, 0.3, 1.5):
        expected = a - share * gap.numpy() / 2, b + share * gap.numpy() / 2
        for found, rows in zip(shifted(u, v, share), expected):
            np.testing.assert_allclose(found, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    sizes = [modality_gap(*shifted(u, v, share)).norm().item() for share in (-1, 0, 0.5, 1)]
    assert sizes[0] > sizes[1] > sizes[2] > 3 * sizes[3]
    assert split_half_gap(u, g=seeded()) < sizes[1] / 3
    cosines = a @ a.T
    assert cone(u) == pytest.approx(cosines[~np.eye(40, dtype=bool)].mean())


def test_untrained_towers_have_a_gap(data):
    net = towers()
    u, v = net.embed_series(data.x), net.embed_captions(data.tokens)
    assert modality_gap(u, v).norm() > 3 * max(split_half_gap(z, g=seeded()) for z in (u, v))
    assert cone(u) > 0.5


# --- refused ---

A, X = normal(4, 3), torch.ones(4, 1, 32)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: clip_loss(A[:1], A[:1]), "at least 2 series, got 1"),
        (lambda: clip_loss(A, A[:, :2]), "two views of one shape"),
        (lambda: clip_loss(A, A, 0), "tau must be above 0"),
        (lambda: clip_loss(A, A, -1.0), "tau must be above 0"),
        (lambda: encode(["up then sideways"]), "no word 'sideways' in captions"),
        (lambda: encode([""]), "a caption of 0 words"),
        (lambda: encode([" ".join(["up"] * 11)]), "a caption of 11 words"),
        (lambda: captioned(0, g=None), "n must be a whole number of 1 or more"),
        (lambda: captioned(3, length=16, g=None), "length must be a whole number of 32 or more"),
        (lambda: phrasings(4), "order must be a whole number"),
        (lambda: drop_words(["up"], 2, g=None), "chance must be in 0..1"),
        (lambda: CaptionTower()(torch.ones(3, 40, dtype=torch.int64)), r"tokens \(B, 10\) of captions, got \(3, 40\)"),
        (lambda: CaptionTower()(encode(["up then down"])[:, :3]), r"tokens \(B, 10\) of captions, got \(1, 3\)"),
        (lambda: CaptionTower()(encode(["up then down"])[0]), r"tokens \(B, 10\) of captions, got \(10,\)"),
        (lambda: fit_pairs(towers(), X, encode(["up"]), g=None, batch=2), "4 series, 1 captions"),
        (lambda: fit_pairs(towers(), X, encode(["up"] * 4), g=None, batch=1), "a batch of 2 or more"),
        (lambda: fit_pairs(towers(), X / 0, encode(["up"] * 4), g=None, batch=2), "NaN or infinite"),
        (lambda: fit_pairs(towers(), X, encode(["up"] * 4), g=None, batch=2, tau=0), "tau must be above 0"),
        (lambda: modality_gap(A, A[:, :2]), r"\(n, D\) and \(m, D\)"),
        (lambda: split_half_gap(A[:1], g=None), "at least 2 embeddings"),
        (lambda: cone(A[:1]), "at least 2 embeddings"),
        (lambda: shifted(A, A, math.nan), "share must be finite"),
    ],
)
def test_refused_in_one_sentence(call, words):
    with pytest.raises(BadInput, match=words) as error:
        call()
    assert "\n" not in str(error.value)
