"""What a chapter's source stands for: three notebooks, with the cells that no author writes.

notebooks/src/NN_topic.py has a chapter and, from the heading "## Exercises" on, its exercises with their solutions.
Made from it are the chapter, the solutions and the exercises, in which every solution is a stub. Badge, Colab cell and
links are generated here and nowhere else. A check begins with the line "# @title Check". It is folded, like the Colab
cell, unless a later cell needs what it defines; a click opens it.
"""

import ast
import base64
import hashlib
import html
import re
import symtable
import tomllib
from collections import Counter
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat
from exercises import overview, without_answers
from glossary import linked
from minutes import stated
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from routes import MARK, routes_text

NOTEBOOKS = Path(__file__).resolve().parents[1]
CHECKED = "nbval-check-output"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
EXERCISES = "## Exercises"
CHECK_TITLE = "# @title Check"  # Colab shows it as a heading
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}  # for Colab, for JupyterLab
LABELS = ("Goals", "Before", "Time", "Data", "Answers")  # of the first cell, in this order
COMPUTING = r"\d+ (?:seconds?|minutes?) of computing"  # what a source states as its time
LIGHT = ("aeon", "safetensors", "filelock")  # imported by notebooks, perhaps not on Colab; bounds from pyproject.toml
INDIRECT = ("Deprecated>=1.2",)  # needed by these, not on Colab

# The environment in which notebooks are executed: nothing that makes machines differ, one thread.
LOCAL = ("NCVQVAE_DATA", "NCVQVAE_FCN", "NCVQVAE_CACHE", "NCVQVAE_PRESET", "NCVQVAE_RECORD", "CUDA_VISIBLE_DEVICES")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


class Chapter(NamedTuple):
    number: str  # "03"
    topic: str  # "ssl_losses", also the name of the module where there is one
    title: str
    question: str
    facts: dict  # label -> text, for the labels of LABELS that the first cell has

    @property
    def stem(self):
        return f"{self.number}_{self.topic}"


def source_files():
    """All sources in the order of their numbers."""
    return sorted((NOTEBOOKS / "src").glob("[0-9][0-9]_*.py"))


def read_cells(source):
    """(cells of the chapter, cells of its exercises) of a percent script; the second list may be empty."""
    cells = deepcopy(_parsed(source.read_text(encoding="utf-8")))
    heads = [i for i, c in enumerate(cells) if c.cell_type == "markdown" and c.source.splitlines()[:1] == [EXERCISES]]
    return (cells[: heads[0]], cells[heads[0] :]) if heads else (cells, [])


@lru_cache(maxsize=100)
def _parsed(text):
    return jupytext.reads(text, fmt="py:percent").cells


def describe(source):
    """Title, question and the labelled lines of a chapter, from its first cell; raises ValueError without a title.

    A source states under "Time" how long it computes; the minutes of reading before it come from the rule in `minutes`.
    """
    cells, exercises = read_cells(source)
    text = cells[0].source
    title = re.match(r"# (?:\d+\. )?(.+)\n\n([^#-](?:.+\n?)+)", text)
    if not title:
        raise ValueError(f"{source.name}: the first cell needs a title, an empty line and the question of the chapter")
    found = re.findall(r"^- \*\*(\w+)\*\*: (.+(?:\n  .+)*)", text, re.MULTILINE)
    facts = {label: " ".join(value.split()) for label, value in found}
    if not re.fullmatch(COMPUTING, facts.get("Time", "")):
        raise ValueError(f"{source.name}: its header needs a line '- **Time**: 60 seconds of computing'")
    facts["Time"] = stated(cells, exercises, facts["Time"])
    number, topic = source.stem.split("_", 1)
    return Chapter(number, topic, title[1].strip(), " ".join(title[2].split()), facts)


# --- the three notebooks of a source ---


def chapter_notebook(source):
    """The chapter: everything before its exercises, with links before and after."""
    cells, exercises = read_cells(source)
    time = describe(source).facts["Time"]
    cells[0].source = re.sub(rf"(?<=^- \*\*Time\*\*: ){COMPUTING}$", time, cells[0].source, flags=re.MULTILINE)
    for cell in cells:
        if cell.cell_type == "markdown" and MARK in cell.source:
            cell.source = cell.source.replace(MARK, routes_text([file.stem for file in source_files()]))
    texts = [cell for cell in cells[1:] if cell.cell_type == "markdown"]
    for cell, text in zip(texts, linked((cell.source for cell in texts), source.stem[:2])):
        cell.source = text
    ours = [navigation(source, "", bool(exercises)), colab_setup(re.search(COMPUTING, time)[0])]
    ends = [new_markdown_cell(overview(exercises, source.stem))] if exercises else []
    return notebook_of([cells[0], *ours, *cells[1:], *ends, navigation(source, "", bool(exercises))])


def solutions_notebook(source):
    """The exercises with their solutions, and wrong answers with what the check says to them."""
    return _exercise_notebook(source, "solutions", read_cells(source)[1])


def exercises_notebook(source):
    """The exercises as stubs, not executed."""
    return _exercise_notebook(source, "exercises", without_answers(read_cells(source)[1]))


def _exercise_notebook(source, folder, cells):
    chapter = describe(source)
    title = new_markdown_cell(f"# {int(chapter.number)}. {chapter.title}: {folder}")
    return notebook_of([title, navigation(source, folder, True), colab_setup(), *cells[1:]], intro=cells[:1])


