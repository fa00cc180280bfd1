"""Scores in words, by a rule that stands here and on every page that shows them.

One score. It reads `as real` where the 95 % interval of its difference from real series holds 0 or lies on the good
side. Otherwise the *loss* counts: that difference as a share of the way from real series to a generator that fails
(`Score.failed`, or for shares that should be high, 0). Up to 10 % read `close`, up to 50 % `worse`, the rest `far`.

All of them. Copying comes first: where the copied share is more than 0.2 above that of real series, and the nearest-
train AUC is above 0.6, both with all of their intervals, what looks good is repeated. (The share alone is fooled by
series that are all alike: then all have the same neighbour.) Otherwise what the eye would see decides, Frechet
distance, precision, coverage and the distance of values: the largest of their losses below 25 % is *close to real*,
below 75 % *visibly worse*, the rest *far from real*. Where all of these read `as real` or `close`, and so does the
discriminative AUC, the samples are *as good as real*.
"""

from .copies import COPYING
from .scores import SCORES

COPIED = 0.2
CLOSE, WORSE = 0.1, 0.5  # losses up to which one score reads so
VISIBLE, FAR = 0.25, 0.75  # losses from which all of them do
EYE = ("fid", "precision", "coverage", "marginal")
EXPERT = "discriminative"
WORDS = {
    "copy": "a copy",
    "real": "as good as real",
    "close": "close to real",
    "visible": "visibly worse than real",
    "far": "far from real",
}


def loss(evaluation, name):
    """How far a score is from that of real series to failure: 0 and 1, more where it is worse still; None: no scale.

    0 where it cannot be told from real series.
    """
    low, high = evaluation.excess[name]
    failed, real = SCORES[name].failed, evaluation[name]["real"]
    if low <= 0:
        return 0.0
    return None if failed is None else (low + high) / 2 / max(1e-12, abs(failed - real))


def word(evaluation, name):
    """`as real`, `close`, `worse` or `far`."""
    lost = loss(evaluation, name)
    if lost == 0:
        return "as real"
    if lost is None:
        return "worse"
    return "close" if lost <= CLOSE else "worse" if lost <= WORSE else "far"


def verdict(evaluation):
    """One sentence for people."""
    kind = judged(evaluation)
    if kind is None:
        return f"Too few series for a verdict: {', '.join(EYE)} need more."
    reasons = [f"{name} {_told(evaluation, name)}" for name in (*EYE, EXPERT) if name in evaluation]
    if kind == "copy":
        reasons = [f"copied {_told(evaluation, 'copied')}; copies have 1, new series 0"]
    blind = "" if "copied" in evaluation else " Without train series nothing says whether they are copies."
    return f"{WORDS[kind].capitalize()}: {', '.join(reasons)}.{blind}"


def judged(evaluation):
    """A key of WORDS, or None where scores are missing."""
    near = {"copied", "nearest_train"} <= evaluation.keys() and evaluation["nearest_train"]["low"] > COPYING
    if near and evaluation.excess["copied"][0] > COPIED:
        return "copy"
    if not set(EYE) <= evaluation.keys():
        return None
    most = max(loss(evaluation, name) for name in EYE)
    if most > VISIBLE:
        return "visible" if most <= FAR else "far"
    alike = all(word(evaluation, name) in ("as real", "close") for name in (*EYE, EXPERT))
    return "real" if alike else "close"


def _told(evaluation, name):
    return f"{evaluation[name]['value']:.2f} (real {evaluation[name]['real']:.2f})"
