"""GPUs for jobs: each takes one of a few slots on one of the visible GPUs, held by a lock as long as the job runs."""

import contextlib
import os
import platform
import subprocess
import time

from ...errors import RunFolderHeld
from ...files import hold


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


@contextlib.contextmanager
def gpu_slot(folder, slots, given=False):
    """Hold, within the block, one GPU that at most `slots` jobs of this run folder share.

    $CUDA_VISIBLE_DEVICES names it from then on, for this process and those that it starts.

    folder  where the locks lie: <host>-gpu<i>-slot<j>.lock
    slots   jobs on one GPU at a time
    given   True where a scheduler has given this very job its GPU, as SLURM does for each that was submitted to it
    Without a GPU, or with a given one, nothing is changed. The system frees the slot of a job that is killed.
    """
    gpus = [] if given else visible_gpus()
    if not gpus:
        yield None
        return
    with contextlib.ExitStack() as slot:
        while (gpu := _free_gpu(slot, folder, gpus, slots)) is None:
            time.sleep(2.0)
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
        yield gpu


def _free_gpu(stack, folder, gpus, slots):
    """The GPU of the first free slot, which `stack` then holds, or None; slot by slot, so that GPUs fill evenly."""
    for slot in range(slots):
        for gpu in gpus:
            with contextlib.suppress(RunFolderHeld):
                stack.enter_context(hold(folder, name=f"{platform.node()}-gpu{gpu}-slot{slot}.lock"))
                return gpu
    return None
