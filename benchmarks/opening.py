"""Enter into data/results/openings.csv that test splits of the archive are opened for something that was frozen before.

    python benchmarks/opening.py --what "improved 2" --campaign headline --datasets ECG5000 Wafer --seeds 1 2 3 5
    python benchmarks/opening.py --what "speedrun 1" --file benchmarks/speedrun.py --datasets TwoPatterns --seeds 1 2 3

Settings are chosen on generated series and on train splits. Whoever then looks at a test split of the archive enters it
here first, and commits the row: who reads the results can tell what was looked at, when, how often, and that what was
looked at was frozen. A row is one data set (its feature net has a part in the digests) of a campaign, or one file.
"""

import argparse
import datetime
import hashlib
import itertools
import subprocess
import sys
from pathlib import Path

from ncvqvae_lite.errors import BadInput, NotFound, UserError
from ncvqvae_lite.files import write_csv, writing_to
from ncvqvae_lite.generators import GENERATORS
from ncvqvae_lite.lab.campaign import load_campaign
from ncvqvae_lite.lab.campaign.plan import plan
from ncvqvae_lite.lab.results import read_rows

ROOT = Path(__file__).resolve().parents[1]
REGISTER = ROOT / "data" / "results" / "openings.csv"
# datasets, seeds and digest hold one or more words each
COLUMNS = ("date", "what", "datasets", "seeds", "digest", "commit", "command", "note")
SIGN = "fid_by_class"  # cells of the preset `improved` from before the register lack it


def campaign_rows(name, datasets=(), seeds=()):
    """Rows without date, what and commit for a campaign, or for some of its data sets and seeds.

    The digests of a data set are those of its cell folders, each once, in the campaign's order. They are made of the
    settings, the code, and the weights of the feature net that this machine finds; they need no run.

    raises   as `load_campaign` and `Campaign.part`; BadInput where every data set is a generated one
    """
    part = load_campaign(name).part(datasets, (), seeds)
    words = ["ncvqvae campaign run", name, *_option("--datasets", datasets), *_option("--seeds", seeds), "--recorded"]
    shared, rows = {"seeds": " ".join(map(str, part.seeds)), "command": " ".join(words)}, []
    for dataset, cells in itertools.groupby(plan(part, "runs"), lambda p: p.cfg.dataset):
        cells = list(cells)
        digest = " ".join(dict.fromkeys(p.folder.parts[-2] for p in cells))
        note = "" if cells[0].weights else "no weights found: feature net trained here"
        if dataset not in GENERATORS:
            rows.append({"datasets": dataset, "digest": digest, "note": note, **shared})
    if not rows:
        raise BadInput(f"{', '.join(part.datasets)}: generated, there is no test split of the archive to open")
    return rows


def file_row(file, datasets, seeds):
    """The row for one file that opens test splits by itself; its digest is that of its bytes."""
    if not Path(file).is_file():
        raise NotFound(f"no file {file}: name the one that opens the test splits")
    if not (datasets and seeds):
        raise BadInput("--file says neither data sets nor seeds: name them by --datasets and --seeds")
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()[:8]
    words = {"datasets": " ".join(datasets), "seeds": " ".join(map(str, seeds)), "digest": digest}
    return words | {"command": f"python {Path(file).resolve().relative_to(ROOT)}"}


def _option(name, values):
    return [name, *map(str, values)] if values else []


def commit_of(*paths, root=ROOT):
    """The commit of the checkout; BadInput where the files and folders at `paths` differ from it, or are not in it."""

    def git(*command):
        return subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, check=True).stdout

    try:
        edited = git("status", "--porcelain", "--", *map(str, paths)).splitlines()
        head = git("rev-parse", "--short=12", "HEAD").strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise BadInput(f"no commit can be named ({error}): enter openings from a git checkout") from None
    if edited:
        raise BadInput(f"what is to be opened is not committed ({edited[0].split()[-1]}): commit it, it is frozen then")
    return head


def enter(rows, register=REGISTER):
    """Append rows to the register, which is written whole or not at all.

    raises   BadInput for a data set and seed that are there already with the same `what` and a common digest
    """
    kept = read_rows(register, COLUMNS) if register.exists() else []
    for row in rows:
        for old in (old for old in kept if old["what"] == row["what"]):
            both = [sorted(set(old[name].split()) & set(row[name].split())) for name in ("datasets", "seeds", "digest")]
            if all(both):
                what = f"{row['what']} on {' '.join(both[0])}, seeds {' '.join(both[1])}, digest {' '.join(both[2])}"
                raise BadInput(f"opened before, {old['date']}: {what}: it is entered once")
    with writing_to(register.parent):
        write_csv(register, kept + rows, COLUMNS)


def unregistered(cells, register):
    """Cells that opened a test split of the archive and are not in the register: (data set, seed, digest), sorted.

    cells      rows of a table of results (`results.read_rows`); those of the preset `improved` that have `SIGN` count
    register   rows of the register
    """
    opened = set()
    for row in cells:
        if row["preset"] == "improved" and row["metric"] == SIGN and row["dataset"] not in GENERATORS:
            opened.add((row["dataset"], row["seed"], (row["folder"].split("/") + [""] * 4)[3]))
    entered = {
        (dataset, seed, digest)
        for row in register
        for dataset in row["datasets"].split()
        for seed in row["seeds"].split()
        for digest in row["digest"].split()
    }
    return sorted(opened - entered)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", required=True, help='what is opened, in words: "improved 2", "speedrun"')
    made_of = parser.add_mutually_exclusive_group(required=True)
    made_of.add_argument("--campaign", metavar="NAME_OR_FILE", help="the cells that open them")
    made_of.add_argument("--file", type=Path, help="a program that opens them by itself")
    parser.add_argument("--datasets", nargs="+", default=(), metavar="D", help="of the campaign; all if not given")
    parser.add_argument("--seeds", nargs="+", type=int, default=(), metavar="S", help="likewise")
    parser.add_argument("--command", help="how they are opened, if not by the usual command of the campaign or file")
    parser.add_argument("--note", help="anything else")
    given = parser.parse_args(argv)
    try:
        commit = commit_of(ROOT / "ncvqvae_lite", *([given.file.resolve()] if given.file else []))
        if given.campaign:
            rows = campaign_rows(given.campaign, tuple(given.datasets), tuple(given.seeds))
        else:
            rows = [file_row(given.file, given.datasets, given.seeds)]
        shared = {"date": datetime.date.today().isoformat(), "what": given.what, "commit": commit}
        shared |= {name: getattr(given, name) for name in ("command", "note") if getattr(given, name)}
        enter([row | shared for row in rows])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{len(rows)} rows entered into {REGISTER.relative_to(ROOT)}: commit it, then open")
    return 0


if __name__ == "__main__":
    sys.exit(main())
