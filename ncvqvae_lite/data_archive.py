"""The archive through aeon: what it bundles, what it downloads. Private to `data`."""

import importlib.util
import tempfile
import threading
from pathlib import Path

from .data_files import RawSplits
from .errors import NotFound, one_line


def bundled_folder():
    """The folder of the series that come with aeon, found without importing aeon (seconds); None without aeon."""
    spec = importlib.util.find_spec("aeon")
    folder = spec and Path(spec.origin).parent / "datasets" / "data"  # pyright: ignore[reportArgumentType]  # aeon is a folder with files
    return folder if folder and folder.is_dir() else None


def archive_names():
    """Names that aeon can download; none without aeon."""
    if not importlib.util.find_spec("aeon"):
        return set()
    from aeon.datasets.tsc_datasets import tsc_zenodo

    return set(tsc_zenodo)


def download(name, folder, patience=60.0, made=()):
    """Both splits of `name` from the archive through aeon, by way of a temporary folder inside `folder`.

    aeon waits long for a host that never answers, so it works in a thread: if the first byte has not come after
    `patience` seconds, we stop waiting. `made` are names of generated data sets, one of which may stand in.
    raises  NotFound with what to do instead, whatever went wrong on the way
    """
    from aeon.datasets import load_classification

    got = {}

    def fetch(target):
        try:
            for split in ("train", "test"):
                got[split] = load_classification(name, split=split, extract_path=target)[:2]
        except Exception as error:  # aeon and the network raise many kinds, and each means: no data
            got["error"] = error

    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-", ignore_cleanup_errors=True) as target:
        worker = threading.Thread(target=fetch, args=(target,), daemon=True)
        worker.start()
        worker.join(patience)
        if worker.is_alive() and not any(file.is_file() for file in Path(target).rglob("*")):
            got["error"] = TimeoutError(f"nothing came for {patience:g} s")
        else:
            worker.join()
    if "error" in got:
        cause = got["error"]
        while cause.__cause__:  # aeon wraps what went wrong
            cause = cause.__cause__
        instead = f", or use {name}Generated, made by the same recipe" if f"{name}Generated" in made else ""
        raise NotFound(
            f"{name} is not on this machine and its download failed ({one_line(cause)}): fetch the UCR archive "
            f"by hand from www.timeseriesclassification.com and set NCVQVAE_DATA to its folder{instead}"
        ) from got["error"]
    return RawSplits(*got["train"], *got["test"], "the archive, by aeon")  # pyright: ignore[reportCallIssue]  # two arrays for each split
