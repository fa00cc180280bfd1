"""A toy training on the step engine, and what is asked of trainings: equal to the bit, resumed, never waiting."""

from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ncvqvae_lite.training_engine import StepEngine
from ncvqvae_lite.training_optim import Optim

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class ToyLoss(NamedTuple):
    total: torch.Tensor
    size: torch.Tensor


def toy_engine(n=17, noise=0.1, wrap_loss=lambda terms: terms, seed=0, device="cpu", settings=None, **optim):
    """Least squares with a small network and noisy inputs, in batches of 5; `batches` keeps what was drawn.

    settings  of StepEngine
    """
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(n, dim, generator=generator).to(device) for dim in (3, 1))
    with torch.random.fork_rng():
        torch.manual_seed(2)
        net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).to(device)
    batches = []

    def draw(index, rng):
        batches.append((x[index] + noise * torch.randn(len(index), 3, generator=rng, device=device), y[index]))
        return batches[-1]

    def loss(inputs, targets, _):
        return wrap_loss(ToyLoss(F.mse_loss(net(inputs), targets), inputs.square().mean()))

    optim = Optim(epochs=4, batch_size=5, lr=0.05, weight_decay=0.01).changed(**optim)
    engine = StepEngine(net, draw, loss, terms=ToyLoss._fields, n=n, optim=optim, seed=seed, **settings or {})
    engine.batches = batches
    return engine


def flat(state, prefix=""):
    """Nested dict and lists of tensors -> {path: tensor}."""
    if torch.is_tensor(state):
        return {prefix: state}
    items = state.items() if isinstance(state, dict) else enumerate(state)
    return {path: value for name, part in items for path, value in flat(part, f"{prefix}/{name}").items()}


def assert_equal_to_the_bit(one, other):
    one, other = flat(one.state()), flat(other.state())
    assert one.keys() == other.keys()
    for path, value in one.items():
        assert torch.equal(value.nan_to_num(nan=-7), other[path].nan_to_num(nan=-7)), path


class Interrupted(Exception):
    pass


def interrupted_run(build, checkpoint, stop_at):
    """A run cut off in on_epoch(stop_at), then resumed by a fresh engine -> engine, history, epochs of on_epoch."""

    def on_epoch(epoch, stop_at=None):
        called.append(epoch)
        if epoch == stop_at:
            raise Interrupted
        return {"evaluated": 10 * epoch} if epoch % 2 == 0 else None

    called = []
    with pytest.raises(Interrupted):
        build().run(checkpoint=checkpoint, checkpoint_seconds=0, on_epoch=lambda epoch: on_epoch(epoch, stop_at))
    called.clear()
    engine = build()
    return engine, engine.run(checkpoint=checkpoint, checkpoint_seconds=0, on_epoch=on_epoch), list(called)


# --- what a CUDA graph can hold ---


class HostSync(Exception):
    """An operation that a CUDA graph cannot hold."""


class _OnlyDeviceOps(TorchDispatchMode):
    """Refuse operations that give the host a value, whose shapes depend on values, or that take data from the host."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations.append(str(func))
        aten = torch.ops.aten
        if func in (aten.index.Tensor, aten.index_put.default, aten.index_put_.default):
            if any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]):
                raise HostSync(f"{func} with a mask")
        elif {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags):
            raise HostSync(str(func))
        elif func is aten.lift_fresh.default:
            raise HostSync("a tensor made from Python numbers is copied from the host")
        return func(*args, **(kwargs or {}))


class _OnlyDeviceCalls(TorchFunctionMode):
    """Refuse the calls that read a tensor without an operation."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.cpu, torch.Tensor.__array__):
            raise HostSync(func.__name__)
        return func(*args, **(kwargs or {}))


def operations_of(engine, size):
    """One step on `size` series under both watches -> names of the operations that ran; raises HostSync."""
    index = torch.arange(size)
    with _OnlyDeviceCalls(), _OnlyDeviceOps() as watch:
        engine.step(index)
    return watch.operations
