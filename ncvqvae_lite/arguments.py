"""Arguments of public functions, looked at before any work: what is harmless is converted, the rest is refused.

`checked` puts checks in front of a function. A check takes a value and the name of the argument, and returns the value
as it is used, or raises BadInput with one sentence: what was expected, what was found. Those of tensors, arrays and
devices are in `arguments_tensors`. Loads neither torch nor numpy, whose numbers are whole or real ones all the same.
"""

import contextlib
import difflib
import functools
import inspect
import math
import numbers
import os
from collections.abc import Mapping
from pathlib import Path

from .errors import BadInput, OutOfMemory, is_out_of_memory

MOST = 2**31 - 1  # of anything that is counted
LARGEST = 1e300  # number that is called finite: products with it may still be
ADVICE = "free some, or ask for less at a time (fewer series, smaller batches or sizes), and run again"


def checked(**checks):
    """Decorate a function or method: each argument that is named here and given passes its check before the body runs.

    Running out of memory in it becomes OutOfMemory, one sentence with advice.
    """

    def decorate(function):
        signature = inspect.signature(function)

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            given = signature.bind(*args, **kwargs)
            for name in checks.keys() & given.arguments.keys():
                given.arguments[name] = checks[name](given.arguments[name], name)
            with memory_advice():
                return function(*given.args, **given.kwargs)

        return wrapped

    return decorate


@contextlib.contextmanager
def memory_advice(advice=ADVICE):
    """Running out of memory within this block is OutOfMemory, one sentence that ends in the advice."""
    try:
        yield
    except OutOfMemory:  # told already, by a function inside
        raise
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(type(error).__name__, str(error)):
            raise
        raise OutOfMemory(f"out of memory: {advice}") from error


# --- numbers ---


def integer(value, name, low=None, high=MOST):
    """A whole number as an int, from `low` on if that is given; neither a bool nor 3.0 is one."""
    least = -MOST if low is None else low
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and least <= value <= high:  # pyright: ignore[reportOperatorIssue]  # typeshed cannot compare numbers.Integral with int
        return int(value)
    limits = "" if low is None else f" of {low} or more"
    if isinstance(value, numbers.Integral) and value > high:  # pyright: ignore[reportOperatorIssue]
        limits = f" of at most {high:,}"
    advice = f": write {int(value)}" if isinstance(value, float) and value.is_integer() and abs(value) < MOST else ""
    raise BadInput(f"{name} must be a whole number{limits}, got {shown(value)}{advice}")


def count(value, name):
    """A whole number of 1 or more."""
    return integer(value, name, low=1)


def count_from_0(value, name):
    """A whole number of 0 or more."""
    return integer(value, name, low=0)


def few(value, name):
    """A number of layers: from 1 to 1,000."""
    return integer(value, name, low=1, high=1000)


def few_or_none(value, name):
    """A number of layers: from 0 to 1,000."""
    return integer(value, name, low=0, high=1000)


def odd(value, name):
    """An odd number, below 1,000."""
    if few(value, name) % 2 == 0:
        raise BadInput(f"{name} must be odd, got {value}")
    return int(value)


def three_counts(value, name):
    """Three whole numbers, from 1 to 1,000,000, as a tuple."""
    with contextlib.suppress(BadInput):
        if isinstance(value, tuple | list) and len(value) == 3:
            return tuple(integer(part, name, low=1, high=10**6) for part in value)
    found = value if len(str(value)) <= 60 else shown(value)
    raise BadInput(f"expected three {name}s, whole numbers of 1 or more, got {found}")


def optional(check):
    """The check that a value is None or passes another check."""
    return lambda value, name: None if value is None else check(value, name)


def fft_size(value, name):
    """A length of windows whose quarter is a whole number."""
    if integer(value, name) < 4 or value % 4:
        raise BadInput(f"{name} must be a multiple of 4 (the hop is a quarter of it), got {value}")
    return int(value)


def seed_number(value, name):
    """What a generator of random numbers can be started from: a whole number of 64 bits, negative ones too."""
    if isinstance(value, numbers.Integral) and -(2**63) <= value < 0:  # pyright: ignore[reportOperatorIssue]
        return int(value)
    if value is None:
        raise BadInput(f"{name} must be a whole number, got None: write {name}=0, so that a repetition gives the same")
    return integer(value, name, low=0, high=2**63 - 1)


def real(value, name) -> float:
    """A real number of any size, NaN too, as it is; no bool."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return value  # pyright: ignore[reportReturnType]  # a numbers.Real, which type checkers do not count as a float
    raise BadInput(f"{name} must be a number, got {shown(value)}")


def number(value, name):
    """A finite number as a float."""
    try:
        found = float(real(value, name))
    except OverflowError:  # a whole number with hundreds of digits
        found = math.inf
    if not -LARGEST <= found <= LARGEST:  # NaN, too
        raise BadInput(f"{name} must be finite, got {shown(value)}")
    return found


def not_negative(value, name):
    """A finite number of 0 or more."""
    if number(value, name) < 0:
        raise BadInput(f"{name} must be 0 or more, got {value}")
    return float(value)


def positive(value, name):
    """A finite number above 0."""
    if not number(value, name) > 0:
        raise BadInput(f"{name} must be above 0, got {value}")
    return float(value)


def inner_share(value, name):
    """A number between 0 and 1, neither of the two."""
    if not 0 < number(value, name) < 1:
        raise BadInput(f"{name} must be between 0 and 1, neither of the two, got {value}")
    return float(value)


def share(value, name):
    """A number from 0 to 1."""
    if not 0 <= number(value, name) <= 1:
        raise BadInput(f"{name} must be in 0..1, got {value}")
    return float(value)


def two_numbers(value, name):
    """Two finite numbers, as a tuple."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise BadInput(f"{name} must be two numbers, the smaller one first, got {shown(value)}")
    return tuple(number(part, name) for part in value)


