"""Many series, long ones, many codes: limits of memory set low in small runs change no number, draws repeat."""

import numpy as np
import pytest
import torch

from ncvqvae_lite import experiment_prior, experiment_tokenizer, inference, metrics, tokenizer
from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.data import two_patterns
from ncvqvae_lite.evaluation import KernelSpace, copies, kernels, nearest_train
from ncvqvae_lite.experiment_prior import LogitsOnDemand, logits_by_index, token_logits
from ncvqvae_lite.experiment_samples import batched_decode
from ncvqvae_lite.experiment_stages import Session, resolve, scale
from ncvqvae_lite.experiment_tokenizer import judge_tokenizer, new_tokenizer, probe_series, tokenizer_stage
from ncvqvae_lite.fcn import FCN
from ncvqvae_lite.inference import batched, fitting
from ncvqvae_lite.metrics import codebook_similarity
from ncvqvae_lite.tokenizer import Tokenizer, row_weights

CPU = torch.device("cpu")
SERIES = two_patterns(n_train=40, n_test=30, length=32)
MICRO = dict(
    dim=8, n_blocks=1, codebook_size=8, epochs=1, min_steps=0, batch_size=16, probe_every=1, prior_dim=8,
    prior_width=16, prior_depth=1, prior_heads=1, prior_epochs=1, prior_min_steps=0, prior_batch_size=16,
    decoding_steps=2, min_samples=30, fcn_epochs=1, fcn_min_steps=0, cas=False,
)  # fmt: skip


def micro(preset="improved", **changes):
    return ExperimentConfig.preset(preset, dataset=SERIES.name, **MICRO | changes)


# --- batches ---


@pytest.mark.parametrize(
    ("batch_size", "length", "fits"), [(64, 128, 64), (64, 4096, 64), (64, 8192, 32), (64, 10**6, 1), (256, 20_000, 52)]
)
def test_batches_of_long_series_are_smaller(batch_size, length, fits):
    assert fitting(batch_size, length) == fits


def test_no_batch_of_long_series_is_larger_than_fits(monkeypatch):
    monkeypatch.setattr(inference, "LONG", 8)
    x, seen = torch.randn(70, 1, 32), []
    fcn, tok = FCN(2), Tokenizer(32, dim=8, n_blocks=1, codebook_size=4)
    tokens = batched(tok.encode, x)
    for net in (fcn, tok.encoder, tok.decoder):
        net.register_forward_pre_hook(lambda net, args: seen.append(len(args[0])))
    for run, given in ((fcn, x), (tok.features, x), (tok.decode, tokens)):  # tokens are shorter than their series
        seen.clear()
        batched(run, given)
        assert seen == [16, 16, 16, 16, 6]  # a quarter of 64, for series four times as long


def test_smaller_batches_give_the_same_numbers(monkeypatch):
    x = torch.randn(70, 2, 32)
    fcn, tok = FCN(2, channels=2).eval(), Tokenizer(32, channels=2, dim=8, n_blocks=1, codebook_size=4).eval()

    def numbers():
        tokens = batched(tok.encode, x)
        return batched(fcn.probabilities, x), batched(fcn.features, x), tokens, batched_decode(tok, tokens)

    whole = numbers()
    monkeypatch.setattr(inference, "LONG", 4)
    for one, other in zip(whole, numbers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)  # tokens are equal


# --- tokens ---


def test_logits_are_kept_or_made_on_demand(monkeypatch):
    tok, x = Tokenizer(32, dim=8, n_blocks=1, codebook_size=4).eval(), SERIES.x_train
    whole = token_logits(tok, x, 0.5)
    assert torch.equal(logits_by_index(tok, x, 0.5), whole)
    monkeypatch.setattr(experiment_prior, "LOGITS", tok.n_tokens * 4 * 39)
    lazy = logits_by_index(tok, x, 0.5)
    assert isinstance(lazy, LogitsOnDemand) and len(lazy) == len(whole) == 40 and lazy.device == whole.device
    for index in (torch.tensor([3, 39, 0, 3]), torch.arange(40)):
        torch.testing.assert_close(lazy[index], whole[index])
    some = experiment_prior.that_fit(tok, x)
    assert len(some) == 39 and torch.equal(some, experiment_prior.that_fit(tok, x))


