"""Build the notebooks: `python notebooks/tools/build.py [03 ...]` executes sources, `--check` only compares them.

notebooks/src/NN_topic.py (percent format) is what people edit. Made here, the same bytes every time on one machine:
the chapter and its solutions, executed, and its exercises, not executed; then the index. Cell ids come from the cells'
text, no times and no machine appear, one thread computes.
"""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(NOTEBOOKS.parent), str(NOTEBOOKS / "tools")]  # a checkout need not be installed

from chapters import (  # noqa: E402
    CHECKED,
    LOCAL,
    METADATA,
    ONE_THREAD,
    chapter_notebook,
    exercises_notebook,
    read_cells,
    solutions_notebook,
    source_files,
)  # fmt: skip
from index import index_files  # noqa: E402

from ncvqvae_lite.errors import BadInput, NotFound, UserError  # noqa: E402
from ncvqvae_lite.lab.runner import kernel_class  # noqa: E402

EXECUTION = {"record_timing": False, "coalesce_streams": True, "timeout": None}  # printed lines arrive in any portions
FIGURE_BYTES, NOTEBOOK_BYTES = 150_000, 1_500_000
ALL_DIGITS = r"\d+\.\d{8,}"  # a float in full: its last digits are other ones on another processor


def targets(source):
    """(built file, its notebook without outputs, whether it is executed), for all that a source stands for."""
    found = [(NOTEBOOKS / f"{source.stem}.ipynb", chapter_notebook(source), True)]
    if read_cells(source)[1]:
        found.append((NOTEBOOKS / "solutions" / f"{source.stem}.ipynb", solutions_notebook(source), True))
        found.append((NOTEBOOKS / "exercises" / f"{source.stem}.ipynb", exercises_notebook(source), False))
    return found


