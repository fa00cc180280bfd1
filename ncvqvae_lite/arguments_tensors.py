"""Tensors, arrays and devices as arguments of public functions, by the rule of `arguments`: converted or refused.

Arrays and lists become tensors, whole numbers floats, float64 the type of the net that reads them: all harmless for
scaled series. `finite`, `series`, `whole_numbers` and what uses them look at values and wait for the device; the rest
looks at types and shapes alone, so that it may stand in a training step.
"""

import contextlib

import numpy as np
import torch

from .arguments import number, shown
from .errors import BadInput

# --- numbers in tensors ---


def floats(values, what, like=None) -> torch.Tensor:
    """Real numbers (a tensor, an array, lists of numbers) as a floating-point tensor.

    like   tensor whose type and device the result has, but under autocast halves stay halves; None: as it is, whole
           numbers as float32
    """
    x = values if isinstance(values, torch.Tensor) else _from_array(values, what)
    if x.is_complex() or x.dtype == torch.bool or not _is_plain(x, like):
        raise BadInput(f"{what}: expected real numbers as a tensor or an array, got {_kind(x)}: convert them")
    half = x.dtype in (torch.bfloat16, torch.float16) and torch.is_autocast_enabled(x.device.type)
    if like is not None and not half:
        return x.to(like.device, like.dtype)
    return x if x.is_floating_point() else x.float()


def integers(values, what, like) -> torch.Tensor:
    """Whole numbers as an int64 tensor on the device of `like`."""
    x = values if isinstance(values, torch.Tensor) else _from_array(values, what)
    if (x.is_floating_point() and x.numel()) or x.is_complex() or x.dtype == torch.bool or not _is_plain(x, like):
        found = shown(values) if isinstance(values, int | float) else _kind(x)
        raise BadInput(f"{what} must be whole numbers, got {found}")
    return x.to(like.device, torch.int64)


def _from_array(values, what) -> torch.Tensor:
    """A copy of numbers as a tensor of float32, float64 (of float64 and longer ones) or int64; gaps become NaN."""
    expected = f"{what}: expected real numbers as a tensor or an array"
    try:
        masked = isinstance(values, list | tuple) and any(isinstance(part, np.ma.MaskedArray) for part in values)
        array = np.ma.array(values) if masked else np.asanyarray(values)
        if isinstance(array, np.ma.MaskedArray):
            array = array.astype(np.float64).filled(np.nan)  # pyright: ignore[reportAttributeAccessIssue]  # numpy's types lose the mask here
    except (ValueError, TypeError, RuntimeError) as error:  # rows of unequal length, say
        reason = str(error).split("\n")[0].rstrip(".")[:100]
        raise BadInput(f"{expected}, got {shown(values)} ({reason}): convert them") from error
    if array.dtype.kind not in "iuf":
        kind = f"an array of {array.dtype}" if isinstance(values, np.ndarray) else shown(values)
        raise BadInput(f"{expected}, got {kind}: convert them")
    if array.dtype.kind == "f":
        return torch.from_numpy(np.array(array, dtype=np.float32 if array.itemsize <= 4 else np.float64))
    return torch.from_numpy(np.array(array, dtype=np.int64))


def _is_plain(x, like=None):
    """Whether x is strided and not quantised; a meta tensor x is refused only if `like` is given and has values."""
    return (
        x.layout == torch.strided and not x.is_quantized and not (x.is_meta and like is not None and not like.is_meta)
    )


def _kind(x):
    return f"a tensor of {str(x.dtype).removeprefix('torch.')}" + ("" if _is_plain(x) else " without plain values")


def finite(x, what) -> torch.Tensor:
    """The tensor x (n, ...), all of whose values must be finite; the first row that has others is named."""
    if not x.isfinite().all():
        bad = (~x.isfinite()).flatten(1).any(dim=1).nonzero()[:, 0]
        raise BadInput(f"{what}: NaN or infinite values in {len(bad)} of {len(x)} rows, the first is row {int(bad[0])}")
    return x


def whole_numbers(values, what, below, like) -> torch.Tensor:
    """Whole numbers from 0 to `below` - 1 as an int64 tensor on the device of `like`."""
    x = integers(values, what, like)
    low, high = (int(x.min()), int(x.max())) if x.numel() else (0, 0)
    if low < 0 or high >= below:
        raise BadInput(f"{what} run from {low} to {high}, expected 0 to {below - 1}")
    return x


def weight(value, name):
    """A factor: a number, or a tensor with one element, which may be learned."""
    return value if isinstance(value, torch.Tensor) and value.numel() == 1 else number(value, name)


