"""Slides from the notebooks: `python notebooks/tools/slides.py [NAME ...]` writes one HTML file for each deck.

A deck is notebooks/teaching/slides/NAME.md. A line `---` ends a slide, `Note:` begins what the speaker says (key n).
A line `. . .` begins a step: hidden on the screen until the speaker presses the arrow key once more, printed with all.
Figures and numbers are never copied into it; they are taken from the built notebooks and from the drawings:

    ![words for who does not see it](figure:02#The fate of a dead code)    the figure below this heading
    ![words](figure:02#Nearest code/2)                                     the second one there
    ![words](drawing:quantizer)                                            notebooks/drawings/quantizer.svg
    {{02#The fate of a dead code|back at its start length: (\\d+)}}         what the cells below this heading printed
    ```printed 02#Nearest code|token                                       printed lines that match, as they are
    ```

The HTML file holds all it needs: figures, style and a few lines of script (arrow keys, n for notes, print for PDF).
"""

import argparse
import base64
import html
import re
import sys
from pathlib import Path
from string import Template

import mistune
import nbformat

NOTEBOOKS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(NOTEBOOKS.parent), str(NOTEBOOKS / "tools")]  # a checkout need not be installed

from build import write  # noqa: E402

from ncvqvae_lite.errors import BadInput, NotFound, UserError  # noqa: E402

DECKS = NOTEBOOKS / "teaching" / "slides"
OUT = NOTEBOOKS / "teaching" / "built" / "slides"
PAGE = DECKS / "page.html"  # style and script, with $title and $slides to be filled in
MARKDOWN = mistune.create_markdown(plugins=["table"])
PLACE = re.compile(r"(\d\d)#([^|/]+?)(?:/(\d+))?(?:\|(.+))?$", re.DOTALL)  # chapter, heading, number, pattern


def below(chapter, heading):
    """Code cells of a built chapter between a heading and the next one of any level; raises NotFound without it."""
    files = sorted(NOTEBOOKS.glob(f"{chapter}_*.ipynb"))
    if not files:
        raise NotFound(f"no built chapter {chapter}")
    found, inside, headings = [], False, []
    for cell in nbformat.read(files[0], as_version=4).cells:
        if cell.cell_type == "code":
            found += [cell] if inside else []
            continue
        for line in cell.source.splitlines():
            if re.match(r"#{1,4} ", line):
                headings.append(line.lstrip("# ").strip())
                inside = headings[-1] == heading
    if heading not in headings:
        raise NotFound(f"chapter {chapter} has no heading {heading!r}: it has {', '.join(headings)}")
    return found


def printed(chapter, heading):
    """All that the cells below a heading print, as text."""
    outputs = [output for cell in below(chapter, heading) for output in cell.outputs]
    return "".join(output.get("text", "") for output in outputs)


def place(text):
    """(chapter, heading, number of the figure, pattern) of "02#Heading/2" or "02#Heading|pattern"."""
    found = PLACE.match(text.strip())
    if not found:
        raise BadInput(f"{text!r} is no place in a chapter: write 02#Heading")
    return found[1], found[2].strip(), int(found[3] or 1), found[4]


def figure(address, words):
    """A <figure> with its data inside, for "figure:02#Heading" and "drawing:name".

    A drawing NAME with a drawing NAME_stills moves on the screen; in print the stills stand in its place.
    """
    kind, _, where = address.partition(":")
    if not words:
        raise BadInput(f"{address} needs words for those who do not see it")
    if kind == "drawing":
        file = NOTEBOOKS / "drawings" / f"{where}.svg"
        if not file.is_file():
            raise NotFound(
                f"no drawing {where}: there are {', '.join(sorted(f.stem for f in file.parent.glob('*.svg')))}"
            )
        still = file.with_name(f"{where}_stills.svg")  # of a drawing that moves, for paper
        files = [("", file)] if not still.is_file() else [(' class="moving"', file), (' class="still"', still)]
        pictures = [(role, "image/svg+xml", base64.b64encode(f.read_bytes()).decode()) for role, f in files]
    elif kind == "figure":
        chapter, heading, number, _ = place(where)
        outputs = [output for cell in below(chapter, heading) for output in cell.outputs]
        found = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
        if len(found) < number:
            raise NotFound(f"{len(found)} figures below {heading!r} in chapter {chapter}, asked for no. {number}")
        pictures = [("", "image/png", found[number - 1].replace("\n", ""))]
    else:
        raise BadInput(f"a slide shows figure:... or drawing:..., not {address}")
    alt = f'alt="{html.escape(words)}"'
    images = [f'<img {alt}{role} src="data:{mime};base64,{data}">' for role, mime, data in pictures]
    return f"<figure>{''.join(images)}</figure>"


