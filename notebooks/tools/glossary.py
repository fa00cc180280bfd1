"""Links from the text of a chapter to notebooks/GLOSSARY.md: the first use of each of its words.

No author writes these links. A word gets one where it first stands in a chapter, unless this is the chapter that the
glossary itself sends to. Headings, formulas, code, HTML and other links stay as they are, and so do words that mean
something else where they stand (`OTHERWISE`).
"""

import re
from pathlib import Path
from typing import NamedTuple

GLOSSARY = Path(__file__).resolve().parents[1] / "GLOSSARY.md"
KEPT = re.compile(  # what has no link put into it: fences, code, formulas, links, HTML, headings, bold
    r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$]+\$|!?\[[^\]]*\]\([^)]*\)|<[^>]+>|^#[^\n]*|\*\*[^*]+\*\*",
    re.DOTALL | re.MULTILINE,
)

OTHERWISE = {  # what stands before a word that means something else there: cells of notebooks and of grids
    "Cell": ("first", "next", "this", "the", "per", "each", "parameters"),
}


class Entry(NamedTuple):
    word: str  # as it stands in the heading
    text: str
    chapter: str  # "02", where it is built

    @property
    def anchor(self):
        return self.word.lower().replace(" ", "-")


def entries():
    """All entries of the glossary in their order; raises ValueError for one that names no chapter."""
    found = []
    for part in re.split(r"^### ", GLOSSARY.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        word, text = re.split(r"\n## ", part)[0].strip().split("\n", 1)
        chapter = re.search(r" \[Chapter \d+\]\((\d\d)_\w+\.ipynb\)$", text)
        if not chapter:
            raise ValueError(f"GLOSSARY.md: the text of {word!r} must end in a link to the chapter that builds it")
        found.append(Entry(word, text[: chapter.start()], chapter[1]))
    return found


def linked(texts, number):
    """The markdown texts of a chapter, in their order, with a link at the first use of each word.

    number  of the chapter, "03": words that are built here get no link
    """
    texts = list(texts)
    for entry in sorted(entries(), key=lambda entry: -len(entry.word)):
        if entry.chapter != number:
            for place, text in enumerate(texts):
                changed = _link_once(text, entry)
                if changed != text:
                    texts[place] = changed
                    break
    return texts


def use_of(entry):
    """A pattern of the entry's word as a text uses it: alone, at the start of a sentence or not, one or several."""
    word = r"\s+".join(map(re.escape, entry.word.split()))
    if not entry.word.isupper():
        word = f"[{entry.word[0].upper()}{entry.word[0].lower()}]{word[1:]}(?:es|s)?"
    before = "".join(rf"(?<!\b[{w[0].upper()}{w[0]}]{w[1:]}\s)" for w in OTHERWISE.get(entry.word, ()))
    return re.compile(rf"{before}(?<![\w-]){word}(?![\w-])")


def _link_once(text, entry):
    """The text with a link at the first use of the entry's word, if there is one outside of what is kept."""
    word, start = use_of(entry), 0
    for kept in [*KEPT.finditer(text), None]:
        end = kept.start() if kept else len(text)
        use = word.search(text, start, end)
        if use:
            return f"{text[: use.start()]}[{use[0]}](GLOSSARY.md#{entry.anchor}){text[use.end() :]}"
        start = kept.end() if kept else end
    return text
