"""Status of a campaign as text: a grid of data sets and configurations, totals, failures, time left."""

import time
from collections import Counter, defaultdict

from ..text import counted, duration
from .costs import estimate
from .state import BEGUN, DONE, FAILED, MISSING, RECORDED, RUNNING, running


def describe(planned):
    """The whole report of `ncvqvae campaign status`, a list of lines."""
    legend = "done/all cells; R running, F failed, B begun"
    if any(p.state == RECORDED for p in planned):
        legend += "; T of the done ones are in the table of results only"
    lines = ["", *grid(planned), "", legend, "", totals(planned)]
    lines += _at_work(planned)
    old = sum(p.lacks_notebook for p in planned)
    if old:
        without = f"{counted(old, 'finished cell')} without an up-to-date notebook"
        lines.append(f"{without}: `run` executes it, trains nothing")
    return [*lines, str(estimate(planned)), *failures(planned)]


def grid(planned):
    """Lines of a table: data sets down, configurations across; in each place done/all, and states by count."""
    places = defaultdict(Counter)
    for p in planned:
        places[p.cfg.dataset, f"{p.cfg.method}-{p.cfg.augmentation}"][p.state] += 1
    columns = list(dict.fromkeys(configuration for _, configuration in places))
    rows = [["", *columns]]
    for dataset in dict.fromkeys(dataset for dataset, _ in places):
        rows.append([dataset, *(_place(places[dataset, configuration]) for configuration in columns)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows]


def _place(states):
    """2/4 R1 F1"""
    letters = {RECORDED: "T", RUNNING: "R", FAILED: "F", BEGUN: "B"}
    marks = [f"{letter}{states[state]}" for state, letter in letters.items() if states[state]]
    return " ".join([f"{states[DONE] + states[RECORDED]}/{states.total()}", *marks])


def totals(planned):
    """364 cells, 12 done, 2 running, 1 failed, 349 missing (3 of them begun); "12 done, 5 recorded" where some are."""
    states = Counter(p.state for p in planned)
    missing = states[MISSING] + states[BEGUN]
    begun = f" ({states[BEGUN]} of them begun)" if states[BEGUN] else ""
    done = f"{states[DONE]} done" + (f", {states[RECORDED]} recorded" if states[RECORDED] else "")
    counts = f"{done}, {states[RUNNING]} running, {states[FAILED]} failed, {missing} missing{begun}"
    return f"{counted(len(planned), 'cell')}, {counts}"


def _at_work(planned):
    """A line for each process that is at work now, on a cell or on a stage that several cells need."""
    lines, seen = [], set()
    for p in planned:
        for kind, folder in {"cell": p.folder, **p.stages}.items():
            mark = running(folder) if not p.over and folder not in seen else None
            seen.add(folder)
            if mark:
                what = p.label if kind == "cell" else f"{kind} of {p.label}"
                lines.append(f"running for {duration(time.time() - mark['since'])}: {what}")
    return lines


def failures(planned):
    """A line for each cell that failed, or whose notebook did; cells that share a failure share the line."""
    why = defaultdict(list)
    for p in planned:
        if p.state == FAILED or (p.why and p.lacks_notebook):
            why[p.why].append(p.label)
    more = {sentence: f" and {len(labels) - 1} more" if labels[1:] else "" for sentence, labels in why.items()}
    return [f"failed: {labels[0]}{more[sentence]}: {sentence}" for sentence, labels in why.items()]