def execute(notebook):
    """Run a notebook in a fresh kernel, in place; raises BadInput for errors and for outputs that must not be there."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    with tempfile.TemporaryDirectory() as folder, open(Path(folder, "log"), "w", encoding="utf-8") as log:
        with kernel_class(folder, log, NCVQVAE_OUT=folder, **dict.fromkeys(LOCAL, ""), **ONE_THREAD) as kernel:
            try:
                NotebookClient(notebook, kernel_manager_class=kernel, **EXECUTION).execute()
            except CellExecutionError as error:
                raise BadInput(str(error)) from None
        paths = (folder, str(Path.home()), str(NOTEBOOKS.parent))
    notebook.metadata = nbformat.from_dict(METADATA)  # the client adds versions
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    faults = output_faults(notebook, paths)
    if faults:
        raise BadInput("; ".join(faults))


def build(source, chapter=True):
    """Write the notebooks of a source; raises BadInput, naming source and target, where one cannot be built.

    chapter  False leaves the chapter as it is and builds its solutions and exercises
    """
    for target, notebook, executed in targets(source)[0 if chapter else 1 :]:
        try:
            if executed:
                execute(notebook)
            data = (nbformat.writes(notebook) + "\n").encode()
            if len(data) > NOTEBOOK_BYTES:
                raise BadInput(f"the notebook has {len(data)} bytes, at most {NOTEBOOK_BYTES} are allowed")
        except BadInput as error:
            raise BadInput(f"{source.name} -> {target.relative_to(NOTEBOOKS)} fails: {error}") from None
        write(target, data)


def write(target, data):
    """Put bytes into a file that is either the old one or whole."""
    target.parent.mkdir(exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(data)
    os.replace(partial, target)


def output_faults(notebook, paths=()):
    """What must not stand in a committed notebook: stderr, tracebacks, object addresses, these texts, large figures,
    and in a cell whose output is compared, floats in full.
    """
    faults = []
    for number, cell in enumerate(notebook.cells, start=1):
        for output in cell.get("outputs", ()):
            kind = output.output_type
            data = output.get("data", {})
            text = "".join([*output.get("text", ""), *("".join(data[m]) for m in data if m.startswith("text/"))])
            if kind == "error" or output.get("name") == "stderr":
                faults.append(f"cell {number} writes to stderr or raises: {text or output.get('evalue')}")
            if re.search(r"\b0x[0-9a-f]{6,}", text, re.IGNORECASE):
                faults.append(f"cell {number} shows an object address: {text[:80]}")
            full = re.search(ALL_DIGITS, text)
            if full and CHECKED in cell.metadata.get("tags", ()):
                faults.append(f"cell {number} is compared and shows all of {full[0]}: give its check a tolerance")
            faults += [f"cell {number} shows the path {path}" for path in paths if len(path) > 1 and path in text]
            sizes = {mime: len(value) * 3 // 4 for mime, value in data.items() if mime.startswith("image/")}
            for mime, size in sizes.items():
                if size > FIGURE_BYTES:
                    faults.append(f"cell {number} has a figure of {size} bytes, at most {FIGURE_BYTES} are allowed")
                if mime == "image/svg+xml":
                    faults.append(f"cell {number} has an SVG, which carries a date: use PNG")
    return faults


def check(source):
    """Reasons why the built notebooks of a source do not belong to it; nothing is executed."""
    faults = []
    for target, wanted, executed in targets(source):
        name = target.relative_to(NOTEBOOKS)
        if not target.is_file():
            faults.append(f"{name} is missing")
            continue
        found = nbformat.read(target, as_version=4)
        said = output_faults(found, (str(Path.home()), str(NOTEBOOKS.parent))) + differences(wanted, found, executed)
        if target.stat().st_size > NOTEBOOK_BYTES:
            said.append(f"the notebook has {target.stat().st_size} bytes, at most {NOTEBOOK_BYTES} are allowed")
        faults += [f"{name}: {fault}" for fault in said]
    return faults


def differences(wanted, found, executed):
    """How a built notebook differs from the one that its source stands for; executed ones have counts and outputs."""
    faults = []
    if found.metadata != wanted.metadata:
        faults.append(f"metadata are {dict(found.metadata)}, expected {METADATA}")
    if len(found.cells) != len(wanted.cells):
        faults.append(f"{len(found.cells)} cells, the source has {len(wanted.cells)}")
    for number, (a, b) in enumerate(zip(wanted.cells, found.cells), start=1):
        parts = [part for part in ("cell_type", "source", "id", "metadata") if a.get(part) != b.get(part)]
        faults += [f"cell {number} differs from its source: {', '.join(parts)}"] if parts else []
        if b.cell_type != "code":
            continue
        if executed != bool(b.execution_count):
            faults.append(f"cell {number} was {'not ' * executed}executed")
        if b.outputs and not executed:
            faults.append(f"cell {number} has outputs, and is not to be executed")
        if executed and CHECKED in b.metadata.get("tags", ()):
            printed = "".join(o.get("text", "") for o in b.outputs)
            if not printed.strip():
                faults.append(f"cell {number} is a check without printed output")
            elif "nb.check" in b.source and not printed.startswith("✓ "):
                faults.append(f"cell {number} is a check whose first line does not begin with ✓: build it again")
    return faults


def index_faults():
    """Files of the index that are not what the built chapters make, and built files that no source stands for."""
    wanted = index_files()
    stale = [f"{f.relative_to(NOTEBOOKS)} is not current" for f, data in wanted.items() if not same(f, data)]
    known = {target for source in source_files() for target, _, _ in targets(source)} | set(wanted)
    built = [*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("[est]*/*.ipynb"), *NOTEBOOKS.glob("thumbnails/*")]
    return stale + [f"{f.relative_to(NOTEBOOKS)} has no source" for f in sorted(built) if f not in known]


def same(file, data):
    return file.is_file() and file.read_bytes() == data


def sources(numbers):
    """The source files with these numbers ("08"), all without any."""
    found = source_files()
    for number in numbers:
        if not any(file.name.startswith(f"{number}_") for file in found):
            raise NotFound(f"no notebook {number}: choose from {', '.join(file.name[:2] for file in found)}")
    return [file for file in found if not numbers or file.name[:2] in numbers]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", metavar="NN", help="two digits; all notebooks without any")
    parser.add_argument("--exercises", action="store_true", help="build solutions and exercises only, not the chapters")
    parser.add_argument("--check", action="store_true", help="compare built notebooks with their sources")
    arguments = parser.parse_args(argv)
    faults = []
    try:
        chosen = sources(arguments.numbers)
        if not arguments.check:
            for source in chosen:
                print(f"building {source.stem}", flush=True)
                build(source, chapter=not arguments.exercises)
            if all(target.is_file() for source in source_files() for target, _, _ in targets(source)):
                for file, data in index_files().items():
                    write(file, data)
        for source in chosen:
            faults += check(source)
        if not arguments.numbers and not faults:
            faults = index_faults()
    except (UserError, ValueError) as error:
        faults.append(str(error))
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults and arguments.check:
        print("rebuild with: python notebooks/tools/build.py", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
