"""MaskGIT: trained to guess hidden tokens, used to fill a grid in which all are hidden."""

from .recorded import RECORDED
from .style import DECODED, GRADIENT, LARGE, NOTE, SERIES, SMALL, Drawing

CELL, GAP = 10, 2
WIDE = 8 * (CELL + GAP)


def drawing():
    steps = RECORDED["steps"]
    left = [sum(token < 0 for row in grid for token in row) for grid in steps]
    shown = (0, 3, 6, 8, len(steps) - 1)
    d = Drawing(
        "Mask and fill",
        "Training: of the tokens of a real series a random share is hidden; the prior, a transformer that is told "
        "the class, gives 32 probabilities for each hidden place, and the loss is its surprise at the tokens that "
        f"were there. Drawing: all {left[0]} tokens are hidden at first. In each step the prior fills all hidden "
        "places, keeps the tokens that it is surest of, and hides the others again. "
        + ", ".join(f"{left[k]} are hidden after step {k}" for k in shown[1:])
        + ". The decoder makes a series of the last grid.",
        324,
    )
    _training(d)
    _drawing(d, steps, left, shown)
    return d


def _training(d):
    d.rect(6, 6, 688, 146, "#F7F8FA", radius=8)
    d.text(18, 27, "Training: hide and guess", LARGE, "start", bold=True)
    row = 92
    d.series(RECORDED["x"], 16, row - 26, 88, 52, SERIES, 1.2)
    d.text(60, row + 48, "a real series", SMALL, fill=NOTE)
    d.arrow((108, row), (124, row))
    _grid(d, RECORDED["tokens"], 130, row)
    d.text(177, row + 48, "its tokens", SMALL, fill=NOTE)
    d.arrow((230, row), (262, row))
    d.text(246, row - 9, "hide", SMALL, fill=NOTE)
    masked = RECORDED["steps"][7]
    _grid(d, [[t if m >= 0 else -1 for t, m in zip(*rows)] for rows in zip(RECORDED["tokens"], masked)], 268, row)
    d.text(315, row + 48, "a random share hidden", SMALL, fill=NOTE)
    d.arrow((368, row), (386, row))
    d.network(389, row - 34, 88, 68, "prior")
    d.text(433, 36, "class", SMALL)
    d.arrow((433, 41), (433, 56), head=5)
    d.arrow((480, row), (506, row), stroke=GRADIENT)
    d.loss(510, row - 26, 176, 52, "loss: surprise at the\ntokens that were there", SMALL)
    d.text(598, row + 48, "32 probabilities a place", SMALL, fill=NOTE)


def _drawing(d, steps, left, shown):
    d.rect(6, 160, 688, 158, "#F7F8FA", radius=8)
    d.text(18, 181, "Drawing: fill, keep the surest, hide the rest again", LARGE, "start", bold=True)
    row, x = 248, 16
    for i, k in enumerate(shown):
        _grid(d, steps[k], x, row, new=_new(steps, k, shown[i - 1] if i else 0))
        d.text(x + WIDE / 2 - 1, row - 40, "start" if k == 0 else f"step {k}", SMALL, bold=True)
        d.text(x + WIDE / 2 - 1, row + 50, f"{left[k]} hidden", SMALL, fill=NOTE)
        d.arrow((x + WIDE + 1, row), (x + WIDE + 18, row))
        x += WIDE + 21
    d.series(RECORDED["drawn"], x, row - 28, 690 - x, 56, DECODED, 1.4)
    d.text((x + 690) / 2, row - 40, "decoded", SMALL, bold=True)
    d.text((x + 690) / 2, row + 50, "a new series", SMALL, fill=DECODED)


def _new(steps, k, before):
    """Places that are filled at step k and were hidden at step `before`: (row, frame)."""
    pairs = enumerate(zip(steps[k], steps[before]))
    return {(r, c) for r, rows in pairs for c, (now, then) in enumerate(zip(*rows)) if now >= 0 > then and k < 10}


def _grid(d, grid, x, middle, new=()):
    d.tokens(grid, x, middle - 2.5 * (CELL + GAP) + 1, CELL, GAP, names=False)
