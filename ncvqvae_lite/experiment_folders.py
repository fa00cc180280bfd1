"""Run folders: held by one process at a time, every file renamed into place when whole, results last."""

import contextlib
import csv
import errno
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import filelock

from .errors import BadInput, RunFolderError

HELD = "is held by another process"

_PLAIN_REASONS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: "the disk is read-only: choose another folder (--out)",
    errno.EACCES: "writing there is not permitted: choose another folder (--out)",
    errno.EPERM: "writing there is not permitted: choose another folder (--out)",
    errno.ENOENT: "there is no such place: choose another folder (--out)",
    errno.ENOTDIR: "a part of that path is a file: choose another folder (--out)",
    errno.EEXIST: "a part of that path is a file: choose another folder (--out)",
}


@contextlib.contextmanager
def writing_to(folder):
    """Turn a full or read-only disk into one sentence that names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno in _PLAIN_REASONS and not isinstance(error, RunFolderError):
            raise RunFolderError(f"cannot write to {folder}: {_PLAIN_REASONS[error.errno]}") from error
        raise
    except RuntimeError as error:  # torch.save and safetensors report a failed write so
        if any(text in str(error) for text in ("No space left", "file write failed", "os error 28")):
            raise RunFolderError(f"cannot write to {folder}: {_PLAIN_REASONS[errno.ENOSPC]}") from error
        raise


@contextlib.contextmanager
def hold(folder, wait=False):
    """Hold a run folder, which is created; released by the system even when the process is killed.

    wait    True says so and waits for another holder (of a stage that several runs share); False raises RunFolderError
    """
    folder = Path(folder)
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if not wait:
                raise RunFolderError(f"{folder} {HELD}: wait, or use another folder (--out)") from None
            print(f"waiting for another process that makes {folder}", flush=True)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_json(file, content):
    """Write `content` as JSON, whole or not at all. NaN and infinity are refused: JSON has none."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    _write_atomically(file, lambda f: f.write(text))


def write_history(file, rows):
    """Write history.csv: one line per epoch, one column per value; empty where a value was not computed."""
    names = list(dict.fromkeys(name for row in rows for name in row))

    def write(f):
        writer = csv.DictWriter(f, names)
        writer.writeheader()
        writer.writerows(rows)

    _write_atomically(file, write)


def _write_atomically(file, write):
    partial = Path(file).with_suffix(".partial")
    with open(partial, "w", encoding="utf-8", newline="") as f:
        write(f)
    os.replace(partial, file)


def read_json(file):
    """Content of a JSON file, or None where there is no such file."""
    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, OSError) as error:
        raise BadInput(f"{file} cannot be read ({error}): delete its folder and run again") from error


def finished_metrics(folder, ds):
    """The metrics of a finished run, or None if there is work to do; raises BadInput if it was for other series."""
    folder = Path(folder)
    recorded = read_json(folder / "config.json")
    if recorded and recorded["data_hash"] != ds.content_hash:
        raise BadInput(
            f"{folder} was made from other series named {ds.name} ({recorded['data_hash'][:8]}, these are "
            f"{ds.content_hash[:8]}): use another name or another folder (--out), or delete that folder"
        )
    return read_json(folder / "metrics.json") if recorded else None


def claim(folder, settings, ds, device):
    """Record in config.json what this folder is for and where it runs, unless it is finished.

    returns  the metrics of a finished run, or None if there is work to do
    raises   BadInput for other series, or for a checkpoint made on another device or with other versions: continued
             here it would end in numbers that belong to neither
    """
    folder = Path(folder)
    metrics = finished_metrics(folder, ds)
    if metrics is None:
        here, recorded = environment(device), read_json(folder / "config.json")
        if recorded and any(folder.glob("*.checkpoint")):
            for name in ("device", "versions"):
                if recorded[name] != here[name]:
                    raise BadInput(
                        f"{folder} holds a checkpoint made with {name} {recorded[name]}, here {name} is {here[name]}: "
                        "continue there, delete the checkpoint, or use another folder (--out)"
                    )
        provenance = {"data_source": ds.source, "data_hash": ds.content_hash, **here}
        write_json(folder / "config.json", {**settings, **provenance})
    return metrics


def discard_checkpoints(folder):
    """Delete the checkpoints of a finished stage; a kill may have left them beside its results."""
    for checkpoint in Path(folder).glob("*.checkpoint"):
        checkpoint.unlink()


def environment(device):
    """Where a run took place: versions, commit of the checkout (if it is one), device."""
    import torch  # here, so that those who only read run folders need not load it

    names = ("torch", "numpy", "scipy", "scikit-learn")
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "package_version": package_version(),
        "commit": commit(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }


def package_version():
    """Version of the installed package, or "source" when it runs from a folder that is not installed."""
    try:
        return version("ncvqvae-lite")
    except PackageNotFoundError:
        return "source"


def commit():
    """The checkout's commit, with "-dirty" where the package differs from it; edits beside the package do not count."""
    here = Path(__file__).parent
    if not (here.parent / ".git").exists():
        return None
    try:
        head = _git(here, "rev-parse", "--short=12", "HEAD")
        return head + "-dirty" * bool(_git(here, "status", "--porcelain", "--", "."))
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder, *command):
    done = subprocess.run(["git", "-C", str(folder), *command], capture_output=True, text=True, check=True)
    return done.stdout.strip()
