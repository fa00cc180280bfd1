"""What generated features miss of real ones, and what they have that is like nothing real."""

from typing import NamedTuple

import torch

from ..errors import BadInput

MOST = 1000  # points of each set


class Manifold(NamedTuple):
    """Shares of points in balls. Real against real gives about .85, .85, 1 and .97: print that beside.

    A point's ball reaches to its k-th nearest neighbour in its own set.
    """

    precision: float  # generated points inside any real ball, k = 3 (arXiv 1904.06991)
    recall: float  # real points inside any generated ball, k = 3
    density: float  # mean number of real balls around a generated point, over k = 5 (arXiv 2002.09797)
    coverage: float  # real balls with a generated point inside, k = 5


def manifold(real, generated, seed=0):
    """Features (n, D) of real and of generated series -> Manifold, on equal numbers of at most 1,000 of each.

    raises  BadInput for fewer than 7 of either, or unequal D
    """
    real, generated = (torch.as_tensor(x).double().cpu() for x in (real, generated))
    if min(len(real), len(generated)) < 7 or real.shape[1:] != generated.shape[1:]:
        raise BadInput(
            f"expected two sets of 7 points or more, alike, got {tuple(real.shape)}, {tuple(generated.shape)}"
        )
    n, generator = min(len(real), len(generated), MOST), torch.Generator().manual_seed(seed)
    real, generated = (x[torch.randperm(len(x), generator=generator)[:n]] for x in (real, generated))
    across = torch.cdist(real, generated)  # (real, generated)
    of_real, of_generated = (torch.cdist(x, x).sort(dim=1).values for x in (real, generated))  # column 0: itself
    wide = across <= of_real[:, 5, None]
    return Manifold(
        precision=(across <= of_real[:, 3, None]).any(dim=0).double().mean().item(),
        recall=(across <= of_generated[:, 3]).any(dim=1).double().mean().item(),
        density=wide.double().sum(dim=0).mean().item() / 5,
        coverage=wide.any(dim=1).double().mean().item(),
    )
