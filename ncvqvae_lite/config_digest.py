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
import io
import json
import tokenize
from pathlib import Path

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


@functools.lru_cache
def bare_code(source):
    """Python source without what cannot change a number; line by line, so that equal code gives equal text."""
    tree, lines = ast.parse(source), [line.encode() for line in source.splitlines()]
    cuts, imports = _comments(source), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            place = getattr(node, "level", 0) * "." + (getattr(node, "module", "") or "")
            imports += [f"import {place} {alias.name} {alias.asname}" for alias in node.names]
            cuts.append(_span(node))
        else:
            cuts += _prose_in(node, lines)
    for (row, column), (end_row, end_column) in reversed(_outermost(cuts)):
        lines[row] = lines[row][:column] + lines[end_row][end_column:]
        del lines[row + 1 : end_row + 1]
    bare = [line.decode().rstrip() for line in lines]
    return "\n".join([*(line for line in bare if line), *sorted(imports)])


def _outermost(spans):
    """The spans in their order, without those that lie in another one."""
    kept = []
    for span in sorted(spans):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept


def _prose_in(node, lines):
    """Spans of the docstring, the annotation or the texts that a node holds."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
        yield _span(node.body[0])
    if isinstance(node, ast.FunctionDef) and node.returns is not None:
        yield _arrow(node.returns, lines), _end(node.returns)
    if isinstance(node, ast.arg) and node.annotation is not None:
        yield (node.lineno - 1, node.col_offset + len(node.arg.encode())), _end(node.annotation)
    if isinstance(node, ast.AnnAssign):
        yield _end(node.target), _end(node.annotation)
    if isinstance(node, ast.Call) and _speaks(node.func):
        yield _end(node.func), _end(node)


def _speaks(called):
    """Whether a call is one of an exception, a warning or print: its arguments are for people."""
    name = getattr(called, "id", getattr(called, "attr", ""))
    if name in ("print", "warn") or name in _our_errors():
        return True
    return isinstance(getattr(builtins, name, None), type) and issubclass(getattr(builtins, name), BaseException)


@functools.lru_cache
def _our_errors():
    return {node.name for node in ast.parse(_source("errors")).body if isinstance(node, ast.ClassDef)}


def _span(node):
    return (node.lineno - 1, node.col_offset), _end(node)


def _end(node):
    return node.end_lineno - 1, node.end_col_offset


def _arrow(annotation, lines):
    """Where the `->` before an annotation begins."""
    row, end = annotation.lineno - 1, annotation.col_offset
    while (column := lines[row].rfind(b"->", 0, end)) < 0:
        row, end = row - 1, None
    return row, len(lines[row][:column].rstrip())


def _comments(source):
    """Spans of the comments."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start[0] - 1, len(token.line[: token.start[1]].encode())
            found.append(((row, column), (row, column + len(token.string.encode()))))
    return found