def below_1(value, name):
    """A number from 0 on, below 1."""
    if not 0 <= real(value, name) < 1:
        raise BadInput(f"{name} must be in [0, 1), got {value}")
    return float(value)


# --- names, places and other plain values ---


def flag(value, name):
    """True or False, numpy's too, as a bool."""
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise BadInput(f"{name} must be True or False, got {shown(value)}")


def choice(kind, known):
    """The check that a value is one of a few names."""

    def check(value, name):
        if not isinstance(value, str) or value not in known:
            raise BadInput(f"unknown {kind} {shown(value)}: choose one of {', '.join(known)}")
        return value

    return check


def check_name(kind, value, known):
    """Raise BadInput with the nearest names unless `value` is one of `known`."""
    if not isinstance(value, str) or value not in known:
        found = shown(value) + nearest(value, known)
        raise BadInput(f"unknown {kind} {found}: choose one of {', '.join(sorted(known))}")


def nearest(value, known):
    """', did you mean ...?' for names close to `value`, or nothing."""
    close = difflib.get_close_matches(str(value), list(known), n=2, cutoff=0.6)
    likeness = [difflib.SequenceMatcher(None, name, str(value)).ratio() for name in close]
    close = [name for name, like in zip(close, likeness) if like > likeness[0] - 0.05]  # the second one if as near
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def path(value, name):
    """Where a file or folder is or will be, a text or a Path, as a Path."""
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise BadInput(f"{name} must be a path, as text or pathlib.Path, got {shown(value)}")
    found = Path(value)
    if "\0" in str(found) or any(len(os.fsencode(part)) > 255 for part in found.parts):
        raise BadInput(f"{name} is no path that a file system can hold: choose a shorter name of plain characters")
    return found


def keywords_of(function):
    """The check of a dict of keyword arguments for a function or method; None is an empty one."""
    known = [name for name in inspect.signature(function).parameters if name != "self"]

    def check(value, name):
        if value is not None and not isinstance(value, Mapping):
            raise BadInput(f"{name} must be a dict with any of {', '.join(known)}, got {shown(value)}")
        for given in value or {}:
            check_name(f"name in {name}", given, known)
        return dict(value or {})

    return check


def instance_of(kind):
    """The check that a value is of a class."""

    def check(value, name):
        if not isinstance(value, kind):
            raise BadInput(f"{name} must be of the class {kind.__name__}, got {shown(value)}")
        return value

    return check


def function(value, name):
    """What can be called, as it is."""
    if not callable(value):
        raise BadInput(f"{name} must be a function, got {shown(value)}")
    return value


def function_of(parts):
    """The check of a function that is called with so many arguments by position."""

    def check(value, name):
        function(value, name)
        try:
            inspect.signature(value).bind(*range(parts))
        except TypeError:
            raise BadInput(f"{name} must be a function of {parts} arguments, got {shown(value)}") from None
        except ValueError:  # a function in C that does not say what it takes
            pass
        return value

    return check


def plain(value):
    """A number, text or truth value of numpy or another kind as Python's own, by which JSON and hashes are equal."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


def how_to_train(optim, schedules):
    """Check the fields of an `Optim`, whole numbers of numpy made Python's own."""
    if (optim.epochs is None) == (optim.steps is None):
        found = f"epochs {shown(optim.epochs)} and steps {shown(optim.steps)}"
        raise BadInput(f"expected either epochs or steps, got {found}")
    for name in ("batch_size", "epochs" if optim.steps is None else "steps"):
        object.__setattr__(optim, name, integer(getattr(optim, name), name))
    pair = isinstance(optim.betas, tuple | list) and len(optim.betas) == 2
    for name, is_good, expected in (
        ("epochs", optim.epochs is None or optim.epochs >= 0, "0 or more"),
        ("steps", optim.steps is None or optim.steps >= 0, "0 or more"),
        ("batch_size", optim.batch_size >= 1, "1 or more"),
        ("lr", 0 <= real(optim.lr, "lr") <= LARGEST, "0 or more, and finite"),
        ("weight_decay", 0 <= real(optim.weight_decay, "weight_decay") <= LARGEST, "0 or more, and finite"),
        ("schedule", isinstance(optim.schedule, str) and optim.schedule in schedules, f"one of {', '.join(schedules)}"),
        ("betas", pair and all(0 <= real(beta, "betas") < 1 for beta in optim.betas), "two numbers in [0, 1)"),
        ("average", 0 <= real(optim.average, "average") < 1, "in [0, 1)"),
    ):
        if not is_good:
            found = getattr(optim, name)
            raise BadInput(f"{name} must be {expected}, got {repr(found) if len(repr(found)) <= 60 else shown(found)}")


def shown(value):
    """A value as an error says it: plain ones as they are written, others by their type and shape."""
    if isinstance(value, int) and abs(value) > 10**18:
        return f"an integer of {value.bit_length()} bits"
    if value is None or isinstance(value, str | numbers.Number):
        text = repr(value)
        return text if len(text) <= 60 else text[:57] + "..."
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" of shape {tuple(shape)}" if isinstance(shape, tuple) else "")
