"""Runs that are killed (SIGKILL) and started again end with the same bytes as an undisturbed one.

`python tests/test_recovery.py --kills 10 --seed 1` kills ten times at random moments and prints a table; with
`--renames` it kills at every kind of file instead, when the file is written but does not have its name yet.
"""

import argparse
import functools
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import ncvqvae_lite
from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.data import two_patterns
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.experiment import cell_folder, load_run, run_experiment
from ncvqvae_lite.fcn import FCN
from ncvqvae_lite.prior import MaskGIT
from ncvqvae_lite.residuals import ResidualPieces
from ncvqvae_lite.tokenizer import load_tokenizer

# Everything random in it: augmentation, k-means start, restarted codes, sampled tokens and masks, two feature nets; and
# probes that move the tokenizer while it is trained.
SETTINGS = dict(
    dim=8, n_blocks=1, codebook_size=8, epochs=8, min_steps=0, batch_size=16, probe_every=3, projector_width=32,
    whitening_groups=8, probe_statistics="batch", reproduce_probe_leak=True, prior_dim=8, prior_width=16, prior_depth=1,
    prior_heads=1, prior_epochs=8, prior_min_steps=0, prior_batch_size=16, decoding_steps=2, min_samples=32,
    fcn_epochs=3, fcn_min_steps=0, cas_epochs=2, expire_below=30.0, fcn_lr=1e-3, fcn_batch_size=256, second_fcn=True,
    fcn_schedule="cosine", noise="pieces",
)  # fmt: skip
# Files in the order in which a run gives them their names (the second feature net's come between).
RENAMED = (
    "cells/config.json", "fcn/config.json", "fcn/fcn.checkpoint", "fcn/fcn.safetensors", "fcn/history.csv",
    "fcn/metrics.json", "tokenizers/config.json", "tokenizers/tokenizer.checkpoint", "tokenizers/tokenizer.safetensors",
    "tokenizers/history.csv", "tokenizers/metrics.json", "cells/prior.checkpoint", "cells/history.csv",
    "cells/prior.safetensors", "cells/residuals.safetensors", "cells/samples.npz", "cells/cas.checkpoint",
    "cells/seconds.json", "cells/metrics.json",
)  # fmt: skip
LOADERS = {
    "fcn.safetensors": FCN.load,
    "tokenizer.safetensors": lambda file: load_tokenizer(file.parent),
    "prior.safetensors": lambda file: MaskGIT.load(file.parent),
    "residuals.safetensors": lambda file: ResidualPieces.load(file.parent),
}


def configuration():
    return ExperimentConfig.preset(
        "improved", dataset="TwoPatternsGenerated", method="vibcreg", augmentation="warp", **SETTINGS
    )


def run(out):
    """The run that is killed; every epoch writes a checkpoint."""
    ds = two_patterns(n_train=40, n_test=40, length=16)
    run_experiment(configuration(), ds, out, device="cpu", checkpoint_seconds=0)


# --- starting and killing ---


def start(out, at_rename=None):
    """Fork a process that runs into `out`, and dies where it would give the file `at_rename` its name."""
    child = os.fork()
    if child == 0:
        try:
            if at_rename:
                os.replace = functools.partial(_killing_replace, os.replace, at_rename)
            run(out)
            os._exit(0)
        except BaseException as error:  # nothing may lead a child back into the parent's code
            print(f"the run failed: {error!r}", file=sys.stderr, flush=True)
            os._exit(1)
    return child


def _killing_replace(replace, name, source, target):
    stage, file = name.split("/")
    if Path(target).name == file and stage in Path(target).parts:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)


def wait(child, seconds=None):
    """Wait for a child, at most `seconds`, then kill it -> "finished" or "killed"; raises where it failed by itself."""
    stop = None if seconds is None else time.monotonic() + seconds
    while stop is not None and time.monotonic() < stop:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return _outcome(status)
        time.sleep(0.002)
    if stop is not None:
        os.kill(child, signal.SIGKILL)
    return _outcome(os.waitpid(child, 0)[1])


def _outcome(status):
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a run ended with exit status {code}")
    return "killed" if code else "finished"


# --- looking at what is there ---


def results(out):
    """{path: content} of everything that a finished run must have, as bytes or arrays."""
    found = {}
    for file in sorted(Path(out).rglob("*")):
        path = file.relative_to(out).as_posix()
        if file.name in ("metrics.json", "history.csv") or file.suffix == ".safetensors":
            found[path] = file.read_bytes()
        elif file.name == "samples.npz":
            with np.load(file) as arrays:
                found |= {f"{path}/{name}": arrays[name].tobytes() for name in arrays.files}
    return found


