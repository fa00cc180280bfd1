"""The map of the family: for each method without labels, what it compares with what."""

from .recorded import RECORDED
from .style import DECODED, GRADIENT, HIDDEN, INK, NOTE, RULE, SERIES, SMALL, VIEWS, Drawing, grey

CARD, GAP, ICON = 164, 10, 70  # width of a card, room between two, height of its picture
BAND = "#F4F7FA"


def drawing():
    d = Drawing(
        "The family: what is compared with what",
        "A map of eight ways to learn from series without labels, in two rows. Two views of the same thing: SimCLR"
        " compares a view with its partner and against all other series (chapter 11); Barlow Twins, VICReg and "
        "VIbCReg compare the columns of two batches of views (chapters 3 and 12); TS2Vec compares each time step "
        "in two crops (chapter 13); SCARF compares a row of a table with itself after some columns were exchanged "
        "(chapter 13). Other partners: Laplacian eigenmaps compare a series with its nearest neighbours (chapter "
        "12); two towers compare a series with its sentence (chapter 15). A question with a known answer: MAE and "
        "BEiT guess what is hidden (chapter 14); SS-GAN tells real from made, and which way round a series is "
        "(chapter 14).",
        422,
    )
    rows = (
        ((("two views of the same thing", 4),), ("SimCLR", "Barlow", "TS2Vec", "SCARF")),
        ((("another partner", 2), ("a question with a known answer", 2)), ("eigenmaps", "towers", "MAE", "SS-GAN")),
    )
    for row, (groups, cards) in enumerate(rows):
        top, column = 8 + 208 * row, 0
        for words, n in groups:
            left = 7 + column * (CARD + GAP)
            d.rect(left, top, n * CARD + (n - 1) * GAP, 198, BAND, radius=8)
            d.text(left + 10, top + 20, words, bold=True, anchor="start", fill=DECODED)
            column += n
        for column, name in enumerate(cards):
            _card(d, 7 + column * (CARD + GAP), top + 30, *CARDS[name])
    return d


def _card(d, x, y, title, words, chapter, icon):
    d.rect(x + 6, y, CARD - 12, 160, "#FFFFFF", "#D5DCE3", radius=6)
    icon(d, x + 16, y + 8, CARD - 32)
    d.text(x + CARD / 2, y + ICON + 30, title, bold=True)
    d.text(x + CARD / 2, y + ICON + 49, words, SMALL)
    d.text(x + CARD / 2, y + 150, chapter, 11, fill=NOTE)


def _simclr(d, x, y, width):
    for k, top in enumerate((2, 38)):
        d.series(RECORDED["views"][k], x, y + top, 56, 30, VIEWS[k], 1.2, -3, 3)
    d.arrow((x + 28, y + 42), (x + 28, y + 29), stroke=VIEWS[0], head=5)
    d.arrow((x + 28, y + 30), (x + 28, y + 43), stroke=VIEWS[0], head=5)
    others = RECORDED["x"][::-1], [-v for v in RECORDED["drawn"]], RECORDED["x_hat"][::-1]
    for top, other in zip((2, 26, 50), others):
        d.series(other, x + 88, y + top, 44, 20, RULE, 1, -3, 3)
        d.polyline([(x + 62, y + 35), (x + 84, y + top + 10)], GRADIENT, 1.2, "3 2")


def _barlow(d, x, y, width):
    shades = (.04, .10, .02, .07, .05, .12, .03, .08)  # of pairs that should not go together  # fmt: skip
    for i in range(5):
        for j in range(5):
            shade = 0.9 if i == j else shades[(3 * i + 5 * j) % 8]
            d.rect(x + 52 + 14 * j, y + 4 + 14 * i, 13, 13, grey(shade), "#CCCCCC", line=0.6)
    for i in range(4):
        d.rect(x + 8 + 9 * i, y + 20, 8, 40, VIEWS[0], fill_opacity=f"{0.25 + 0.17 * i:.2f}")
    d.arrow((x + 46, y + 38), (x + 50, y + 38), head=4)


def _ts2vec(d, x, y, width):
    d.series(RECORDED["x"], x, y + 18, width, 36, SERIES, 1.1)
    for left, right, top, colour in ((0, 88, 10, VIEWS[0]), (40, width, 62, VIEWS[1])):
        d.rect(
            x + left,
            y + (6 if top < 20 else 14),
            right - left,
            52,
            colour,
            colour,
            radius=3,
            line=1.4,
            fill_opacity="0.10",
        )
    d.polyline([(x + 64, y + 2), (x + 64, y + 70)], INK, 1.6)
    d.circle(x + 64, y + 36, 4, INK, "#FFFFFF")


