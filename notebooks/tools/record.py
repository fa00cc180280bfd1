"""Record a chapter's numbers over seeds: `record.py 03 --preset quick --seeds 1 2 3` and, from the rows, its bands.

Runs the chapter's source once per seed with its checks on trained numbers switched off, and puts what it recorded into
data/results/chapters.csv. `--bands` then writes notebooks/expected/NN_topic.json from the rows of the preset quick: a
band is the range of the seeds on all machines (processors round differently, and training carries that on), widened on
both sides by half its width and by a twentieth of the larger end; it does not reach below 0 where no seed does, nor
above 1 where all seeds are between 0 and 1.
"""

import argparse
import csv
import json
import math
import os
import platform
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from filelock import FileLock

NOTEBOOKS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(NOTEBOOKS.parent), str(NOTEBOOKS / "tools")]

from chapters import LOCAL, ONE_THREAD, notebook_of, read_cells, source_files  # noqa: E402

from ncvqvae_lite.lab.runner import run_notebook  # noqa: E402

ROWS = NOTEBOOKS.parent / "data" / "results" / "chapters.csv"
COLUMNS = ("chapter", "preset", "seed", "name", "banded", "value", "torch", "machine")
SEEDS_FOR_A_BAND = 5


def record(source, preset, seed):
    """Run one chapter and return its rows."""
    import nbformat
    import torch

    number = source.stem[:2]
    with tempfile.TemporaryDirectory() as folder:
        file, recorded = Path(folder, "chapter.ipynb"), Path(folder, "recorded")
        nbformat.write(notebook_of(read_cells(source)[0]), file)
        as_built = dict.fromkeys(LOCAL, "") | ONE_THREAD  # the kernel inherits these
        os.environ |= as_built | {"NCVQVAE_RECORD": str(recorded), "NCVQVAE_OUT": folder}
        run_notebook(file, {"preset": preset, "seed": seed}, Path(folder, "out.ipynb"))
        lines = [json.loads(line) for line in recorded.read_text(encoding="utf-8").splitlines()]
    shared = dict(
        chapter=number,
        preset=preset,
        seed=seed,
        torch=torch.__version__.split("+")[0],
        machine=f"{platform.system()} {platform.machine()}, {processor()}, one thread",
    )
    return [
        shared | dict(name=r["name"], banded="yes" if r["banded"] else "no", value=f"{r['value']:.6g}") for r in lines
    ]


def processor():
    """The maker of the processor, where the system tells it: what a processor is able to do sets how it rounds."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def read_rows():
    """All recorded rows, as dicts of text."""
    if not ROWS.is_file():
        return []
    with open(ROWS, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def add_run(rows):
    """Put the rows of a run into the table, in place of an older run of the same chapter, preset, seed and machine."""
    run = ("chapter", "preset", "seed", "machine")
    new = {tuple(str(row[k]) for k in run) for row in rows}
    with FileLock(f"{ROWS}.lock"):  # chapters may be recorded side by side
        write_rows([row for row in read_rows() if tuple(row[k] for k in run) not in new] + rows)


def write_rows(rows):
    """Write the whole table, ordered by chapter, preset, name, seed and machine."""
    order = {name: i for i, name in enumerate(dict.fromkeys(row["name"] for row in rows))}
    rows.sort(
        key=lambda r: (
            r["chapter"],
            r["preset"] != "quick",
            r["preset"],
            order[r["name"]],
            int(r["seed"]),
            r["machine"],
        )
    )
    partial = ROWS.with_suffix(".partial")
    with open(partial, "w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(partial, ROWS)


def bands(number, rows):
    """name -> band of a chapter's banded checks, from the rows of the preset quick; raises ValueError for few seeds."""
    rows = [r for r in rows if r["chapter"] == number and r["preset"] == "quick" and r["banded"] == "yes"]
    values = defaultdict(dict)
    for row in rows:
        values[row["name"]][f"{row['machine']}, torch {row['torch']}", int(row["seed"])] = float(row["value"])
    found = {}
    for name, runs in values.items():
        seeds = {seed for _, seed in runs}
        if len(seeds) < SEEDS_FOR_A_BAND:
            raise ValueError(f"chapter {number}: {name!r} has {len(seeds)} seeds, a band needs {SEEDS_FOR_A_BAND}")
        low, high = min(runs.values()), max(runs.values())
        margin = (high - low) / 2 + 0.05 * max(abs(low), abs(high))
        step = 10.0 ** (math.floor(math.log10(margin)) - 1) if margin else 1e-3  # two digits of the margin
        bottom = round(math.floor((low - margin) / step + 1e-6) * step, 12)
        top = round(math.ceil((high + margin) / step - 1e-6) * step, 12)
        found[name] = {
            "low": max(bottom, 0.0) if low >= 0 else bottom,
            "high": min(top, 1.0) if 0 <= low and high <= 1 else top,
            "values": {
                machine: {seed: runs[at, seed] for at, seed in sorted(runs) if at == machine}
                for machine in sorted({at for at, _ in runs})
            },
        }
    return found


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", metavar="NN")
    parser.add_argument("--preset", default="quick", choices=("quick", "paper", "improved"))
    parser.add_argument("--seeds", nargs="*", type=int, default=[])
    parser.add_argument("--bands", action="store_true", help="write notebooks/expected from the recorded rows")
    arguments = parser.parse_args(argv)
    sources = {file.stem[:2]: file for file in source_files()}
    if arguments.number not in sources:
        parser.error(f"no chapter {arguments.number}: choose from {', '.join(sources)}")
    source = sources[arguments.number]
    for seed in arguments.seeds:
        rows = record(source, arguments.preset, seed)
        add_run(rows)
        print(f"{source.stem}, {arguments.preset}, seed {seed}: {len(rows)} numbers", flush=True)
    if arguments.bands:
        target = NOTEBOOKS / "expected" / f"{source.stem}.json"
        found = bands(arguments.number, read_rows())
        target.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{target.name}: {len(found)} bands")


if __name__ == "__main__":
    main()
