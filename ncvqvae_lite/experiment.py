"""One cell of the thesis' tables, end to end: series -> tokenizer -> prior -> samples -> scores.

Everything is resumable: a finished stage is never redone, an unfinished one continues at its last checkpoint, and the
results are written last. Equal seeds give equal numbers on one CPU, interrupted or not; on a GPU some gradients are
summed in an order that varies.
"""

import json
import math
import os
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import torch

from .errors import BadInput, NotFound, WeakEvidence
from .experiment_folders import claim, discard_checkpoints, finished_metrics
from .experiment_samples import FEWEST_FOR_FID, FEWEST_FOR_IS, evaluate_samples, generate
from .experiment_stages import (
    KNN,
    Session,
    accuracy,
    can_probe,
    check_trainable,
    fcn_epochs,
    fcn_stage,
    initial_weights,
    prior_stage,
    scale,
    tokenizer_stage,
)
from .fcn import FCN, batched
from .fcn_weights import file_hash
from .files import hold, read_json, write_json, writing_to
from .metrics import running_accuracy
from .prior import MaskGIT
from .tokenizer import Tokenizer
from .training import train_fcn
from .training_engine import derive_seed

CAS_BATCH = 256  # test batches of the running accuracy, as in the reference
CAS_TAIL = 700  # test batches that the running mean still feels: 0.99^700 < 0.001


def run_experiment(cfg, ds, out_dir="runs", fcn_weights=None, *, device=None, progress=None, checkpoint_seconds=60.0):
    """Run one configuration on one data set, or what is left of it, and return its metrics.

    cfg          ExperimentConfig
    ds           TimeSeriesDataset of the name in cfg
    out_dir      folder of all runs; see `cell_folder` for where this one lives
    fcn_weights  safetensors file of the FCN behind FID and IS; None trains one on the train split
    device       "cpu", "cuda", ...; None takes a GPU where there is one
    progress     (stage, epochs done, epochs, loss terms, steps per second), called about once a second
    returns      dict of plain floats, explained in data/README.md; what could not be computed is absent, and
                 `not_computed` says why
    raises       BadInput, NotFound or RunFolderError before any work starts; TrainingDiverged during training
    warns        WeakEvidence of a channel that the common scaling leaves nearly flat, and of an FCN near chance
    """
    check_experiment(cfg, ds, fcn_weights)
    for sentence in _flat_channels(ds):
        warnings.warn(sentence, WeakEvidence, stacklevel=2)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    session = Session(Path(out_dir), device, progress, checkpoint_seconds)
    folder = cell_folder(cfg, out_dir, fcn_weights)
    metrics = finished_metrics(folder, ds) or _resume(cfg, ds, session, folder, fcn_weights)
    for sentence in _weak_fcns(ds, metrics):
        warnings.warn(sentence, WeakEvidence, stacklevel=2)
    return metrics


def _resume(cfg, ds, session, folder, fcn_weights):
    """Hold the folder, write down what it is for, and do what is left."""
    torch.set_flush_denormal(True)  # for the whole run, so that a rerun of the last stages alone computes alike
    with hold(folder), writing_to(folder):
        settings = json.loads(json.dumps(vars(cfg)))
        tokenizer_path = os.path.relpath(cfg.tokenizer_folder(session.out_dir), folder)
        scaled = scale(ds, session.device)
        settings |= {"tokenizer": tokenizer_path, "fcn": file_hash(fcn_weights) if fcn_weights else "own"}
        settings |= {"scale_mean": scaled.mean, "scale_std": scaled.std}
        metrics = claim(folder, settings, ds, session.device)
        if metrics is None:
            metrics = _run(cfg, ds, scaled, session, folder, fcn_weights)
        discard_checkpoints(folder)
    return metrics


def cell_folder(cfg, out_dir="runs", fcn_weights=None):
    """The folder that `run_experiment` with these arguments fills."""
    return cfg.cell_folder(out_dir, file_hash(fcn_weights) if fcn_weights else "own")


