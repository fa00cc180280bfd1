"""The scores of a cell's samples: everything in SCORES that is computed from generated series, with its floors.

A floor (what real series score, say) is one more suffix in the answer of a score's function; `tables.COMPARISONS` lists
those that are printed.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from .errors import BadInput
from .evaluation.baselines import copy, jitter
from .evaluation.class_mix import class_mix_distance
from .evaluation.copies import nearest_train
from .evaluation.kernels import KernelSpace
from .evaluation.manifold import manifold_scores
from .experiment_samples import batched_decode, classes_like, generate, logits_batch
from .experiment_stages import Scaled, unscale
from .fcn import FCN
from .files import atomic
from .inference import batched
from .metrics import frechet_distance, inception_score, token_usage
from .names import SCORES, function_of
from .prior import MaskGIT
from .quantizer import sample_categorical
from .training_engine import derive_seed

IS_SPLITS = 10
BASELINE = 1000  # floor series drawn: the size of train, but at least this many, and at most the size of test


@dataclass(frozen=True)
class Evidence:
    """What a score of generated series may look at. Series are scaled, and as long as the tokenizer returns them (L').

    scaled      the data set; `train` and `test` are its series, cut to L'
    tokens      (m, N) of all unconditional samples; generated (n, C, L') the first, as many as there are test series
    by_class    (n, C, L') samples of the classes `asked` (n,), which have their shares of train; without labels both
                are None, and `drawn` is `generated`
    reconstructed  (n, C, L') test series after tokens and back
    resampled   (b, C, L') decoded from the train series' own tokens, drawn from softmax(-||z - e_k||^2): no prior
    fcn         the feature net, or None where the series have no labels or are too few
    """

    scaled: Scaled
    tokenizer: torch.nn.Module
    prior: MaskGIT
    tokens: torch.Tensor
    generated: torch.Tensor
    by_class: torch.Tensor | None
    asked: torch.Tensor | None
    reconstructed: torch.Tensor
    resampled: torch.Tensor
    fcn: FCN | None

    @property
    def train(self):
        return self.scaled.x_train[..., : self.generated.shape[-1]]

    @property
    def test(self):
        return self.scaled.x_test[..., : self.generated.shape[-1]]

    @property
    def drawn(self):
        """Samples as a user gets them where classes are drawn."""
        return self.generated if self.by_class is None else self.by_class

    @cached_property
    def copied(self):
        """(b, C, L') train series drawn with replacement: what a model that has learned to copy would give."""
        return copy(self.train, len(self.resampled), torch.Generator().manual_seed(0))

    @cached_property
    def jittered(self):
        """(b, C, L') the same with noise of 5 % of their deviation."""
        return jitter(self.train, len(self.resampled), torch.Generator().manual_seed(0))

    @cached_property
    def features(self):
        """name of the series here -> (n, 128) of the feature net, computed at first use."""
        return _AtFirstUse(lambda name: batched(self.fcn.features, getattr(self, name)))  # pyright: ignore[reportOptionalMemberAccess]  # asked for only where there is a feature net

    @property
    def measure(self):
        """A random half of the test series, by which the other half and generated series are measured alike."""
        return _random_halves(self.test)[0]

    @property
    def other_half(self):
        return _random_halves(self.test)[1]

    @cached_property
    def kernel_features(self):
        """name of the series here -> (n, d) of random kernels fitted to `measure`, computed at first use."""
        space = KernelSpace(self.measure)
        return _AtFirstUse(lambda name: space.features(getattr(self, name)))

    @cached_property
    def manifolds(self):
        """name of the series here -> ManifoldScores of its kernel features against `measure`, computed at first use."""
        features = self.kernel_features
        return _AtFirstUse(lambda name: manifold_scores(features["measure"], features[name]))

    @cached_property
    def probabilities(self):
        """name of the series here -> (n, k) of the feature net, computed at first use."""
        return _AtFirstUse(lambda name: batched(self.fcn.probabilities, getattr(self, name)))  # pyright: ignore[reportOptionalMemberAccess]  # asked for only where there is a feature net


class _AtFirstUse(dict):
    def __init__(self, make):
        self.make = make

    def __missing__(self, name):
        self[name] = self.make(name)
        return self[name]


def evaluate_samples(cfg, ds, scaled, tokenizer, prior, pieces, fcns, folder):
    """Scores of as many samples as there are test series, without a class and by class; writes samples.npz, raw units.

    pieces   ResidualPieces of the samples, or None
    fcns     the feature nets, by the names of their FIDs: {"fid": FCN}, perhaps with "fid_second"; {} computes none
    returns  dict of plain floats
    """
    n_test, generator = len(scaled.x_test), (tokenizer, prior)
    n = max(n_test, cfg.min_samples)
    tokens, series = generate(cfg, *generator, n, derive_seed("samples", cfg.seed), pieces=pieces)
    by_class = asked = None
    if ds.n_classes:
        counts = torch.bincount(scaled.y_train, minlength=ds.n_classes).tolist()
        asked = classes_like(counts, n_test, derive_seed("classes", cfg.seed)).to(series.device)
        by_class = generate(cfg, *generator, n_test, derive_seed("samples by class", cfg.seed), asked, pieces)[1]
    reconstructed = batched_decode(tokenizer, batched(tokenizer.encode, scaled.x_test))
    n_baseline = min(n_test, max(BASELINE, len(scaled.x_train)))
    resampled = resampled_tokens(tokenizer, scaled.x_train, n_baseline)
    made = series[:n_test], by_class, asked, reconstructed, resampled
    evidence = Evidence(scaled, tokenizer, prior, tokens, *made, fcns.get("fid"))
    metrics = {}
    for name, score in SCORES.items():
        if score.compute and not score.lacks(ds):
            metrics |= _named(name, function_of(score.compute)(evidence))
    if "fid_second" in fcns:
        metrics |= _named("fid_second", frechet_distances(replace(evidence, fcn=fcns["fid_second"])))
    saved = {"x": _raw(series, scaled), "tokens": tokens.cpu().numpy()}
    if by_class is not None:
        saved |= {"x_by_class": _raw(by_class, scaled), "class": asked.cpu().numpy()}  # pyright: ignore[reportOptionalMemberAccess]  # given where by_class is
    if fcns:
        generated, real = (evidence.probabilities[name].argmax(dim=1) for name in ("generated", "test"))
        saved |= {"fcn_class": generated.cpu().numpy(), "fcn_class_real": real.cpu().numpy()}
    with atomic(folder / "samples.npz", "wb") as file:
        np.savez_compressed(file, **saved)
    return metrics


def _raw(series, scaled):
    """Scaled series as an array in raw units."""
    return unscale(series, scaled.mean, scaled.std, scaled.dtype).cpu().numpy()


def resampled_tokens(tokenizer, x, n):
    """n series (n, C, L'): train series x whose tokens are drawn anew from softmax(-||z - e_k||^2), decoded.

    A generator without a model of sequences. FID alone cannot tell it from one that has learned something.
    """
    generator = torch.Generator(x.device).manual_seed(0)
    drawn = copy(x, n, torch.Generator().manual_seed(0))
    parts = drawn.split(logits_batch(256, tokenizer.n_tokens, tokenizer.codebook_size))
    tokens = [sample_categorical(batched(tokenizer.token_logits, part), generator) for part in parts]
    return batched_decode(tokenizer, torch.cat(tokens))


def _named(name, value):
    """A score's value, or its values by the suffix of their names, as metrics."""
    values = value if isinstance(value, dict) else {"": value}
    named = {name + suffix: float(number) for suffix, number in values.items()}
    for metric, number in named.items():
        if not math.isfinite(number):
            raise BadInput(f"the score {metric} is {number}, expected a finite number: correct its function")
    return named


# --- the scores ---


def frechet_distances(evidence):
    """FID of generated series against test, and the floors beside it: suffix of the metric's name -> distance.

    `_copy`, `_jitter` and `_resampled` are generators that have learned nothing of sequences.
    """
    return _distances(evidence.features) | _halves_and_train(evidence.features)


def frechet_distances_by_class(evidence):
    """FID of samples whose classes have their shares of train, against test."""
    return frechet_distance(evidence.features["test"], evidence.features["by_class"])


def kernel_distances(evidence):
    """The Frechet distance of random-kernel features, which see the order of patterns, and the floors beside it."""
    features = evidence.kernel_features
    halves = frechet_distance(features["measure"], features["other_half"])
    return _distances(features, "drawn") | {"_test_halves": halves}


def _distances(features, generated="generated"):
    others = {"": generated, "_train_test": "train", "_copy": "copied", "_jitter": "jittered"}
    others |= {"_reconstruction": "reconstructed", "_resampled": "resampled"}
    return {suffix: frechet_distance(features["test"], features[name]) for suffix, name in others.items()}


def _halves_and_train(features):
    return {
        "_train": frechet_distance(features["train"], features["generated"]),  # generated against train
        "_test_halves": frechet_distance(*_random_halves(features["test"])),
    }


def _random_halves(features):
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0)).to(features.device)
    half = len(features) // 2
    return features[order[:half]], features[order[half : 2 * half]]


def inception_scores(evidence):
    """IS of generated series, its deviation over the splits, and the IS of the test series."""
    score, real = (inception_score(evidence.probabilities[name], IS_SPLITS) for name in ("generated", "test"))
    return {"": score.mean, "_std": score.std, "_real": real.mean}


def inception_score_by_class(evidence):
    """IS of samples whose classes have their shares of train."""
    return inception_score(evidence.probabilities["by_class"], IS_SPLITS).mean


def class_accuracy(evidence):
    """Share of the samples by class that the feature net gives the class that was asked for."""
    return (evidence.probabilities["by_class"].argmax(dim=1) == evidence.asked).double().mean().item()


def coverages(evidence):
    """Share of real series with a sample as near as the fifth real one; for other sets: see `_manifold`."""
    return _manifold(evidence, "coverage")


def recalls(evidence):
    """Share of real series inside a sample's ball, to its third neighbour; for other sets: see `_manifold`."""
    return _manifold(evidence, "recall")


def _manifold(evidence, score):
    """Real series are one half of test. `_test_halves`: the other half, of which there are as many as samples compared;
    `_train_test`: train series, of which there may be fewer, and then they score less."""
    others = {"": "drawn", "_train_test": "train", "_resampled": "resampled", "_reconstruction": "reconstructed"}
    others |= {"_test_halves": "other_half"}
    return {suffix: getattr(evidence.manifolds[other], score) for suffix, other in others.items()}


def nearest_train_auc(evidence):
    """P(a sample is nearer to its nearest train series than a test series is to its own): .5 ideal, 1 for copies.

    With its interval, and of train series with noise and of resampled tokens.
    """
    samples = {"": evidence.drawn, "_jitter": evidence.jittered, "_resampled": evidence.resampled}
    found = {suffix: nearest_train(x, evidence.test, evidence.train) for suffix, x in samples.items()}
    return {suffix: f.auc for suffix, f in found.items()} | {"_low": found[""].low, "_high": found[""].high}


def class_mix_error(evidence):
    """Total variation distance, 0..1, between the class shares that the FCN sees in generated and in real series."""
    return class_mix_distance(*(evidence.probabilities[name].argmax(dim=1) for name in ("test", "generated")))


def sample_perplexity(evidence):
    """exp(entropy) of the codes in all samples, 1..K."""
    return token_usage(evidence.tokens, evidence.tokenizer.codebook_size).perplexity


def sample_coverage(evidence):
    """Share of the codes that any sample uses."""
    return token_usage(evidence.tokens, evidence.tokenizer.codebook_size).coverage