# --- what nets and functions of series read ---


def any_series(values, name) -> torch.Tensor:
    """Series (B, C, L) of any size, without a look at their values."""
    x = floats(values, name)
    if x.ndim != 3 or 0 in x.shape:
        raise BadInput(f"expected series of shape (B, C, L), got {tuple(x.shape)}")
    return x


def a_split(values, name) -> torch.Tensor:
    """At least one series (n, C, L), without a look at their values."""
    x = floats(values, name)
    if x.is_meta:
        raise BadInput(f"{name}: expected series, got a tensor without values (of the device meta): give some")
    if x.ndim != 3 or 0 in x.shape:
        raise BadInput(f"expected at least one series, as (n, C, L), got {tuple(x.shape)}: pass a whole split")
    return x


def series_for(like, channels, length, values) -> torch.Tensor:
    """Series (B, C, L) for a net, a parameter of which is given, without a look at their values; length None: any."""
    x = floats(values, "series", like)
    if x.ndim != 3 or x.shape[1] != channels or x.shape[2] != (length or max(1, x.shape[2])):
        wanted = f"(B, {channels}, {length})" if length else f"of shape (B, {channels}, L)"
        raise BadInput(f"expected series {wanted}, got {tuple(x.shape)}: reshape them")
    return x


def finite_series(like, channels, length, values) -> torch.Tensor:
    """The same, at least one, and all finite."""
    x = series_for(like, channels, length, values)
    if len(x) == 0:
        raise BadInput(f"expected at least one series, got {tuple(x.shape)}: give some")
    return finite(x, "series")


def tokens_of(values, shape, codebook) -> torch.Tensor:
    """Tokens 0..K-1, at least one, int64, on the device of the codebook (K, D); a name in `shape` is any size."""
    tokens, dims = whole_numbers(values, "tokens", len(codebook), codebook), ", ".join(map(str, shape))
    fits = tokens.ndim == len(shape) and all(isinstance(w, str) or w == n for w, n in zip(shape, tokens.shape))
    if not fits or tokens.numel() == 0:
        raise BadInput(f"expected tokens ({dims}), got {tuple(tokens.shape)}: reshape or add some")
    return tokens


def latents(values, codebook) -> torch.Tensor:
    """Latents (B, D, F, W) for a codebook (K, D), without a look at their values."""
    z = floats(values, "latents", codebook)
    if z.ndim != 4 or z.shape[1] != codebook.shape[1] or 0 in z.shape:
        raise BadInput(f"expected latents of shape (B, D, F, W) with D = {codebook.shape[1]}, got {tuple(z.shape)}")
    return z


