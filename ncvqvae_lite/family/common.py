"""Common ground of all systems: a small encoder, and one loop that trains it on pairs of views.

SimCLR's recipe (arXiv 2002.05709), for series: a projector behind the encoder while it learns, thrown away after; then
a linear probe on the frozen features, or fine-tuning. Those are in `scores` and `few`, and can be imported from here.
"""

import math
from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

from ..arguments import checked, count, count_from_0, function_of, integer, not_negative, shown
from ..arguments_tensors import finite, floats, integers, parameter_of, series_for, source
from ..errors import BadInput, TrainingDiverged
from ..numerics import training_numerics
from ..shapes import ArrayLike, Float, Shaped, Tensor
from .few import accuracy, few_labels, fine_tune, from_scratch
from .scores import (
    alignment,
    class_separation,
    density_score,
    effective_rank,
    farthest_hubs,
    knn_probe,
    linear_probe,
    mean_correlation,
    neighbours,
    precision_at,
    rank_auc,
    standard_error,
    uniformity,
)

__all__ = [
    "ResNet1d", "accuracy", "alignment", "class_separation", "density_score", "effective_rank", "farthest_hubs",
    "few_labels", "fine_tune", "from_scratch", "knn_probe", "linear_probe", "mean_correlation", "neighbours",
    "precision_at", "pretrain", "rank_auc", "standard_error", "uniformity", "with_projector",
]  # fmt: skip

# --- networks ---


class ResNet1d(nn.Module):
    """Series (B, C, L) -> features h (B, 64), by 57,000 weights.

    Convolution of 7 steps and stride 2 to 32 channels, BatchNorm, ReLU; residual blocks of 32, 64 and 64 channels, the
    latter two of stride 2; mean over time.
    """

    @checked(channels=count)
    def __init__(self, channels=1):
        super().__init__()
        self.channels = channels
        self.stem = nn.Sequential(
            nn.Conv1d(channels, 32, 7, stride=2, padding=3, bias=False), nn.BatchNorm1d(32), nn.ReLU()
        )
        self.blocks = nn.Sequential(_Residual(32, 32, 1), _Residual(32, 64, 2), _Residual(64, 64, 2))

    def forward(self, x: Float[ArrayLike, "B C L"]) -> Float[Tensor, "B 64"]:
        x = series_for(self.stem[0].weight, self.channels, None, x)
        return self.blocks(self.stem(x)).mean(dim=2)  # (B, 64, L / 8) -> (B, 64)


class _Residual(nn.Module):
    """ReLU(f(x) + W x): f two convolutions of 3 steps with BatchNorm, the first with the stride; W of one step."""

    def __init__(self, width_in, width, stride):
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv1d(width_in, width, 3, stride, padding=1, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1, bias=False), nn.BatchNorm1d(width),
        )  # fmt: skip
        self.skip = nn.Conv1d(width_in, width, 1, stride, bias=False)

    def forward(self, x):
        return F.relu(self.f(x) + self.skip(x))


def with_projector(encoder, *widths):
    """An encoder and behind it a projector: `net.encoder(x)` is h, `net(x)` is z.

    widths   of h, of what follows it, of z: 64, 128, 64 is Linear, BatchNorm, ReLU, Linear (for VICReg and Barlow Twins
             64, 256, 256, 256)
    """
    sizes = [integer(width, "a width of the projector", low=1) for width in widths]
    if len(sizes) < 2:
        raise BadInput(f"a projector needs the widths of h and of z at least, got {shown(tuple(widths))}: give both")
    layers = []
    for i in range(len(sizes) - 2):
        layers += [nn.Linear(sizes[i], sizes[i + 1]), nn.BatchNorm1d(sizes[i + 1]), nn.ReLU()]
    projector = nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))
    return nn.Sequential(OrderedDict(encoder=encoder, projector=projector))


# --- the loop ---


@checked(views=function_of(2), loss=function_of(2), steps=count_from_0, batch=count, lr=not_negative)
def pretrain(net, views, loss, x: Shaped[ArrayLike, "n ..."], *, steps, batch, lr, g, slow=None) -> list[float]:
    """Train a network so that the views of a series agree, and whatever else the loss asks for; by Adam.

    net      module that maps a view to z (B, D); each view passes alone, so that its batch statistics are its own
    views    (x (batch, ...), g) -> (a, b), two views of each
    loss     (z_a, z_b) -> scalar tensor; the parameters of a module are trained along
    x        (n, C, L) series or (n, D) rows, without gaps; or (n,) numbers of rows, where the views look up the rest
    batch    series a step, 2 or more; each pass has a new random order, whose last, incomplete batch is left out
    g        of the order and the views, on the device of x
    slow     `contrast.Momentum`: it embeds view b in place of the network, and follows it after each step
    returns  the loss of each step; the network is left in eval mode
    raises   BadInput for other arguments; TrainingDiverged when the loss is NaN or infinite
    """
    x, device = _rows(x), parameter_of(net, "net").device
    g, n = source(g, x), len(x)
    if not 2 <= batch <= n:
        raise BadInput(f"batch must be from 2 to the number of series, {n}, got {batch}: change it")
    trained = [*net.parameters(), *(loss.parameters() if isinstance(loss, nn.Module) else ())]
    optimizer, history = torch.optim.Adam(trained, lr=lr), []
    net.train()
    with training_numerics(device):
        for step, rows in enumerate(batches(n, batch, steps, x.device, g)):
            a, b = views(x[rows], g)
            value = loss(net(a), net(b) if slow is None else slow(b))
            history.append(one_number(value, step))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if slow is not None:
                slow.follow(net)
    net.eval()
    return history


def _rows(x):
    """What is learned from: finite rows (n, ...), or their numbers (n,), as a tensor."""
    if getattr(x, "ndim", 0) == 1:
        return integers(x, "numbers of rows", x if isinstance(x, torch.Tensor) else torch.empty(0))
    x = floats(x, "x")
    if x.is_meta or x.ndim < 2 or 0 in x.shape:
        raise BadInput(f"expected series (n, C, L), rows (n, D) or numbers of rows (n,), got {tuple(x.shape)}")
    return finite(x, "x")


def batches(n, batch, steps, device, g):
    """Row numbers (batch,) for each of so many steps."""
    in_a_pass = n // batch
    for step in range(steps):
        place = step % in_a_pass * batch
        if place == 0:
            order = torch.randperm(n, generator=g, device=device)
        yield order[place : place + batch]


def one_number(value, step):
    """A loss as a float; raises BadInput unless it is one number, TrainingDiverged unless it is finite."""
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        raise BadInput(
            f"a loss must return one number as a tensor, got {shown(value)}: return its sum, as in "
            "lambda a, b: vicreg(a, b).total"
        )
    number = value.item()
    if not math.isfinite(number):
        raise TrainingDiverged(f"the loss is {number} at step {step}: lower lr, or look at the views")
    return number
