"""Public methods of nets compute in eval mode and move nothing; a series has its tokens whatever batch it comes in."""

import copy

import numpy as np
import pytest
import torch

from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.fcn import FCN
from ncvqvae_lite.prior import MaskGIT
from ncvqvae_lite.tokenizer import TOKENIZERS, Tokenizer

SMALL = dict(dim=8, n_blocks=1, codebook_size=12)


def settled(kind, length=32, channels=1, width=8, **arguments):
    """A tokenizer whose batch norms have statistics, in train mode, and 40 series for it."""
    tokenizer = TOKENIZERS[kind](length, channels, width=width, **SMALL | arguments)
    x = torch.randn(40, channels, length).cumsum(dim=2)
    x = (x - x.mean()) / x.std()
    with torch.no_grad():
        for _ in range(3):
            tokenizer.mean_codes(x)
    return tokenizer, x


def state_of(net):
    return copy.deepcopy(net.state_dict()), [part.training for part in net.modules()], torch.get_rng_state()


def same_state(one, other):
    weights = all(torch.equal(value, other[0][name]) for name, value in one[0].items())
    return weights and one[1] == other[1] and torch.equal(one[2], other[2])


CALLS = {
    "encode": lambda tokenizer, x: tokenizer.encode(x),
    "decode": lambda tokenizer, x: tokenizer.decode(torch.zeros(2, tokenizer.n_tokens, dtype=torch.int64)),
    "features": lambda tokenizer, x: tokenizer.features(x),
    "token_logits": lambda tokenizer, x: tokenizer.token_logits(x),
    "reconstruction_loss": lambda tokenizer, x: torch.stack(tokenizer.reconstruction_loss(x)),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_tokenizer_answers_in_eval_mode_and_stays_as_it_is(kind, call):
    """... in train mode too, with a part that is frozen, and with codes that training would restart."""
    tokenizer, x = settled(kind, expire_below=1e6)
    tokenizer.decoder.eval()
    before = state_of(tokenizer)
    in_train_mode = CALLS[call](tokenizer, x)
    assert same_state(before, state_of(tokenizer))
    assert torch.equal(in_train_mode, CALLS[call](tokenizer.eval(), x)) and not in_train_mode.requires_grad
    assert not any(part.training for part in tokenizer.modules())


def test_the_mode_comes_back_after_a_refusal():
    tokenizer, x = settled("grid")
    with pytest.raises(BadInput, match=r"NaN or infinite values in 1 of 40 rows, the first is row 7"):
        tokenizer.encode(torch.where(torch.arange(40)[:, None, None] == 7, torch.nan, x))
    assert all(part.training for part in tokenizer.modules())


@pytest.mark.parametrize("method", ["features", "probabilities"])
def test_a_feature_net_answers_in_eval_mode_and_stays_as_it_is(method):
    net, x = FCN(3), torch.randn(6, 1, 20)
    net(x)  # statistics
    net.norm2.eval()
    before, in_train_mode = state_of(net), getattr(net, method)(x)
    assert same_state(before, state_of(net)) and in_train_mode.requires_grad  # gradients are the caller's affair
    assert torch.equal(in_train_mode, getattr(net.eval(), method)(x))


def test_a_prior_samples_in_eval_mode():
    class Noisy(MaskGIT):
        def forward(self, tokens, classes):
            assert not self.training
            return super().forward(tokens, classes)

    prior = Noisy(4, 5, dim=4, width=8, depth=1, heads=1)
    prior.sample(2, generator=torch.Generator().manual_seed(0))
    assert all(part.training for part in prior.modules())


# --- a series alone and among others ---


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("length", [24, 37, 64, 99])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_series_has_its_tokens_in_every_batch(kind, length, channels):
    tokenizer, x = settled(kind, length, channels, width=16 if kind == "fold" else 8)
    tokenizer.quantizer.initialise(tokenizer.latents(x).detach())
    alone = torch.cat([tokenizer.encode(series) for series in x.split(1)])
    for size in (2, 3, 5, 8, 16, 33, 40):
        assert torch.equal(torch.cat([tokenizer.encode(batch) for batch in x.split(size)]), alone), size
    order = torch.randperm(len(x))
    assert torch.equal(tokenizer.encode(x[order]), alone[order])


def tie(tokenizer, x):
    """Put two codes as far from a latent of each of the first series, on opposite sides of it: rounding decides."""
    z = tokenizer.eval().latents(x).detach()
    pairs = len(tokenizer.codebook) // 2
    centres = z[:pairs, :, 0, 0]
    aside = 0.1 * torch.randn_like(centres)
    tokenizer.quantizer.codebook.copy_(torch.cat([centres + aside, centres - aside]))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_where_rounding_decides_between_codes_a_series_alone_has_the_say(kind, seed):
    torch.manual_seed(seed)
    tokenizer, x = settled(kind, 24, width=16 if kind == "fold" else 8, codebook_size=64, dim=64, n_blocks=2)
    tie(tokenizer, x)
    assert (
        tokenizer.quantizer.undecided(tokenizer.latents(x).detach())[:32].sum() > 20
    )  # others: a third code is nearer
    alone = torch.cat([tokenizer.encode(series) for series in x.split(1)])
    for size in (2, 3, 7, 16, 40):
        assert torch.equal(torch.cat([tokenizer.encode(batch) for batch in x.split(size)]), alone), size


def test_latents_far_from_the_middle_between_codes_are_decided():
    tokenizer, x = settled("grid")
    tokenizer.quantizer.codebook.copy_(torch.eye(12, 8) + torch.arange(12.0)[:, None])
    z = tokenizer.quantizer.codebook[:5].reshape(5, 8, 1, 1)
    assert not tokenizer.quantizer.undecided(z).any()


# --- what is converted, what is refused ---


def test_arrays_and_other_types_of_numbers_are_read_as_they_are():
    tokenizer, x = settled("grid")
    for other in (x.numpy(), x.double(), x.double().numpy(), x.numpy().astype(">f8"), x.tolist(), x.numpy()[::-1]):
        expected = tokenizer.encode(x.flip(0) if isinstance(other, np.ndarray) and other.strides[0] < 0 else x)
        assert torch.equal(tokenizer.encode(other), expected)
    tokens = tokenizer.encode(x)
    for other in (tokens.int(), tokens.numpy(), tokens.to(torch.uint8), tokens.tolist()):
        assert torch.equal(tokenizer.decode(other), tokenizer.decode(tokens))
    fcn = FCN(2)
    assert torch.equal(fcn.features(x.double().numpy()), fcn.features(x))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(2, 7, dtype=torch.int64), r"expected tokens \(B, 20\), got \(2, 7\)"),
        (torch.zeros(20, dtype=torch.int64), r"expected tokens \(B, 20\), got \(20,\)"),
        (torch.full((1, 20), 12), "tokens run from 12 to 12, expected 0 to 11"),
        (torch.full((1, 20), -1), "tokens run from -1 to -1, expected 0 to 11"),
        (torch.zeros(1, 20), "tokens must be whole numbers, got a tensor of float32"),
        (torch.zeros(1, 20, dtype=torch.bool), "tokens must be whole numbers, got a tensor of bool"),
        (torch.zeros(0, 20, dtype=torch.int64), r"expected tokens \(B, 20\), got \(0, 20\)"),
    ],
)
def test_tokens_that_are_none_of_the_tokenizer_are_refused(tokens, message):
    tokenizer = Tokenizer(32, width=4, **SMALL)
    assert tokenizer.n_tokens == 20
    with pytest.raises(BadInput, match=message):
        tokenizer.decode(tokens)
