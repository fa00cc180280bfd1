"""Do two versions of the code compute the same numbers, bit for bit?  `python benchmarks/pin.py COMMIT [--micro]`

Runs two micro cells (naive; VIbCReg + slice) and, without --micro, one cell of the preset quick, at COMMIT and in this
checkout, each in a process of its own with one thread, and compares metrics, weights and samples exactly. Numbers of a
commit are kept in a temporary folder: the next comparison runs this checkout alone. Exit code 1: they differ.

`--write FILE` writes this checkout's micro metrics instead: tests/pinned.json, which the suite compares with tolerance.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
MICRO = dict(
    epochs=2, prior_epochs=2, fcn_epochs=2, cas_epochs=2, batch_size=20, dim=16, n_blocks=1, prior_width=32,
    prior_depth=1, projector_width=64, min_samples=20, probe_every=1,
)  # fmt: skip
CELLS = {
    "naive": ("paper", "regular", "none", MICRO),
    "vibcreg-slice": ("paper", "vibcreg", "slice", MICRO),
    "quick": ("quick", "barlowtwins", "warp", {}),
}
SIZES = {"naive": (60, 40, 32), "vibcreg-slice": (60, 40, 32), "quick": (100, 200, 128)}  # n_train, n_test, length


def run_cell(name, out):
    """Metrics of one cell, and hashes of every tensor that it made; by whatever version is imported, on one thread."""
    import numpy as np
    import torch
    from safetensors.numpy import load_file

    from ncvqvae_lite import ExperimentConfig, cell_folder, run_experiment, two_patterns

    preset, method, augmentation, changes = CELLS[name]
    ds = two_patterns(*SIZES[name])
    cfg = ExperimentConfig.preset(preset, dataset=ds.name, method=method, augmentation=augmentation, **changes)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        metrics = run_experiment(cfg, ds, out, device="cpu")
    finally:
        torch.set_num_threads(threads)
    folder = cell_folder(cfg, out)
    tokenizer = folder / json.loads((folder / "config.json").read_text())["tokenizer"]
    hashes = {}
    for file in (tokenizer / "tokenizer.safetensors", folder / "prior.safetensors"):
        hashes |= {f"{file.stem}.{key}": _hash(value) for key, value in load_file(file).items()}
    with np.load(folder / "samples.npz") as samples:
        hashes |= {f"samples.{key}": _hash(samples[key]) for key in samples.files}
    return {"metrics": metrics, "hashes": hashes}


def rounding():
    """A hash that two machines share when their convolutions and matrix products round alike."""
    import torch
    from torch.nn import functional as F

    x = torch.randn(20, 16, 5, 9, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(16, 16, 3, 3, generator=torch.Generator().manual_seed(1))
    y = F.conv2d(x.contiguous(memory_format=torch.channels_last), weight).flatten(1)
    return _hash(torch.cat([y.exp().sum(1), (y @ y.T).sum(1)]).numpy())


def _hash(array):
    return hashlib.sha256(array.tobytes()).hexdigest()[:16]


def numbers_of(checkout, names):
    """{cell: metrics and hashes} of the package in `checkout`, computed in a fresh process with one thread."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    env = os.environ | threads | {"PYTHONPATH": str(checkout), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), "--run", *names]
    return json.loads(subprocess.run(command, env=env, cwd=checkout, check=True, stdout=subprocess.PIPE).stdout)


def numbers_at(commit, names):
    """The same for a commit of this repository, kept between calls."""
    head = _git("rev-parse", commit).strip()
    here = hashlib.sha256(Path(__file__).read_bytes() + rounding().encode()).hexdigest()[:8]  # cells, machine
    kept = Path(tempfile.gettempdir()) / f"ncvqvae-pin-{head}-{here}.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    missing = [name for name in names if name not in found]
    if missing:
        with tempfile.TemporaryDirectory() as folder:
            _git("worktree", "add", "--detach", f"{folder}/at", head)
            try:
                found |= numbers_of(Path(folder, "at"), missing)
            finally:
                _git("worktree", "remove", "--force", f"{folder}/at")
        kept.write_text(json.dumps(found))
    return found


def differences(before, now):
    """A line for every number that differs, is new or is gone."""
    for kind in ("metrics", "hashes"):
        for name in sorted({*before[kind], *now[kind]}):
            old, new = before[kind].get(name), now[kind].get(name)
            if old != new:
                yield f"{name}: {old} -> {new}"


def _git(*command):
    return subprocess.run(["git", "-C", str(HERE), *command], check=True, capture_output=True, text=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", nargs="?", help="compare this checkout with it")
    parser.add_argument("--micro", action="store_true", help="the micro cells only: seconds")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write this checkout's micro metrics")
    parser.add_argument("--run", nargs="+", choices=CELLS, help=argparse.SUPPRESS)  # of the process for one version
    chosen = parser.parse_args()
    if chosen.run:
        with tempfile.TemporaryDirectory() as out:
            print(json.dumps({name: run_cell(name, Path(out)) for name in chosen.run}))
        return 0
    if bool(chosen.commit) == bool(chosen.write):
        parser.error("give either a commit or --write FILE")
    names = [name for name in CELLS if name != "quick" or not (chosen.micro or chosen.write)]
    now = numbers_of(HERE, names)
    if chosen.write:
        pinned = {"rounding": rounding()} | {name: found["metrics"] for name, found in now.items()}
        chosen.write.write_text(json.dumps(pinned, indent=1) + "\n")
        return 0
    before, differ = numbers_at(chosen.commit, names), False
    for name in names:
        lines = list(differences(before[name], now[name]))
        differ |= bool(lines)
        count = sum(map(len, now[name].values()))
        print("\n  ".join([f"{name}: {'differs' if lines else f'{count} numbers and tensors are equal'}", *lines]))
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
