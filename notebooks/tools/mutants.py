"""Does the check of an exercise notice every small fault? `python notebooks/tools/mutants.py [02 ...]` tries it out.

Mutation analysis (DeMillo, Lipton and Sayward 1978, "Hints on test data selection", Computer 11(4)): a solution is
changed in one place at a time, as a learner's slip would change it (another constant, sign, axis or reduction, a lost
detach, a generator that is not used, an argument that has no effect, a statement less, nothing returned ...). Its
check must fail for each of these mutants. One that passes is printed: the check is too weak, or the mutant is no fault.
Such an equivalent mutant is listed in the exercise's cell of wrong answers, with the reason, and at most two in a
chapter:

    # equivalent: q[q >= 0]: a share of 0 adds 0 to the sum

where the text before the second colon is found in the changed statement of one surviving mutant and nowhere in the
solution. A mutant that fails with an error instead of a refused value is noticed, too; these are counted apart.
"""

import argparse
import ast
import copy
import inspect
import re
import signal
import sys
import time
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from build import sources  # noqa: E402
from chapters import read_cells  # noqa: E402
from exercises import parse  # noqa: E402

from ncvqvae_lite.nb_checks import CheckFailed, examine  # noqa: E402

EQUIVALENT = re.compile(r"^# equivalent: (.+?): (.+)", re.MULTILINE)
OPERATORS = {
    ast.Add: [ast.Sub], ast.Sub: [ast.Add], ast.Mult: [ast.Div], ast.Div: [ast.Mult], ast.Pow: [ast.Mult],
    ast.FloorDiv: [ast.Div], ast.Mod: [ast.FloorDiv], ast.BitAnd: [ast.BitOr], ast.BitOr: [ast.BitAnd],
    ast.Lt: [ast.LtE, ast.Gt], ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.Lt], ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.Is: [ast.IsNot], ast.IsNot: [ast.Is],
    ast.And: [ast.Or], ast.Or: [ast.And],
}  # fmt: skip
PAIRS = "mean sum, max min, amax amin, argmax argmin, std var, all any, floor ceil, sin cos, log log2"
SWAPPED = {a: b for pair in PAIRS.split(", ") for a, b in (pair.split(), pair.split()[::-1])} | {"randn": "rand"}
DROPPED = "detach abs sqrt exp log clamp clamp_min relu round floor flip sort square norm softmax log_softmax".split()
SYMMETRIC = """transpose mse_loss max min minimum maximum isclose allclose logical_and logical_or dot equal gcd zip
print""".split()


class Mutant(NamedTuple):
    exercise: str  # "2.5"
    change: str  # the changed statement, or what else was done
    function: ast.FunctionDef
    fixed: str = ""  # name of the argument that has no effect
    anew: bool = False  # instead, the generator of this name begins anew from its seed in each call


class Tried(NamedTuple):
    noticed: list[Mutant]  # a value of theirs is refused
    crashed: list[Mutant]  # end with another error than a refused value, or never
    passed: list[Mutant]  # the check is content with them
    equivalent: list[Mutant]  # pass and are listed


# --- what a slip may change ---


def mutants(exercise, has_gradient=False):
    """All mutants of an exercise's solution, none twice; one without a gradient where the solution's value has one."""
    (function,) = [n for n in ast.parse(exercise.solution.source).body if isinstance(n, ast.FunctionDef)]
    seen = {ast.unparse(function)}
    for change, mutant in (*_in_expressions(function, has_gradient), *_in_statements(function)):
        text = ast.unparse(ast.fix_missing_locations(mutant))
        if text not in seen:
            seen.add(text)
            yield Mutant(exercise.number, change, mutant)
    for argument in function.args.args + function.args.kwonlyargs:
        yield Mutant(exercise.number, f"{argument.arg} has no effect", function, argument.arg)
        yield Mutant(exercise.number, f"{argument.arg} begins anew from its seed", function, argument.arg, anew=True)


def _in_expressions(function, has_gradient):
    nodes = _nodes(function)
    for place, node in enumerate(nodes):
        for new in _variants(node, has_gradient):
            mutant = copy.deepcopy(function)
            _Replace(_nodes(mutant)[place], new).visit(mutant)
            yield _changed_line(function, mutant), mutant


def _in_statements(function):
    """Every statement but the last is left out once."""
    blocks = [n for n in ast.walk(function) if isinstance(getattr(n, "body", None), list)]
    for i, block in enumerate(blocks):
        for j, statement in enumerate(block.body):
            is_docstring = j == 0 == i and ast.get_docstring(function)
            if is_docstring or isinstance(statement, ast.Return | ast.Import | ast.ImportFrom):
                continue
            mutant = copy.deepcopy(function)
            twin = [n for n in ast.walk(mutant) if isinstance(getattr(n, "body", None), list)][i]
            twin.body[j] = ast.Pass()
            yield f"without: {ast.unparse(statement).splitlines()[0]}", mutant


