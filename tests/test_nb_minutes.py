"""The rule by which chapters state their minutes, and that all of them do."""

import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS / "tools"))

import chapters  # noqa: E402
import index  # noqa: E402
import minutes  # noqa: E402
import routes  # noqa: E402

SOURCES = chapters.source_files()


def text(n):
    return new_markdown_cell("word " * n)


def test_words_lines_and_outputs_are_counted():
    code = new_code_cell("x = 1\n\n\ny = 2\nx + y")
    assert minutes.reading_minutes([text(400)]) == 2
    assert minutes.reading_minutes([code]) == pytest.approx((3 * 4 + 20) / 60)
    assert minutes.reading_minutes([text(400), code, text(100), code]) == pytest.approx(2.5 + 2 * 32 / 60)


def test_folded_text_and_tags_are_no_words():
    folded = new_markdown_cell(
        'one two <img src="a.png" alt="a long text"> three\n<details>\nmany\nwords\n</details> four'
    )
    assert minutes.words([folded, new_markdown_cell("if $a < b$ then")]) == 4 + 5


@pytest.mark.parametrize(("given", "said"), [(0.2, 5), (7.4, 5), (7.6, 10), (64.9, 65)])
def test_minutes_are_rounded_to_five(given, said):
    assert minutes.rounded(given) == said


def test_exercises_take_the_minutes_of_their_stars():
    cells, exercises = chapters.read_cells(next(s for s in SOURCES if s.stem.startswith("02")))
    stars = [line.split("`")[-2] for line in "\n".join(c.source for c in exercises).splitlines() if line[:4] == "### "]
    assert set(stars) == {"*", "**"}
    assert minutes.exercise_minutes(exercises) == 5 * stars.count("*") + 20 * stars.count("**")
    assert minutes.exercise_minutes([]) == 0
    assert minutes.stated([text(1000)], [], "3 seconds of computing") == "5 minutes of reading, 3 seconds of computing"
    assert minutes.stated(cells, exercises, "3 seconds of computing").endswith(
        f" minutes of reading, 3 seconds of computing, {minutes.exercise_minutes(exercises)} minutes of exercises"
    )


@pytest.mark.parametrize("source", SOURCES, ids=lambda file: file.stem)
def test_built_headers_state_what_the_rule_gives(source):
    cells, exercises = chapters.read_cells(source)
    header = nbformat.read(NOTEBOOKS / f"{source.stem}.ipynb", as_version=4).cells[0].source
    (line,) = [line for line in header.splitlines() if line.startswith("- **Time**: ")]
    assert line.startswith(f"- **Time**: {minutes.rounded(minutes.reading_minutes(cells))} minutes of reading, ")
    assert (f", {minutes.exercise_minutes(exercises)} minutes of exercises" in line) == bool(exercises)


def test_a_source_states_its_computing_only(tmp_path):
    for line, fine in (("9 seconds of computing", True), ("90 minutes of reading, 9 seconds of computing", False)):
        source = tmp_path / "01_sample.py"
        source.write_text(f"# %% [markdown]\n# # 1. Sample\n#\n# Why?\n#\n# - **Time**: {line}\n")
        if fine:
            assert chapters.describe(source).facts["Time"] == "5 minutes of reading, 9 seconds of computing"
        else:
            with pytest.raises(ValueError, match="01_sample.py: its header needs a line"):
                chapters.describe(source)


# --- routes ---


def test_every_session_of_a_route_can_be_read_in_its_time():
    known = index.all_minutes()
    assert [len(route.sessions) for route in routes.ROUTES] == [1, 3, 6]
    for route in routes.ROUTES:
        for session in route.sessions:
            assert sum(known[number][0] for number in session) <= minutes.SESSION, (route.name, session)


def test_the_index_adds_up_and_the_opening_chapter_has_the_routes():
    page = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| [")]
    rows = {
        row[0].split(".")[0].strip("["): (int(row[1]), int(row[2]))
        for row in rows
        if len(row) == 3 and row[1].isdigit()
    }
    assert len(rows) == len(SOURCES)
    reading, both = (sum(column) for column in zip(*rows.values()))
    assert f"| **all** | **{reading}** | **{both}** |" in page
    computing = re.findall(r"\*\*Time\*\*.* (\d+) (seconds|minutes) of computing", page)
    assert len(computing) == len(SOURCES)
    seconds = sum(int(n) * {"seconds": 1, "minutes": 60}[unit] for n, unit in computing)
    assert f" computes, {seconds / 60:.0f} minutes for all of them;" in " ".join(page.split())
    opening = "\n".join(c.source for c in nbformat.read(NOTEBOOKS / "00_start_here.ipynb", as_version=4).cells)
    for route in routes.ROUTES:
        numbers = [number for session in route.sessions for number in session]
        total = sum(rows[str(int(number))][1] for number in numbers)
        assert re.search(rf"^\| {route.name.lower()} \| .* \| {total} \|$", page, re.MULTILINE)
        for text in (page, opening):
            assert f"- **{route.name}** of 90 minutes: chapters [{int(numbers[0])}](" in text


def test_a_source_of_routes_is_written_once():
    sources = [source.stem for source in SOURCES if routes.MARK in source.read_text(encoding="utf-8")]
    assert sources == ["00_start_here"]
