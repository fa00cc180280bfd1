"""The fully convolutional network (FCN) that judges generated series, and its weight files.

Z. Wang, W. Yan, T. Oates, "Time series classification from scratch with deep neural networks", arXiv 1611.06455.
Its pooled 128-d features give the FID, its class probabilities the Inception score (thesis, Mathisen 2024).
"""

import json

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import nn

from .arguments import checked, integer, path, three_counts
from .arguments_tensors import finite, series_for
from .errors import BadInput, NotFound
from .files import atomic, writing_to
from .inference import batched, eval_mode, in_eval_mode  # noqa: F401 (the first two: used beside an FCN everywhere)
from .shapes import ArrayLike, Float, Tensor

FEATURE_DIM = 128


class FCN(nn.Module):
    """Three blocks of convolution, batch norm and ReLU; the mean over time; a linear layer to class logits.

    n_classes   k, number of classes, at least 2
    channels    C, number of channels of a series
    dilation    steps between the taps of each convolution. A feature sees 1 + 7 d1 + 4 d2 + 2 d3 steps: 14 as published
    Series are x (B, C, L), scaled as for training, of any length L. `features` and `probabilities` compute in eval mode
    whatever the mode of the net, which stays as it is. The net itself, called, is in its own mode: in train mode the
    batch norms use, and learn, the statistics of the batch. `FCN.load` returns a net in eval mode.
    raises      BadInput for fewer than 2 classes, fewer than 1 channel, other dilations than three whole numbers of 1
                or more, x of another shape; `features` and `probabilities` for NaN too
    """

    @checked(n_classes=integer, channels=integer, dilation=three_counts)
    def __init__(self, n_classes, *, channels=1, dilation=(1, 1, 1)):
        super().__init__()
        if n_classes < 2 or channels < 1:
            raise BadInput(f"an FCN needs 2 or more classes and 1 or more channels, got {n_classes}, {channels}")
        self.dilation = d1, d2, d3 = dilation
        # "Same" padding. An even kernel needs one zero (d1 zeros) more on one side: `features` adds it on the right.
        self.conv1 = nn.Conv1d(channels, 128, kernel_size=8, padding=3 * d1, dilation=d1)
        self.norm1 = nn.BatchNorm1d(128)
        self.conv2 = nn.Conv1d(128, 256, kernel_size=5, padding=2 * d2, dilation=d2)
        self.norm2 = nn.BatchNorm1d(256)
        self.conv3 = nn.Conv1d(256, FEATURE_DIM, kernel_size=3, padding=d3, dilation=d3)
        self.norm3 = nn.BatchNorm1d(FEATURE_DIM)
        self.head = nn.Linear(FEATURE_DIM, n_classes)

    @property
    def channels(self):
        return self.conv1.in_channels

    @property
    def n_classes(self):
        return self.head.out_features

    @in_eval_mode
    def features(self, x: Float[ArrayLike, "B C L"]) -> Float[Tensor, "B 128"]:
        """The last feature maps, averaged over time. FID compares these."""
        return self.pooled(finite(self._series(x), "series"))

    @in_eval_mode
    def probabilities(self, x: Float[ArrayLike, "B C L"]) -> Float[Tensor, "B k"]:
        """Class probabilities. The Inception score is computed from these."""
        return self(finite(self._series(x), "series")).softmax(dim=-1)

    def forward(self, x: Float[ArrayLike, "B C L"]) -> Float[Tensor, "B k"]:
        """Class logits."""
        return self.head(self.pooled(x))

    def _series(self, x):
        return series_for(self.head.weight, self.channels, None, x)

    def pooled(self, x: Float[ArrayLike, "B C L"]) -> Float[Tensor, "B 128"]:
        """`features` in the net's own mode; looks at no value."""
        x = self._series(x)
        x = F.pad(x, (0, self.dilation[0]))  # (B, C, L + d1); with conv1's padding 3 d1 zeros on the left, 4 d1 right
        x = F.relu(self.norm1(self.conv1(x)))  # (B, 128, L)
        x = F.relu(self.norm2(self.conv2(x)))  # (B, 256, L)
        x = F.relu(self.norm3(self.conv3(x)))  # (B, 128, L)
        return x.mean(dim=-1)

    def save(self, file):
        """Write the weights as safetensors, whole or not at all; folders on the way are made. Dilations go along.

        raises   RunFolderError if the file cannot be written
        """
        tensors = {name: t.cpu().contiguous() for name, t in self.state_dict().items() if is_weight(name)}
        metadata = None if self.dilation == (1, 1, 1) else {"dilation": json.dumps(self.dilation)}
        file = path(file, "file")
        with writing_to(file.parent), atomic(file, "wb") as stream:
            stream.write(safetensors.save(tensors, metadata))

    @classmethod
    def load(cls, file):
        """Read weights that `save` wrote -> a net on the CPU, in eval mode.

        The numbers of channels and classes come from the tensors, the dilations from beside them (1 where none stand).
        raises   NotFound if there is no such file; BadInput if it is no safetensors file or holds another net
        """
        file = path(file, "file")
        if not file.is_file():
            raise NotFound(f"no FCN weights at {file}: expected a .safetensors file; `ncvqvae fcn import` makes one")
        try:
            tensors = safetensors.load(content := file.read_bytes())
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            dilation = json.loads(header.get("__metadata__", {}).get("dilation", "[1, 1, 1]"))
        except (SafetensorError, json.JSONDecodeError) as error:
            advice = "convert a checkpoint with `ncvqvae fcn import`, or fetch the file again"
            raise BadInput(f"{file} is not a readable safetensors file ({error}): {advice}") from error
        return net_of_tensors(tensors, file, dilation)


def is_weight(name):
    """Batch norm's count of training steps is left out of weight files: nothing is computed from it."""
    return not name.endswith("num_batches_tracked")


def net_of_tensors(tensors, origin, dilation=(1, 1, 1)):
    """An eval-mode FCN with these weights, after checking that they are exactly an FCN's and all finite."""
    first, last = tensors.get("conv1.weight"), tensors.get("head.weight")
    if first is None or first.ndim != 3 or last is None or last.ndim != 2 or last.shape[0] < 2:
        raise BadInput(f"{origin} holds no FCN: expected tensors conv1.weight (128, C, 8), …, head.weight (k, 128)")
    with torch.random.fork_rng(devices=[]):  # the weights drawn here are overwritten: leave the caller's stream alone
        net = FCN(n_classes=last.shape[0], channels=first.shape[1], dilation=dilation)
    expected = {name: tuple(t.shape) for name, t in net.state_dict().items() if is_weight(name)}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            want, got = expected.get(name, "no such tensor"), found.get(name, "none")
            raise BadInput(f"{origin} holds another net than this FCN: {name} should be {want}, found {got}")
        if not (tensors[name].is_floating_point() and tensors[name].isfinite().all()):
            raise BadInput(f"{origin} holds NaN, infinite or integer values in {name}: fetch or train it again")
    net.load_state_dict(tensors, strict=False)  # only the counts of training steps are missing: checked above
    return net.eval()
