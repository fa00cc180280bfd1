"""Eight hex digits that name settings and the code that computes with them: what makes the name of a run folder.

The code of a stage is that of its module and of every module of this package that it imports, directly or not. Only
what can change a number counts: comments, docstrings, annotations, the order of imports, and the texts of errors and
messages do not, and neither do modules that decide where things are written and what they are called.
"""

import ast
import builtins
import functools
import hashlib
import inspect
import json
from pathlib import Path

from . import errors

PACKAGE = Path(__file__).parent
NO_NUMBERS = {"config", "config_digest", "errors", "experiment_folders", "files", "names"}


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
        if name not in found and name not in NO_NUMBERS:
            found.add(name)
            left += _imports(_source(name))
    return found


@functools.lru_cache
def _imports(source):
    """Modules of this package that a source imports itself."""
    relative = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and node.level == 1]
    named = [name for node in relative for name in ([node.module] if node.module else [a.name for a in node.names])]
    return [name for name in named if (PACKAGE / f"{name}.py").exists()]


def _source(name):
    return (PACKAGE / f"{name}.py").read_text(encoding="utf-8")


def code_of(function):
    """What tells apart a function that is registered: its name in this package, or its source where it is not of it."""
    if function is None or isinstance(function, str):
        return function
    if isinstance(function, functools.partial):
        return [code_of(function.func), repr(function.args), repr(function.keywords)]
    if function.__module__.partition(".")[0] == __package__:
        return f"{function.__module__}.{function.__qualname__}"
    try:
        return bare_code(inspect.cleandoc(inspect.getsource(function)))
    except (OSError, SyntaxError):  # typed at a prompt, or a part of a longer line
        return repr((function.__code__.co_code, function.__code__.co_consts))


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