def _variants(node, has_gradient):
    """What may stand in place of a node of the solution."""
    match node:
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)) if 0 < value < 100:
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Constant(value=int()):
            yield ast.Constant(1)  # in place of 0, or of a limit that is never reached
        case ast.Constant(value=float(value)):
            yield ast.Constant(0.1 if abs(value) < 1e-6 else 2 * value + (value == 0))  # the first guards from rounding
        case ast.BinOp(left=left, op=op, right=right):
            yield from (ast.BinOp(left, other(), right) for other in OPERATORS.get(type(op), ()))
            yield from (left, right)
        case ast.AugAssign(target=target, op=op, value=value):
            yield from (ast.AugAssign(target, other(), value) for other in OPERATORS.get(type(op), ()))
            yield ast.Assign([target], value)
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            yield from (ast.Compare(left, [other()], [right]) for other in OPERATORS.get(type(op), ()))
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(OPERATORS[type(op)][0](), values)
        case ast.IfExp(body=body, orelse=orelse):
            yield from (body, orelse)
        case ast.comprehension(ifs=[_, *_]):
            yield ast.comprehension(node.target, node.iter, [], node.is_async)
        case ast.Return(value=ast.expr()):
            yield ast.Return(None)
        case ast.With():
            yield ast.If(ast.Constant(True), node.body, [])  # no_grad is lost
        case ast.Set(elts=[first, *rest]) if rest:
            yield from (ast.Set(rest), ast.Set([first]))
        case ast.keyword(arg="dim" | "axis", value=ast.Constant(value=int()) | ast.UnaryOp(operand=ast.Constant())):
            axis = ast.literal_eval(node.value)
            yield from (ast.keyword(node.arg, ast.Constant(other)) for other in (axis - 1, axis + 1))
        case ast.keyword(arg="unbiased" | "correction" | "ddof"):
            yield ast.keyword(node.arg, ast.UnaryOp(ast.Not(), node.value))
        case ast.keyword(arg="generator"):
            yield ast.keyword("generator", ast.parse("torch.Generator().manual_seed(0)", mode="eval").body)
            yield ast.keyword("generator", ast.Constant(None))
            anew = f"torch.Generator().manual_seed({ast.unparse(node.value)}.initial_seed())"
            yield ast.keyword("generator", ast.parse(anew, mode="eval").body)
        case ast.Attribute(value=value, attr=name, ctx=context):
            if name in SWAPPED:
                yield ast.Attribute(value, SWAPPED[name], context)
            if name in ("T", "mT"):
                yield value
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in DROPPED and not _is_module(value):
            yield value
        case ast.Call(func=ast.Attribute(attr=name), args=[inner]) if name in DROPPED:
            yield inner
    match node:
        case ast.Call(func=ast.Name(id="len")):
            yield ast.BinOp(node, ast.Sub(), ast.Constant(1))
        case ast.Call(func=function, args=[*before, a, b]) if ast.unparse(function).split(".")[-1] not in SYMMETRIC:
            yield ast.Call(function, [*before, b, a], node.keywords)
        case ast.Return(value=value) if has_gradient:
            yield ast.Return(ast.Call(ast.Name("_without_gradient", ast.Load()), [value], []))


def _nodes(function):
    """Nodes of a function's body. An axis is changed as a whole: in a matrix axis 1 and axis -1 are the same one."""
    nodes = [node for statement in _body(function) for node in ast.walk(statement)]
    axes = [node for node in nodes if isinstance(node, ast.keyword) and node.arg in ("dim", "axis")]
    inner = {id(node) for axis in axes for node in ast.walk(axis.value)}
    return [node for node in nodes if id(node) not in inner]


def _is_module(node):
    return isinstance(node, ast.Name) and node.id in ("torch", "np", "math", "F")


def _body(function):
    return function.body[1:] if ast.get_docstring(function) else function.body


class _Replace(ast.NodeTransformer):
    def __init__(self, old, new):
        self.old, self.new = old, copy.deepcopy(new)

    def visit(self, node):
        return self.new if node is self.old else self.generic_visit(node)


def _changed_line(function, mutant):
    """The first line of the mutant that differs from the solution."""
    old, new = (ast.unparse(ast.fix_missing_locations(f)).splitlines() for f in (function, mutant))
    return next((b.strip() for a, b in zip(old, new) if a != b), new[-1].strip())


# --- does the check notice? ---


