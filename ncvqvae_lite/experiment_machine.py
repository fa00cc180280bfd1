"""Speed of this machine, measured, and the memory that it has left."""

import functools
import math
import os
import time
from pathlib import Path

import torch
from torch.nn import functional as F


@functools.cache
def speed(device):
    """Operations per second of a convolution on a device: the best of a tenth of a second, as others may be at work."""
    x, weight = torch.ones(8, 128, 128, device=device), torch.ones(256, 128, 5, device=device)
    start, best = time.perf_counter(), math.inf
    with torch.no_grad():
        while time.perf_counter() - start < 0.1 or best == math.inf:
            F.conv1d(x, weight)[0, 0, 0].item()  # the first one warms up; `item` waits for a GPU
            begin = time.perf_counter()
            y = F.conv1d(x, weight)
            y[0, 0, 0].item()
            best = min(best, time.perf_counter() - begin)
    return 2 * y.numel() * weight[0].numel() / best


def free_memory(device, root=Path("/")):
    """Bytes that this process can still have on a device; infinity where the system does not tell.

    root   folder in which the system's files lie
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = [_free_of_machine(root), *_free_of_groups(root)]
    return min(free)


def _free_of_machine(root):
    meminfo = root / "proc" / "meminfo"
    if meminfo.is_file():
        sizes = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        if "MemAvailable" in sizes:
            return 1024 * int(sizes["MemAvailable"].split()[0])
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):  # no Windows; all memory, as free memory is not told
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return math.inf


def _free_of_groups(root):
    """What is left of the limits of the control groups (versions 1 and 2) of this process: containers, batch jobs."""
    listing = root / "proc" / "self" / "cgroup"
    for line in listing.read_text().splitlines() if listing.is_file() else []:
        _, controllers, path = line.split(":", 2)
        top = root / "sys" / "fs" / "cgroup"
        if controllers == "":
            limit, used, reclaimable = "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top /= "memory"
            limit, used, reclaimable = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        own = top / path.strip("/")
        for group in [own, *own.parents]:
            if (group / limit).is_file() and (text := (group / limit).read_text().strip()) != "max":
                cached = dict(row.split() for row in (group / "memory.stat").read_text().splitlines())
                yield int(text) - int((group / used).read_text()) + int(cached.get(reclaimable, 0))
            if group == top:
                break
