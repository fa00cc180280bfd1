"""`ncvqvae demonstrate`: both arms side by side, then one table, one figure and a verdict."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .cli_options import check_notebook_extra, parse_changes
from .config import ExperimentConfig
from .demonstration import ARMS, COLUMNS, DATASET, RULE, SETTINGS, as_text, class_words, closing_rows, verdict
from .fcn_weights import file_hash, shipped_judge
from .files import atomic, read_json, write_csv, writing_to
from .names import METHODS

REPLICATE = (sys.executable, "-m", "ncvqvae_lite.cli", "replicate")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
EVERY = 10.0  # seconds between two lines of progress
TERMINATED = 143  # exit code where a signal asks to end
STAGES = (
    "each arm: a tokenizer learns to write series as symbols and back; a prior learns which symbols go together;\n"
    "samples are drawn and scored; a classifier learns from them alone and is tried on real series (cas)"
)
say = partial(print, flush=True)


@dataclass(frozen=True)
class Demonstrate:
    """Train the naive and a non-contrastive arm on generated control charts, and set their samples beside real ones.

    Both run side by side, on one thread each (OMP_NUM_THREADS sets another number), where there are cores for both,
    else one after the other. What is finished is not repeated, and what was interrupted continues when the same command
    is given again. It ends in one table (OUT/replicate.csv), one figure (OUT/replicate.png) and a verdict by a stated
    rule.

    seed S            a whole number
    out FOLDER        folder of all runs
    notebook          also execute notebook 08 for each arm and keep it in its folder (needs the extra `notebooks`)
    set FIELD=VALUE   replace single settings of the preset quick, or those that the demonstration has of its own
    """

    seed: int = 1
    out: Path = Path("runs")
    notebook: bool = False
    set: tuple[str, ...] = ()

    def run(self):
        """Run what is left of both arms and print the table; returns the exit code."""
        cells = self.cells()
        if self.notebook:
            check_notebook_extra("--notebook", ", or leave out --notebook")
        folders = {column: folder_of(cfg, self.out) for column, cfg in cells.items()}
        left = {column: self._command(cells[column]) for column, folder in folders.items() if not self._done(folder)}
        say(f"{DATASET}, preset quick, seed {self.seed}: {', '.join(map(in_words, ARMS))}")
        if left:
            say(STAGES)
            say("some minutes; interrupted, the same command continues" if len(left) == 2 else "one arm is finished")
        else:
            say("both arms are finished: nothing is computed again")
        began = time.monotonic()
        if code := run_arms(left):
            return code
        seconds = time.monotonic() - began
        metrics = {column: read_json(folder / "metrics.json") for column, folder in folders.items()}
        rows = closing_rows(metrics, DATASET)
        table, picture = self.out / "replicate.csv", self.out / "replicate.png"
        with writing_to(self.out):
            write_csv(table, map(as_text, rows), COLUMNS)
            with atomic(picture, "wb") as file:
                file.write(small_multiples(folders).png(dpi=150))
        from .tables import closing_table

        say(f"\n{closing_table(rows)}")
        if not any(row["thesis"] for row in rows):
            say("thesis: no column, it has no such series")
        say(f"\nVerdict: {verdict(*metrics.values())}\nRule: {RULE}\n")
        say(f"Series by class: {picture}\nTable: {table}")
        for column, folder in folders.items():
            say(f"{in_words(column).capitalize()}: {folder / 'notebook.ipynb' if self.notebook else folder}")
        if left:
            say(f"Took {seconds:.0f} s")
        return 0

    def cells(self):
        """The configuration of each arm, by column."""
        changes: dict[str, Any] = SETTINGS | parse_changes(self.set) | {"dataset": DATASET, "seed": self.seed}
        arms = {column: {"method": method, "augmentation": view} for column, (method, view) in ARMS.items()}
        return {column: ExperimentConfig.preset("quick", **arm, **changes) for column, arm in arms.items()}

    def _command(self, cfg):
        """The process that makes one arm."""
        cell = ("--dataset", cfg.dataset, "--method", cfg.method, "--augmentation", cfg.augmentation)
        how = ("--seed", str(cfg.seed), "--preset", "quick", "--out", str(self.out))
        judge = ("--fcn", str(shipped_judge(DATASET)))  # even where the user has another
        changes = [f"{name}={value}".lower() for name, value in cfg.changes().items()]
        return [*REPLICATE, *cell, *how, *judge, *("--notebook",) * self.notebook, "--set", *changes]

    def _done(self, folder):
        from .lab.campaign.state import has_notebook

        return (folder / "metrics.json").exists() and (not self.notebook or has_notebook(folder))


def folder_of(cfg, out):
    """The folder of an arm's cell, judged by the feature net that ships."""
    return cfg.cell_folder(out, file_hash(shipped_judge(DATASET)))