def false_claims(out):
    """What a killed run left that looks finished and is not: a list of sentences, empty if all is well."""
    found = []
    folder = cell_folder(configuration(), out)
    if (folder / "metrics.json").exists():
        found.append("the cell has metrics.json")
    for file in Path(out).rglob("*.json"):
        try:
            json.loads(file.read_text())
        except ValueError:
            found.append(f"{file} is no JSON")
    for file in Path(out).rglob("*.safetensors"):
        try:
            LOADERS[file.name](file)
        except BadInput as error:
            found.append(str(error))
    for metrics in [*Path(out).glob("fcn/**/metrics.json"), *Path(out).glob("tokenizers/**/metrics.json")]:
        if not (list(metrics.parent.glob("*.safetensors")) and (metrics.parent / "history.csv").exists()):
            found.append(f"{metrics} stands without weights or history")
    return found


def stage_of(out):
    """How far the files say that a run has come: the last of RENAMED that is there."""
    files = [file for file in Path(out).rglob("*") if file.is_file()]
    found = {f"{file.relative_to(out).parts[0]}/{file.name}" for file in files}
    return next((name for name in reversed(RENAMED) if name in found), "nothing")


def differences(out, expected):
    """Paths of the results that differ from the expected ones, and of checkpoints that a finished run left."""
    found = results(out)
    load_run(cell_folder(configuration(), out))
    differing = [path for path in sorted(found.keys() | expected.keys()) if found.get(path) != expected.get(path)]
    return differing + [str(file) for file in Path(out).rglob("*.checkpoint")]


# --- the two trials ---


def kill_at_random(folder, kills, seed):
    """Kill `kills` times at random moments -> one dict per process: folder, seconds, outcome, stage, problems.

    A run that was killed is started again in its folder until it finishes; then another folder begins. The last folder
    is brought to its end too.
    """
    chance, rows = random.Random(seed), []
    begin = time.monotonic()
    wait(start(folder / "undisturbed"))
    duration, expected = time.monotonic() - begin, results(folder / "undisturbed")
    for number in itertools.count(1):
        out, outcome = folder / f"run{number}", None
        while outcome != "finished":
            limit = chance.uniform(0, duration) if kills else None
            begin = time.monotonic()
            outcome = wait(start(out), limit)
            kills -= outcome == "killed"
            rows.append(dict(run=number, seconds=round(time.monotonic() - begin, 2), outcome=outcome))
            problems = false_claims(out) if outcome == "killed" else differences(out, expected)
            rows[-1] |= dict(stage=stage_of(out), problems=problems)
        if not kills:
            return rows


def kill_at_renames(folder):
    """Kill at each kind of file, one after the other, in a folder full of half files -> rows as `kill_at_random`."""
    wait(start(folder / "undisturbed"))
    expected, out, rows = results(folder / "undisturbed"), folder / "run", []
    cfg = configuration()
    for stage in (cell_folder(cfg, out), cfg.tokenizer_folder(out), cfg.fcn_folder(out)):
        stage.mkdir(parents=True)
        for name in RENAMED:
            (stage / f"{Path(name).name}.1.partial").write_bytes(b"half a fi")
    for name in (*RENAMED, None):
        begin = time.monotonic()
        rows.append(dict(run=name or "the rest", outcome=wait(start(out, name))))
        problems = false_claims(out) if name else differences(out, expected)
        rows[-1] |= dict(seconds=round(time.monotonic() - begin, 2), stage=stage_of(out), problems=problems)
    return rows


def main():
    parser = argparse.ArgumentParser(description="Kill runs and compare what they end with.")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--renames", action="store_true")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = parser.parse_args()
    import_module("torch._dynamo")  # the first optimiser needs it: imported here, it is not imported after every kill
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        rows = kill_at_renames(folder) if options.renames else kill_at_random(folder, options.kills, options.seed)
    if options.json:
        print(json.dumps(rows))
    else:
        print(f"{'run':34} {'seconds':>7}  {'outcome':8}  {'got as far as':33}  problems")
        for row in rows:
            problems = "; ".join(row["problems"]) or "none"
            print(f"{row['run']!s:34} {row['seconds']:7.2f}  {row['outcome']:8}  {row['stage']:33}  {problems}")
    return int(any(row["problems"] for row in rows))


# --- tests ---

can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def trial(*arguments):
    """The rows of this script in a process of its own, which has computed nothing before it forks."""
    environment = os.environ | {"PYTHONPATH": str(Path(ncvqvae_lite.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--json", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@can_fork
@pytest.mark.slow
def test_killed_at_random_moments():
    """Three kills; every run that was killed ends with the same metrics, histories, weights and samples."""
    rows = trial("--kills", "3", "--seed", "2")
    assert [row["outcome"] for row in rows].count("killed") == 3
    assert rows[-1]["outcome"] == "finished"
    assert [row["problems"] for row in rows] == [[]] * len(rows), rows


@can_fork
@pytest.mark.slow
def test_killed_at_the_rename_of_every_file():
    """Whatever lies half written when a run dies, by its own hand or another's, is not taken for a result."""
    rows = trial("--renames")
    assert [row["outcome"] for row in rows] == ["killed"] * len(RENAMED) + ["finished"]
    assert [row["problems"] for row in rows] == [[]] * len(rows), rows


if __name__ == "__main__":
    sys.exit(main())