def test_a_prior_learns_the_same_from_logits_on_demand(tmp_path, monkeypatch):
    cfg, histories = resolve(micro(token_temperature=0.5), SERIES), []
    tok, scaled = new_tokenizer(cfg, SERIES).eval(), scale(SERIES, CPU)
    for logits in (experiment_prior.LOGITS, 1):
        monkeypatch.setattr(experiment_prior, "LOGITS", logits)
        folder = tmp_path / str(logits)
        folder.mkdir()
        experiment_prior.prior_stage(cfg, SERIES, scaled, tok, Session(tmp_path, CPU), folder)
        rows = (folder / "history.csv").read_text().split()[1:]
        histories.append([float(text) for row in rows for text in row.split(",") if text])
    assert len(histories[0]) > 3 and histories[0] == pytest.approx(histories[1], rel=1e-5)


# --- probes ---


def test_probes_see_so_many_train_series_always_the_same(monkeypatch, tmp_path):
    monkeypatch.setattr(experiment_tokenizer, "PROBE_SERIES", 25)
    scaled = scale(SERIES, CPU)
    one, other = probe_series(scaled), probe_series(scaled)
    assert len(one.x_train) == len(one.y_train) == 25 and torch.equal(one.x_train, other.x_train)
    for series, label in zip(one.x_train, one.y_train, strict=True):
        (place,) = (scaled.x_train == series).all(dim=(1, 2)).nonzero()
        assert scaled.y_train[place] == label
    fitted = []

    def fit(z_train, y_train, *test):
        fitted.append((len(z_train), len(y_train)))
        return 0.5

    monkeypatch.setattr(experiment_tokenizer, "svm_accuracy", fit)
    for statistics in ("running", "batch"):
        cfg = micro("paper", probe_statistics=statistics)
        judge_tokenizer(cfg, new_tokenizer(cfg, SERIES), scaled, 1, 1)
    assert fitted == [(25, 25)] * 2
    _, found = tokenizer_stage(micro("paper"), SERIES, scaled, Session(tmp_path, CPU))
    assert found["probe_series"] == 25


def test_probes_of_few_series_see_all(monkeypatch, tmp_path):
    monkeypatch.setattr(experiment_tokenizer, "PROBE_SERIES", 40)
    scaled = scale(SERIES, CPU)
    assert probe_series(scaled) is scaled
    _, found = tokenizer_stage(micro("paper"), SERIES, scaled, Session(tmp_path, CPU))
    assert "svm_acc" in found and "probe_series" not in found


# --- scores ---


@pytest.mark.parametrize("codes", [1, 3, 20, 100])
def test_similarity_of_codes_in_parts(monkeypatch, codes):
    rng = np.random.default_rng(0)
    codebook = rng.standard_normal((20, 6))
    whole = codebook_similarity(codebook)
    unit = codebook / np.linalg.norm(codebook, axis=1, keepdims=True)
    assert whole.abs_cos == pytest.approx(abs(unit @ unit.T)[np.triu_indices(20, k=1)].mean(), abs=1e-12)
    monkeypatch.setattr(metrics, "CODES", codes)
    assert codebook_similarity(codebook) == pytest.approx(whole, abs=1e-12)


def test_row_weights_in_parts(monkeypatch):
    whole = row_weights(SERIES.x_train, 8, 0.5)
    monkeypatch.setattr(tokenizer, "WEIGHED", 7 * 32)
    torch.testing.assert_close(row_weights(SERIES.x_train, 8, 0.5), whole)


def test_kernel_features_in_parts(monkeypatch):
    space = KernelSpace(SERIES.x_train, n_kernels=20)
    whole = space.features(SERIES.x_test)
    monkeypatch.setattr(kernels, "MANY", 7)
    np.testing.assert_allclose(space.features(SERIES.x_test), whole, atol=1e-12)
    first, again = (KernelSpace(SERIES.x_train, n_kernels=20) for _ in range(2))
    assert first.components.shape[1] == 6  # spanned by seven series
    assert np.array_equal(first.features(SERIES.x_test), again.features(SERIES.x_test))


def test_distances_of_very_many_series_are_those_of_some(monkeypatch):
    rng = np.random.default_rng(0)
    train, test, generated = (rng.standard_normal((n, 1, 2)) for n in (50, 3000, 2000))
    whole, asked = nearest_train(generated, test, train, n_bootstrap=10), []
    measure = copies.nearest_distances
    monkeypatch.setattr(copies, "nearest_distances", lambda x, y: asked.append(len(x)) or measure(x, y))
    monkeypatch.setattr(copies, "WORK", 1500 * train.size)
    drawn = nearest_train(generated, test, train, n_bootstrap=10)
    assert asked == [1500, 1500] and drawn == nearest_train(generated, test, train, n_bootstrap=10)
    assert drawn.auc == pytest.approx(whole.auc, abs=0.05)
    asked.clear()
    monkeypatch.setattr(copies, "WORK", 0)  # a thousand at least
    nearest_train(generated, test[:900], train, n_bootstrap=10)
    assert asked == [1000, 900]
