"""Minutes of the syllabus: `python notebooks/tools/syllabus.py` writes them, `--check` compares them.

notebooks/teaching/SYLLABUS.md says for each session what is read before it and which exercises are done in class and
at home. The minutes behind these lines, and the table at its top, follow from the chapters by the rule of `minutes.py`.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

NOTEBOOKS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(NOTEBOOKS.parent), str(NOTEBOOKS / "tools")]  # a checkout need not be installed

from build import write  # noqa: E402
from chapters import read_cells, source_files  # noqa: E402
from exercises import parse  # noqa: E402
from index import all_minutes  # noqa: E402
from minutes import EXERCISE_MINUTES, reading_minutes, rounded  # noqa: E402
from routes import ROUTES  # noqa: E402
from variant_rules import RULES  # noqa: E402

from ncvqvae_lite.errors import BadInput, UserError  # noqa: E402

SYLLABUS = NOTEBOOKS / "teaching" / "SYLLABUS.md"
LABELS = ("Read before", "In class", "At home")
PART = re.compile(r"\[chapter \d+\]\(\.\./(\d\d)_\w+\.ipynb\) from \*(.+?)\* to \*(.+?)\*")
GLANCE = re.compile(r"(<!-- glance -->\n).*(<!-- /glance -->)", re.DOTALL)


class Session(NamedTuple):
    number: int
    title: str
    text: str  # below the heading
    minutes: dict  # label -> minutes of reading (rounded to 5) or of exercises

    def line(self, label):
        """The line of a label, without its minutes."""
        found = re.search(rf"^\*\*{label}\*\*: (.+?)(?: \(\d+ minutes\))?\.?$", self.text, re.MULTILINE)
        if not found:
            raise BadInput(f"session {self.number} has no line '**{label}**: ...'")
        return found[1]

    def exercises(self, label):
        """Numbers of the exercises of a line."""
        return re.findall(r"\d+\.\d+", self.line(label))

    def planned(self):
        """(exercise, minutes that the plan gives it) of each row of the plan with an exercise."""
        rows = re.findall(r"^\| (\d+)-(\d+) \| .*?exercise (\d+\.\d+)", self.text, re.MULTILINE)
        return [(number, int(end) - int(start)) for start, end, number in rows]


def sections(cells, first, last):
    """Cells of a chapter from the heading `first` to the end of the section `last`; raises BadInput without them."""
    heads = [
        (place, line.lstrip("# ").strip())
        for place, cell in enumerate(cells)
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if re.match(r"#{2,3} ", line)
    ]
    titles = [title for _, title in heads]
    for title in (first, last):
        if title not in titles:
            raise BadInput(f"no heading {title!r}: there are {', '.join(titles)}")
    start, end = titles.index(first), titles.index(last) + 1
    if start >= end:
        raise BadInput(f"{last!r} comes before {first!r}")
    return cells[heads[start][0] : heads[end][0] if end < len(heads) else len(cells)]


def chapters_of_course():
    """("02" -> cells of the chapter; "2.1" -> minutes of the exercise; numbers of the exercises that have variants)."""
    chapters, minutes, varied = {}, {}, set()
    for source in source_files():
        cells, own = read_cells(source)
        chapters[source.stem[:2]] = cells
        exercises = parse(own)[1] if own else []
        minutes |= {e.number: EXERCISE_MINUTES[e.stars] for e in exercises}
        varied |= {e.number for e in exercises if e.name in RULES}
    return chapters, minutes, varied


def sessions(text, chapters, exercise_minutes):
    """The sessions of the page, with their minutes; raises BadInput for headings or exercises that do not exist."""
    found = []
    for number, title, body in re.findall(r"^## Session (\d+)\. (.+)\n((?:(?!## ).*\n?)*)", text, re.MULTILINE):
        session = Session(int(number), title, body, {})
        try:
            parts = PART.findall(session.line("Read before"))
            if not parts and session.line("Read before") != "nothing":
                raise BadInput("what is read before is written '[chapter 2](../02_quantizer.ipynb) from *A* to *B*'")
            cells = [cell for part in parts for cell in sections(chapters[part[0]], *part[1:])]
            session.minutes["Read before"] = rounded(reading_minutes(cells)) if cells else 0
            for label in LABELS[1:]:
                numbers = session.exercises(label)
                unknown = [n for n in numbers if n not in exercise_minutes]
                if unknown:
                    raise BadInput(f"there is no exercise {', '.join(unknown)}")
                session.minutes[label] = sum(exercise_minutes[n] for n in numbers)
        except BadInput as error:
            raise BadInput(f"session {number}: {error}") from error
        found.append(session)
    return found


def with_minutes(text):
    """The page with its minutes and its table at the top."""
    chapters, exercise_minutes, varied = chapters_of_course()
    found = sessions(text, chapters, exercise_minutes)
    rows = ["| session | read before | exercises in class | exercises at home |", "|---|---|---|---|"]
    for session in found:
        changed = session.text
        for label in LABELS:
            minutes, line = session.minutes[label], session.line(label)
            full = (
                f"**{label}**: {line}" + (f" ({minutes} minutes)" if minutes else "") + "." * (label == "Read before")
            )
            changed = re.sub(rf"^\*\*{label}\*\*: .+$", lambda _, full=full: full, changed, flags=re.MULTILINE)
        text = text.replace(session.text, changed)
        cells = [f"{session.number}. {session.title}", f"{session.minutes['Read before']} min"]
        for label in LABELS[1:]:
            numbers = (f"**{n}**" if n in varied else n for n in session.exercises(label))
            cells.append(f"{', '.join(numbers)} ({session.minutes[label]} min)")
        rows.append(f"| {' | '.join(cells)} |")
    sums = [sum(session.minutes[label] for session in found) for label in LABELS]
    rows.append(f"| all | {sums[0]} min | {sums[1]} min | {sums[2]} min |")
    hours = (len(found) * 90 + sums[0] + sums[2]) / 60
    (route,) = [route for route in ROUTES if len(route.sessions) == len(found)]
    whole = sum(sum(all_minutes()[number]) for own in route.sessions for number in own)
    slots = sum(minutes for session in found for _, minutes in session.planned())
    says = (
        f"With reading and homework that is {hours:.0f} hours for a student. Exercises in bold have variants.\n\n"
        f"Minutes of exercises are net, by the rule; the plans below add comparing and talk ({slots} minutes in class\n"
        f"instead of {sums[1]}). The index counts {whole} minutes for the same route: its chapters whole, with all\n"
        f"exercises, by oneself. The course reads {sums[0]} minutes before its sessions; all other reading is optional."
    )
    return GLANCE.sub(lambda m: f"{m[1]}\n" + "\n".join(rows) + f"\n\n{says}\n\n{m[2]}", text)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args(argv)
    text = SYLLABUS.read_text(encoding="utf-8")
    try:
        wanted = with_minutes(text)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.check and wanted != text:
        print(
            "minutes of the syllabus are not those of the chapters: python notebooks/tools/syllabus.py", file=sys.stderr
        )
        return 1
    if not arguments.check:
        write(SYLLABUS, wanted.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
