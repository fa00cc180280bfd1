"""What is hidden and how much, that nothing of it is seen, which patches the losses count, and that it is learned."""

import math

import numpy as np
import pytest
import torch
from toy_family import made, seeded

from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.family.loop import learn
from ncvqvae_lite.family.masked import (
    MAE,
    BEiT,
    PatchNet,
    PatchTokens,
    TokenizerTokens,
    hidden_steps,
    interpolated,
    patch_mask,
)
from ncvqvae_lite.tokenizer import Tokenizer


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed))


def small(length=30, channels=2, patch=4):
    return made(PatchNet, length, channels, patch, 16, 1, 2)


# --- masks ---


@pytest.mark.parametrize(("patches", "share", "hidden"), [(16, 0.75, 12), (16, 0.25, 4), (3, 0.5, 2), (12, 0.4, 5)])
def test_exactly_a_share_is_hidden_anywhere(patches, share, hidden):
    is_hidden = patch_mask(2000, patches, share, seeded())
    assert is_hidden.dtype == torch.bool and (is_hidden.sum(dim=1) == hidden).all() and hidden == round(share * patches)
    often = is_hidden.double().mean(dim=0) - hidden / patches
    assert often.abs().max() < 4.5 * math.sqrt(0.25 / 2000)
    assert torch.equal(is_hidden, patch_mask(2000, patches, share, seeded()))


def test_steps_of_hidden_patches():
    is_hidden = torch.tensor([[True, False, True]])
    assert hidden_steps(is_hidden, 4, 10).int().tolist() == [[1, 1, 1, 1, 0, 0, 0, 0, 1, 1]]


def test_interpolation_is_numpys():
    x, is_missing = normal(20, 2, 15).double(), patch_mask(20, 15, 0.6, seeded())
    found = interpolated(x, is_missing)
    assert torch.equal(interpolated(x.numpy(), is_missing.numpy()), found)
    for i in range(20):
        known = np.flatnonzero(~is_missing[i].numpy())
        for c in range(2):
            expected = np.interp(np.arange(15), known, x[i, c, known].numpy())
            np.testing.assert_allclose(found[i, c], expected, atol=1e-12)


# --- the network ---


def test_patches_hold_the_steps_and_the_last_one_is_filled_up():
    net, x = small(), normal(3, 2, 30)
    patches = net.patches(x)
    assert patches.shape == (3, 8, 8) and net.n_patches == 8
    for p in range(8):
        for c in range(2):
            expected = [x[1, c, min(4 * p + t, 29)] for t in range(4)]
            assert patches[1, p, 4 * c : 4 * c + 4].tolist() == expected
    assert net(x).shape == (3, 16)
    torch.testing.assert_close(net(x), net.encode(net.embed(x)).mean(dim=1))


def test_mae_sees_visible_patches_alone_and_counts_hidden_ones_alone():
    model, x = made(MAE, small(), 2), normal(6, 2, 30)
    is_hidden = patch_mask(6, 8, 0.75, seeded())
    steps = hidden_steps(is_hidden, 4, 30)[:, None]
    other = torch.where(steps, x + 5, x)  # the hidden part is another
    filled = model(x, is_hidden)
    torch.testing.assert_close(filled, model(other, is_hidden))
    own = model.encoder.patches(x)
    loop = [(filled[i, p] - own[i, p]).square().mean() for i in range(6) for p in range(8) if is_hidden[i, p]]
    for given in ((x, is_hidden), (x.tolist(), is_hidden.tolist())):
        torch.testing.assert_close(model.loss(*given), torch.stack(loop).mean())
    series = model.fill(x, is_hidden)
    assert torch.equal(model.fill(x.numpy(), is_hidden.numpy()), series)
    assert torch.equal(series.where(~steps, 0), x.where(~steps, 0)) and series.shape == x.shape
    padded = torch.nn.functional.pad(series, (0, 2)).view(6, 2, 8, 4)
    torch.testing.assert_close(padded[0, 1, :7][is_hidden[0, :7]], filled[0, :7, 4:][is_hidden[0, :7]])


def test_beit_sees_a_mask_and_tells_tokens_of_hidden_patches():
    net, x = small(), normal(6, 2, 30)
    model = made(BEiT, net, PatchTokens(net, x, 5, g=seeded()))
    is_hidden = patch_mask(6, 8, 0.4, seeded())
    other = torch.where(hidden_steps(is_hidden, 4, 30)[:, None], x + 5, x)
    logits = model(x, is_hidden)
    assert logits.shape == (6, 8, 1, 5)
    torch.testing.assert_close(logits, model(other, is_hidden))
    tokens, loop = model.tokens(x), []
    for i in range(6):
        for p in range(8):
            scores = logits[i, p, 0].tolist()
            if is_hidden[i, p]:
                loop.append(math.log(sum(map(math.exp, scores))) - scores[tokens[i, p, 0]])
    for given in ((x, is_hidden), (x.tolist(), is_hidden.tolist())):
        assert model.loss(*given).item() == pytest.approx(np.mean(loop), rel=1e-5)