def notebook_of(cells, intro=()):
    """Cells as a notebook with ids from their text, no metadata but tags and what folds a cell, no outputs."""
    cells = [*cells[:1], *intro, *cells[1:]] if intro else cells
    notebook = new_notebook(metadata=METADATA, nbformat=4, nbformat_minor=5)
    seen = Counter()
    for number, cell in enumerate(cells):
        tags = cell.metadata.get("tags", ())
        source = f"{CHECK_TITLE}\n{cell.source}" if CHECKED in tags else cell.source
        text = hashlib.sha256(f"{cell.cell_type}\n{source}".encode()).hexdigest()[:12]
        seen[text] += 1
        make, shown = (
            (new_code_cell, source) if cell.cell_type == "code" else (new_markdown_cell, with_drawings(source))
        )
        metadata = {"tags": list(tags)} if tags else {}
        if "colab-setup" in tags or (CHECKED in tags and not _defines_for(cell, cells[number + 1 :])):
            metadata |= FOLDED
        notebook.cells.append(make(shown, id=f"{text}-{seen[text]}", metadata=nbformat.from_dict(metadata)))
    return notebook


def _defines_for(cell, later):
    """Names that a code cell defines and later code cells read."""
    symbols = symtable.symtable(cell.source, "cell", "exec").get_symbols()
    defined = {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}
    sources = [other.source for other in later if other.cell_type == "code"]
    read = {n.id for source in sources for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name)}
    return defined & read


def with_drawings(text):
    """Markdown in which every `![](drawings/NAME.svg)` is the picture itself, with its alternative text.

    Colab resolves neither relative paths nor attachments of cells, and an absolute address shows nothing without a
    network; a picture inside the address shows everywhere.
    """
    return re.sub(r"!\[\]\(drawings/(\w+)\.svg\)", lambda found: _inside(*drawing(found[1])), text)


def drawing(name):
    """(bytes, alternative text) of a drawing in notebooks/drawings."""
    data = (NOTEBOOKS / "drawings" / f"{name}.svg").read_bytes()
    return data, html.unescape(re.search(r"<desc>(.+?)</desc>", data.decode())[1])


def _inside(data, words):
    return f"![{words}](data:image/svg+xml;base64,{base64.b64encode(data).decode()})"


# --- generated cells ---


def navigation(source, folder, has_exercises):
    """Links to the chapters before and after, the index, the module built here, and Colab.

    folder  of the notebook that the cell stands in, below notebooks/: "", "exercises" or "solutions"
    """
    up = "../" if folder else ""
    stems = [file.stem for file in source_files()]
    place = stems.index(source.stem)
    links = []
    if place:
        links.append(f"[← {stems[place - 1][:2]}]({up}{stems[place - 1]}.ipynb)")
    links.append(f"[index]({up}README.md)")
    if place + 1 < len(stems):
        links.append(f"[{stems[place + 1][:2]} →]({up}{stems[place + 1]}.ipynb)")
    if folder:
        links.append(f"[chapter]({up}{source.stem}.ipynb)")
    topic = source.stem.split("_", 1)[1]
    for folder_of, prefix in (("ncvqvae_lite", "test"), ("ncvqvae_lite/family", "test_family")):
        if (NOTEBOOKS.parent / folder_of / f"{topic}.py").is_file():
            tests = f"{up}../tests/{prefix}_{topic}.py"
            links.append(f"module [{topic}]({up}../{folder_of}/{topic}.py), [its tests]({tests})")
    others = [name for name in ("exercises", "solutions") if has_exercises and name != folder]
    links += [f"[{name}]({up}{name}/{source.stem}.ipynb)" for name in others]
    return new_markdown_cell(" · ".join([*links, colab_badge(source.stem, folder)]), metadata={"tags": ["nav"]})


def colab_badge(stem, folder=""):
    """A badge that opens a notebook on Colab, at the version whose package the notebook installs there."""
    project = _project()
    path = f"notebooks/{folder}/{stem}.ipynb" if folder else f"notebooks/{stem}.ipynb"
    address = project["tool"]["ncvqvae"]["repository"].replace("https://github.com/", "github/")
    target = f"https://colab.research.google.com/{address}/blob/v{project['project']['version']}/{path}"
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({target})"


def colab_setup(effort=""):
    """The set-up cell: on Colab it installs the package at its tag, without touching torch, numpy and their like.

    effort  "20 seconds of computing": then the cell also says where the chapter computes
    """
    project = _project()
    tag = f"v{project['project']['version']}"
    asked = [*project["project"]["optional-dependencies"]["data"], *project["project"]["dependencies"]]
    bounds = [r for r in asked if r.split(">=")[0] in LIGHT]
    light = " ".join(f'"{requirement}"' for requirement in (*bounds, *INDIRECT))
    code = f"""\
import sys

if "google.colab" in sys.modules:
    %pip install --quiet --no-deps "ncvqvae-lite @ git+{project["tool"]["ncvqvae"]["repository"]}@{tag}"
    %pip install --quiet --no-deps {light}"""
    if effort:
        code += f'\n\nfrom ncvqvae_lite import nb\n\nprint(nb.describe_machine("{effort}"))'
    return new_code_cell(code, metadata={"tags": ["colab-setup"]})


def _project():
    with open(NOTEBOOKS.parent / "pyproject.toml", "rb") as f:
        return tomllib.load(f)
