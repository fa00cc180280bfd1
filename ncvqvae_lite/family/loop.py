"""One loop for systems without a pair of views: a loss of one batch, by AdamW."""

import torch

from ..arguments import checked, count, count_from_0, function, not_negative
from ..arguments_tensors import floats, integers, parameter_of, source
from ..errors import BadInput
from ..numerics import training_numerics
from ..shapes import ArrayLike, Shaped
from .common import batches, one_number


@checked(loss=function, steps=count_from_0, batch=count, lr=not_negative, weight_decay=not_negative)
def learn(
    module, loss, x: Shaped[ArrayLike, "n ..."], *, steps, batch, lr, g, weight_decay=0.01, after=None
) -> list[float]:
    """Train a module by what a loss says of each batch.

    module   its parameters are trained, but for those that need no gradient
    loss     (x (batch, ...), g) -> scalar tensor
    x        (n, ...) series or rows, NaN allowed where the loss knows what to do with it; (n,) row numbers, where the
             loss looks up the rest
    batch    series a step, 1 to n; each pass has a new random order, whose last, incomplete batch is left out
    g        of the order and of what the loss draws, on the device of x
    after    called without arguments after each step
    returns  the loss of each step; the module is left in eval mode
    raises   BadInput for other arguments; TrainingDiverged when the loss is NaN or infinite
    """
    like = x if isinstance(x, torch.Tensor) else torch.empty(0)
    x = integers(x, "numbers of rows", like) if getattr(x, "ndim", 0) == 1 else floats(x, "x")
    device = parameter_of(module, "module").device
    g, n = source(g, x), len(x)
    if batch > n:
        raise BadInput(f"batch must be at most the number of series, {n}, got {batch}: lower it")
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer, history = torch.optim.AdamW(trained, lr=lr, weight_decay=weight_decay), []
    module.train()
    with training_numerics(device):
        for step, rows in enumerate(batches(n, batch, steps, x.device, g)):
            value = loss(x[rows], g)
            history.append(one_number(value, step))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if after is not None:
                after()
    module.eval()
    return history