def in_words(column):
    """A column's name as it is printed."""
    return column.replace("_", "-")


def small_multiples(folders):
    """The figure: real test series and samples of both arms by class, the first of each.

    folders   column -> folder of the finished cell
    """
    import numpy as np

    from . import plots
    from .data import load_dataset

    ds = load_dataset(DATASET)
    columns = {"real": (ds.x_test, ds.y_test, "#555555")}
    for column, folder in folders.items():
        with np.load(folder / "samples.npz") as samples:
            columns[in_words(column)] = samples["x_by_class"], samples["class"], METHODS[ARMS[column][0]].colour
    return plots.by_class(columns, class_words(DATASET, ds.class_names))


# --- the processes of the arms ---


class Arm:
    """The process of one arm. It is listened to: what it does, what went wrong; anything else it says is passed on."""

    def __init__(self, name, command, environment):
        self.name, self.doing, self.error = name, "starting", ""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        text = {"text": True, "encoding": "utf-8", "errors": "replace"}
        self.process = subprocess.Popen(command, env=environment, **pipes, **text)
        assert self.process.stderr is not None  # a pipe, as asked for
        self.says = self.process.stderr
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self):
        for line in map(str.rstrip, self.says):
            if progress := re.match(r"(\w[\w ]*?) +([\d.]+)/(\d+) epochs", line):
                stage, done, total = progress.groups()
                over = stage == "cas" and float(done) == int(total)
                self.doing = "finishing" if over else f"{stage} {float(done) / int(total):.0%}"
            elif "since the last report of a training" in line:
                if self.doing.endswith(" 100%"):  # else a training that is slow, or has just begun
                    self.doing = "sampling, scoring"
            elif line.startswith("error: "):
                self.error = line.removeprefix("error: ")
            elif line:
                print(f"{self.name}: {line}", file=sys.stderr, flush=True)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        self.listener.join()
        self.says.close()


def run_arms(commands):
    """Run the processes of the arms, side by side where all their threads have a core (threads that share one wait for
    each other most of the time), else in turn; returns 0 or the code of one that failed.

    commands   column -> command
    """
    together = usable_cores() >= 2 * threads_of_an_arm()
    for names in [list(commands)] if together else [[name] for name in commands]:
        if code := _run_together({in_words(name): commands[name] for name in names}):
            return code
    return 0


def _run_together(commands):
    from .lab.runner import own_environment

    environment = dict.fromkeys(THREADS, os.environ.get("OMP_NUM_THREADS", "1")) | own_environment()
    began = said = time.monotonic()
    arms, before = [], signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        for name, command in commands.items():
            arms.append(Arm(name, command, environment))
        while any(arm.process.poll() is None for arm in arms) and not any(arm.process.poll() for arm in arms):
            time.sleep(0.1)
            if time.monotonic() - said >= EVERY:
                said = time.monotonic()
                doing = " | ".join(f"{arm.name}: {arm.doing}" for arm in arms)
                print(f"{said - began:4.0f} s  {doing}", file=sys.stderr, flush=True)
        failed = next((arm for arm in arms if arm.process.returncode), None)
    finally:
        for arm in arms:
            arm.stop()
        signal.signal(signal.SIGTERM, before)
    if failed is None:
        return 0
    code = failed.process.returncode
    ended = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
    why = failed.error or "the lines above say why"
    print(f"error: the {failed.name} arm: {why} ({ended})", file=sys.stderr, flush=True)
    return code if code > 0 else 128 - code


def threads_of_an_arm():
    """Threads that OMP_NUM_THREADS asks for (of a list: its first number), else 1."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(asked) if asked.isdigit() and int(asked) else 1


def usable_cores():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
