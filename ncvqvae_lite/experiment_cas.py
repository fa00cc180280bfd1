"""The classification accuracy score (arXiv 1905.10887): does a classifier that saw generated series know real ones?"""

import math
from typing import NamedTuple

import torch

from .arguments import checked, count, optional
from .arguments_tensors import a_split, finite, labels
from .errors import BadInput
from .experiment_samples import generate
from .experiment_stages import CAS_SERIES, initial_weights, optim_settings
from .fcn import FCN
from .inference import batched
from .metrics import running_accuracy
from .training_engine import derive_seed
from .training_fcn import train_fcn

CAS_BATCH = 256  # test batches of the running accuracy, as in the reference
CAS_TAIL = 700  # test batches that the running mean still feels: 0.99^700 < 0.001


class ClassificationAccuracyScore(NamedTuple):
    running: float  # the reference's running mean over test batches (Q16)
    final: float  # accuracy on the whole test split after the last epoch


def class_counts(y, n_classes, at_least=CAS_SERIES):
    """How many series of each class to generate: as in train, scaled up to about `at_least` in all; a list of ints."""
    counts = torch.bincount(y.cpu(), minlength=n_classes)
    factor = max(1.0, at_least / len(y))
    return [round(count * factor) for count in counts.tolist()]


@checked(n_classes=count, epochs=count, evaluated=optional(count), x=a_split, x_test=a_split)
def classification_accuracy_score(
    x, y, x_test, y_test, *, n_classes, epochs=1000, evaluated=None, seed=0, loop=None, **training
):
    """CAS: accuracy on real test series of a classifier trained on generated ones only.

    x, y            (n, C, L) generated series, scaled, and the classes they were generated for
    x_test, y_test  real test split, in file order; of any length, so the reference's lost last sample (Q12) stays in it
    evaluated       after how many of the last epochs the test split is evaluated; None: as many as the running mean
                    feels. With fewer, the running mean is over those alone
    loop            arguments of `StepEngine.run`
    training        batch_size, lr, weight_decay, precision of `train_fcn`
    """
    y, y_test = labels(y, len(x), n_classes, x), labels(y_test, len(x_test), n_classes, x)
    x, x_test = finite(x, "x"), finite(x_test.to(x), "x_test")
    if x.shape[1] != x_test.shape[1]:
        raise BadInput(f"generated series have {x.shape[1]} channels, test series {x_test.shape[1]}: make them agree")
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

    loop = (loop or {}) | {"on_epoch": judge}
    history = train_fcn(fcn, x, y, epochs=epochs, seed=derive_seed("cas", seed), loop=loop, **training)
    accuracies = [accuracy for row in history for accuracy in row.get("batch_accuracies", [])]
    running = running_accuracy(accuracies, n_unseen=(epochs - evaluated) * batches)
    return ClassificationAccuracyScore(running, history[-1]["accuracy"])


def cas_stage(cfg, scaled, tokenizer, prior, pieces, session, folder):
    """CAS of a cell, by class shares as in train, as metrics."""
    counts = class_counts(scaled.y_train, prior.n_classes)
    y = torch.arange(prior.n_classes, device=session.device).repeat_interleave(torch.tensor(counts).to(session.device))
    _, x = generate(cfg, tokenizer, prior, len(y), derive_seed("class samples", cfg.seed), y, pieces)
    optim = optim_settings(cfg, len(x), "fcn_", epochs=cfg.cas_epochs)
    how = dict(n_classes=prior.n_classes, precision=cfg.fcn_precision, seed=cfg.seed, loop=session.loop("cas", folder))
    how |= dict(evaluated=1 if cfg.cas_score == "final" else None)
    score = classification_accuracy_score(x, y, scaled.x_test, scaled.y_test, **how, **optim)
    return {"cas": getattr(score, cfg.cas_score), "cas_final": score.final}
