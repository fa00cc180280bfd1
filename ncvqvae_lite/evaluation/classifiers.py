"""Classifiers that judge: can real and generated be told apart, and do classes learned on one serve on the other?

On features (n, D), such as those of random kernels, a straight border is fast, and strong on series (ROCKET: Dempster,
Petitjean and Webb, 2020, arXiv 1910.13051).
"""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..fcn import FCN
from ..inference import batched
from ..training_fcn import train_fcn
from .arrays import feature_array

FOLDS = 5
STRENGTH = 0.01  # C of the logistic regression: there are more features than series
PENALTIES = np.logspace(-1, 5, 7)  # of the ridge classifier, chosen by leaving one out
FCN_TRAINING = dict(steps=600, batch_size=32, lr=1e-2, schedule="one-cycle")


def discriminative_auc(real, generated, seed=0):
    """Area under the ROC curve of a logistic regression that tells generated from real, on series held out from it.

    0.5: it guesses; 1: it knows each. The mean of five folds; features are scaled by those that it is fitted to.

    real, generated  (n, D), (m, D), at least 5 of each
    seed             of the folds
    """
    real = feature_array(real, "real features", at_least=FOLDS)
    generated = feature_array(generated, "generated features", at_least=FOLDS, like=real.shape[1:])
    x, y = np.concatenate([real, generated]), np.repeat([0, 1], [len(real), len(generated)])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000, tol=1e-3))
    return float(cross_val_score(classifier, x, y, cv=folds, scoring="roc_auc").mean())


# --- of classes: fit(series (n, C, L), features (n, D), labels (n,)) -> a function (series, features) -> labels ---


def ridge(series, features, labels):
    """A linear classifier of features, which are scaled by those that it is fitted to."""
    if len(np.unique(labels)) == 1:
        return lambda series, features: np.full(len(features), labels[0])
    fitted = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=PENALTIES)).fit(features, labels)
    return lambda series, features: fitted.predict(features)


def convolutional(series, features, labels):
    """An FCN, trained on the series themselves: slower, and what CAS is defined by."""
    names, y = np.unique(labels, return_inverse=True)
    if len(names) == 1:
        return ridge(series, features, labels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = FCN(len(names), channels=series.shape[1])
    train_fcn(net, torch.tensor(series).float(), torch.tensor(y), seed=0, **FCN_TRAINING)  # pyright: ignore[reportArgumentType]  # keyword arguments of several types
    return lambda series, features: names[batched(net, torch.tensor(series).float()).argmax(dim=1).numpy()]
