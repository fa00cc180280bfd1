"""Scores in words, by a rule that stands here and on every page that shows them.

One score. Its *loss* is its difference from real series, divided by that of a failing generator (`Score.failed`; for
shares that should be high, by the real share itself). It reads `as real` where the 95 % interval of the difference
holds 0 or lies on the good side: so many series cannot tell them from real ones. (Not so where the loss is above 100 %:
a single wild series can hide behind a wide interval.) Otherwise a loss up to 10 % reads `close`, up to 50 % `worse`,
and the rest `far`; a score without a scale reads `worse`.

All of them. Copying comes first: where the copied share, and its excess over that of real series, are both above 0.2
with their whole intervals, the samples are *a copy*. Otherwise what the eye would see decides. The samples
are *visibly worse* where the Frechet distance loses more than 25 %, precision or coverage more than 50 %, the
distance of values more than 20 %, or the class mix more than 15 %. They are *far from real* where one of the two
distances loses more than 100 %: then they lie farther from real series than these spread. The rest is *close to
real*, and, where all of these scores, the discriminative AUC and the copied share read `as real` or `close`, *as good
as real*.
"""

from .scores import SCORES

COPIED = 0.2
CLOSE, WORSE = 0.1, 0.5  # losses up to which one score reads so
VISIBLE = {"fid": 0.25, "precision": 0.5, "coverage": 0.5, "marginal": 0.2, "class_mix": 0.15}  # largest unseen losses
FAR = 1.0  # of a distance; and no interval excuses more
EYE, DISTANCES = ("fid", "precision", "coverage", "marginal"), ("fid", "marginal")
REASONS = (*VISIBLE, "discriminative", "copied")
WORDS = {
    "copy": "a copy",
    "real": "as good as real",
    "close": "close to real",
    "visible": "visibly worse than real",
    "far": "far from real",
}


def loss(evaluation, name):
    """How far a score has gone from real series (0) to failure (1, more where it is worse still); None: no scale.

    0, too, where it cannot be told from real series.
    """
    low, high = evaluation.excess[name]
    failed = evaluation[name]["real"] if SCORES[name].better == "higher" else SCORES[name].failed
    lost = None if failed is None else (low + high) / 2 / max(1e-12, failed)
    return 0.0 if low <= 0 and (lost is None or lost <= FAR) else lost


def word(evaluation, name):
    """`as real`, `close`, `worse` or `far`."""
    lost = loss(evaluation, name)
    if lost == 0:
        return "as real"
    if lost is None:
        return "worse"
    return "close" if lost <= CLOSE else "worse" if lost <= WORSE else "far"


def verdict(evaluation):
    """One sentence for people: the scores that are its reasons, and then those that read `as real`, by name only.

    Of samples that are as good as real, all stand with their numbers.
    """
    kind = judged(evaluation)
    if kind is None:
        return f"Too few series for a verdict: {', '.join(EYE)} need more."
    names = [name for name in REASONS if name in evaluation]
    alike = [name for name in names if kind != "real" and word(evaluation, name) == "as real"]
    reasons = [f"{name} {_told(evaluation, name)}" for name in names if name not in alike]
    if kind == "copy":
        reasons, alike = [f"copied {_told(evaluation, 'copied')}; copies have 1, new series 0"], []
    blind = "" if "copied" in evaluation else " Without train series nothing says whether they are copies."
    others = f"; as real: {', '.join(alike)}" if alike else ""
    return f"{WORDS[kind].capitalize()}: {', '.join(reasons)}{others}.{blind}"


def judged(evaluation):
    """A key of WORDS, or None where scores are missing."""
    if "copied" in evaluation and min(evaluation["copied"]["low"], evaluation.excess["copied"][0]) > COPIED:
        return "copy"
    if not set(EYE) <= evaluation.keys():
        return None
    losses = {name: loss(evaluation, name) for name in VISIBLE if name in evaluation}
    if any(losses[name] > FAR for name in DISTANCES):  # pyright: ignore[reportOptionalOperand]  # each of these has a scale, so a number
        return "far"
    if any(lost > VISIBLE[name] for name, lost in losses.items()):  # pyright: ignore[reportOptionalOperand]
        return "visible"
    alike = (word(evaluation, name) in ("as real", "close") for name in REASONS if name in evaluation)
    return "real" if all(alike) else "close"


def _told(evaluation, name):
    return f"{number(evaluation[name]['value'], 2)} (real {number(evaluation[name]['real'], 2)})"


def number(value, digits=3):
    """A score as people read it; "-": none."""
    if value is None:
        return "-"
    return f"{value:z.{digits}f}" if abs(value) < 100 else f"{value:.3g}"  # z: no -0.00
