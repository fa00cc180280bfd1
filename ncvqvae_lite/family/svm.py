"""The protocol by which TS2Vec and T-Loss score features: a support vector machine with a search for its C."""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC

from ..shapes import ArrayLike, Float
from .scores import labelled_sets

COSTS = [*(10.0**e for e in range(-4, 5)), np.inf]  # C: among these cross-validation chooses
FOLDS = 5
ITERATIONS = 1_000_000  # at most (the authors: ten times as many): where classes overlap, a hard margin never converges


class Svm(NamedTuple):
    accuracy: float
    auprc: float  # area under precision against recall (average precision), the mean over the classes that test has
    auroc: float  # area under the ROC curve, likewise; NaN where test has one class
    cost: float  # the C that was taken


def svm_probe(f_tr: Float[ArrayLike, "n ..."], y_tr, f_te: Float[ArrayLike, "m ..."], y_te) -> Svm:
    """Scores on test of an SVM with a Gaussian kernel on train features (arXiv 2106.10466, appendix C.1 and code).

    f_tr, f_te   not scaled; y_tr, y_te (n,), (m,) labels of at least two classes

    The kernel's gamma is 1 / (D var(f_tr)). C is infinite (a hard margin) if n < 50 or n // classes < 5, else the best
    of 1e-4, 1e-3, ..., 1e4 and infinity on 5 folds of train, in their order. A fit ends after a million iterations.
    """
    f_tr, y_tr, f_te, y_te = labelled_sets(f_tr, y_tr, f_te, y_te)
    names, svm = np.unique(y_tr), SVC(C=np.inf, gamma="scale", max_iter=ITERATIONS)
    if len(f_tr) >= 50 and len(f_tr) // len(names) >= FOLDS:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # folds may lack a rare class
            warnings.simplefilter("ignore", ConvergenceWarning)  # of costs that the folds refuse; below it is heard
            search = GridSearchCV(svm, {"C": COSTS}, cv=StratifiedKFold(FOLDS), error_score="raise", refit=False)
            svm.set_params(**search.fit(f_tr, y_tr).best_params_)
    svm.fit(f_tr, y_tr)
    margins = svm.decision_function(f_te)  # (m,) of two classes, else (m, classes)
    if margins.ndim == 1:
        margins, names = margins[:, None], names[1:]
    is_class = y_te[:, None] == names
    found = [c for c in range(len(names)) if 0 < is_class[:, c].sum() < len(y_te)]
    curves = [
        np.mean([score(is_class[:, c], margins[:, c]) for c in found]) if found else np.nan
        for score in (average_precision_score, roc_auc_score)
    ]
    accuracy = np.mean(svm.predict(f_te) == y_te)
    return Svm(float(accuracy), float(curves[0]), float(curves[1]), float(svm.C))