def test_tokens_of_patches_are_their_nearest_centres():
    net, x = small(), normal(20, 2, 30)
    tokens = PatchTokens(net, x, 6, g=seeded())
    rows, found = net.patches(x).double().numpy(), tokens(x)
    for i, p in ((0, 0), (3, 7), (19, 4)):
        distance = ((rows[i, p] - tokens.centres.double().numpy()) ** 2).sum(axis=1)
        assert found[i, p, 0] == distance.argmin()
    assert len(found.unique()) == 6 and torch.equal(found, PatchTokens(net, x, 6, g=seeded())(x))


@pytest.mark.parametrize("length", [24, 96, 128, 150])
def test_a_tokenizer_is_a_vocabulary(length):
    tokenizer = made(lambda: Tokenizer(length, dim=4, n_blocks=0, codebook_size=8, kmeans_init=False)).eval()
    tokens, x = TokenizerTokens(tokenizer), normal(3, 1, length)
    net = made(PatchNet, length, 1, tokens.patch, 8, 1, 2)
    found, rows = tokens(x), tokenizer.encode(x)
    assert found.shape == (3, net.n_patches, tokenizer.grid[0])
    for frame in range(net.n_patches):
        for f in range(tokenizer.grid[0]):
            assert found[2, frame, f] == rows[2, f * tokenizer.grid[1] + frame]
    model = made(BEiT, net, tokens)
    if net.n_patches > 2:
        value = model.loss(x, patch_mask(3, net.n_patches, 0.4, seeded()))
        assert value.item() == pytest.approx(math.log(8), abs=1)


# --- learning ---


def waves(n, seed):
    draw = torch.rand(2, n, 1, 1, generator=seeded(seed))
    return torch.sin(2 * math.pi * ((1 + draw[0]) * torch.arange(64) / 16 + draw[1]))


def test_mae_is_below_interpolation_on_hidden_patches():
    """Sines of 4 to 8 cycles on 64 steps; half of the patches of 8 steps, a period or half of one, are hidden."""
    model, x, test = made(MAE, made(PatchNet, 64, 1, 8, 32, 2, 4)), waves(512, 1), waves(100, 2)
    learn(model, model.masked_loss(0.5), x, steps=200, batch=32, lr=3e-3, g=seeded(), weight_decay=0.05)
    is_hidden = patch_mask(100, 8, 0.5, seeded(3))
    steps = hidden_steps(is_hidden, 8, 64)
    with torch.no_grad():
        errors = [
            (made_up - test)[steps[:, None]].square().mean().item()
            for made_up in (model.fill(test, is_hidden), interpolated(test, steps))
        ]
    assert errors[0] < 0.7 * errors[1]


def test_beit_learns_the_tokens():
    x = waves(256, 1)
    net = made(PatchNet, 64, 1, 8, 32, 1, 4)
    model = made(BEiT, net, PatchTokens(net, x, 16, g=seeded()))
    history = learn(model, model.masked_loss(0.25), x, steps=80, batch=32, lr=3e-3, g=seeded())
    assert history[0] == pytest.approx(math.log(16), abs=0.6) and np.mean(history[-10:]) < 0.85 * math.log(16)


# --- refused ---

X = torch.ones(3, 2, 30)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: patch_mask(3, 8, 0, None), "share must be between 0 and 1"),
        (lambda: patch_mask(3, 8, 1, None), "share must be between 0 and 1"),
        (lambda: patch_mask(3, 8, 0.01, None), "hides 0 of them"),
        (lambda: patch_mask(3, 2, 0.9, None), "hides 2 of them"),
        (lambda: patch_mask(3, 8, 0.5, 7), "must be None or a torch.Generator"),
        (lambda: interpolated(X, torch.ones(3, 30, dtype=torch.bool)), "not all of a series"),
        (lambda: interpolated(X, torch.zeros(3, 30)), "a mask of True and False, got torch.float32"),
        (lambda: interpolated(X, "first"), "nested lists, got str"),
        (lambda: interpolated(X, [[True], [True, False]]), "nested lists, got list"),
        (lambda: PatchNet(30, width=10, heads=4), "width 10 is no multiple of 4 heads"),
        (lambda: small()(torch.ones(3, 2, 31)), r"expected series \(B, 2, 30\)"),
        (lambda: MAE(small())(X, torch.zeros(3, 8, dtype=torch.bool)), "draw it by patch_mask"),
        (lambda: MAE(small())(X, torch.zeros(3, 8)), "draw it by patch_mask"),
        (lambda: MAE(small())(X, torch.eye(3, 8) + torch.eye(3, 8)[:1] > 0), "as many in each row"),
        (lambda: PatchTokens(small(), X / 0, 4, g=None), "NaN or infinite values"),
        (lambda: BEiT(small(patch=5), PatchTokens(small(), X, 4, g=None)), "tokens of 8 frames for 6 patches"),
    ],
)
def test_refused_in_one_sentence(call, words):
    with pytest.raises(BadInput, match=words) as error:
        call()
    assert "\n" not in str(error.value)
