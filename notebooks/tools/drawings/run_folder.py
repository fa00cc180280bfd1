"""What a run leaves on the disk, and which stage wrote it."""

from .style import DECODED, INK, NOTE, RULE, SMALL, VIEWS, Drawing

STAGE_1, STAGE_2, SCORES = DECODED, VIEWS[1], "#D55E00"
ROW = 38
CARD = 336


def drawing():
    d = Drawing(
        "The run folder",
        "Two folders below runs/, with the files in them and the stage that writes each. The tokenizer's folder, "
        "tokenizers/SET/METHOD-AUGMENTATION/DIGEST/seed1, is written by stage 1: config.json with settings, "
        "versions and a digest of the series; history.csv with the losses; tokenizer.safetensors with the weights;"
        " metrics.json with reconstruction and probes. The cell's folder, "
        "cells/SET/METHOD-AUGMENTATION/DIGEST/seed1, has its own config.json and the same tokenizer.safetensors; "
        "from stage 2 prior.safetensors and history.csv, and residuals.safetensors if noise is added; then "
        "samples.npz with the generated series, metrics.json with all scores, which is there once the run is "
        "finished, and README.md, the model card. Cells that differ only in their prior share a tokenizer.",
        396,
    )
    for x, colour, words in ((18, STAGE_1, "stage 1"), (98, STAGE_2, "stage 2"), (178, SCORES, "samples and scores")):
        d.circle(x, 18, 5, colour)
        d.text(x + 10, 22, words, SMALL, "start")
    d.text(692, 22, "runs/", anchor="end", font_family="Menlo, Consolas, monospace")
    _folder(d, 8, 36, "tokenizers / SET / METHOD / digest / seed1", (
        (STAGE_1, "config.json", "settings, versions, digest of the series"),
        (STAGE_1, "history.csv", "the losses of each epoch"),
        (STAGE_1, "tokenizer.safetensors", "encoder, codebook, decoder"),
        (STAGE_1, "metrics.json", "reconstruction, probes, codes in use"),
    ))  # fmt: skip
    _folder(d, 356, 36, "cells / SET / METHOD / digest / seed1", (
        (STAGE_2, "config.json", "settings, versions, digest of the series"),
        (STAGE_2, "history.csv", "the losses of the prior"),
        (STAGE_1, "tokenizer.safetensors", "the same file, so that the folder is whole"),
        (STAGE_2, "prior.safetensors", "the transformer"),
        (STAGE_2, "residuals.safetensors", "pieces of noise, where a run adds some"),
        (SCORES, "samples.npz", "the generated series"),
        (SCORES, "metrics.json", "all scores; there once the run is finished"),
        (SCORES, "README.md", "the model card: for whoever gets the folder"),
    ))  # fmt: skip
    y = 36 + 42 + 2.5 * ROW - 6
    d.arrow((345, y), (366, y), stroke=STAGE_1, line=2.2)
    d.text(20, 268, "Runs that differ only in the prior\nshare one tokenizer folder.", anchor="start")
    d.text(20, 318, "The digest is made of the settings and of\nthe code behind them.", anchor="start")
    d.text(20, 366, "A finished run is not run again.", anchor="start")
    return d


def _folder(d, x, y, name, files):
    """A folder as a card with a tab; each file with a mark of the stage that writes it."""
    height = 46 + ROW * len(files)
    right, low = x + CARD, y + height
    tab = [(x, y), (x + 56, y), (x + 66, y + 8)]
    d.polygon([*tab, (right, y + 8), (right, low), (x, low)], "#F7F8FA", "#C5CCD3")
    d.text(x + 12, y + 29, name, 12, "start", INK, bold=True)
    for i, (colour, file, words) in enumerate(files):
        top = y + 42 + i * ROW
        corners = [(14, 0), (26, 0), (32, 6), (32, 26), (14, 26)]
        d.polygon([(x + a, top + b) for a, b in corners], "#FFFFFF", RULE, line=1)
        d.circle(x + 23, top + 15, 5, colour)
        d.text(x + 42, top + 11, file, 12, "start", font_family="Menlo, Consolas, monospace")
        d.text(x + 42, top + 26, words, 12, "start", NOTE)
