"""From a series to its tokens, and back."""

from .recorded import RECORDED
from .style import DECODED, INK, NOTE, SERIES, SMALL, Drawing, grey


def drawing():
    d = Drawing(
        "From a series to its tokens, and back",
        "A series of 128 steps becomes a spectrogram of 5 frequency rows and 65 frames. The encoder makes of it a "
        "grid of 5 rows and 8 frames with 64 numbers in each place, the latents. The quantizer replaces each by "
        "the nearest of 32 codes, so that 40 tokens are left, whole numbers from 0 to 31. The decoder and the "
        "inverse transform make a series of them: the two patterns are there, the noise around them is smoother.",
        330,
    )
    top, height, middle = 46, 98, 95
    d.text(64, 30, "series", bold=True)
    d.series(RECORDED["x"], 6, top, 116, height, SERIES, 1.3)
    d.text(64, 164, "128 numbers", SMALL, fill=NOTE)
    d.arrow((126, middle), (144, middle))
    d.text(203, 30, "spectrogram", bold=True)
    _spectrogram(d, 148, top, 110, height)
    d.text(203, 164, "5 rows, 65 frames", SMALL, fill=NOTE)
    d.arrow((262, middle), (277, middle))
    d.network(280, top + 12, 64, height - 24, "encoder", 0.4)
    d.arrow((347, middle), (361, middle))
    d.text(411, 30, "latents", bold=True)
    _latents(d, 365, top + 8)
    d.text(411, 164, "64 numbers in each", SMALL, fill=NOTE)
    d.arrow((462, middle), (486, middle))
    d.text(592, 30, "tokens", bold=True)
    d.tokens(RECORDED["tokens"], 491, top, (23, 18), gap=2)
    d.text(592, 164, "each the nearest of 32 codes", SMALL, fill=NOTE)
    # the way back
    d.arrow((592, 174), (592, 236), (529, 236))
    d.network(450, 204, 76, 64, "decoder", -0.45)
    d.arrow((447, 236), (414, 236))
    d.rect(316, 214, 94, 44, "#FFFFFF", INK, radius=6)
    d.text(363, 232, "inverse\ntransform", SMALL)
    d.arrow((312, 236), (262, 236))
    d.series(RECORDED["x"], 62, 188, 190, height, "#C4C4C4", 2.6)
    d.series(RECORDED["x_hat"], 62, 188, 190, height, DECODED, 1.6)
    d.text(157, 306, "the series again", bold=True, fill=DECODED)
    d.text(157, 322, "(grey: before)", SMALL, fill=NOTE)
    return d


def _spectrogram(d, x, y, width, height):
    rows = RECORDED["spectrogram"]
    largest = max(max(row) for row in rows)
    w, h = width / len(rows[0]), height / len(rows)
    d.rect(x, y, width, height, "#FFFFFF")
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            share = (value / largest) ** 0.6
            if share > 0.06:
                d.rect(x + j * w, y + height - (i + 1) * h, w + 0.3, h, grey(share))
    d.rect(x, y, width, height, "none", "#888888", line=0.8)


def _latents(d, x, y):
    """A grid of small stacks: a vector in each place."""
    for row in range(5):
        for frame in range(8):
            left, top = x + 11.6 * frame, y + 16.5 * row
            for depth in (2, 1, 0):
                d.rect(
                    left + 1.5 * depth,
                    top - 1.5 * depth + 3,
                    7.8,
                    11,
                    "#FFFFFF" if depth else "#DCE9F3",
                    "#7A9DB8",
                    line=0.7,
                )
