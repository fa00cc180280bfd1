"""The index notebooks/README.md and its thumbnails, from the first cell and the first figure of each built chapter."""

import base64
import io
import re
import textwrap

import nbformat
import routes
from chapters import NOTEBOOKS, colab_badge, describe, drawing, read_cells, source_files
from minutes import (
    EXERCISE_MINUTES,
    ROUNDED_TO,
    SECONDS_PER_CELL,
    SECONDS_PER_LINE,
    WORDS_PER_MINUTE,
    computing_minutes,
    exercise_minutes,
    reading_minutes,
    rounded,
)
from PIL import Image

from ncvqvae_lite.nb_sources import SOURCES, link

THUMBNAIL_WIDTH = 240  # pixels
DRAWN = {"00": "nc_vqvae", "11": "family"}  # chapter -> the drawing that stands before it

ALT = {  # chapter -> what the first figure shows, which is its thumbnail, for readers who do not see it
    "00": "A series of the data and a new one, both upward shifts; below each its 10 tokens, numbered and coloured",
    "01": "Series of three data sets, one colour for each class: two with smooth curves, one with noise and steps",
    "02": "Five points and three codes on a plane whose three coloured regions say which code is nearest",
    "03": "Two classes of up and down steps; over each series two views of it, shifted and noisy",
    "04": "Where a view of a warped window reads a series, three lines with a slope change, and the three warped views",
    "05": "Gradient of one latent over time: a narrow hill from convolutions alone, a broad one from the whole encoder",
    "06": "Share of hidden tokens by t, a falling and a rising curve, and how often training hides how many",
    "07": "FID of real series against other real series falls with the number of series, like one over it",
    "08": "Series of four classes with a warped, a sliced and a noisy view over each",
    "09": "Error of a copied day against its number of tokens, and one test day with copies from 30 and 12 tokens",
    "10": "Ratios of FID between priors on the same tokens, by data set, with 95 % intervals around a line at 1",
    "11": "One series and its view under each of eight views, among them flips, crops, warps and noise",
    "12": "Terms of VICReg over 100 steps; where variance is only watched, the other two fall by orders of magnitude",
    "13": "Two crops of one hand movement; the shaded overlap is where both must agree, dots are steps left visible",
    "14": "Series with single points or whole patches hidden, and a straight line through what is visible",
    "15": "Eight series of up and down steps, each under the sentence that describes it",
    "16": "Accuracy by number of labels on two sets: methods are above the raw series on one, not on the other",
    "17": "Bumps of two heights: scaled all alike the heights differ, each scaled by itself they do not",
    "18": "Error of a whitening matrix by Newton steps: down to nothing at ten steps, then up again",
}

HEAD = """\
# The notebooks

Built from `src/` by `make notebooks`; edit the sources only. Chapters with exercises each build a part by hand, compare
it with the package's, and measure what it is good for. A chapter runs on a laptop CPU in the time that stands with it,
without a network; `preset = "paper"` in its parameters cell takes the thesis' sizes instead. The exercises of a chapter
are a notebook of their own, with checks that tell right from wrong, and so are their solutions. Words of the field
stand in the [glossary](GLOSSARY.md).
"""

TAIL = """\
## Data and licences

Code: MIT. Prose and figures: CC BY 4.0 (`LICENSE` in the top folder). Sets named `...Generated` are made here.
Series named with "UCR archive" come from the [UCR time series archive](https://www.cs.ucr.edu/~eamonn/time_series_data_2018/)
(Dau et al. 2019), bundled with [aeon](https://www.aeon-toolkit.org) (BSD-3-Clause); the archive asks to be cited.
"""


def index_text():
    """notebooks/README.md as text."""
    parts = [HEAD, how_long()]
    for source in source_files():
        chapter, exercises = describe(source), read_cells(source)[1]
        if chapter.number in DRAWN:
            name = DRAWN[chapter.number]
            parts.append(f"![{drawing(name)[1]}](drawings/{name}.svg)\n")
        links = [colab_badge(chapter.stem)]
        if exercises:
            links.append(f"[exercises](exercises/{chapter.stem}.ipynb) {colab_badge(chapter.stem, 'exercises')}")
            links.append(f"[solutions](solutions/{chapter.stem}.ipynb)")
        alt = f'alt="{ALT[chapter.number]}"'
        picture = f'<img src="thumbnails/{chapter.stem}.png" width="{THUMBNAIL_WIDTH}" {alt} align="right">'
        lines = [
            f"## [{int(chapter.number)}. {chapter.title}]({chapter.stem}.ipynb)",
            "",
            picture,
            "",
            chapter.question,
            "",
        ]
        lines += [f"- **{label}**: {text}" for label, text in chapter.facts.items()]
        parts.append("\n".join([*lines, "", " · ".join(links), "", '<br clear="right">', ""]))
    return "\n".join([*parts, sources_text(), TAIL])


def all_minutes():
    """number -> (minutes of reading, of exercises) of each chapter."""
    parts = {source.stem[:2]: read_cells(source) for source in source_files()}
    return {n: (rounded(reading_minutes(cells)), exercise_minutes(own)) for n, (cells, own) in parts.items()}


