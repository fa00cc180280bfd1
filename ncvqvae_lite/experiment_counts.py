"""Operations and memory of a training step of each network, counted without computing anything.

The forward pass runs once on meta tensors, which have shapes and no values: convolutions and matrix products are
counted, and the memory of the tensors that are alive is added up. A backward pass takes twice the operations.
"""

import functools
import weakref
from typing import NamedTuple

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .experiment_samples import LOGITS, logits_batch
from .experiment_tokenizer import branch_of, new_tokenizer
from .fcn import FCN
from .names import METHODS
from .prior import MaskGIT, prior_loss
from .tokenizer import naive_loss, non_contrastive_loss

FLOAT = 4  # bytes
STATE = 4  # values for each weight: itself, its gradient and AdamW's two averages


class Shape(NamedTuple):
    """Sizes of a TimeSeriesDataset: everything of it that counts."""

    n_train: int
    n_test: int
    channels: int
    length: int
    n_classes: int

    @classmethod
    def of(cls, ds):
        return cls(len(ds.x_train), len(ds.x_test), ds.channels, ds.length, ds.n_classes)


class Count(NamedTuple):
    operations: int  # multiplications and additions of the forward pass
    memory: int  # bytes at most


@functools.cache
def count_fcn(shape, batch_size):
    """One training step of the classifier."""
    with torch.device("meta"):
        fcn = FCN(shape.n_classes, channels=shape.channels)
        x, y = torch.empty(batch_size, shape.channels, shape.length), torch.empty(batch_size, dtype=torch.int64)
        return count(lambda: F.cross_entropy(fcn(x), y), fcn)


@functools.cache
def count_tokenizer(cfg, shape):
    """One training step of the tokenizer; a registered loss is not called, as it may need values."""
    with torch.device("meta"):
        x = torch.empty(min(cfg.batch_size, shape.n_train), shape.channels, shape.length)
        tokenizer = new_tokenizer(cfg, shape)
        tokenizer.quantizer.needs_init = False
        if METHODS[cfg.method].loss is None:
            return count(lambda: naive_loss(tokenizer, x), tokenizer)
        branch = branch_of(cfg, "meta")
        networks = tokenizer, branch.projector, lambda a, b: (a * b).sum()
        return count(lambda: non_contrastive_loss(*networks, x, x, **branch.options), tokenizer, branch.projector)


@functools.cache
def count_prior(cfg, shape, batch_size):
    """One training step of the prior on so many series; and the sampling of one series, drawn in batches."""
    with torch.device("meta"):
        tokenizer = new_tokenizer(cfg, shape)
        n_tokens, codes = tokenizer.n_tokens, tokenizer.codebook_size
        size = dict(dim=cfg.prior_dim, width=cfg.prior_width, depth=cfg.prior_depth, heads=cfg.prior_heads)
        prior = MaskGIT(n_tokens, codes, shape.n_classes, cfg.head, cfg.extra_positions, **size)

        def batch(n):
            tokens = torch.empty(n, n_tokens, dtype=torch.int64)
            return tokens, torch.empty(n, dtype=torch.int64), torch.empty(n, n_tokens, dtype=torch.bool)

        arguments = batch(batch_size)
        step = count(lambda: prior_loss(prior, *arguments), prior)
        n = logits_batch(256, n_tokens, codes)
        tokens, classes, _ = batch(n)
        with torch.no_grad():
            forward = count(lambda: prior(tokens, classes), prior)
    kept = min(LOGITS, (shape.n_train + shape.n_test) * n_tokens * codes)
    drawn = min(cfg.prior_batch_size, shape.n_train) * n_tokens * codes
    step = step._replace(memory=step.memory + FLOAT * (2 * kept + 3 * drawn))
    passes = min(cfg.decoding_steps, n_tokens) * (1 if cfg.guidance == 1.0 else 2)
    return step, Count(forward.operations / n * passes, forward.memory + 4 * FLOAT * n * n_tokens * codes)


def count(step, *networks):
    """What a step needs, from a call of its forward pass on meta tensors."""
    with _Counting() as counting:
        loss = step()
    weights = sum(p.numel() for network in networks for p in network.parameters())
    del loss
    # the backward pass holds the gradients of two tensors beside what the forward pass has kept
    backward = 2 * counting.largest if torch.is_grad_enabled() else 0
    return Count(counting.operations, counting.peak + backward + STATE * FLOAT * weights)


class _Counting(TorchDispatchMode):
    """Counts the operations of convolutions and matrix products, and the memory of the tensors that are alive."""

    def __init__(self):
        super().__init__()
        self.operations = self.alive = self.peak = self.largest = 0
        self.storages = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        aten = torch.ops.aten
        if func is aten.convolution.default:
            transposed, weight = args[6], args[1]
            self.operations += 2 * (args[0] if transposed else result).numel() * weight[0].numel()
        elif func in (aten.mm.default, aten.bmm.default, aten.addmm.default):
            self.operations += 2 * result.numel() * args[-2].shape[-1]
        for tensor in tree_leaves(result):
            if torch.is_tensor(tensor):
                self._hold(tensor.untyped_storage())
        return result

    def _hold(self, storage):
        key, size = storage._cdata, storage.nbytes()
        if key not in self.storages:
            self.storages.add(key)
            self.alive += size
            self.peak, self.largest = max(self.peak, self.alive), max(self.largest, size)
            weakref.finalize(storage, self._release, key, size)

    def _release(self, key, size):
        self.storages.discard(key)
        self.alive -= size