def _scarf(d, x, y, width):
    shades = (0.2, 0.55, 0.35, 0.7, 0.15, 0.45, 0.6)
    for row, top in enumerate((8, 44)):
        for j, shade in enumerate(shades):
            changed = row and j in (1, 4, 5)
            fill = VIEWS[1] if changed else grey(shade)
            d.rect(x + 3 + 18 * j, y + top, 17, 20, fill, "#FFFFFF", line=1)
    for j in (1, 4, 5):
        d.arrow((x + 11 + 18 * j, y + 30), (x + 11 + 18 * j, y + 42), head=5, stroke=VIEWS[1])


def _eigenmaps(d, x, y, width):
    places = [
        (14, 16),
        (34, 8),
        (28, 32),
        (50, 24),
        (10, 44),
        (84, 52),
        (104, 40),
        (118, 58),
        (98, 66),
        (72, 38),
        (122, 28),
    ]
    edges = [
        (0, 1),
        (0, 2),
        (1, 3),
        (2, 3),
        (1, 2),
        (2, 4),
        (0, 4),
        (3, 9),
        (9, 5),
        (5, 6),
        (6, 7),
        (7, 8),
        (5, 8),
        (6, 10),
        (5, 7),
    ]
    for a, b in edges:
        d.polyline([(x + places[a][0], y + places[a][1]), (x + places[b][0], y + places[b][1])], RULE, 1.3)
    for i, (left, top) in enumerate(places):
        d.circle(x + left, y + top, 5, VIEWS[0] if i < 5 else VIEWS[1] if i != 9 else SERIES, "#FFFFFF")


def _towers(d, x, y, width):
    d.series(RECORDED["x_hat"], x, y + 4, 54, 32, SERIES, 1.6)
    d.text(x + 104, y + 18, "“a rise,\nthen a fall”", SMALL, italic=True)
    for left in (18, 95):
        d.arrow((x + left + 9, y + 40), (x + left + 9, y + 52), head=5)
    d.circle(x + 48, y + 62, 5, VIEWS[0])
    d.circle(x + 84, y + 62, 5, VIEWS[1])
    d.polyline([(x + 55, y + 62), (x + 77, y + 62)], RULE, 1.6)


def _mae(d, x, y, width):
    values = RECORDED["x"]
    for i, hidden in enumerate((0, 1, 0, 1, 1, 0, 1, 0)):
        left = x + 16.5 * i
        if hidden:
            d.rect(left + 1, y + 8, 14.5, 54, HIDDEN, "#AAAAAA", radius=2, dash="3 2", line=1)
            d.text(left + 8.2, y + 40, "?", bold=True, fill=NOTE)
        else:
            d.series(values[16 * i : 16 * i + 16], left + 1, y + 8, 14.5, 54, SERIES, 1.3)


def _ssgan(d, x, y, width):
    d.series(RECORDED["x_hat"], x, y + 2, 52, 30, SERIES, 1.5)
    d.series(RECORDED["drawn"], x, y + 38, 52, 30, DECODED, 1.5)
    d.text(x + 64, y + 40, "?", 18, bold=True, fill=NOTE)
    values = RECORDED["x_hat"]
    for i, turned in enumerate((values, values[::-1], [-v for v in values], [-v for v in values[::-1]])):
        d.series(turned, x + 80 + 28 * (i % 2), y + 6 + 34 * (i // 2), 24, 24, SERIES if i else INK, 1.2)


CARDS = {
    "SimCLR": ("SimCLR", "a view with its partner,\nagainst other series", "chapter 11", _simclr),
    "Barlow": ("Barlow, VI(b)CReg", "columns of a batch: equal\nones agree, others differ", "chapters 3, 12", _barlow),
    "TS2Vec": ("TS2Vec", "a time step with itself\nin another crop", "chapter 13", _ts2vec),
    "SCARF": ("SCARF", "a row with itself, some\ncolumns exchanged", "chapter 13", _scarf),
    "eigenmaps": ("Laplacian eigenmaps", "a series with its\nnearest neighbours", "chapter 12", _eigenmaps),
    "towers": ("two towers", "a series with\nits sentence", "chapter 15", _towers),
    "MAE": ("MAE, BEiT", "the guess with\nwhat was hidden", "chapter 14", _mae),
    "SS-GAN": ("SS-GAN", "real or made? and\nwhich way round?", "chapter 14", _ssgan),
}  # fmt: skip
