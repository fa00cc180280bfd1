"""Precision: sums that stay in full fp32, and matrix products that may run in bf16.

The networks' matrix products and convolutions may run in a faster format (TF32 on a GPU, bf16 anywhere). Distances to
codes, whitening, covariances and Gram matrices may not: they subtract large numbers from each other.
"""

import contextlib
import ctypes
import functools
import sys

import torch

from .arguments import choice

PRECISIONS = ("fp32", "bf16")
precision_name = choice("precision", PRECISIONS)


def fast_matmul(precision, device_type):
    """Context for the networks' forward pass: bf16 products when `precision` is "bf16", else fp32 (TF32 on a GPU)."""
    if precision == "fp32":
        return contextlib.nullcontext()
    # The cache of cast weights must not outlive a captured graph, so it is used on the CPU only.
    return torch.autocast(device_type, dtype=torch.bfloat16, cache_enabled=device_type == "cpu")


def keep_freed_memory():
    """Let the C library keep the memory of freed tensors for the next step (Linux with glibc; elsewhere no effect).

    By default a large freed tensor goes back to the system, and its pages are fetched and zeroed anew at every step: up
    to a quarter of a step's time. The price: the process holds on to its peak memory. No number changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD: blocks below 1 GiB come from the heap
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD: the heap keeps up to 2 GiB of free memory


@contextlib.contextmanager
def training_numerics(device):
    """TF32 products on a GPU; on a CPU memory is kept, denormals are flushed (decaying codes pass through them)."""
    if device.type == "cpu":
        keep_freed_memory()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else "highest")
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def full_precision(fn):
    """Decorate a function of tensors so that it computes in fp32 (or float64, when given it), whatever the context.

    bf16 arguments are widened to fp32; autocast is off and, on a GPU, TF32 products are off inside. The gradient's
    products run in whatever format the backward pass has (TF32 on a GPU): they subtract nothing large.
    """

    @functools.wraps(fn)
    def wrapped(*args, **kwargs):
        args = [_widened(value) for value in args]
        kwargs = {name: _widened(value) for name, value in kwargs.items()}
        devices = [v.device.type for v in [*args, *kwargs.values()] if torch.is_tensor(v)]
        device_type = next((name for name in devices if name != "meta"), "cpu")  # autocast knows no meta tensors
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            with torch.autocast(device_type, enabled=False):
                return fn(*args, **kwargs)
        finally:
            torch.set_float32_matmul_precision(before)

    return wrapped


def _widened(value):
    return value.float() if torch.is_tensor(value) and value.dtype in (torch.bfloat16, torch.float16) else value