def check_experiment(cfg, ds, fcn_weights=None):
    """Raise before any work what would fail later."""
    if cfg.dataset != ds.name:
        raise BadInput(f"the configuration is for {cfg.dataset}, the series are {ds.name}: make them agree")
    check_trainable(cfg, ds)
    if fcn_weights is None:
        return
    if ds.n_classes == 0:
        raise BadInput(f"{ds.name} has no labels, so no FID is computed: leave out the FCN weights {fcn_weights}")
    fcn = FCN.load(fcn_weights)
    if (fcn.n_classes, fcn.channels) != (ds.n_classes, ds.channels):
        raise BadInput(
            f"{fcn_weights} is for {fcn.n_classes} classes and {fcn.channels} channel(s), {ds.name} has {ds.n_classes} "
            f"and {ds.channels}: give the weights of this data set, or none to train them"
        )


def _flat_channels(ds):
    """A sentence for each channel that the one common scaling leaves nearly flat within its typical (median) series."""
    x = ds.x_train.double()
    total = x.std(correction=0).item()
    for channel, own in enumerate(x.std(dim=2, correction=0).median(dim=0).values.tolist()):
        if own < 0.1 * total:
            yield (
                f"channel {channel} of {ds.name} has standard deviation {own:.3g} within its typical series, all is "
                f"divided by {total:.3g}: look for outliers, scale each channel or series, or leave the channel out"
            )


def _weak_fcns(ds, metrics):
    """A sentence for each FCN that is not a quarter of the way from naming the most frequent class to no mistake."""
    for fid, name in (("fid", "fcn_accuracy"), ("fid_second", "fcn_accuracy_second")):
        if name in metrics:
            share = torch.bincount(ds.y_test).max().item() / len(ds.y_test)
            if metrics[name] < share + (1 - share) / 4:
                yield (
                    f"the FCN behind {fid} classifies {metrics[name]:.0%} of the test series of {ds.name} right, "
                    f"always naming the most frequent class {share:.0%}: check labels and scaling, raise fcn_min_steps"
                )


def not_computed(cfg, ds):
    """Metrics that this configuration and data set do not have: name -> reason."""
    reasons = {}
    if ds.n_classes == 0:
        reasons = dict.fromkeys(("knn_acc", "svm_acc", "fid", "is", "cas"), "the series have no labels")
    elif not can_probe(ds):
        reasons = dict.fromkeys(("knn_acc", "svm_acc"), f"fewer than {KNN} train series")
    for name, fewest in (("fid", FEWEST_FOR_FID), ("is", FEWEST_FOR_IS)):
        if ds.n_classes and len(ds.x_test) < fewest:
            reasons[name] = f"fewer than {fewest} test series"
    if ds.n_classes and not cfg.cas:
        reasons["cas"] = "switched off (cas=false)"
    return reasons


def _run(cfg, ds, scaled, session, folder, fcn_weights):
    seconds, metrics = {}, {}

    def timed(name, stage, *arguments):
        start = time.monotonic()
        result = stage(*arguments)
        seconds[name] = time.monotonic() - start
        return result

    fcns = {}
    if "fid" not in not_computed(cfg, ds):
        if fcn_weights:
            fcns["fid"] = FCN.load(fcn_weights).to(session.device)
            metrics["fcn_accuracy"] = accuracy(fcns["fid"], scaled.x_test, scaled.y_test)
        else:
            fcns["fid"], metrics["fcn_accuracy"] = timed("fcn", fcn_stage, cfg, ds, scaled, session)
        if cfg.second_fcn:
            second = (cfg, ds, scaled, session, cfg.fcn_seed + 1)
            fcns["fid_second"], metrics["fcn_accuracy_second"] = timed("second fcn", fcn_stage, *second)
    tokenizer, found = timed("tokenizer", tokenizer_stage, cfg, ds, scaled, session)
    metrics |= found
    prior = timed("prior", prior_stage, cfg, ds, scaled, tokenizer, session, folder)
    metrics |= timed("evaluation", evaluate_samples, cfg, scaled, tokenizer, prior, fcns, folder)
    if ds.n_classes and cfg.cas:
        metrics |= timed("cas", _cas_stage, cfg, scaled, tokenizer, prior, session, folder)
    write_json(folder / "seconds.json", seconds)
    write_json(folder / "metrics.json", metrics)
    return metrics


# --- classification accuracy score ---


class ClassificationAccuracyScore(NamedTuple):
    running: float  # the reference's running mean over test batches (Q16)
    final: float  # accuracy on the whole test split after the last epoch


