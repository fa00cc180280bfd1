"""How many minutes a chapter takes, by one rule: `python notebooks/tools/minutes.py` prints them for all chapters.

A chapter is read: its words at `WORDS_PER_MINUTE`, each line of its code in `SECONDS_PER_LINE`, and `SECONDS_PER_CELL`
for what a code cell shows, a figure or some numbers. An exercise takes the minutes of its stars. Words inside
<details>, which are folded away, and empty lines of code do not count. Headers state the result, rounded to 5 minutes.

On average people read 238 words of English non-fiction a minute (Brysbaert 2019, doi 10.1016/j.jml.2019.104047); it is
less here, as formulas count as words. The other numbers are our estimates: nobody was timed.
"""

import re

from exercises import parse

WORDS_PER_MINUTE = 200
SECONDS_PER_LINE = 4  # of code that is not empty
SECONDS_PER_CELL = 20  # for the output of a code cell
EXERCISE_MINUTES = {"*": 5, "**": 20, "***": 0}  # by grade; an open one takes what a reader gives it
ROUNDED_TO = 5  # minutes
SESSION = 90  # minutes
FOLDED = re.compile(r"<details>.*?</details>", re.DOTALL)


def words(cells):
    """Number of words in the text of these cells, without what is folded away and without HTML tags and comments."""
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return len(re.sub(r"<[a-z/!][^>]*>", " ", FOLDED.sub(" ", text)).split())


def code_lines(cells):
    """Number of lines of code in these cells that are not empty."""
    return sum(bool(line.strip()) for cell in _code(cells) for line in cell.source.splitlines())


def reading_minutes(cells):
    """Minutes (a float) to read these cells: text, code and outputs."""
    seconds = SECONDS_PER_LINE * code_lines(cells) + SECONDS_PER_CELL * len(_code(cells))
    return words(cells) / WORDS_PER_MINUTE + seconds / 60


def exercise_minutes(cells):
    """Minutes that the exercises among these cells take, by their grades; 0 without any."""
    return sum(EXERCISE_MINUTES[exercise.stars] for exercise in parse(cells)[1]) if cells else 0


def computing_minutes(stated):
    """Minutes (a float) of computing in a header's line "Time"."""
    amount, unit = re.search(r"(\d+) (second|minute)s? of computing", stated).groups()
    return int(amount) / {"second": 60, "minute": 1}[unit]


def rounded(minutes):
    """The nearest multiple of 5, at least 5."""
    return max(ROUNDED_TO, ROUNDED_TO * round(minutes / ROUNDED_TO))


def stated(cells, exercises, computing):
    """The text of a header's line "Time".

    cells, exercises  the two parts of a source
    computing         "60 seconds of computing"
    """
    own = exercise_minutes(exercises)
    reading = f"{rounded(reading_minutes(cells))} minutes of reading, {computing}"
    return f"{reading}, {own} minutes of exercises" if own else reading


def _code(cells):
    return [cell for cell in cells if cell.cell_type == "code"]


def main():
    from chapters import describe, read_cells, source_files

    print(f"{'chapter':24}words  code lines  code cells  reading  exercises")
    total = [0, 0]
    for source in source_files():
        cells, exercises = read_cells(source)
        minutes = rounded(reading_minutes(cells)), exercise_minutes(exercises)
        total = [a + b for a, b in zip(total, minutes)]
        counts = words(cells), code_lines(cells), len(_code(cells))
        print(f"{describe(source).stem:24}{counts[0]:5}{counts[1]:12}{counts[2]:12}{minutes[0]:9}{minutes[1]:11}")
    print(f"{'all':24}{'':29}{total[0]:9}{total[1]:11}")


if __name__ == "__main__":
    main()
