"""Tasks whose answers are known without labels: which flip, which order of segments, what another channel does.

For images these were rotation (arXiv 1803.07728), jigsaw (1603.09246) and colourisation (1603.08511). A task is a
function (x (B, C, L), g) -> (what the encoder sees, the answer); a `Pretext` learns it. `ttt_predict` (test-time
training) goes on with such a task, or another loss without labels, on the series to be classified (arXiv 1909.13231).

    model = Pretext(ResNet1d(), flips, 4)         learn(model, model.loss, x, steps=200, batch=64, lr=1e-3, g=g)
"""

import itertools

import torch
from torch import nn
from torch.nn import functional as F

from ..arguments import checked, count, count_from_0, function, not_negative
from ..arguments_tensors import a_split, parameter_of, source
from ..errors import BadInput
from ..inference import batched, eval_mode
from ..shapes import ArrayLike, Float, Int, Shaped, Tensor
from .views import clean

FLIPS = 4  # answers of `flips`
SEGMENTS = 4
ORDERS = torch.tensor(list(itertools.permutations(range(SEGMENTS))))  # (24, 4), answers of `segments`; the first: as is


# --- tasks ---


@checked(x=a_split)
def flipped(x: Float[Tensor, "B C L"], which: Int[Tensor, " B"]) -> Float[Tensor, "B C L"]:
    """Series, of each the flip `which`: 0 none, 1 of time, 2 of sign, 3 of both; no look at values."""
    which = which[:, None, None]
    x = torch.where(which % 2 == 1, x.flip(2), x)
    return torch.where(which >= 2, -x, x)


def flips(x: Float[ArrayLike, "B C L"], g) -> tuple[Float[Tensor, "B C L"], Int[Tensor, " B"]]:
    """Which of the four flips each series has: (flipped series, 0..3), drawn evenly."""
    x = a_split(x, "series")
    which = torch.randint(FLIPS, (len(x),), generator=source(g, x), device=x.device)
    return flipped(x, which), which


@checked(x=clean)
def segments(x: Float[Tensor, "B C L"], g) -> tuple[Float[Tensor, "B C l"], Int[Tensor, " B"]]:
    """Series whose quarters are in one of 24 orders, and which: (reordered series, 0..23); a rest is cut.

    Segment k of what is seen is segment ORDERS[answer, k] of the series.
    """
    quarter = x.shape[2] // SEGMENTS
    if quarter == 0:
        raise BadInput(f"{SEGMENTS} segments need series of at least {SEGMENTS} steps, got {x.shape[2]}")
    which = torch.randint(len(ORDERS), (len(x),), generator=source(g, x), device=x.device)
    parts = x[..., : SEGMENTS * quarter].unflatten(2, (SEGMENTS, quarter))  # (B, C, 4, L / 4)
    order = ORDERS.to(x.device)[which][:, None, :, None].expand_as(parts)
    return parts.gather(2, order).flatten(2), which


@checked(channel=count_from_0)
def other_channels(channel):
    """The task of telling one channel from the others: (x, g) -> ((B, C - 1, L), (B, L)); C at least 2."""

    @checked(x=clean)
    def task(x, g=None):
        if x.shape[1] < 2 or channel >= x.shape[1]:
            raise BadInput(f"no channel {channel} beside others in series of {x.shape[1]}: take others")
        rest = [c for c in range(x.shape[1]) if c != channel]
        return x[:, rest], x[:, channel]

    return task


class Pretext(nn.Module):
    """An encoder (B, C, L) -> (B, D) and a linear head with so many outputs, which learn a task together.

    Answers that are whole numbers are classes (cross entropy, in nats), others are values (mean squared error).
    """

    @checked(task=function, outputs=count, dim=count)
    def __init__(self, encoder, task, outputs, dim=64):
        super().__init__()
        self.encoder, self.task, self.head = encoder, task, nn.Linear(dim, outputs)

    def forward(self, seen: Float[Tensor, "B C l"]) -> Float[Tensor, "B outputs"]:
        return self.head(self.encoder(seen))

    def loss(self, x: Float[ArrayLike, "B C L"], g) -> Float[Tensor, ""]:
        """What `learn` takes as loss; it refuses NaN."""
        seen, answer = self.task(clean(x, "series"), g)
        made = self(seen)
        return F.mse_loss(made, answer) if answer.is_floating_point() else F.cross_entropy(made, answer)

    def accuracy(self, x: Float[ArrayLike, "B C L"], *, g) -> float:
        """Share of series whose class is told, of one draw of the task; in eval mode."""
        seen, answer = self.task(x, g)
        return (batched(self, seen).argmax(dim=1) == answer).double().mean().item()


# --- the task on the test series ---


@checked(loss=function, predict=function, steps=count_from_0, lr=not_negative, batch=count)
def ttt_predict(
    model, loss, predict, x: Float[ArrayLike, "n C L"], *, g, steps=10, lr=0.01, batch=32
) -> Shaped[Tensor, "..."]:
    """Predictions (n, ...) for series, each batch by weights that have trained on it, without labels.

    For each batch: so many SGD steps on the loss, the prediction, and all weights and buffers as they were before.

    model     what is trained: `predict` and `loss` compute with it. It stays in eval mode, so that the statistics of
              BatchNorm are those of its training
    loss      (x (B, C, L), g) -> scalar; predict  (x (B, C, L)) -> (B, ...)
    """
    parameter_of(model, "model")
    x, g = clean(x, "series"), source(g, x)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made = []
    with eval_mode(model):
        for part in x.split(batch):
            try:
                optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)
                for _ in range(steps):
                    optimizer.zero_grad()
                    loss(part, g).backward()
                    optimizer.step()
                with torch.no_grad():
                    made.append(predict(part))
            finally:
                model.load_state_dict(before)
                model.zero_grad()
    return torch.cat(made)
