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
from .experiment_samples import batched_decode, generate
from .experiment_stages import Scaled
from .fcn import FCN
from .files import atomic
from .inference import batched
from .metrics import frechet_distance, inception_score, token_usage
from .names import SCORES, resolve
from .prior import MaskGIT
from .training_engine import derive_seed

IS_SPLITS = 10


@dataclass(frozen=True)
class Evidence:
    """What a score of generated series may look at. Series are scaled, and as long as the tokenizer returns them (L').

    scaled      the data set; `train` and `test` are its series, cut to L'
    tokens      (m, N) of all samples; generated (n, C, L') the first of them, as many as there are test series
    reconstructed  (n, C, L') test series after tokens and back
    fcn         the feature net, or None where the series have no labels or are too few
    """

    scaled: Scaled
    tokenizer: torch.nn.Module
    prior: MaskGIT
    tokens: torch.Tensor
    generated: torch.Tensor
    reconstructed: torch.Tensor
    fcn: FCN | None

    @property
    def train(self):
        return self.scaled.x_train[..., : self.generated.shape[-1]]

    @property
    def test(self):
        return self.scaled.x_test[..., : self.generated.shape[-1]]

    @cached_property
    def features(self):
        """(n, 128) of the feature net, of "test", "generated", "reconstructed" and "train" series."""
        names = ("test", "generated", "reconstructed", "train")
        return {name: batched(self.fcn.features, getattr(self, name)) for name in names}

    @cached_property
    def probabilities(self):
        """(n, k) of the feature net, of "generated" and "test" series."""
        return {name: batched(self.fcn.probabilities, getattr(self, name)) for name in ("generated", "test")}


def evaluate_samples(cfg, ds, scaled, tokenizer, prior, fcns, folder):
    """Scores of as many unconditional samples as there are test series; writes samples.npz, in raw units.

    fcns     the feature nets, by the names of their FIDs: {"fid": FCN}, perhaps with "fid_second"; {} computes none
    returns  dict of plain floats
    """
    n_test = len(scaled.x_test)
    tokens, series = generate(cfg, tokenizer, prior, max(n_test, cfg.min_samples), derive_seed("samples", cfg.seed))
    reconstructed = batched_decode(tokenizer, batched(tokenizer.encode, scaled.x_test))
    evidence = Evidence(scaled, tokenizer, prior, tokens, series[:n_test], reconstructed, fcns.get("fid"))
    metrics = {}
    for name, score in SCORES.items():
        if score.compute and not score.lacks(ds):
            metrics |= _named(name, resolve(score.compute)(evidence))
    if "fid_second" in fcns:
        metrics |= _named("fid_second", frechet_distances(replace(evidence, fcn=fcns["fid_second"])))
    saved = {"x": (series * scaled.std + scaled.mean).cpu().numpy(), "tokens": tokens.cpu().numpy()}
    if fcns:
        generated, real = (evidence.probabilities[name].argmax(dim=1) for name in ("generated", "test"))
        saved |= {"fcn_class": generated.cpu().numpy(), "fcn_class_real": real.cpu().numpy()}
    with atomic(folder / "samples.npz", "wb") as file:
        np.savez_compressed(file, **saved)
    return metrics


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
    """FID of generated series against test, and the floors beside it: suffix of the metric's name -> distance."""
    real, generated = evidence.features["test"], evidence.features["generated"]
    return {
        "": frechet_distance(real, generated),
        "_reconstruction": frechet_distance(real, evidence.features["reconstructed"]),
        "_train_test": frechet_distance(real, evidence.features["train"]),
        "_train": frechet_distance(evidence.features["train"], generated),  # generated against train
        "_test_halves": frechet_distance(*_random_halves(real)),
    }


def _random_halves(features):
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0)).to(features.device)
    half = len(features) // 2
    return features[order[:half]], features[order[half : 2 * half]]


def inception_scores(evidence):
    """IS of generated series, its deviation over the splits, and the IS of the test series."""
    score, real = (inception_score(evidence.probabilities[name], IS_SPLITS) for name in ("generated", "test"))
    return {"": score.mean, "_std": score.std, "_real": real.mean}


def class_mix_error(evidence):
    """Total variation distance, 0..1, between the class shares that the FCN sees in generated and in real series."""
    classes = (evidence.probabilities[name].argmax(dim=1) for name in ("generated", "test"))
    shares = (torch.bincount(c, minlength=evidence.prior.n_classes) / len(c) for c in classes)
    return torch.sub(*shares).abs().sum().item() / 2


def sample_perplexity(evidence):
    """exp(entropy) of the codes in all samples, 1..K."""
    return token_usage(evidence.tokens, evidence.tokenizer.codebook_size).perplexity


def sample_coverage(evidence):
    """Share of the codes that any sample uses."""
    return token_usage(evidence.tokens, evidence.tokenizer.codebook_size).coverage
