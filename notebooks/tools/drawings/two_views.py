"""Two views of one series, an encoder, a projector that is thrown away, and what the loss asks for."""

import numpy as np

from .recorded import RECORDED
from .style import INK, NOTE, RULE, SMALL, VIEWS, Drawing


def drawing():
    d = Drawing(
        "Two views and a projector",
        "One series is distorted twice at random: view 1 and view 2. Both go through the same encoder, which gives"
        " features h, and through the same projector, which gives projections a and b. The loss compares a with b: they"
        " shall agree for views of one series, and keep different series apart. After training the projector is "
        "thrown away, and the features are kept.",
        286,
    )
    d.text(66, 98, "a series", bold=True)
    d.series(RECORDED["x"], 12, 108, 108, 74, line=1.2)
    for k, (top, middle) in enumerate(((26, 78), (162, 214))):
        colour = VIEWS[k]
        d.arrow((126, 144), (164, middle), stroke=RULE)
        d.text(228, top + 6, f"view {k + 1}", bold=True, fill=colour)
        d.series(RECORDED["views"][k], 172, top + 14, 112, 74, stroke=colour, line=1.2, low=-3, high=3)
        d.arrow((289, middle), (309, middle))
        d.network(312, middle - 36, 78, 72, "encoder", narrows=0.45)
        d.arrow((393, middle), (411, middle))
        _vector(d, 416, middle, 6, 20 + k, "h", colour)
        d.arrow((433, middle), (453, middle))
        d.network(456, middle - 27, 76, 54, "projector", narrows=0.0, frozen=False)
        d.arrow((535, middle), (553, middle))
        _vector(d, 558, middle, 8, 30, "ab"[k], colour, tilt=0.08 * (2 * k - 1))
        d.arrow((576, middle), (600, 146 - 26 * (1 - 2 * k)), stroke=RULE)
    for left in (351, 494):
        d.polyline([(left, 117), (left, 175)], RULE, 1.2, dash="3 3")
        d.rect(left - 34, 137, 68, 18, "#FFFFFF")
        d.text(left, 150, "same weights", 11, fill=NOTE)
    d.text(200, 147, "distorted at random", SMALL, fill=NOTE)
    d.loss(592, 120, 100, 52, "agree, and\ndo not collapse", SMALL)
    d.polyline([(312, 258), (312, 264), (424, 264), (424, 258)], RULE, 1.2)
    d.text(368, 279, "kept: the features", SMALL, fill=INK)
    d.polyline([(456, 258), (456, 264), (566, 264), (566, 258)], RULE, 1.2)
    d.text(511, 279, "thrown away", SMALL, fill=INK)
    return d


def _vector(d, x, middle, n, seed, name, colour, tilt=0.0):
    """A column of n numbers, dark where large."""
    values = np.random.default_rng(seed).uniform(0.1, 0.9, n) + tilt * np.linspace(-1, 1, n)
    for i, v in enumerate(values):
        d.rect(
            x, middle - 5 * n + 10 * i, 11, 10, colour, "#FFFFFF", line=0.8, fill_opacity=f"{min(1, max(0.08, v)):.2f}"
        )
    d.text(x + 5.5, middle - 5 * n - 7, name, bold=True, italic=True)