def survivors(source, only=(), seconds=60):
    """What the checks of a chapter's exercises make of the mutants of their solutions (`Tried`).

    only     numbers of exercises, "2.5"; all without any
    seconds  of computing that each check may take; a mutant that never ends counts as crashed
    raises   AssertionError where a solution itself does not pass, or a listed text is not that of one survivor
    """
    setup, exercises = parse(read_cells(source)[1])
    namespace = {"__name__": "exercises"}
    for cell in setup:
        if cell.cell_type == "code":
            _execute(cell.source, namespace)
    tried = Tried([], [], [], [])
    for exercise in [e for e in exercises if not only or e.number in only]:
        _execute(exercise.solution.source, namespace)
        check = ast.parse(exercise.check.source)
        check.body = [n for n in check.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Call))]
        _execute(ast.unparse(check), namespace)
        start, calls = time.process_time(), []
        verdict = _verdict(_recorded(namespace[exercise.name], calls), exercise, namespace, seconds)
        assert verdict == "passed", f"{exercise.number}: the solution is {verdict}"
        limit = min(seconds, 2 + 10 * (time.process_time() - start))
        reasons = dict(EQUIVALENT.findall(exercise.wrong.source))
        passed = []
        for mutant in mutants(exercise, any(call.has_gradient for call in calls)):
            answer = _answer(mutant, exercise, namespace, calls)
            if answer is not None:
                verdict = _verdict(answer, exercise, namespace, limit)
                (passed if verdict == "passed" else getattr(tried, verdict)).append(mutant)
        for text in reasons:
            matched = [mutant for mutant in passed if text in mutant.change]
            assert len(matched) == 1, f"{exercise.number}: {len(matched)} mutants that pass have the text {text!r}"
            assert text not in ast.unparse(ast.parse(exercise.solution.source)), (
                f"{exercise.number}: the solution has the text {text!r}, too"
            )
            tried.equivalent.append(matched[0])
        tried.passed.extend(mutant for mutant in passed if mutant not in tried.equivalent)
        assert _verdict(namespace[exercise.name], exercise, namespace, seconds) == "passed", (
            f"{exercise.number}: a mutant left traces"
        )
    return tried


class Call(NamedTuple):
    args: tuple
    kwargs: dict
    has_gradient: bool  # whether its value has one


def _execute(text, namespace):
    with redirect_stdout(StringIO()):
        exec(compile(text, "exercise", "exec"), namespace)


def _answer(mutant, exercise, namespace, calls):
    """The function of a mutant, or None where there is nothing to try."""
    if not mutant.fixed:
        place = namespace | {"_without_gradient": _without_gradient}
        module = ast.Module([ast.fix_missing_locations(mutant.function)], [])
        exec(compile(module, "mutant", "exec"), place)
        return place[exercise.name]
    signature = inspect.signature(namespace[exercise.name])
    first = signature.bind(*calls[0].args, **calls[0].kwargs)
    first.apply_defaults()
    value = first.arguments[mutant.fixed]
    generator = isinstance(value, torch.Generator | np.random.Generator)
    if not (generator or isinstance(value, bool | int | float | str)):
        return None  # series and networks: a function that ignores them is noticed by any check
    if mutant.anew and not generator:
        return None

    def answer(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments[mutant.fixed]
        if isinstance(value, torch.Generator):
            given = torch.Generator().manual_seed(given.initial_seed() if mutant.anew else 0)
        elif generator:
            given = np.random.default_rng(given.bit_generator.seed_seq if mutant.anew else 0)
        else:
            given = value
        bound.arguments[mutant.fixed] = given
        return namespace[exercise.name](*bound.args, **bound.kwargs)

    return answer


def _without_gradient(x):
    if isinstance(x, tuple):
        return tuple(map(_without_gradient, x))
    return x.detach() if isinstance(x, torch.Tensor) else x


def _recorded(function, calls):
    def answer(*args, **kwargs):
        value = function(*args, **kwargs)
        parts = value if isinstance(value, tuple) else (value,)
        has_gradient = any(isinstance(part, torch.Tensor) and part.requires_grad for part in parts)
        calls.append(Call(args, kwargs, has_gradient))
        return value

    return answer


def _verdict(answer, exercise, namespace, seconds):
    """What the check of an exercise makes of an answer: "passed", "noticed" (a value is refused) or "crashed"."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    try:
        with redirect_stdout(StringIO()), _at_most(seconds):
            examine(namespace[f"check_{exercise.name}"], answer)
    except CheckFailed:
        return "noticed"
    except Exception:  # whatever it is: the learner sees that something is wrong
        return "crashed"
    return "passed"


@contextmanager
def _at_most(seconds):
    def stop(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", metavar="NN", help="chapters (02), exercises (2.5), or all without any")
    numbers = parser.parse_args(argv).numbers
    chapters = {number: f"{int(number.split('.')[0]):02}" for number in numbers}
    chosen = [source for source in sources(set(chapters.values())) if read_cells(source)[1]]
    torch.set_num_threads(1)
    left = 0
    for source in chosen:
        start = time.process_time()
        only = [number for number in numbers if "." in number and chapters[number] == source.stem[:2]]
        tried = survivors(source, only)
        for mutant in tried.passed:
            print(f"{mutant.exercise}: {mutant.change}")
        print(
            f"{source.stem}: {sum(map(len, tried))} mutants, {len(tried.passed)} pass their check,"
            f" {len(tried.equivalent)} are equivalent, {len(tried.crashed)} crash"
            f" ({time.process_time() - start:.0f} s)",
            flush=True,
        )
        left += len(tried.passed)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
