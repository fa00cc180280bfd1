"""What the tests of the family share."""

import torch


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def made(kind, *arguments):
    """A module with the same weights every time, whatever was drawn before."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return kind(*arguments)
