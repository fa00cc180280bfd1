"""Does a generator copy? Generated series must not be nearer to train than fresh ones are (arXiv 2004.05675)."""

import torch

BATCH = 64  # series at a time, against all of train


def nearest_train(generated, test, train):
    """P(d(generated, train) < d(test, train)) plus half of the ties; d: to the nearest train series, Euclidean.

    Series (n, C, L), scaled. 0.5 is ideal, 1 a copy; above 0.6 look at samples beside their nearest train series.
    Distances are summed from differences, not from products, so that those of copies are 0.
    """
    of_generated, of_test = (nearest_distances(x, train) for x in (generated, test))
    ordered = of_test.sort().values
    nearer = torch.searchsorted(ordered, of_generated, right=True)  # test series at most as far
    strictly = torch.searchsorted(ordered, of_generated, right=False)
    return 1 - ((nearer + strictly).double().mean() / 2 / len(ordered)).item()


def nearest_distances(x, train):
    """Euclidean distance of each series x (n, C, L) to the nearest one of train: (n,) float64."""
    train = train.flatten(1).double()
    exact = dict(compute_mode="donot_use_mm_for_euclid_dist")
    return torch.cat([torch.cdist(b.flatten(1).double(), train, **exact).amin(dim=1) for b in x.split(BATCH)])
