"""Checks that a notebook makes of its own numbers: each prints a line with the value and what it should be, or raises.

Three classes. Exact: shapes, counts, parameter numbers. Tight: a formula beside another, to rounding. Banded: a number
after training, inside an interval that was measured over many seeds and leaves out a named failure.

A line begins with a check mark. A number directly behind the sign ≈ may differ a little on another machine; everything
else in the line is the same on all of them.
"""

import json
import os
from contextlib import redirect_stdout
from functools import cache, wraps
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from .errors import BadInput, NotFound


class CheckFailed(AssertionError):
    """A value that a notebook relies on is not what it should be."""

    def __init__(self, message, name=""):
        super().__init__(message)
        self.name = name


def check(name, value, expected=None, *, rtol=0.0, atol=0.0, low=None, high=None, digits=None, hint=""):
    """Compare a value with what it should be; print one line, "✓ share: ≈0.97, expected 0.95 to 1", or raise.

    value     a number, text, tuple, array or tensor
    expected  exact (rtol = atol = 0): compared with ==, and the value is printed;
              with a tolerance: |value - expected| <= atol + rtol |expected| everywhere. Both numbers are printed, of
              arrays the shape and the largest difference
    low, high bounds of a number instead of `expected`, both inclusive
    digits    significant digits in which the value is the same on every machine: printed so, without the sign ≈
    hint      what to look at when the check fails
    raises    CheckFailed with both values; BadInput if neither or both of `expected` and bounds are given
    """
    value, expected = _plain(value), _plain(expected)
    bounds = low is not None or high is not None
    if bounds and (rtol or atol):
        raise BadInput(f"check {name!r} has bounds and a tolerance: give one of them")
    if bounds == (expected is not None):
        raise BadInput(f"check {name!r} needs either an expected value or bounds: give one of them")
    found, wanted, said = f"{value}", f"{expected!r}", f"{value}"
    shown = f"≈{_short(value)}" if digits is None else f"{value:.{digits}g}"
    if bounds:
        inside = np.ndim(value) == 0 and (low is None or low <= value) and (high is None or value <= high)
        passed = bool(inside) and value == value  # not NaN
        wanted = _interval(low, high)
        said = f"{shown}, expected {wanted}"
    elif rtol or atol:
        same_shape = np.shape(value) == np.shape(expected)
        passed = same_shape and bool(np.allclose(value, expected, rtol=rtol, atol=atol))  # False for NaN
        within = ", ".join(f"{k} {v:g}" for k, v in (("rtol", rtol), ("atol", atol)) if v)
        wanted = f"{expected} ({within})"
        said = f"{shown}, expected ≈{_short(expected)} ({within})"
        if same_shape and np.ndim(value):
            gap, place = _largest_difference(value, expected)
            said = f"{np.shape(value)} numbers, largest difference ≈{gap:.1g} ({within})"
            if np.size(value) > 12:  # too many to print: where are they furthest apart?
                there = _told_apart(np.asarray(value)[place], np.asarray(expected)[place])
                found = f"{there[0]} at place {place} of {np.shape(value)}"
                wanted = f"{there[1]} there ({within})"
    else:
        passed = type(value) is type(expected) and np.array_equal(value, expected)
        kinds = type(value).__name__, type(expected).__name__
        wanted += f" (a {kinds[1]}, not a {kinds[0]})" if kinds[0] != kinds[1] else ""
    if not passed:
        raise CheckFailed(f"{name}: found {found}, expected {wanted}" + (f". {hint}" if hint else ""), name)
    print(f"✓ {name}: {said}")


def check_band(cfg, chapter, name, value, excludes):
    """Compare a number that training made with its recorded band, and the band with the failures it must leave out.

    cfg       the chapter's numbers (`nb.chapter_config`). Bands are those of the preset quick; in another preset the
              number is printed without one
    chapter   "03": the band stands in notebooks/expected/03_*.json, with the runs that it was made from
    excludes  what the number would be if the thing had failed, by name: {"chance": 0.25}
    raises    CheckFailed if the value lies outside the band; BadInput if an excluded number lies inside
    """
    if os.environ.get("NCVQVAE_RECORD"):
        return record(chapter, name, value, banded=True)
    if not excludes:
        raise BadInput(f"the band of {name!r} must exclude a failure: name one, with the number it would give")
    if cfg.preset != "quick":
        return print(f"{name}: {float(value):.3g} (its band is for the preset quick, this is {cfg.preset})")
    low, high = band(chapter, name)
    for failure, number in excludes.items():
        if not (number < low or number > high):  # NaN is no failure that a band could exclude
            raise BadInput(f"the band {low} to {high} of {name!r} does not leave out {failure}, {number:g}")
    check(f"{name} (excludes {', '.join(excludes)})", value, low=low, high=high)


def band(chapter, name):
    """(low, high) of a banded check; raises NotFound for a chapter or a name without one."""
    bands = _bands(chapter)
    if name not in bands:
        raise NotFound(f"chapter {chapter} has no band {name!r}: it has {', '.join(bands) or 'none'}")
    return bands[name]["low"], bands[name]["high"]