def how_long():
    """The part on minutes and routes."""
    minutes = all_minutes()
    reading, practice = (sum(column) for column in zip(*minutes.values()))
    lines = ["| chapter | reading | with exercises |", "|---|---|---|"]
    for chapter in map(describe, source_files()):
        read, own = minutes[chapter.number]
        lines.append(f"| [{int(chapter.number)}. {chapter.title}]({chapter.stem}.ipynb) | {read} | {read + own} |")
    lines.append(f"| **all** | **{reading}** | **{reading + practice}** |")
    sums = ["| route | chapters by session | reading | with exercises |", "|---|---|---|---|"]
    for route in routes.ROUTES:
        read = [sum(minutes[n][0] for n in session) for session in route.sessions]
        own = sum(minutes[n][1] for session in route.sessions for n in session)
        numbers = "; ".join(", ".join(str(int(n)) for n in session) for session in route.sessions)
        added = " + ".join(map(str, read)) + (f" = {sum(read)}" if len(read) > 1 else "")
        sums.append(f"| {route.name.lower()} | {numbers} | {added} | {sum(read) + own} |")
    computing = sum(computing_minutes(describe(source).facts["Time"]) for source in source_files())
    hours = f"{reading / 60:.0f} hours of reading and {practice / 60:.0f} hours of exercises"
    exercise = ", ".join(f"`{stars}` {EXERCISE_MINUTES[stars]}" for stars in ("*", "**"))
    return "\n".join(
        [
            "## How long it takes\n",
            textwrap.fill(
                f"The whole course is {hours}. One rule gives all minutes: {WORDS_PER_MINUTE} words a minute, "
                f"{SECONDS_PER_LINE} seconds for a line of code, {SECONDS_PER_CELL} seconds for what a code cell shows,"
                f" exercises {exercise} minutes. These are estimates, rounded to {ROUNDED_TO} minutes. The header of "
                f"a chapter says how long it computes, {computing:.0f} minutes for all of them; it can be read "
                "meanwhile.",
                width=120,
            ),
            "",
            *lines,
            "\n## Routes\n",
            routes.routes_text([source.stem for source in source_files()]),
            "\nA session has room for its chapters; exercises where minutes are left, the others at home.",
            "In these routes chapter 8 is read for its figures and scores only. Minutes of whole chapters:\n",
            *sums,
            "",
        ]
    )


OUTCOMES = """*Found* and *the opposite is found* need three seeds or more and a mean difference of more than three
standard errors; of differences that are chance alone that is 9.5 % with three seeds, 4 % with five. Where all seeds
share a test set, differences of accuracies also need nine of its series (chapter 11 says why). *Not settled* is a
difference below that, *too few runs* fewer than three seeds. *Survey* is told in words, with its source: it needs
other data than series or a training of its own. *Left to text* could be tested here and is not; {left} rows say so."""


def sources_text():
    """The part on sources: a table for each of them, from the indices that built chapters show."""
    rows = [(chapter, *row) for chapter in map(describe, source_files()) for row in shown_rows(chapter)]
    left = sum(outcome.startswith("left to text") for *_, outcome in rows)
    parts = [f"## What the sources say, and what was found\n\n{OUTCOMES.format(left=left)}\n"]
    for name, what in SOURCES.items():
        parts.append(f"### From {what}\n\n| what it names | where | outcome |\n|---|---|---|")
        for chapter, source, item, where, outcome in rows:
            if source == name:
                place = link(where, f"{chapter.stem}.ipynb")
                parts.append(f"| {item} | chapter {int(chapter.number)}, {place} | {outcome} |")
        parts.append("")
    return "\n".join(parts)


def shown_rows(chapter):
    """(source, what it names, heading, outcome) of each row of the `SourceIndex` that a built chapter shows."""
    notebook = nbformat.read(NOTEBOOKS / f"{chapter.stem}.ipynb", as_version=4)
    outputs = [o.get("data", {}) for cell in notebook.cells for o in cell.get("outputs", ())]
    for line in "\n".join(data.get("text/markdown", "") for data in outputs).splitlines():
        source, *rest = (part.strip() for part in line.strip("|").split("|"))
        if source in SOURCES:
            item, where, outcome = rest
            yield source, item, re.match(r"\[(.+)\]\(", where)[1], outcome


def thumbnail(notebook_file):
    """PNG bytes of the first figure of a built notebook, small; raises ValueError if it has none."""
    notebook = nbformat.read(notebook_file, as_version=4)
    figures = [
        o.data["image/png"] for c in notebook.cells for o in c.get("outputs", ()) if "image/png" in o.get("data", {})
    ]
    if not figures:
        raise ValueError(f"{notebook_file.name} has no figure for the index")
    picture = Image.open(io.BytesIO(base64.b64decode(figures[0]))).convert("RGB")
    height = round(picture.height * THUMBNAIL_WIDTH / picture.width)
    small = io.BytesIO()
    picture.resize((THUMBNAIL_WIDTH, height), Image.Resampling.LANCZOS).quantize(64).save(small, "PNG", optimize=True)
    return small.getvalue()


def index_files():
    """path -> bytes of everything that the index consists of."""
    files = {NOTEBOOKS / "README.md": index_text().encode()}
    for source in source_files():
        files[NOTEBOOKS / "thumbnails" / f"{source.stem}.png"] = thumbnail(NOTEBOOKS / f"{source.stem}.ipynb")
    return files
