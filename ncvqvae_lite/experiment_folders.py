"""Run folders: what each is for, which series and code made it, whether it is finished."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from . import __version__
from .errors import BadInput
from .experiment_parts import check_parts
from .files import read_json, with_its_cells, write_json


def finished_metrics(folder, ds):
    """The metrics of a finished run, or None if there is work to do.

    raises   BadInput if it was for other series, or if a part of a finished run is not the one that it was made with
    """
    return _finished_metrics(Path(folder), ds, _hash_now(ds))


def _finished_metrics(folder, ds, data_hash):
    recorded = read_json(folder / "config.json")
    if recorded and recorded["data_hash"] != data_hash:
        edited = "" if data_hash == ds.content_hash else ", edited since they were read"
        raise BadInput(
            f"{folder} was made from other series named {ds.name} ({recorded['data_hash'][:8]}, these are "
            f"{data_hash[:8]}{edited}): use another name or another folder (--out), or delete that folder"
            f"{with_its_cells(folder)}"
        )
    metrics = read_json(folder / "metrics.json") if recorded else None
    if metrics is not None:
        check_parts(folder)
    return metrics


def _hash_now(ds):
    """The content hash of the series as they are, which a user may have edited in place."""
    from .data import content_hash  # here, so that those who only read run folders need not load torch

    return content_hash(ds.x_train, ds.y_train, ds.x_test, ds.y_test)


def claim(folder, settings, ds, device):
    """Record in config.json what this folder is for and where it runs, unless it is finished.

    returns  the metrics of a finished run, or None if there is work to do
    raises   BadInput for other series, or for a checkpoint made on another device or with other versions: continued
             here it would end in numbers that belong to neither
    """
    folder, data_hash = Path(folder), _hash_now(ds)
    metrics = _finished_metrics(folder, ds, data_hash)
    if metrics is None:
        here, recorded = environment(device), read_json(folder / "config.json")
        if recorded and any(folder.glob("*.checkpoint")):
            for name in ("device", "versions"):
                if recorded[name] != here[name]:
                    raise BadInput(
                        f"{folder} holds a checkpoint made with {name} {recorded[name]}, here {name} is {here[name]}: "
                        "continue there, delete the checkpoint, or use another folder (--out)"
                    )
        edited = "" if data_hash == ds.content_hash else "; edited since"
        provenance = {"data_source": ds.source + edited, "data_hash": data_hash, **here}
        parts = {"parts": recorded["parts"]} if recorded and "parts" in recorded else {}
        write_json(folder / "config.json", {**settings, **provenance, **parts})
    return metrics


def discard(folder, pattern):
    """Delete the files of a stage that nobody needs any more."""
    for file in Path(folder).glob(pattern):
        file.unlink()


def environment(device):
    """Where a run took place: versions, commit of the checkout (if it is one), device."""
    import torch  # here, so that those who only read run folders need not load it

    names = ("torch", "numpy", "scipy", "scikit-learn")
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "package_version": __version__,
        "commit": commit(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }


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
