"""Which GPU a job takes: one of a few slots on one of the visible GPUs, held by a lock as long as the job runs."""

import contextlib
import os
import platform
import subprocess
import time

import filelock

from ...files import writing_to


def visible_gpus():
    """Ids of the GPUs that may be used: those that $CUDA_VISIBLE_DEVICES names, else all that nvidia-smi lists."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip() not in ("", "-1", "NoDevFiles")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(i) for i, _ in enumerate(line for line in listed.stdout.splitlines() if line.startswith("GPU "))]


def slurm_job():
    """Id of the SLURM job that this process is part of, or None.

    A campaign's job that has another one than its engine was submitted by it, and SLURM has given it its GPU. In the
    same one, as after `salloc`, the jobs share the GPUs of the engine.
    """
    return os.environ.get("SLURM_JOB_ID")


@contextlib.contextmanager
def gpu_slot(folder, slots, given=False, poll=2.0):
    """Within the block, $CUDA_VISIBLE_DEVICES names one GPU that at most `slots` jobs of this run folder share.

    folder  where the locks lie: <host>-gpu<i>-slot<j>.lock
    slots   jobs on one GPU at a time
    given   True where a scheduler has given this very job its GPU
    poll    seconds between two looks at the locks while all slots are taken
    Without a GPU, or with a given one, nothing is changed. The system frees the slot of a job that is killed.
    """
    gpus = [] if given else visible_gpus()
    if not gpus:
        yield None
        return
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        gpu, lock = _wait_for_slot(folder, gpus, slots, poll)
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    try:
        yield gpu
    finally:
        lock.release()
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


def _wait_for_slot(folder, gpus, slots, poll):
    """The first free (gpu, lock), slot by slot, so that the GPUs fill evenly."""
    while True:
        for slot in range(slots):
            for gpu in gpus:
                lock = filelock.FileLock(folder / f"{platform.node()}-gpu{gpu}-slot{slot}.lock")
                with contextlib.suppress(filelock.Timeout):
                    lock.acquire(timeout=0)
                    return gpu, lock
        time.sleep(poll)
