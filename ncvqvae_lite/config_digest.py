"""Eight hex digits that name settings and the code that computes with them: what makes the name of a run folder.

The code of a stage is that of its module and of every module of this package that it imports, directly or not. Only
what can change a number counts: comments, docstrings, annotations and imports for them, the order of imports, and the
texts of errors and messages do not, and neither do modules that decide where things are written, how they are called,
what is refused.
"""

import ast
import builtins
import functools
import hashlib
import inspect
import json
import types
from pathlib import Path

from . import errors
from .errors import BadInput

PACKAGE = Path(__file__).parent
ARGUMENTS = {"arguments", "arguments_arrays", "arguments_tensors"}  # on valid input they change nothing
NO_NUMBERS = ARGUMENTS | {"config", "config_digest", "errors", "files", "names"}
NO_NUMBERS |= {"experiment_folders", "experiment_parts"}
TYPES = {"shapes"}  # modules whose names stand in annotations only


def digest(settings, module):
    """The name for these settings (anything that JSON can hold) and the code behind `module`."""
    return hashlib.sha256(json.dumps([settings, source_digest(module)], sort_keys=True).encode()).hexdigest()[:8]


@functools.lru_cache
def source_digest(module):
    """Hash of the code of a module of this package and of everything that it imports from it."""
    code = [f"{name}\n{bare_code(_source(name))}" for name in sorted(imported_by(module))]
    return hashlib.sha256("\n".join(code).encode()).hexdigest()


def imported_by(module):
    """Names of the modules that a module of this package imports, at its top or inside functions, and itself."""
    found, left = set(), [module]
    while left:
        name = left.pop()
        if name not in found and name not in NO_NUMBERS | TYPES:
            found.add(name)
            left += _imports(name, _source(name))
    return found


@functools.lru_cache
def _imports(module, source):
    """Modules of this package that a module imports itself: "metrics", "evaluation" (a folder), "evaluation.copies"."""
    imported, inside = [], module.split(".") + ["__init__"] * (_file(module).name == "__init__.py")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            parts = inside[: -node.level] + (node.module.split(".") if node.module else [])
            candidates = [".".join(parts), *(".".join([*parts, alias.name]) for alias in node.names)]
            imported += [name for name in candidates if name and _file(name).is_file()]
    return imported


def _file(module):
    place = PACKAGE / module.replace(".", "/")
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _source(module):
    return _file(module).read_text(encoding="utf-8")


# --- what is registered from outside ---


def code_of(value, within=()):
    """JSON content that differs where two registered functions, or values that they use, differ.

    A function of this package is its name and the code behind its module; another one its compiled code, its defaults,
    and the numbers and functions that it takes from around it, save those of other packages, which are names. Arrays
    count by their values.
    within   the functions that use it, from the registered one on
    raises   BadInput for an object whose content cannot be seen from here
    """
    if isinstance(value, str) and all(map(str.isidentifier, value.split("."))) and "." in value:
        module = value.partition(".")[0]
        return [value, source_digest(module) if _file(module).is_file() else ""]
    if value is None or isinstance(value, bool | int | float | str | bytes | complex | type(...)):
        return repr(value)
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, tuple | list):
        return [code_of(part, within) for part in value]
    if isinstance(value, dict):
        return [[repr(key), code_of(part, within)] for key, part in value.items()]
    if isinstance(value, functools.partial):
        return [code_of(part, within) for part in (value.func, value.args, value.keywords)]
    if isinstance(value, types.CodeType):
        return [value.co_code.hex(), value.co_names, value.co_varnames, code_of(value.co_consts, within)]
    if isinstance(value, types.FunctionType):
        return _code_of_function(value, within)
    if isinstance(value, types.ModuleType | type | types.BuiltinFunctionType):
        return _name_of(value)
    if hasattr(value, "__array__"):
        import numpy as np  # here, so that naming folders loads nothing heavy

        array = np.asarray(value)
        return [str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).hexdigest()]
    raise BadInput(
        f"what is registered uses an object of {type(value).__name__}, whose content names no folder: "
        "register a function (def) of numbers, texts and arrays"
    )


def _code_of_function(function, within):
    package, _, module = function.__module__.partition(".")
    if package == __package__:
        return [function.__qualname__, source_digest(module)]
    if function in within or (within and package != within[0].__module__.partition(".")[0]):
        return _name_of(function)
    around = inspect.getclosurevars(function)
    parts = (function.__code__, function.__defaults__, function.__kwdefaults__, {**around.globals, **around.nonlocals})
    return [code_of(part, (*within, function)) for part in parts]


def _name_of(value):
    return f"{getattr(value, '__module__', '')} {getattr(value, '__qualname__', value.__name__)}"


# --- code without prose ---

# Fields of a syntax tree that are for people and type checkers.
PROSE = {"annotation", "returns", "type_comment", "type_params", "kind"}


@functools.lru_cache
def bare_code(source):
    """The syntax tree of a Python source without what cannot change a number, as text."""
    tree = ast.parse(source)
    imports = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            place = getattr(node, "level", 0) * "." + (getattr(node, "module", "") or "")
            if place.lstrip(".") in TYPES:
                continue
            imports += [f"{place} {alias.name} {alias.asname}" for alias in node.names]
    return "\n".join([repr(_code(tree)), *sorted(imports)])


def _code(node):
    """A node as nested lists: its kind, then its fields. (`ast.dump` is not the same in all versions of Python.)"""
    if isinstance(node, list):
        return [_code(part) for part in node if not _is_prose(part)]
    if not isinstance(node, ast.AST):
        return node
    skipped = PROSE | ({"args", "keywords"} if isinstance(node, ast.Call) and _speaks(node.func) else set())
    fields = [(name, value) for name, value in ast.iter_fields(node) if name not in skipped and value not in (None, [])]
    return [type(node).__name__, *([name, _code(value)] for name, value in fields)]


def _is_prose(node):
    """Docstrings and other texts that stand alone; imports, which are listed apart."""
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return text or isinstance(node, ast.Import | ast.ImportFrom)


def _speaks(called):
    """Whether a call is one of an exception, a warning or print: its arguments are for people."""
    name = getattr(called, "id", getattr(called, "attr", ""))
    kind = getattr(errors, name, getattr(builtins, name, None))
    return name in ("print", "warn") or (isinstance(kind, type) and issubclass(kind, BaseException))
