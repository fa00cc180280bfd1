"""One job of a campaign in a process of its own: `python -m ncvqvae_lite.lab.campaign.job PLAN.json NAME`.

The plan lies in the folder of one session of an engine (one `ncvqvae campaign run`). The job leaves there
    NAME.json   how far it is, see `tell`; the engine tells the user
    NAME.done   when it is done; empty, and all that Snakemake knows of a job
and its results where every run has them. A cell is one executed notebook, a stage that several cells share is made
without one. The process ends with 0, or with the exit code of `state.EXIT_CODES` that says why not. Without a NAME it
only prints what is wrong with the data sets and weights of all jobs, as a list in JSON.
"""

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from ... import errors
from ...config import ExperimentConfig
from ...files import hold, read_json, write_json, writing_to
from ..runner import KernelDied, NotebookFailed, replicate_notebook
from . import state
from .devices import gpu_slot

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
KINDS = {  # subclasses before their bases
    errors.TrainingDiverged: state.DIVERGED,
    errors.UserError: state.USER_ERROR,
    KernelDied: state.KILLED,
    NotebookFailed: state.BUG,
}


def main(argv=None):
    plan_file, *names = sys.argv[1:] if argv is None else argv
    plan, session = read_json(plan_file), Path(plan_file).resolve().parent
    assert plan is not None, f"no plan {plan_file}"
    if not names:
        print(json.dumps(problems(plan)))
        return 0
    (name,) = names
    job, word_file = plan["jobs"][name], session / f"{name}.json"
    os.environ |= dict.fromkeys(THREADS, str(plan["threads"]))
    folder, last = Path(job["folder"]), state.read_mark(word_file) or {"attempt": 0, "kind": None}
    if last["kind"] not in (None, *state.TRANSIENT):  # Snakemake tries every failure again; this one would be the same
        print(f"not tried again: {last['message']}", flush=True)
        return state.EXIT_CODES[last["kind"]]
    attempt = last["attempt"] + 1

    def fail(kind, message):
        print(f"{kind}: {message}", flush=True)
        with contextlib.suppress(OSError):  # of a full or read-only disk, which may be the very reason
            state.write_failure(folder, kind, message, attempts=attempt, log=session / f"{name}.log")
        with contextlib.suppress(OSError):
            tell(word_file, "failed", attempt, kind, message)
        return state.EXIT_CODES[kind]

    def late():
        try:
            fail(state.TIMEOUT, f"stopped after {plan['timeout']:g} seconds: continues at the last checkpoint")
            (folder / "running.json").unlink(missing_ok=True)
        finally:
            os._exit(state.EXIT_CODES[state.TIMEOUT])

    try:
        with writing_to(folder):
            tell(word_file, "started", attempt)
            make(plan, job, folder, late)
            (folder / "failed.json").unlink(missing_ok=True)
            tell(word_file, "done", attempt)
            (session / f"{name}.done").touch()
        return 0
    except Exception as error:
        kind, message = explain(error)
        if kind == state.BUG and not isinstance(error, NotebookFailed):  # the runner has printed a notebook's traceback
            traceback.print_exc()
        return fail(kind, message)


def problems(plan):
    """Distinct sentences of whatever is wrong with data sets and weights, in the order of the jobs.

    What has to be downloaded is downloaded here, once, not by many jobs at a time.
    """
    from ...data import load_dataset
    from ...experiment import check_experiment

    found, ds = {}, None  # one data set in memory at a time
    for job in plan["jobs"].values():
        cfg = ExperimentConfig(**job["cfg"])
        try:
            if ds is None or ds.name != cfg.dataset:
                ds = load_dataset(cfg.dataset, plan["data"])
            check_experiment(cfg, ds, job["weights"])
        except errors.UserError as error:
            found[str(error)] = None
    return list(found)


def tell(file, event, attempt, kind=None, message=""):
    """Leave word for the engine: "started", "done", or "failed" with a key of `state.EXIT_CODES` and a sentence."""
    write_json(file, {"event": event, "attempt": attempt, "kind": kind, "message": message, "time": time.time()})


def explain(error):
    """(kind, sentence) of an exception that ended a job."""
    if errors.is_out_of_memory(type(error).__name__, str(error)):
        return state.OUT_OF_MEMORY, f"memory ran out ({error}): run fewer jobs at a time"
    for cls, kind in KINDS.items():
        if isinstance(error, cls):
            return kind, str(error)
    return state.BUG, f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def time_limit(seconds, late):
    """Call `late`, which ends the process, when the block has taken so many seconds; None for no limit.

    It is not an exception: the libraries that drive the kernel catch those in their callbacks, and the limit is lost.
    The kernel ends by itself when its parent is gone.
    """
    if seconds is None:
        yield
        return
    signal.signal(signal.SIGALRM, lambda *_: late())
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def make(plan, job, folder, late):
    """Do what is left of a job. Another job at the same folder is waited for, and its result taken.

    late    ends the process; called at the plan's time limit, which does not count waiting for others or for a GPU
    """
    cfg = ExperimentConfig(**job["cfg"])
    with hold(folder, wait=True, name=".job.lock"):
        if is_made(job["kind"], cfg, folder):
            return
        submitted = os.environ.get("SLURM_JOB_ID") != plan["slurm_job"]  # else, as after `salloc`, jobs share its GPUs
        slot = gpu_slot(Path(plan["out"]) / "campaigns", plan["slots"], given=submitted)
        with state.alive_in(folder), slot, time_limit(plan["timeout"], late):
            if job["kind"] != "cell":
                return make_stage(job["kind"], cfg, plan)
            for stage in job["stages"]:  # one that failed before is begun anew
                Path(stage, "failed.json").unlink(missing_ok=True)
            execute(cfg, plan, job, folder)
            state.check_metrics(folder, cfg)


def is_made(kind, cfg, folder):
    """True if nothing is left to do; raises BadInput for results that are not whole."""
    if kind != "cell" or not state.finished(folder):
        return state.finished(folder)
    state.check_metrics(folder, cfg)
    return state.has_notebook(folder)


def execute(cfg, plan, job, folder):
    """Execute the cell's notebook, when no other command, such as `ncvqvae replicate`, holds the cell any more."""
    while True:
        with hold(folder, wait=True):
            pass
        try:
            return replicate_notebook(cfg, plan["out"], plan["data"], job["weights"])
        except errors.RunFolderHeld:  # by a command that was quicker: wait for it, too
            continue


def make_stage(kind, cfg, plan):
    """Make a feature net or a tokenizer as the notebook would, and note how long it took in seconds.json."""
    import torch

    from ... import nb
    from ...data import load_dataset
    from ...experiment import check_trainable, not_computed
    from ...experiment_fcn import fcn_stage
    from ...experiment_stages import Session, scale
    from ...experiment_tokenizer import tokenizer_stage

    nb.seed_everything(cfg.seed)
    ds = load_dataset(cfg.dataset, plan["data"])
    check_trainable(cfg, ds)
    if "fcn" in kind and "fid" in not_computed(cfg, ds):
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    out = Path(plan["out"])
    stage = (cfg, ds, scale(ds, device), Session(out, device, nb.print_epochs()))
    if kind == "tokenizer":
        begin = time.monotonic()
        tokenizer_stage(*stage)
        write_json(cfg.tokenizer_folder(out) / "seconds.json", {"tokenizer": time.monotonic() - begin})
    else:
        fcn_stage(*stage, None if kind == "fcn" else cfg.fcn_seed + 1)


if __name__ == "__main__":
    sys.exit(main())