def pictures(values, what, layer, frames=1) -> torch.Tensor:
    """(B, channels, F, W), W at least `frames`, for a net whose first layer is given; no look at the values.

    In train mode there must be more than one position after `frames` frames became one: batch norms need statistics.
    """
    x = floats(values, what, layer.weight)
    if x.ndim != 4 or x.shape[1] != layer.in_channels or 0 in x.shape or x.shape[3] < frames:
        expected = f"(B, {layer.in_channels}, F, W), W at least {frames}"
        raise BadInput(f"expected {what} of shape {expected}, got {tuple(x.shape)}")
    if layer.training and len(x) * x.shape[2] * (x.shape[3] // frames) == 1:
        raise BadInput("a batch of one latent has no statistics to train with: use larger batches or a larger width")
    return x


def tokens_and_classes(tokens, classes, prior) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (B, N), classes (B,) for a prior, without a look at their values."""
    tokens, classes = integers(tokens, "tokens", prior.table), integers(classes, "classes", prior.table)
    if tokens.shape[1:] != (prior.n_tokens,) or classes.shape != tokens.shape[:1]:
        found = f"{tuple(tokens.shape)} and {tuple(classes.shape)}"
        raise BadInput(f"expected tokens (B, {prior.n_tokens}) and classes (B,), got {found}")
    return tokens, classes


def embedding(indices, table) -> torch.Tensor:
    """Rows of a table (M, D) by number; a number out of range is refused on a CPU only, where torch checks."""
    try:
        return torch.nn.functional.embedding(indices, table)
    except IndexError as error:  # on a CPU
        low, high = int(indices.min()), int(indices.max())
        raise BadInput(
            f"expected tokens or classes in 0..{len(table) - 1}, got {low} to {high}: correct them"
        ) from error


def shaped(values, what, like) -> torch.Tensor:
    """Numbers of the shape, type and device of another tensor."""
    x = floats(values, what, like)
    if x.shape != like.shape:
        raise BadInput(f"expected a {what} {tuple(like.shape)}, got {tuple(x.shape)}: make the sizes agree")
    return finite(x, what)


def rows_of(values, what, like, at_least=1) -> torch.Tensor:
    """(B, D) as many columns as `like` (D,) has entries, without a look at the values."""
    x = floats(values, what, like)
    if x.ndim != 2 or x.shape[1] != len(like):
        raise BadInput(f"{what}: expected shape (B, {len(like)}), got {tuple(x.shape)}")
    if len(x) < at_least:
        raise BadInput(f"{what}: expected a batch of at least {at_least} series to train, got {len(x)}")
    return x


def two_views(a, b) -> tuple[torch.Tensor, torch.Tensor]:
    """Projections of two views (B, D), B at least 2, without a look at their values."""
    a = floats(a, "first view")
    b = floats(b, "second view", like=a)
    if a.ndim != 2 or a.shape != b.shape or a.shape[1] == 0:
        raise BadInput(f"expected two views of one shape (B, D), got {tuple(a.shape)} and {tuple(b.shape)}")
    if len(a) < 2:
        raise BadInput(f"a loss between two views compares a batch of at least 2 series, got {len(a)}: give it more")
    return a, b


def labels(values, n, n_classes, like) -> torch.Tensor:
    """Labels (n,) from 0 to k - 1, one for each series."""
    y = whole_numbers(values, "labels", n_classes, like)
    if y.shape != (n,):
        raise BadInput(f"{n} series need labels of shape ({n},), got {tuple(y.shape)}")
    return y


def classes_of(wanted, n, n_classes, like) -> torch.Tensor:
    """Classes (n,) of n samples: for each its own, one for all, or None, which is `n_classes`."""
    if wanted is None:
        return torch.full((n,), n_classes, device=like.device)
    if isinstance(wanted, str):
        raise BadInput(f"class_index must be a number, got {wanted!r}: give its place in `class_names`")
    classes = integers(wanted, "class_index", like)
    if classes.ndim and classes.shape != (n,):
        raise BadInput(f"class_index must be one class or {n} of them, got shape {tuple(classes.shape)}")
    classes = classes.expand(n)
    others = classes[(classes < 0) | (classes >= n_classes)]
    if len(others):
        known = f"0..{n_classes - 1}" if n_classes else "None"
        raise BadInput(f"class_index must be in {known}, got {int(others[0])}: this prior knows {n_classes} classes")
    return classes


def logits_of(values, like, *shape):
    """Logits (n, *shape) of at least one series, none of them NaN (-inf says that a token is impossible).

    What is marked by `on_demand` computes them when it is indexed, and is passed as it is.
    """
    if getattr(values, "on_demand", False):
        return values
    logits = floats(values, "token_logits", like)
    if logits.ndim != 1 + len(shape) or logits.shape[1:] != shape or len(logits) == 0:
        raise BadInput(f"expected token_logits (n, {', '.join(map(str, shape))}), got {tuple(logits.shape)}")
    if logits.isnan().any():
        raise BadInput("token_logits hold NaN: check the tokenizer and the series")
    return logits


# --- networks, generators and devices ---


def parameter_of(net, name) -> torch.nn.Parameter:
    """The first parameter of a network, whose device and type its arguments get."""
    if not isinstance(net, torch.nn.Module) or next(net.parameters(), None) is None:
        raise BadInput(f"{name} must be a network (torch.nn.Module), got {shown(net)}")
    return next(net.parameters())


def source(generator, like):
    """A source of random numbers for tensors on the device of `like`: a torch.Generator there, or None for torch's."""
    if generator is None or (isinstance(generator, torch.Generator) and generator.device.type == like.device.type):
        return generator
    found = f"one on {generator.device}" if isinstance(generator, torch.Generator) else shown(generator)
    right = f"torch.Generator({like.device.type!r}).manual_seed(0)"
    raise BadInput(f"generator must be None or a torch.Generator on {like.device}, got {found}: pass {right}")


@contextlib.contextmanager
def usual_torch():
    """Within the block, or a function decorated by it, torch makes float32 and gradients, whatever is set outside."""
    outside = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(outside)


def device(wanted=None):
    """A device of this machine by its name ("cpu", "cuda", "cuda:1", "mps"); None takes a GPU where there is one."""
    if wanted is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(wanted)
        if found.type == "meta":
            raise RuntimeError("no values there")
        torch.empty(1, device=found)
    except Exception as error:  # each back end refuses in a way of its own
        here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        here += ["mps"] if torch.backends.mps.is_available() else []
        raise BadInput(f"no device {shown(wanted)} here: choose one of {', '.join(here)}, or None") from error
    return found
