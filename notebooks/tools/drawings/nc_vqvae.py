"""NC-VQVAE as a whole: the tokenizer with its two losses, then the prior on its frozen tokens."""

from .recorded import RECORDED
from .style import DECODED, GRADIENT, INK, LARGE, NOTE, RULE, SERIES, SMALL, VIEWS, Drawing

CELL = 9


def drawing():
    d = Drawing(
        "NC-VQVAE, the whole of it",
        "Two stages, one above the other. Stage 1 learns tokens: a series goes through encoder, quantizer and "
        "decoder, and comes back; the first loss is the error of reconstruction and the commitment. A view of the same "
        "series, distorted at random, goes through the same encoder. Its latents are decoded, too. A projector, "
        "which is thrown away later, makes a vector of the quantized latents of the series and one of the latents "
        "of the view, and the second, non-contrastive loss compares the two. Stage 2 learns which tokens go "
        "together: encoder and quantizer are frozen, a part of the tokens is hidden, and the prior, a transformer "
        "that is told the class, guesses what is hidden. To draw a new series, it starts with all tokens hidden; "
        "the decoder makes a series of what it filled in.",
        490,
    )
    _stage_1(d)
    _stage_2(d)
    return d


def _stage_1(d):
    d.rect(6, 6, 688, 266, "#F7F8FA", radius=8)
    d.text(18, 27, "Stage 1: learn tokens", LARGE, "start", bold=True)
    row, low = 82, 206
    d.series(RECORDED["x"], 16, row - 28, 88, 56, SERIES, 1.2)
    d.text(60, row - 34, "series", SMALL)
    d.arrow((108, row), (130, row))
    d.network(133, row - 34, 80, 68, "encoder", 0.45)
    d.arrow((216, row), (292, row))
    d.rect(296, row - 22, 82, 44, "#FFFFFF", INK, radius=6)
    d.text(337, row + 5, "quantizer")
    d.arrow((382, row), (402, row))
    _grid(d, RECORDED["tokens"], 408, row - 27)
    d.text(451, row - 34, "tokens", SMALL)
    d.arrow((500, row), (520, row))
    d.network(523, row - 34, 80, 68, "decoder", -0.45)
    d.arrow((606, row), (622, row))
    d.series(RECORDED["x_hat"], 626, row - 24, 62, 48, DECODED, 1.4)
    d.text(657, row - 34, "again", SMALL)
    d.loss(548, 124, 140, 40, "loss 1: reconstruction,\ncommitment", SMALL)
    d.arrow((657, row + 26), (657, 122), stroke=GRADIENT)
    # the view
    d.arrow((60, row + 32), (60, low - 34), dash="4 3")
    d.text(68, 147, "distort", SMALL, "start", NOTE)
    d.series(RECORDED["views"][0], 16, low - 28, 88, 56, VIEWS[0], 1.2, -3, 3)
    d.text(60, low + 44, "a view", SMALL, fill=VIEWS[0])
    d.arrow((108, low), (130, low))
    d.network(133, low - 34, 80, 68, "encoder", 0.45)
    d.polyline([(173, row + 36), (173, low - 36)], RULE, 1.2, "3 3")
    d.rect(138, 136, 70, 16, "#F7F8FA")
    d.text(173, 148, "the same", 11, fill=NOTE)
    d.arrow((216, low + 10), (403, low + 10))
    d.text(308, low + 30, "these latents are decoded, too;\ntheir error counts 0.2", SMALL, fill=NOTE)
    d.arrow((391, row), (391, low - 14), (403, low - 14))
    d.circle(391, row, 3, RULE)
    d.network(406, low - 34, 90, 68, "pool,\nprojector")
    d.text(451, low + 50, "thrown away later", SMALL, fill=NOTE)
    d.arrow((499, low - 14), (528, low - 14))
    d.arrow((499, low + 10), (528, low + 10))
    d.loss(532, low - 22, 156, 40, "loss 2: non-contrastive", SMALL)
    d.text(610, low + 36, "Barlow Twins or VIbCReg;\nwithout it: a VQVAE", SMALL, fill=NOTE)


def _stage_2(d):
    d.rect(6, 280, 688, 204, "#F7F8FA", radius=8)
    d.text(18, 301, "Stage 2: learn which tokens go together", LARGE, "start", bold=True)
    row, low = 350, 438
    d.series(RECORDED["x"], 16, row - 22, 70, 44, SERIES, 1.1)
    d.arrow((90, row), (106, row))
    d.network(109, row - 26, 96, 52, "encoder,\nquantizer", 0.3, "#FFFFFF", SMALL, frozen=True)
    d.text(157, row + 40, "frozen", SMALL, fill=NOTE)
    d.arrow((208, row), (222, row))
    _grid(d, RECORDED["tokens"], 227, row - 27)
    d.arrow((318, row), (352, row))
    d.text(335, row - 8, "hide", SMALL, fill=NOTE)
    _grid(d, RECORDED["steps"][7], 358, row - 27, of=RECORDED["tokens"])
    d.arrow((449, row), (467, row))
    d.network(470, row - 32, 84, 64, "prior")
    d.text(512, row - 48, "class", SMALL)
    d.arrow((512, row - 44), (512, row - 34), head=5)
    d.arrow((557, row), (572, row), stroke=GRADIENT)
    d.loss(576, row - 26, 112, 52, "loss: surprise at\nwhat was hidden", SMALL)
    d.text(18, low + 5, "To draw a new series:", SMALL, "start", bold=True)
    places = (("all hidden", 0, 170), ("half way", 8, 330), ("filled", 10, 470))
    for name, k, x in places:
        _grid(d, RECORDED["steps"][k], x, low - 29)
        d.text(x + 43, low + 40, name, 11, fill=NOTE)
    d.arrow((262, low), (324, low))
    d.text(293, low - 7, "prior", SMALL, fill=NOTE)
    d.arrow((422, low), (464, low))
    d.text(443, low - 7, "prior", SMALL, fill=NOTE)
    d.arrow((562, low), (620, low))
    d.text(590, low - 7, "decoder", SMALL, fill=NOTE)
    d.series(RECORDED["drawn"], 626, low - 24, 62, 48, DECODED, 1.4)


def _grid(d, grid, x, y, of=None):
    """A small grid of tokens; with `of`, those tokens where `grid` is not hidden."""
    if of:
        grid = [[t if g >= 0 else -1 for t, g in zip(*rows)] for rows in zip(of, grid)]
    d.tokens(grid, x, y, CELL, names=False)
