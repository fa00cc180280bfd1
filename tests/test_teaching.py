"""The syllabus adds up and names what exists; slides are made from the notebooks and need nothing else."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ncvqvae_lite.errors import BadInput, NotFound

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS / "tools"))

import slides  # noqa: E402
import syllabus  # noqa: E402
from routes import ROUTES  # noqa: E402

TEXT = syllabus.SYLLABUS.read_text(encoding="utf-8")
COURSE = syllabus.chapters_of_course()
SESSIONS = syllabus.sessions(TEXT, *COURSE[:2])

# --- the syllabus ---


def test_six_sessions_and_their_minutes_are_those_of_the_chapters():
    assert [session.number for session in SESSIONS] == [1, 2, 3, 4, 5, 6]
    assert syllabus.with_minutes(TEXT) == TEXT, "python notebooks/tools/syllabus.py"


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: str(session.number))
def test_the_plan_of_a_session_fills_90_minutes_and_holds_its_exercises(session):
    plan = [(int(a), int(b), what) for a, b, what in re.findall(r"^\| (\d+)-(\d+) \| (.+?) \|", session.text, re.M)]
    assert [a for a, _, _ in plan] == [0, *(b for _, b, _ in plan[:-1])] and plan[-1][1] == 90
    planned = dict(session.planned())
    assert sum("exercise" in what for _, _, what in plan) == len(planned)
    assert list(planned) == session.exercises("In class")
    assert all(COURSE[1][number] <= minutes for number, minutes in planned.items())
    parts = (
        "Goals",
        "Read before",
        "In class",
        "At home",
        "Where students stumble",
        "Show",
        "Tell honestly",
        "When time is short",
    )
    assert all(f"**{part}" in session.text for part in parts)
    goals = re.findall(r"^\d\. .+", session.text, re.M)
    assert len(goals) >= 4
    assert session.minutes["Read before"] + session.minutes["At home"] <= 90


def test_sessions_are_those_of_the_route_in_the_index():
    (route,) = [route for route in ROUTES if len(route.sessions) == len(SESSIONS)]
    for session, chapters in zip(SESSIONS, route.sessions):
        own = {f"{int(n.split('.')[0]):02}" for label in ("In class", "At home") for n in session.exercises(label)}
        assert own <= set(chapters), session.number


def test_no_exercise_stands_twice_in_the_syllabus():
    numbers = [n for session in SESSIONS for label in ("In class", "At home") for n in session.exercises(label)]
    assert len(numbers) == len(set(numbers)) >= 20


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("from *Nearest code*", "from *Farthest code*", "session 2: no heading 'Farthest code'"),
        ("**At home**: 2.2", "**At home**: 2.9", "session 2: there is no exercise 2.9"),
        ("**In class**: 5.1", "**Classwork**: 5.1", "session 4 has no line"),
    ],
)
def test_what_a_syllabus_names_must_exist(old, new, fault):
    assert old in TEXT
    with pytest.raises(BadInput, match=re.escape(fault)):
        syllabus.sessions(TEXT.replace(old, new), *COURSE[:2])


# --- the slides ---

DECKS = sorted(slides.DECKS.glob("*.md"))


@pytest.mark.parametrize("file", DECKS, ids=lambda file: file.stem)
def test_a_deck_is_one_page_that_needs_no_network(file):
    page = slides.deck(file).decode()
    assert page == slides.deck(file).decode()
    count = len(re.findall(r"^---$", file.read_text(), re.M)) + 1
    assert page.count("<section>") == count and count >= 12
    outside = [a for a in re.findall(r'(?:src|href)="([^"]+)"', page) if not a.startswith("data:")]
    assert not outside and "{{" not in page and "PICTURE" not in page
    assert all(alt for alt in re.findall(r'<img alt="([^"]*)"', page))


@pytest.mark.parametrize("file", DECKS, ids=lambda file: file.stem)
def test_a_deck_has_the_exercises_and_the_reading_of_the_syllabus(file):
    number = int(file.stem[-1])
    now, following = SESSIONS[number - 1], SESSIONS[number]
    text = " ".join(file.read_text(encoding="utf-8").split())
    last = text.split("Before the next session")[-1] if number == 1 else text.split("before the next session")[-1]
    assert re.findall(r"## Exercise (\d+\.\d+)", text) == [n for n in now.exercises("In class") if n != "0.1"]
    assert re.findall(r"\d+\.\d+", last) == now.exercises("At home")
    assert f"({now.minutes['At home']} minutes)" in last and f"({following.minutes['Read before']} minutes)" in last
    for _, begin, end in syllabus.PART.findall(following.line("Read before")):
        assert f"from *{begin}* to *{end}*" in last


def test_every_alternative_of_a_pattern_is_asked_for():
    assert slides.alternatives("^x(a|b) [cd]") == ["^x(a) [cd]", "^x(b) [cd]"]
    assert slides.alternatives("^a|b$") == ["^a", "b$"]
    with pytest.raises(NotFound, match=re.escape("fits '^(unicorn)'")):
        slides.lines("02#Nearest code|^(.1.0, 0.0. squared|unicorn)")


def test_a_drawing_that_moves_has_stills_for_paper():
    moving, still = re.findall(r"<img [^>]*?class=.(\w+)", slides.figure("drawing:decoding", "tokens"))
    assert (moving, still) == ("moving", "still")
    assert slides.figure("drawing:quantizer", "a quantizer").count("<img") == 1


def test_there_are_two_decks_and_the_command_writes_them(tmp_path, capsys):
    assert len(DECKS) == 2
    assert slides.main(["--out", str(tmp_path), DECKS[0].stem]) == 0
    assert [file.name for file in tmp_path.iterdir()] == [f"{DECKS[0].stem}.html"]
    assert slides.main(["--out", str(tmp_path), "session_9"]) == 1
    assert "no deck session_9: choose from session_1, session_2" in capsys.readouterr().err


def test_numbers_and_figures_come_from_built_notebooks():
    made = slides.slide("In use: {{02#The fate of a dead code|in use (\\d+)}}\n\nNote: said", "1 / 1")
    assert re.search(r"In use: \d+", made) and "<aside><p>said</p>" in made
    assert 'alt="a plane"' in slides.slide("![a plane](figure:02#Nearest code)", "1 / 1")
    assert "<code>[1.0, 0.0] squared" in slides.slide("```printed 02#Nearest code|^.1.0, 0.0. squared\n```", "1 / 1")


# --- steps: what a slide hides until the speaker presses the key once more ---

STEP = re.compile(r'<div class="step">(.*?)</div>', re.DOTALL)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_what_follows_a_line_of_three_dots_is_a_step():
    made = slides.slide("# Title\n\nasked\n\n. . .\n\n![a](drawing:tokens)\n\n. . .\n\nsaid\n\nNote: loud", "1 / 1")
    first, second = STEP.findall(made)
    assert "<figure>" in first and second.strip() == "<p>said</p>"
    rest = STEP.sub("", made)
    assert "<p>asked</p>" in rest and "<figure>" not in rest and ". . ." not in made
    assert "<aside><p>loud</p>" in rest


@pytest.mark.parametrize(
    ("name", "number", "answer"),
    [
        ("session_1", 16, "bits a series: error"),
        ("session_2", 3, "token 2"),
        ("session_2", 7, "copied straight through"),
        ("session_2", 8, "<img"),
        ("session_2", 10, "to [1.0, 7.0]"),
        ("session_2", 12, "one takes half"),
        ("session_2", 13, "<img"),
        ("session_2", 17, "It does not"),
        ("session_2", 17, "Second guess"),
    ],
)
def test_what_students_predict_is_hidden_at_first(name, number, answer):
    page = slides.deck(slides.DECKS / f"{name}.md").decode()
    section = re.findall(r"<section>.*?</section>", page, re.DOTALL)[number - 1]
    assert answer in section and answer not in STEP.sub("", section)


def test_print_overview_and_a_page_without_script_hide_nothing():
    page = slides.PAGE.read_text(encoding="utf-8")
    hides = re.findall(r"^.*visibility: hidden.*$", page, re.M)
    assert [line.strip() for line in hides] == ["body.one .later { visibility: hidden; }"]
    assert page.index("@media screen {") < page.index(hides[0]) < page.index("@media print {")
    assert "<body>" in page  # class "one" comes from the script, as does "later"


@pytest.mark.skipif(CHROMIUM is None, reason="needs the browser Chromium")
def test_keys_show_and_hide_steps_in_a_browser(tmp_path):
    deck = tmp_path / "deck.md"
    deck.write_text("# A\n---\nB\n\n. . .\n\nC\n\n. . .\n\nD\n---\nE\n")
    press = """<script>
    const seen = [], right = "ArrowRight", left = "ArrowLeft";
    for (const key of [right, right, right, right, left, left, "o", "o", "Home", "End"]) {
      dispatchEvent(new KeyboardEvent("keydown", { key }));
      seen.push([...document.querySelectorAll("h1, p")].filter((e) => e.checkVisibility({ visibilityProperty: true }))
        .map((e) => e.textContent).join(""));
    }
    document.title = seen.join(" ");
    </script></body>"""
    page = tmp_path / "deck.html"
    page.write_text(slides.deck(deck).decode().replace("</body>", press), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert re.search("<title>(.*?)</title>", dom)[1] == "B BC BCD E BCD BC ABCDE BC A E"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{{02#Nearest code|no such (text)}}", "fits 'no such (text)'"),
        ("{{02#Nearest cod|(.)}}", "chapter 02 has no heading 'Nearest cod'"),
        ("{{98#Nearest code|(.)}}", "no built chapter 98"),
        ("![a](figure:02#Nearest code/7)", "asked for no. 7"),
        ("![](figure:02#Nearest code)", "needs words"),
        ("![a](drawing:unicorn)", "no drawing unicorn"),
        ("```printed 02#Nearest code|no such text\n```", "no line printed below"),
        ("asked\n\n. . .\n\nNote: said", "nothing follows a line"),
    ],
)
def test_what_a_slide_asks_for_must_be_there(tmp_path, text, fault):
    (tmp_path / "deck.md").write_text(f"# Title\n---\n{text}\n")
    with pytest.raises(BadInput, match=f"deck.md, slide 2: .*{re.escape(fault)}"):
        slides.deck(tmp_path / "deck.md")
