"""The tokenizer against its published sizes, against torch.stft, and against losses put together by hand."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ncvqvae_lite.errors import BadInput, NotFound
from ncvqvae_lite.prior import MaskGIT
from ncvqvae_lite.tokenizer import (
    FoldTokenizer,
    Tokenizer,
    load_tokenizer,
    naive_loss,
    non_contrastive_loss,
    pool,
    row_weights,
    squared_errors,
)
from ncvqvae_lite.training import train_tokenizer

# Data set, steps L, latent frames W', samples that the reference returns, parameters of encoder and decoder (as counted
# on the reference's networks).
THESIS = [
    ("FordA", 500, 15, 500, 315_136, 314_484),
    ("ElectricDevices", 96, 12, 96, 216_448, 215_796),
    ("StarLightCurves", 1024, 8, 1024, 413_824, 413_172),
    ("Wafer", 152, 9, 152, 265_792, 265_140),
    ("ECG5000", 140, 8, 140, 265_792, 265_140),
    ("TwoPatterns", 128, 8, 128, 265_792, 265_140),
    ("UWaveGestureLibraryAll", 945, 14, 944, 364_480, 363_828),
    ("FordB", 500, 15, 500, 315_136, 314_484),
    ("ShapesAll", 512, 8, 512, 364_480, 363_828),
    ("SonyAIBORobotSurface1", 70, 9, 70, 216_448, 215_796),
    ("SonyAIBORobotSurface2", 65, 8, 64, 216_448, 215_796),
    ("Symbols", 398, 12, 398, 315_136, 314_484),
    ("Mallat", 1024, 8, 1024, 413_824, 413_172),
]
SMALL = dict(dim=8, n_blocks=1, codebook_size=6)


def small_tokenizer(length=32, channels=1, **arguments):
    """A tokenizer whose BatchNorms have seen data, so that eval mode and train mode differ."""
    tokenizer = Tokenizer(length, channels, **(SMALL | arguments))
    with torch.no_grad():
        for _ in range(3):
            tokenizer.generate(tokenizer.latents(torch.randn(8, channels, length)))
    return tokenizer


def torch_spectrum(x):
    """(B, C, L) -> (B, 2C, 5, W) by torch.stft: real parts of all channels, then imaginary parts."""
    flat = torch.stft(x.flatten(0, 1), 8, 2, window=torch.hann_window(8), center=True, return_complex=True)
    u = flat.view(*x.shape[:2], *flat.shape[1:])
    return torch.cat([u.real, u.imag], dim=1)


def torch_series(u, length=None):
    """(B, 2C, 5, W) -> (B, C, length) by torch.istft; without a length 2 floor(L/2) samples, as in the reference."""
    real, imag = u.chunk(2, dim=1)
    flat = torch.istft(torch.complex(real, imag).flatten(0, 1), 8, 2, window=torch.hann_window(8), length=length)
    return flat.view(len(u), -1, flat.shape[-1])


def nearest_codes(tokenizer, z):
    """(B, D, F, W) -> indices (B, F, W) and codes of the same shape as z, found one position at a time."""
    codebook = tokenizer.quantizer.codebook
    indices = torch.empty(z.shape[0], *z.shape[2:], dtype=torch.int64)
    codes = torch.empty_like(z)
    for b, f, w in np.ndindex(*indices.shape):
        k = ((codebook - z[b, :, f, w]) ** 2).sum(dim=1).argmin()
        indices[b, f, w], codes[b, :, f, w] = k, codebook[k]
    return indices, codes


def mean_square(a, b):
    """Mean squared difference over all entries, in float64, as a float."""
    return float(((a.double() - b.double()) ** 2).mean())


# --- sizes ---


@pytest.mark.parametrize(("name", "length", "width", "out", "encoder", "decoder"), THESIS, ids=[r[0] for r in THESIS])
def test_sizes_of_the_thirteen_data_sets(name, length, width, out, encoder, decoder):
    tokenizer = Tokenizer(length, odd_tail=False).eval()
    assert sum(p.numel() for p in tokenizer.encoder.parameters()) == encoder
    assert sum(p.numel() for p in tokenizer.decoder.parameters()) == decoder
    assert sum(p.numel() for p in tokenizer.quantizer.parameters()) == 0  # the codebook is a moving average
    assert tokenizer.grid == (5, width) and tokenizer.n_tokens == 5 * width
    x = torch.randn(1, 1, length)
    with torch.no_grad():
        assert tokenizer.latents(x).shape == (1, 64, 5, width)
    tokens = tokenizer.encode(x)
    assert tokens.shape == (1, 5 * width) and tokens.dtype == torch.int64
    assert tokenizer.decode(tokens).shape == (1, 1, out) and tokenizer.out_length == out


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("length", "odd_tail", "out"), [(65, False, 64), (65, True, 65), (64, False, 64), (16, True, 16)]
)
def test_shapes(channels, length, odd_tail, out):
    tokenizer = small_tokenizer(length, channels, odd_tail=odd_tail).eval()
    tokens = tokenizer.encode(torch.randn(4, channels, length))
    assert tokens.shape == (4, tokenizer.n_tokens)
    assert 0 <= tokens.min() and tokens.max() < 6
    assert tokenizer.decode(tokens).shape == (4, channels, out)
    assert tokenizer.features(torch.randn(4, channels, length)).shape == (4, 8)


def test_wrong_series_are_named():
    tokenizer = small_tokenizer(32)
    for shape in [(4, 32), (4, 2, 32), (4, 1, 31)]:
        with pytest.raises(BadInput, match=r"expected series \(B, 1, 32\), got \(4, "):
            tokenizer.encode(torch.randn(shape))
    with pytest.raises(BadInput, match="too short"):
        Tokenizer(1)


# --- what the parts return ---


def normalised(x, norm):
    """BatchNorm in eval mode, written out."""
    mean, var, gain, bias = (
        v[:, None, None] for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )  # (D, 1, 1)
    return (x - mean) / (var + 1e-5).sqrt() * gain + bias


def leaky(x):
    return torch.where(x > 0, x, 0.01 * x)


def residual(x, block, norm):
    h = F.conv2d(F.pad(leaky(x), (1, 1, 1, 1)), block.conv1.weight, block.conv1.bias)
    h = leaky(normalised(h, block.norm) if norm else h)
    return x + F.conv2d(h, block.conv2.weight, block.conv2.bias)


@pytest.mark.parametrize("length", [33, 132])  # one and three halvings
def test_encoder_and_decoder_layer_by_layer(length):
    tokenizer = small_tokenizer(length, 2, n_blocks=2).eval()
    u = x = torch_spectrum(torch.randn(3, 2, length))
    layers = list(tokenizer.encoder.layers)
    halvings = (len(layers) - 4) // 3
    assert halvings == {33: 1, 132: 3}[length]
    with torch.no_grad():
        for conv, norm in zip(layers[: 3 * halvings : 3], layers[1 : 3 * halvings : 3], strict=True):
            x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), conv.weight, conv.bias, stride=(1, 2))
            x = leaky(normalised(x, norm))
        for block, norm in zip(layers[-4::2], layers[-3::2], strict=True):
            x = normalised(residual(x, block, norm=True), norm)
        torch.testing.assert_close(tokenizer.encoder(u), x, atol=1e-4, rtol=1e-4)

        layers = list(tokenizer.decoder.layers)
        for block, norm in zip(layers[:4:2], layers[1:4:2], strict=True):
            x = normalised(residual(x, block, norm=False), norm)
        for conv, norm in zip(layers[4:-2:3], layers[5:-2:3], strict=True):
            x = leaky(normalised(F.conv_transpose2d(x, conv.weight, conv.bias, (1, 2), (1, 1)), norm))
        for conv in layers[-2:]:
            x = F.conv_transpose2d(x, conv.weight, conv.bias, (1, 2), (1, 1))
        x = x.double().numpy()
        place = np.linspace(0, x.shape[-1] - 1, length // 2 + 1)  # ends on ends
        left = np.minimum(place.astype(int), x.shape[-1] - 2)
        x = x[..., left] * (1 - place + left) + x[..., left + 1] * (place - left)
        np.testing.assert_allclose(tokenizer.decoder(tokenizer.encoder(u)).numpy(), x, atol=1e-4)


def test_tokens_are_nearest_codes_in_row_major_order():
    tokenizer = small_tokenizer().eval()
    x = torch.randn(3, 1, 32)
    z = tokenizer.latents(x).detach()
    indices, codes = nearest_codes(tokenizer, z)
    tokens = tokenizer.encode(x)
    frames = tokenizer.grid[1]
    for f in range(5):
        for w in range(frames):
            assert torch.equal(tokens[:, f * frames + w], indices[:, f, w])
    expected = torch_series(tokenizer.decoder(codes), length=32).detach()
    torch.testing.assert_close(tokenizer.decode(tokens), expected, atol=1e-5, rtol=1e-5)


def test_token_logits_are_negative_squared_distances():
    tokenizer = small_tokenizer().eval()
    x = torch.randn(2, 1, 32)
    rows = tokenizer.latents(x).detach().flatten(2).transpose(1, 2).double()  # (B, N, D)
    expected = -((rows[:, :, None] - tokenizer.quantizer.codebook.double()) ** 2).sum(dim=-1)
    torch.testing.assert_close(tokenizer.token_logits(x).double(), expected, atol=1e-4, rtol=1e-4)


def test_features_are_the_mean_code_of_the_tokens():
    tokenizer = small_tokenizer().eval()
    x = torch.randn(5, 1, 32)
    codebook, tokens = tokenizer.quantizer.codebook.double().numpy(), tokenizer.encode(x).numpy()
    expected = np.stack([np.mean([codebook[k] for k in row], axis=0) for row in tokens])
    np.testing.assert_allclose(tokenizer.features(x).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("length", "odd_tail"), [(64, True), (65, False), (65, True)])
def test_reconstruction_loss_against_torch_stft(channels, length, odd_tail):
    tokenizer = small_tokenizer(length, channels, odd_tail=odd_tail).eval()
    x = torch.randn(3, channels, length)
    with torch.no_grad():
        _, codes = nearest_codes(tokenizer, tokenizer.encoder(torch_spectrum(x)))
        u_hat = tokenizer.decoder(codes)
    x_hat = torch_series(u_hat, length=length if odd_tail else None)
    expected = mean_square(x_hat, x[..., : x_hat.shape[-1]]), mean_square(u_hat, torch_spectrum(x))
    assert [v.item() for v in tokenizer.reconstruction_loss(x)] == pytest.approx(expected, rel=1e-5)


def test_pool_is_average_and_maximum():
    z = torch.randn(3, 4, 5, 6)
    expected = np.stack([np.r_[a.mean(axis=(1, 2)), a.max(axis=(1, 2))] for a in z.double().numpy()])
    np.testing.assert_allclose(pool(z).numpy(), expected, atol=1e-6)


# --- losses ---


@pytest.mark.parametrize("channels", [1, 3])
def test_naive_loss_by_hand(channels):
    tokenizer = small_tokenizer(33, channels, commitment=0.7, odd_tail=False).train()
    by_hand, x = copy.deepcopy(tokenizer), torch.randn(6, channels, 33)
    loss = naive_loss(tokenizer, x)
    with torch.no_grad():
        z = by_hand.encoder(torch_spectrum(x))
        indices, codes = nearest_codes(by_hand, z)  # with the codebook as it was before the step
        u_hat = by_hand.decoder(codes)
    share = np.bincount(indices.flatten(), minlength=6) / indices.numel()
    assert loss.time.item() == pytest.approx(mean_square(torch_series(u_hat), x[..., :32]), rel=1e-5)
    assert loss.spectrum.item() == pytest.approx(mean_square(u_hat, torch_spectrum(x)), rel=1e-5)
    assert loss.commitment.item() == pytest.approx(0.7 * mean_square(z, codes), rel=1e-4)
    assert loss.perplexity.item() == pytest.approx(np.exp(-(share * np.log(share + 1e-10)).sum()), rel=1e-5)
    assert loss.total.item() == pytest.approx((loss.time + loss.spectrum + loss.commitment).item(), rel=1e-6)
    assert loss.augmented == 0 and loss.ssl == 0
    assert not torch.equal(tokenizer.quantizer.codebook, by_hand.quantizer.codebook)  # the averages moved


@pytest.mark.parametrize("quantise_view", [False, True])
@pytest.mark.parametrize("ssl_latents", ["mixed", "quantised", "continuous"])
def test_non_contrastive_loss_by_hand(ssl_latents, quantise_view):
    tokenizer = small_tokenizer().train()
    by_hand = copy.deepcopy(tokenizer)
    x, view = torch.randn(6, 1, 32), torch.randn(6, 1, 32)
    matrix = torch.randn(16, 5)
    loss = non_contrastive_loss(
        tokenizer, lambda a, b: (a @ matrix, b @ matrix), lambda a, b: 3 * ((a - 2 * b) ** 2).mean(), x, view,
        ssl_latents=ssl_latents, quantise_view=quantise_view,
    )  # fmt: skip
    with torch.no_grad():
        z, z_view = by_hand.encoder(torch_spectrum(x)), by_hand.encoder(torch_spectrum(view))
        codes = nearest_codes(by_hand, z)[1]
        # The view meets the codebook after x has moved it.
        codes_view = nearest_codes(tokenizer, z_view)[1]
        u_hat = by_hand.decoder(codes)
        u_hat_view = by_hand.decoder(codes_view if quantise_view else z_view)

    def pooled(latents):
        return torch.cat([latents.mean(dim=(2, 3)), latents.flatten(2).max(dim=2).values], dim=1).double()

    first = pooled(z if ssl_latents == "continuous" else codes) @ matrix.double()
    second = pooled(codes_view if ssl_latents == "quantised" else z_view) @ matrix.double()
    time, spectrum = mean_square(torch_series(u_hat), x), mean_square(u_hat, torch_spectrum(x))
    commitment, ssl = mean_square(z, codes), 3 * mean_square(first, 2 * second)
    augmented = mean_square(torch_series(u_hat_view), view) + mean_square(u_hat_view, torch_spectrum(view))
    assert loss.augmented.item() == pytest.approx(augmented, rel=1e-4)
    assert loss.ssl.item() == pytest.approx(ssl, rel=1e-4)
    assert loss.total.item() == pytest.approx(time + spectrum + commitment + 0.2 * augmented + ssl, rel=1e-4)


def test_weight_of_the_augmented_reconstruction():
    tokenizer = small_tokenizer().train()
    x, view = torch.randn(6, 1, 32), torch.randn(6, 1, 32)
    totals = {}
    for weight in (0.0, 1.0):
        loss = non_contrastive_loss(
            copy.deepcopy(tokenizer), lambda a, b: (a, b), lambda a, b: 0 * a.sum(), x, view, aug_recon=weight
        )
        totals[weight] = loss.total.item()
    assert totals[1.0] - totals[0.0] == pytest.approx(loss.augmented.item(), rel=1e-5)


@pytest.mark.parametrize("quantise_view", [False, True])
@pytest.mark.parametrize("ssl_latents", ["mixed", "quantised", "continuous"])
def test_the_view_never_moves_the_codebook(ssl_latents, quantise_view):
    naive = small_tokenizer().train()
    branched = copy.deepcopy(naive)
    x, view = torch.randn(6, 1, 32), 5 + torch.randn(6, 1, 32)
    before = naive.quantizer.codebook.clone()
    naive_loss(naive, x)
    non_contrastive_loss(
        branched, lambda a, b: (a, b), lambda a, b: (a - b).sum(), x, view,
        ssl_latents=ssl_latents, quantise_view=quantise_view,
    )  # fmt: skip
    assert not torch.equal(naive.quantizer.codebook, before)
    for (name, one), other in zip(naive.quantizer.named_buffers(), branched.quantizer.buffers(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("ssl_latents", ["mixed", "quantised", "continuous"])
def test_gradients_reach_the_encoder_from_both_views(ssl_latents):
    for of_view in (False, True):
        tokenizer = small_tokenizer().train()
        loss = non_contrastive_loss(
            tokenizer, lambda a, b: (a, b), lambda a, b, i=of_view: ((a, b)[i] ** 3).sum(), torch.randn(6, 1, 32),
            torch.randn(6, 1, 32), ssl_latents=ssl_latents,
        )  # fmt: skip
        loss.ssl.backward()
        assert tokenizer.encoder.layers[0].weight.grad.abs().sum() > 0


def test_batch_norms_see_both_views_one_after_the_other():
    tokenizer = Tokenizer(32, **SMALL).train()
    conv, norm = tokenizer.encoder.layers[:2]
    x, view = torch.randn(6, 1, 32), 3 + torch.randn(6, 1, 32)
    non_contrastive_loss(tokenizer, lambda a, b: (a, b), lambda a, b: (a - b).sum(), x, view)
    with torch.no_grad():
        means = [conv(torch_spectrum(series)).mean(dim=(0, 2, 3)) for series in (x, view)]
    torch.testing.assert_close(norm.running_mean, 0.9 * (0.1 * means[0]) + 0.1 * means[1], atol=1e-5, rtol=1e-4)
    counts = {int(m.num_batches_tracked) for m in tokenizer.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert counts == {2}
    naive = Tokenizer(32, **SMALL).train()
    naive_loss(naive, x)
    assert {int(m.num_batches_tracked) for m in naive.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1}


def test_view_of_the_same_series_has_the_same_continuous_latents():
    """With x' = x the pooled latents of "continuous" agree, and those of "mixed" differ by the quantisation."""
    seen = {}
    for name in ("continuous", "mixed"):
        tokenizer, x = small_tokenizer().train(), torch.randn(6, 1, 32)
        non_contrastive_loss(
            tokenizer, lambda a, b: (a, b), lambda a, b, n=name: seen.update({n: (a, b)}) or (a - b).sum(), x, x,
            ssl_latents=name,
        )  # fmt: skip
    torch.testing.assert_close(*seen["continuous"])
    assert F.mse_loss(*seen["mixed"]) > 1e-3


