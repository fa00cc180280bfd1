"""State of a run folder: done, running, failed, begun or missing. Reads files only, holds no lock, loads no torch.

How a job ends, and which ends are worth another try (TRANSIENT), stands here too.

metrics.json   the results, written last: a cell is done if and only if they are there and complete
running.json   which process is at it; its modification time is a heartbeat
failed.json    why the last attempt ended, see `write_failure`
"""

import contextlib
import os
import platform
import threading
import time
from pathlib import Path

from ...errors import BadInput, UserError
from ...files import read_json, write_json
from ...thesis import published_values
from .. import runner
from ..results import read_metrics, redo

DONE, RUNNING, FAILED, BEGUN, MISSING = "done", "running", "failed", "begun", "missing"
RECORDED = "recorded"  # not done in this folder, but whole in a table of results

HEARTBEAT = 20.0  # seconds between two signs of life of a job
SILENCE = 180.0  # after so many seconds without one it counts as dead

ALWAYS = {"recon_val", "recon_last_batch", "val_perplexity", "train_perplexity", "sample_perplexity"}
WITH_LABELS = {"knn_acc", "svm_acc", "fid", "is", "is_std"}

# How a job ends: the exit code of its process, and whether trying again can help.
USER_ERROR, DIVERGED, OUT_OF_MEMORY, BUG = "user error", "diverged", "out of memory", "error in the code"
TIMEOUT, KILLED = "timeout", "killed"
EXIT_CODES = {USER_ERROR: 2, DIVERGED: 3, OUT_OF_MEMORY: 4, BUG: 5, TIMEOUT: 124, KILLED: 137}
TRANSIENT = (OUT_OF_MEMORY, TIMEOUT, KILLED)


# --- results ---


def finished(folder):
    """True if a stage's folder holds its results."""
    return (folder / "metrics.json").exists()


def check_metrics(folder, cfg):
    """Raise BadInput, with what to do, unless the metrics.json of a cell is whole."""
    for name in missing_metrics(cfg, read_metrics(folder) or {}):
        raise BadInput(f"metrics.json lacks {name}: {redo(folder / 'metrics.json')}")


def missing_metrics(cfg, metrics):
    """Sorted names of a whole cell's metrics that are missing here."""
    return sorted(needed_metrics(cfg, metrics) - metrics.keys())


def needed_metrics(cfg, metrics):
    """Names of the metrics that a finished cell must have, as far as it is known without its series.

    The thesis' data sets have labels and enough of everything; of another one, the metrics found tell what it has.
    """
    judged = WITH_LABELS & metrics.keys()
    if cfg.dataset in {value.dataset for value in published_values()}:
        judged = WITH_LABELS
    needed = ALWAYS | judged
    if judged and cfg.cas:
        needed |= {"cas"}
    if "fid" in judged and cfg.second_fcn:
        needed |= {"fid_second"}
    return needed


def has_notebook(folder):
    """True if a cell's folder holds its executed notebook, with the code that notebook 08 has today."""
    recorded = (folder / "notebook.ipynb").exists() and read_mark(folder / "notebook.json")
    return bool(recorded) and recorded["code"] == runner.code_digest(runner.REPLICATE)


def state_of(cfg, folder, stages):
    """(state, sentence about it or "") of a cell; `stages`: name -> folder of a stage that it builds on."""
    if finished(folder):
        try:
            check_metrics(folder, cfg)
        except UserError as error:
            return FAILED, str(error)
        return DONE, (read_mark(folder / "failed.json") or {"message": ""})["message"]  # of its notebook, if any
    if running(folder):
        return RUNNING, ""
    for place in (folder, *stages.values()):
        failure = None if finished(place) else read_mark(place / "failed.json")
        if failure:
            return FAILED, failure["message"]
    begun = any((place / "config.json").exists() for place in (folder, stages["tokenizer"]))
    return (BEGUN if begun else MISSING), ""


# --- failures ---


def write_failure(folder, kind, message, *, attempts, log):
    """Record why an attempt failed: its kind (a key of EXIT_CODES), a sentence, which attempt it was, and its log."""
    record = {"kind": kind, "message": message, "attempts": attempts, "log": str(log)}
    write_json(folder / "failed.json", record | {"when": time.strftime("%Y-%m-%d %H:%M:%S")})


def read_mark(file):
    """Content of a small file that only informs; one that a crash left unreadable counts as absent."""
    try:
        return read_json(file)
    except BadInput:
        return None


# --- signs of life ---


@contextlib.contextmanager
def alive_in(folder):
    """Within the block, running.json says that this process works in the folder."""
    file, ended = folder / "running.json", threading.Event()

    def beat():
        while not ended.wait(HEARTBEAT):
            with contextlib.suppress(FileNotFoundError):
                os.utime(file)

    write_json(file, {"pid": os.getpid(), "host": platform.node(), "since": time.time()})
    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()
        file.unlink(missing_ok=True)


def running(folder):
    """The content of running.json if its process lives: it gave a sign not long ago and, on this host, exists."""
    file = folder / "running.json"
    mark = read_mark(file)
    if mark is None:
        return None
    with contextlib.suppress(FileNotFoundError):
        if time.time() - file.stat().st_mtime < SILENCE and (mark["host"] != platform.node() or _exists(mark["pid"])):
            return mark
    return None


def _exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    with contextlib.suppress(OSError):  # Linux tells more: a killed process may wait for its parent to take notice
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True