def number(where):
    """The group that a pattern finds in what a section prints."""
    chapter, heading, _, pattern = place(where)
    found = re.search(pattern or "", printed(chapter, heading))
    if not pattern or not found or not found.groups():
        raise NotFound(f"nothing printed below {heading!r} in chapter {chapter} fits {pattern!r} with its group")
    return found[1]


def alternatives(pattern):
    """A pattern once with each of its alternatives: "a(b|c)" as "a(b)" and "a(c)", "a|b" as "a" and "b"."""
    group = re.search(r"(?<!\\)\(([^()|]*\|[^()]*)\)", pattern)
    if not group:
        return pattern.split("|")
    before, after = pattern[: group.start()], pattern[group.end() :]
    return [whole for one in group[1].split("|") for whole in alternatives(f"{before}({one}){after}")]


def lines(where):
    """The printed lines of a section that hold a pattern; raises NotFound if one of its alternatives has no line."""
    chapter, heading, _, pattern = place(where)
    shown = [line.rstrip() for line in printed(chapter, heading).splitlines()]
    for one in alternatives(pattern or ""):
        if not any(re.search(one, line) for line in shown):
            raise NotFound(f"no line printed below {heading!r} in chapter {chapter} fits {one!r}")
    return "\n".join(line for line in shown if re.search(pattern or "", line))


def filled(text):
    """Markdown of a deck with its printed lines and numbers."""
    text = re.sub(r"^```printed (.+)\n```", lambda m: f"```\n{lines(m[1])}\n```", text, flags=re.MULTILINE)
    return re.sub(r"\{\{(.+?)\}\}", lambda m: number(m[1]), text)


def shown_part(text):
    """HTML of a slide's Markdown, or of one of its parts: figures are set aside, for Markdown would read their data."""
    pictures = []

    def keep(found):
        pictures.append(figure(found[2], found[1]))
        return f"\n\nPICTURE{len(pictures) - 1}\n\n"

    text = re.sub(r"!\[(.*?)\]\(((?:figure|drawing):[^)]+)\)", keep, text, flags=re.DOTALL)
    return re.sub(r"<p>PICTURE(\d+)</p>", lambda m: pictures[int(m[1])], str(MARKDOWN(filled(text))))


def slide(text, place_in_deck):
    """One slide as HTML, and below it what the speaker says; each part below a line `. . .` is a <div class="step">."""
    body, _, notes = text.partition("\nNote:")
    first, *steps = re.split(r"^\. \. \.$", body, flags=re.MULTILINE)
    if not all(step.strip() for step in steps):
        raise BadInput("nothing follows a line `. . .`")
    shown = shown_part(first) + "".join(f'<div class="step">{shown_part(step)}</div>' for step in steps)
    said = f"<aside>{MARKDOWN(filled(notes.strip()))}</aside>" if notes.strip() else ""
    return f"<section>{shown}<footer>{place_in_deck}</footer></section>{said}"


def deck(file):
    """The page of a deck as bytes; raises BadInput, naming the slide, for what it does not find."""
    texts = [part.strip() for part in re.split(r"^---$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)]
    made = []
    for count, text in enumerate(texts, start=1):
        try:
            made.append(slide(text, f"{count} / {len(texts)}"))
        except UserError as error:
            raise BadInput(f"{file.name}, slide {count}: {error}") from error
    title = re.match(r"# (.+)", texts[0])
    if not title:
        raise BadInput(f"{file.name}: the first slide needs a title, '# ...'")
    page = Template(PAGE.read_text(encoding="utf-8"))
    return page.substitute(title=html.escape(title[1]), slides="\n".join(made)).encode()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="decks; all without any")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the HTML files")
    arguments = parser.parse_args(argv)
    try:
        known = {file.stem: file for file in sorted(DECKS.glob("*.md"))}
        for name in arguments.names:
            if name not in known:
                raise NotFound(f"no deck {name}: choose from {', '.join(known)}")
        pages = {name: deck(file) for name, file in known.items() if not arguments.names or name in arguments.names}
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        write(arguments.out / f"{name}.html", page)
        print(f"{arguments.out / name}.html ({len(page) // 1000} kB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
