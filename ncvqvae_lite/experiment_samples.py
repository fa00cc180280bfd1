"""Series drawn from the prior of a cell, and what is computed on them: FID, IS and their floors, token statistics."""

import numpy as np
import torch

from .fcn import batched
from .files import atomic
from .metrics import frechet_distance, inception_score, token_usage
from .training_engine import derive_seed

IS_SPLITS = 10
FEWEST_FOR_FID = 10  # test series; below that nonsense, but 128 features want many more
FEWEST_FOR_IS = 2 * IS_SPLITS  # test series; a split of one series scores 1, whatever it is


def generate(cfg, tokenizer, prior, n, seed, class_index=None):
    """n token grids (n, N) drawn from the prior, and their series (n, C, L), scaled."""
    generator = torch.Generator(prior.table.device).manual_seed(seed)
    tokens = prior.sample(
        n, class_index, steps=cfg.decoding_steps, choice_temperature=cfg.choice_temperature, guidance=cfg.guidance,
        generator=generator,
    )  # fmt: skip
    return tokens, batched_decode(tokenizer, tokens)


def batched_decode(tokenizer, tokens):
    """Tokens (n, N) -> series (n, C, L), in batches."""
    return torch.cat([tokenizer.decode(part) for part in tokens.split(256)])


def evaluate_samples(cfg, scaled, tokenizer, prior, fcns, folder):
    """Scores of as many unconditional samples as there are test series; writes samples.npz, in raw units.

    fcns     the feature nets, by the names of their FIDs: {"fid": FCN}, perhaps with "fid_second"; {} computes none
    returns  dict of plain floats
    """
    n_test = len(scaled.x_test)
    tokens, generated = generate(cfg, tokenizer, prior, max(n_test, cfg.min_samples), derive_seed("samples", cfg.seed))
    usage = token_usage(tokens, cfg.codebook_size)
    metrics = {"sample_perplexity": usage.perplexity, "sample_coverage": usage.coverage}
    saved = {"x": (generated * scaled.std + scaled.mean).cpu().numpy(), "tokens": tokens.cpu().numpy()}
    if fcns:
        train, test = (x[..., : tokenizer.out_length] for x in (scaled.x_train, scaled.x_test))
        decoded, judged = batched_decode(tokenizer, batched(tokenizer.encode, scaled.x_test)), generated[:n_test]
        for name, fcn in fcns.items():
            distances = _frechet_distances(fcn, judged, decoded, train, test)
            metrics |= {name + suffix: distance for suffix, distance in distances.items()}
        probabilities, real_probabilities = (batched(fcns["fid"].probabilities, x) for x in (judged, test))
        if n_test >= FEWEST_FOR_IS:
            score, real_score = (inception_score(p, IS_SPLITS) for p in (probabilities, real_probabilities))
            metrics |= {"is": score.mean, "is_std": score.std, "is_real": real_score.mean}
        classes, real_classes = (p.argmax(dim=1) for p in (probabilities, real_probabilities))
        metrics["class_mix_error"] = _class_mix_error(classes, real_classes, prior.n_classes)
        saved |= {"fcn_class": classes.cpu().numpy(), "fcn_class_real": real_classes.cpu().numpy()}
    with atomic(folder / "samples.npz", "wb") as file:
        np.savez_compressed(file, **saved)
    return metrics


def _frechet_distances(fcn, generated, decoded, train, test):
    """FID of generated series against test, and the floors beside it: suffix of the metric's name -> distance."""
    real = batched(fcn.features, test)
    features = {"": batched(fcn.features, generated), "_reconstruction": batched(fcn.features, decoded)}
    features["_train_test"] = batched(fcn.features, train)
    found = {suffix: frechet_distance(real, of) for suffix, of in features.items()}
    found["_train"] = frechet_distance(features["_train_test"], features[""])  # generated against train
    found["_test_halves"] = frechet_distance(*_random_halves(real))
    return found


def _class_mix_error(classes, real_classes, n_classes):
    """Total variation distance, 0..1, between the class shares that the FCN sees in generated and in real series."""
    shares = (torch.bincount(c, minlength=n_classes) / len(c) for c in (classes, real_classes))
    return torch.sub(*shares).abs().sum().item() / 2


def _random_halves(features):
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0)).to(features.device)
    half = len(features) // 2
    return features[order[:half]], features[order[half : 2 * half]]