@cache
def _bands(chapter):
    package = Path(__file__).resolve().parent
    for folder in (package.parent / "notebooks" / "expected", package / "_notebooks" / "expected"):
        for file in folder.glob(f"{chapter}_*.json"):
            return json.loads(file.read_text(encoding="utf-8"))
    raise NotFound(f"no bands of chapter {chapter}: install the package again, or look in notebooks/expected")


def record(chapter, name, value, banded=False):
    """Append a number of a chapter to the file named by $NCVQVAE_RECORD, where it is set; else do nothing.

    So that one chapter, run with many seeds or another preset, gives the tables that its end and its bands show.
    banded  the number has a band (`check_band`)
    """
    file = os.environ.get("NCVQVAE_RECORD")
    if file:
        with open(file, "a", encoding="utf-8") as f:
            f.write(json.dumps({"chapter": chapter, "name": name, "value": float(value), "banded": banded}) + "\n")


def answered(answer, *inputs, hint):
    """What an answer to an exercise gives for these inputs, of sizes that it may not have thought of.

    raises  CheckFailed with the shapes and the hint, in place of torch's words alone, if it cannot take them
    """
    try:
        return answer(*inputs)
    except NotImplementedError:  # the stub; also a RuntimeError
        raise
    except (IndexError, RuntimeError, ValueError) as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs if isinstance(x, torch.Tensor))
        raise CheckFailed(f"inputs of shapes {shapes}: {error}. {hint}", f"shapes {shapes}") from error


def examine(check_answer, answer):
    """Call the check of an exercise with an answer: what it cannot use of what the answer returns, it says in words.

    raises  CheckFailed where the answer returns None, or what the check cannot go on with: another kind or number of
            values than it should; errors within the answer stay as they are
    """
    name, returned, own = getattr(answer, "__name__", "the answer"), [], []

    @wraps(answer)
    def asked(*inputs, **named):
        try:
            value = answer(*inputs, **named)
        except Exception as error:
            own.append(error)
            raise
        if value is None:
            raise CheckFailed(f"{name} returned None: does it end in `return`?", "what it returns")
        returned[:] = [value]
        return value

    try:
        check_answer(asked)
    except CheckFailed:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if not returned or any(error is raised for raised in own):
            raise
        said = f"{name} returned {_kind(returned[0])}, and its check cannot go on with that: {error}"
        raise CheckFailed(f"{said}. What does its docstring say that it returns?", "what it returns") from error


def check_no_loop(answer, few, many):
    """Check that an answer calls functions of torch as often for many inputs as for few: a loop over them calls more.

    few, many  inputs of the answer, as tuples. Only calls of torch are counted, none of numpy or of Python itself
    """
    calls = []
    for inputs in (few, many):
        with _Counted() as counted:
            answer(*inputs)
        calls.append(counted.calls)
    check("calls of torch that larger inputs add", max(0, calls[1] - calls[0]), 0, hint="no loop over what grows")


class _Counted(TorchFunctionMode):
    """How many functions of torch are called inside of a `with` block, without questions for a size."""

    calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls += getattr(func, "__name__", "") not in ("__get__", "__len__", "size", "dim")
        return func(*args, **(kwargs or {}))


def refused(check_answer, *wrong_answers):
    """Show that the check of an exercise refuses each wrong answer: one line each, its first docstring line and where.

    raises  CheckFailed if a wrong answer passes
    """
    for answer in wrong_answers:
        mistake = (answer.__doc__ or answer.__name__).strip().splitlines()[0]
        try:
            with redirect_stdout(StringIO()):
                examine(check_answer, answer)
        except CheckFailed as error:
            print(f"refused: {mistake} (at: {error.name})")
        else:
            raise CheckFailed(f"a wrong answer passes its check: {mistake}", mistake)


def _interval(low, high):
    if low is None or high is None:
        return f"at least {low:g}" if high is None else f"at most {high:g}"
    return f"{low:g} to {high:g}"


def _short(value, digits=4):
    """A float with at most so many significant digits; anything else as it is."""
    return f"{value:.{digits}g}" if isinstance(value, float | np.floating) else f"{value}"


def _told_apart(value, expected):
    """Two numbers as text, with as many significant digits as show that they differ, at least four and at most 17."""
    for digits in range(4, 18):
        shown = _short(value, digits), _short(expected, digits)
        if shown[0] != shown[1]:
            break
    return shown


def _largest_difference(value, expected):
    """(largest difference of two arrays or tuples of one shape, the place where it is)."""
    gaps = np.abs(np.subtract(value, expected, dtype=complex))
    if not gaps.size:
        return 0.0, ()
    place = tuple(int(i) for i in np.unravel_index(np.argmax(gaps), gaps.shape))
    return float(gaps[place]), place


def _kind(value):
    """What a value is, in words: "a tensor of shape (2, 3)", "a tuple of a float and a list"."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple):
        return f"a tuple of {' and '.join(map(_kind, value)) or 'nothing'}"
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _plain(value) -> Any:
    """Tensors and numpy values as Python numbers and arrays, sizes and lists as tuples."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        return value.item() if value.ndim == 0 else value
    return tuple(value) if isinstance(value, list | torch.Size) else value
