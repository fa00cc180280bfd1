"""Options of the commands, made from the fields of a dataclass; `--set`; a check of the extra `notebooks`.

A field without a default is a positional argument; the option of a field named like a word of Python, such as `class_`,
is without the underscore. Its type decides what is read: bool takes no value, a tuple one or
more of its element's type, a Literal one of its values, anything else one value; `X | None` is read as X, and so is
`X | bool`, save that it is True where the option stands alone. The help comes from the docstring of the class or of a
class above it, where a line "field VALUE   text" tells of a field; VALUE, what the help calls a value, may be left out.
"""

import argparse
import importlib.util
import inspect
import math
import re
from argparse import ArgumentTypeError
from dataclasses import MISSING, fields
from functools import partial
from typing import Any, Literal, get_args, get_origin

from .errors import BadInput

_ABOUT_FIELD = re.compile(r"^(\w+)(?: (\S+))?  +(.+(?:\n +.+)*)", re.MULTILINE)
_IN_WORDS = {int: "a whole number", float: "a finite number", bool: "true or false"}


class _Parser(argparse.ArgumentParser):
    """Raises BadInput instead of printing the usage and leaving; `options` maps --name -> what its value is called."""

    options: dict[str, str]

    def print_help(self, file=None):
        print(self.format_help(), end="")  # unlike argparse, not deaf to a reader that has left

    def error(self, message):
        option, _, fault = message.removeprefix("argument ").partition(": ")
        if fault in ("expected one argument", "expected at least one argument"):
            fault = f"missing value {self.options[option]}"
        raise BadInput(f"{option}{': ' if fault else ''}{fault}: see `{self.prog} --help`")


def parser_of(kind, program):
    """The parser of a command, a dataclass whose docstring is its help."""
    about = {}  # field -> (what its value is called, help)
    for cls in kind.__mro__[:-1]:
        for name, value, text in _ABOUT_FIELD.findall(inspect.cleandoc(cls.__doc__)):
            about[name] = value or None, " ".join(text.split())
    positional = [about[f.name][0] for f in fields(kind) if f.default is MISSING]
    parser = _Parser(
        prog=program,
        usage=" ".join([program, *positional, "[options]"]),
        description=_ABOUT_FIELD.split(inspect.cleandoc(kind.__doc__))[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # what is not given is left to the dataclass
        allow_abbrev=False,
    )
    parser.options = {"--help": ""}
    for f in fields(kind):
        metavar, text = about[f.name]
        kind_of_value, choices = _type_and_choices(f.type)
        how: dict[str, Any] = {"type": partial(_value, kind_of_value), "metavar": metavar, "choices": choices}
        if f.default is MISSING:
            parser.add_argument(f.name, help=text, **how)
            continue
        flag = f"--{f.name.rstrip('_').replace('_', '-')}"
        parser.options[flag] = metavar or " or ".join(choices or ())
        if f.type is bool:
            how = {"action": "store_true"}
        elif get_origin(f.type) is tuple:
            how |= {"nargs": "+", "action": "extend"}
        elif bool in get_args(f.type):
            how |= {"nargs": "?", "const": True}
        elif f.default is not None:
            text += f" (default: {f.default})"
        parser.add_argument(flag, dest=f.name, help=text, **how)
    return parser


def _type_and_choices(annotation):
    """tuple[int, ...] -> int, None; Literal["a", "b"] | None -> str, ("a", "b")."""
    while get_args(annotation) and get_origin(annotation) is not Literal:
        annotation = get_args(annotation)[0]
    choices = get_args(annotation)
    return (str, choices) if choices else (annotation, None)


def _value(kind, text):
    """The value of a type (bool, int, float, str, Path) that a text stands for; raises ArgumentTypeError for others."""
    try:
        value = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
        if kind is float and not math.isfinite(value):
            raise ValueError
    except (ValueError, KeyError):
        raise ArgumentTypeError(f"expected {_IN_WORDS[kind]}, got {text!r}") from None
    return value


def parse(kind, program, argv):
    """An instance of the dataclass `kind` from its arguments, or None after --help; raises BadInput in one sentence."""
    from .config import ExperimentConfig, nearest  # here, so that --help need not wait for it

    parser = parser_of(kind, program)
    try:
        given, unknown = parser.parse_known_args(argv)
    except SystemExit:  # of --help
        return None
    if unknown:
        first = unknown[0].partition("=")[0]
        setting = first.lstrip("-").replace("-", "_")
        if "--set" in parser.options and setting in {f.name for f in fields(ExperimentConfig)}:
            raise BadInput(f"unknown option {first}: settings are changed by --set, for example --set {setting}=...")
        parser.error(f"unknown argument {' '.join(unknown)}{nearest(first, parser.options)}")
    values = vars(given)
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


# --- --set field=value ---


def parse_changes(texts):
    """("epochs=100", "cas=false", ...) -> {"epochs": 100, "cas": False}, by the types of ExperimentConfig's fields.

    raises   BadInput for unknown fields (with the nearest names), values of another type, and fields given twice
    """
    from .config import ExperimentConfig, nearest

    options = ("dataset", "method", "augmentation", "seed", "preset")
    kinds = {f.name: f.type for f in fields(ExperimentConfig) if "stage" in f.metadata}
    changes = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise BadInput(f"--set got {text!r}, expected FIELD=VALUE, for example --set epochs=100")
        if name in options:
            raise BadInput(f"--set {text}: use the option --{name} {value}")
        if name not in kinds:
            raise BadInput(f"--set got the unknown setting {name!r}{nearest(name, kinds)}: config.py lists all")
        if name in changes:
            raise BadInput(f"--set got {name} twice ({changes[name]} and {value}): give it once")
        try:
            changes[name] = _value(kinds[name], value)
        except ArgumentTypeError as error:
            raise BadInput(f"--set {text}: {error}") from None
    return changes


# --- extras ---


def check_notebook_extra(what, otherwise=""):
    """Raise BadInput, saying what it is needed for, unless the packages that execute notebooks are installed."""
    missing = [name for name in ("jupytext", "papermill", "ipykernel") if importlib.util.find_spec(name) is None]
    if missing:
        install = "pip install 'ncvqvae-lite[notebooks]'"
        raise BadInput(f"{what} needs {', '.join(missing)}, not installed here: {install}{otherwise}")