def class_counts(y, n_classes, at_least=1000):
    """How many series of each class to generate: as in train, scaled up to about `at_least` in all; a list of ints."""
    counts = torch.bincount(y.cpu(), minlength=n_classes)
    factor = max(1.0, at_least / len(y))
    return [round(count * factor) for count in counts.tolist()]


def classification_accuracy_score(
    x, y, x_test, y_test, *, n_classes, epochs=1000, evaluated=None, batch_size=256, lr=1e-3, weight_decay=1e-5,
    precision="fp32", seed=0, loop=None,
):  # fmt: skip
    """CAS (arXiv 1905.10887): accuracy on real test series of a classifier trained on generated ones only.

    x, y            (n, C, L) generated series, scaled, and the classes they were generated for
    x_test, y_test  real test split, in file order; of any length, so the reference's lost last sample (Q12) stays in it
    evaluated       after how many of the last epochs the test split is evaluated; None: as many as the running mean
                    feels. With fewer, the running mean is over those alone
    loop            arguments of `StepEngine.run`
    """
    with initial_weights("cas", seed):
        fcn = FCN(n_classes, channels=x.shape[1]).to(x.device)
    batches = math.ceil(len(x_test) / CAS_BATCH)
    evaluated = min(epochs, evaluated or math.ceil(CAS_TAIL / batches))

    def judge(epoch):
        if epoch <= epochs - evaluated:
            return None
        correct = (batched(fcn, x_test).argmax(dim=1) == y_test).double()
        per_batch = [batch.mean().item() for batch in correct.split(CAS_BATCH)]
        return {"batch_accuracies": per_batch, "accuracy": correct.mean().item()}

    history = train_fcn(
        fcn, x, y, epochs=epochs, batch_size=batch_size, lr=lr, weight_decay=weight_decay, precision=precision,
        seed=derive_seed("cas", seed), loop=(loop or {}) | {"on_epoch": judge},
    )  # fmt: skip
    accuracies = [accuracy for row in history for accuracy in row.get("batch_accuracies", [])]
    running = running_accuracy(accuracies, n_unseen=(epochs - evaluated) * batches)
    return ClassificationAccuracyScore(running, history[-1]["accuracy"])


def _cas_stage(cfg, scaled, tokenizer, prior, session, folder):
    counts = class_counts(scaled.y_train, prior.n_classes)
    y = torch.arange(prior.n_classes, device=session.device).repeat_interleave(torch.tensor(counts).to(session.device))
    _, x = generate(cfg, tokenizer, prior, len(y), derive_seed("class samples", cfg.seed), class_index=y)
    score = classification_accuracy_score(
        x, y, scaled.x_test, scaled.y_test, n_classes=prior.n_classes, epochs=fcn_epochs(cfg, cfg.cas_epochs, len(x)),
        batch_size=cfg.fcn_batch_size, lr=cfg.fcn_lr, weight_decay=cfg.fcn_weight_decay, precision=cfg.fcn_precision,
        seed=cfg.seed, loop=session.loop("cas", folder), evaluated=1 if cfg.cas_score == "final" else None,
    )  # fmt: skip
    return {"cas": getattr(score, cfg.cas_score), "cas_final": score.final}


# --- finished runs ---


class Run(NamedTuple):
    """A finished run: sample from it, encode with it."""

    tokenizer: Tokenizer
    prior: MaskGIT
    mean: float  # of the train set, in raw units
    std: float
    metrics: dict
    config: dict

    def sample(self, n, class_index=None, seed=0):
        """n new series (n, C, L) in raw units; class_index: None, an int, or an (n,) tensor."""
        settings = SimpleNamespace(**self.config)
        return generate(settings, self.tokenizer, self.prior, n, seed, class_index)[1] * self.std + self.mean


def load_run(folder):
    """Open the folder of a finished run (the one that holds metrics.json)."""
    folder = Path(folder)
    metrics, config = read_json(folder / "metrics.json"), read_json(folder / "config.json")
    if metrics is None or config is None or "tokenizer" not in config:
        raise NotFound(f"no finished run in {folder}: expected the cell folder that `run_experiment` filled")
    tokenizer = Tokenizer.load(folder / config["tokenizer"])
    return Run(tokenizer, MaskGIT.load(folder), config["scale_mean"], config["scale_std"], metrics, config)
