"""A network over many series: in eval mode, without gradients, a batch at a time."""

import functools
from contextlib import contextmanager

import torch

from .shapes import Shaped, Tensor

LONG = 4096  # steps: of longer series, fewer make a batch, so that no batch needs more memory than these do


def fitting(batch_size, length):
    """How many series of so many steps make a batch, at most `batch_size`, and at least one."""
    return max(1, min(batch_size, batch_size * LONG // length))


@contextmanager
def eval_mode(net):
    """Within the block the net and all its parts are in eval mode; after it, each part is in the mode it was in."""
    modes = [(part, part.training) for part in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def in_eval_mode(method):
    """Decorate a method of a net: it computes in eval mode, moves no statistics, and leaves each part's mode as is."""

    @functools.wraps(method)
    def wrapped(net, *args, **kwargs):
        with eval_mode(net):
            return method(net, *args, **kwargs)

    return wrapped


def batched(fn, x: Shaped[Tensor, "n ..."], batch_size=64) -> Shaped[Tensor, "n ..."]:
    """Run a net over many series, in eval mode, without gradient, a batch at a time; its mode is restored afterwards.

    fn   a net or a method of one that maps (B, C, L) to (B, ...): `fcn`, `fcn.features`, `tokenizer.features`
    x    (n, C, L); each batch is moved to the device of the net, what comes of it to that of x. Batches of 64 keep the
         activations in a CPU's cache: faster there than 512; series of more than LONG steps come in smaller ones
    """
    net = getattr(fn, "__self__", fn)
    device = next((p.device for p in net.parameters()), x.device)
    length = getattr(net, "length", x.shape[-1])  # x may be tokens
    batches = x.split(fitting(batch_size, length))
    with eval_mode(net), torch.no_grad():
        return torch.cat([fn(batch.to(device)).to(x.device) for batch in batches])