# --- the start of the codebook ---


def test_the_codebook_starts_once_and_only_where_kmeans_is_asked_for():
    x = torch.randn(12, 2, 33)
    plain = small_tokenizer(33, 2).eval()
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    plain.start_codebook(x)
    assert all(torch.equal(value, before[name]) for name, value in plain.state_dict().items()) and not plain.training
    tokenizer = small_tokenizer(33, 2, kmeans_init=True)
    tokenizer.eval().encode(x)  # to look at it, no start is needed
    with pytest.raises(BadInput, match="starts from k-means: call initialise"):
        naive_loss(tokenizer.train(), x)
    tokenizer.start_codebook(x, torch.Generator().manual_seed(0))
    expected = copy.deepcopy(tokenizer.quantizer)
    expected.initialise(tokenizer.latents(x).detach(), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(tokenizer.quantizer.codebook, expected.codebook)
    first = tokenizer.quantizer.codebook.clone()
    tokenizer.start_codebook(torch.randn(12, 2, 33))
    assert torch.equal(tokenizer.quantizer.codebook, first)
    naive_loss(tokenizer, x)


# --- files ---


def test_save_and_load_are_exact(tmp_path):
    tokenizer = small_tokenizer(33, 2, odd_tail=False, decay=0.8, kmeans_init=True, expire_below=0.5)
    x = torch.randn(6, 2, 33)
    tokenizer.start_codebook(x)
    naive_loss(tokenizer, x)
    tokenizer.save(tmp_path / "new" / "folder")
    loaded = Tokenizer.load(tmp_path / "new" / "folder")
    assert not loaded.training and loaded.arguments == tokenizer.arguments
    assert not loaded.quantizer.needs_init
    assert loaded.state_dict().keys() == tokenizer.state_dict().keys()
    for name, value in tokenizer.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    x = torch.randn(4, 2, 33)
    tokens = tokenizer.eval().encode(x)
    assert torch.equal(loaded.encode(x), tokens) and torch.equal(loaded.decode(tokens), tokenizer.decode(tokens))
    assert [f.name for f in (tmp_path / "new" / "folder").iterdir()] == ["tokenizer.safetensors"]


def test_loading_what_is_not_there(tmp_path):
    with pytest.raises(NotFound, match="no tokenizer.safetensors in"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("damage", ["empty", "text", "cut in half"])
def test_loading_a_damaged_file(tmp_path, damage):
    small_tokenizer().save(tmp_path)
    file = tmp_path / "tokenizer.safetensors"
    whole = file.read_bytes()
    file.write_bytes({"empty": b"", "text": b"not a tensor in sight", "cut in half": whole[: len(whole) // 2]}[damage])
    with pytest.raises(BadInput, match="tokenizer.safetensors is not a saved Tokenizer"):
        Tokenizer.load(tmp_path)


def test_loading_another_network(tmp_path):
    MaskGIT(10, 6, dim=8, width=8, depth=1, heads=1).save(tmp_path)
    (tmp_path / "prior.safetensors").rename(tmp_path / "tokenizer.safetensors")
    with pytest.raises(BadInput, match="tokenizer.safetensors is not a saved Tokenizer"):
        Tokenizer.load(tmp_path)


# --- training ---


def test_a_few_steps_learn_an_easy_set():
    """Two kinds of sines: after 60 steps the reconstruction is good, and the features tell the kinds apart."""
    time = torch.arange(32) / 32
    kinds = torch.stack([torch.sin(2 * torch.pi * time), torch.sin(8 * torch.pi * time)])
    labels = torch.arange(32) % 2
    x = 1.4 * kinds[labels][:, None] + 0.05 * torch.randn(32, 1, 32)
    tokenizer = Tokenizer(32, dim=16, n_blocks=1)
    history = train_tokenizer(tokenizer, x, epochs=30, batch_size=16, seed=1)
    first, last = ({"recon": row["time"] + row["spectrum"], **row} for row in (history[0], history[-1]))
    assert last["recon"] < 0.5 * first["recon"] and last["total"] < 0.6 * first["total"]
    tokenizer.eval()
    assert tokenizer.reconstruction_loss(x)[0] < 0.5 * x.var()
    features = tokenizer.features(x)
    centres = torch.stack([features[labels == k].mean(dim=0) for k in (0, 1)])
    assert (torch.cdist(features, centres).argmin(dim=1) == labels).double().mean() > 0.95


# --- the frequency rows folded into channels ---


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("length", "width", "frames"),
    [(16, 32, 4), (65, 32, 16), (128, 32, 32), (128, 16, 16), (945, 32, 59), (2048, 32, 32)],
)
def test_fold_has_one_token_a_frame(channels, length, width, frames):
    tokenizer = FoldTokenizer(length, channels, width=width, **SMALL)
    x = torch.randn(2, channels, length)
    assert tokenizer.grid == (1, frames) and tokenizer.n_tokens == frames
    assert tokenizer.latents(x).shape == (2, 8, 1, frames)
    assert tokenizer.encode(x).shape == (2, frames) and tokenizer.token_logits(x).shape == (2, frames, 6)
    assert tokenizer.decode(tokenizer.encode(x)).shape == x.shape and tokenizer.features(x).shape == (2, 8)


def test_folding_is_undone_exactly():
    tokenizer = FoldTokenizer(32, 2, **SMALL)
    u = torch.randn(3, 4, 5, 17)
    folded = tokenizer.fold(u)
    assert folded.shape == (3, 20, 1, 17)
    for channel, row in np.ndindex(4, 5):
        assert torch.equal(folded[:, 5 * channel + row, 0], u[:, channel, row])
    assert torch.equal(tokenizer.unfold(folded), u)


def test_fold_is_a_network_of_one_dimensional_convolutions():
    tokenizer = FoldTokenizer(33, 2, dim=8, n_blocks=1, codebook_size=6)
    with torch.no_grad():
        for _ in range(3):
            tokenizer.generate(tokenizer.latents(torch.randn(8, 2, 33)))
    tokenizer.eval()

    def conv(layer, h, **how):
        return F.conv1d(h, layer.weight[:, :, 0], layer.bias, **how)

    def norm(layer, h):
        return normalised(h[:, :, None], layer)[:, :, 0]

    def block(layer, h, with_norm):
        inner = conv(layer.conv1, leaky(h), padding=1)
        return h + conv(layer.conv2, leaky(norm(layer.norm, inner) if with_norm else inner))

    def doubled(layer, h):
        return F.conv_transpose1d(h, layer.weight[:, :, 0], layer.bias, stride=2, padding=1)

    u = torch_spectrum(torch.randn(3, 2, 33))
    down, down_norm, _, residual_block, last_norm = tokenizer.encoder.layers
    h = leaky(norm(down_norm, conv(down, F.pad(u.flatten(1, 2), (1, 1), mode="replicate"), stride=2)))
    h = norm(last_norm, block(residual_block, h, with_norm=True))
    with torch.no_grad():
        z = tokenizer.encoder(tokenizer.fold(u))
        torch.testing.assert_close(z[:, :, 0], h, atol=1e-5, rtol=1e-5)
        residual_block, first_norm, *doublings = tokenizer.decoder.layers
        h = norm(first_norm, block(residual_block, h, with_norm=False))
        for layer in doublings:
            h = doubled(layer, h)
        h = F.interpolate(h, size=17, mode="linear", align_corners=True).view(3, 4, 5, 17)
        series, spectrum = tokenizer.generate(z)
        torch.testing.assert_close(spectrum, h, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(series, torch_series(h, 33), atol=1e-5, rtol=1e-5)


def test_a_saved_tokenizer_comes_back_as_its_kind(tmp_path):
    for kind in (Tokenizer, FoldTokenizer):
        tokenizer = kind(32, 1, **SMALL).eval()
        tokenizer.save(tmp_path)
        loaded = load_tokenizer(tmp_path)
        assert type(loaded) is kind
        x = torch.randn(2, 1, 32)
        assert torch.equal(loaded.encode(x), tokenizer.encode(x))


# --- rows of equal weight ---


def test_row_weights_by_hand():
    x = torch.randn(6, 2, 40)
    u = torch_spectrum(x).double().numpy()
    weights = row_weights(x, 8, 0.5)
    assert weights.shape == (4, 5, 1)
    for channel, row in np.ndindex(4, 5):
        power = (u[:, channel, row] ** 2).mean()
        dead = channel >= 2 and row in (0, 4)  # imaginary parts of the lowest and the highest row
        assert weights[channel, row].item() == pytest.approx(1 if dead else 1 + 0.5 / power, rel=1e-4)


def test_weighted_error_counts_each_row_by_its_own_power():
    tokenizer, x = small_tokenizer().eval(), torch.randn(5, 1, 32)
    z = tokenizer.latents(x).detach()
    weights = row_weights(x, 8, 0.5)
    plain, weighted = (squared_errors(tokenizer, x, z, w) for w in (None, weights))
    u, u_hat = torch_spectrum(x).double(), tokenizer.generate(z)[1].detach().double()
    power = (u**2).mean(dim=(0, 3), keepdim=True)
    extra = torch.where(power > 1e-6, (u - u_hat) ** 2 / power, 0.0).mean()
    assert plain[0].item() == weighted[0].item()
    assert weighted[1].item() == pytest.approx(plain[1].item() + 0.5 * extra.item(), rel=1e-4)
    total = naive_loss(tokenizer, x, row_weights=weights).total - naive_loss(tokenizer, x).total
    q = squared_errors(tokenizer, x, tokenizer.quantizer(tokenizer.latents(x)).z_q, weights)
    q_plain = squared_errors(tokenizer, x, tokenizer.quantizer(tokenizer.latents(x)).z_q)
    assert total.item() == pytest.approx(q[1].item() - q_plain[1].item(), rel=1e-3)
