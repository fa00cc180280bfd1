"""Build the notebooks: `python notebooks/tools/build.py [08 ...]` executes sources, `--check` only compares them.

notebooks/src/NN_topic.py (percent format) is what people edit; notebooks/NN_topic.ipynb is made here, the same bytes
every time on one machine: cell ids come from the cells' text, no times and no machine appear, one thread computes.
"""

import argparse
import hashlib
import os
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import jupytext
import nbformat

NOTEBOOKS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(NOTEBOOKS.parent))  # a checkout need not be installed

from ncvqvae_lite.errors import BadInput, NotFound, UserError  # noqa: E402
from ncvqvae_lite.lab.runner import kernel_class  # noqa: E402

CHECKED = "nbval-check-output"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
EXECUTION = {"record_timing": False, "coalesce_streams": True, "timeout": None}  # printed lines arrive in any portions
FIGURE_BYTES, NOTEBOOK_BYTES = 150_000, 1_500_000
LOCAL = ("NCVQVAE_DATA", "NCVQVAE_FCN", "NCVQVAE_CACHE", "NCVQVAE_PRESET")  # what would make machines differ
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def read_source(source):
    """The notebook that a percent script stands for: cells with their ids and tags, no outputs."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen = Counter()
    for cell in notebook.cells:
        text = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[text] += 1
        cell.id = f"{text}-{seen[text]}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    return notebook


def build(source, target):
    """Execute a source in a fresh kernel and write the notebook; raises BadInput for outputs that must not be there."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = read_source(source)
    with tempfile.TemporaryDirectory() as folder, open(Path(folder, "log"), "w", encoding="utf-8") as log:
        with kernel_class(folder, log, NCVQVAE_OUT=folder, **dict.fromkeys(LOCAL, ""), **ONE_THREAD) as kernel:
            try:
                NotebookClient(notebook, kernel_manager_class=kernel, **EXECUTION).execute()
            except CellExecutionError as error:
                raise BadInput(f"{source.name} fails: {error}") from None
        paths = (folder, str(Path.home()), str(NOTEBOOKS.parent))
    notebook.metadata = nbformat.from_dict(METADATA)  # the client adds versions
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    faults = output_faults(notebook, paths)
    text = nbformat.writes(notebook) + "\n"
    if len(text.encode()) > NOTEBOOK_BYTES:
        faults.append(f"the notebook has {len(text.encode())} bytes, at most {NOTEBOOK_BYTES} are allowed")
    if faults:
        raise BadInput(f"{source.name}: " + "; ".join(faults))
    partial = target.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, target)


def output_faults(notebook, paths=()):
    """What must not stand in a committed notebook: stderr, tracebacks, object addresses, these texts, large figures."""
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
            faults += [f"cell {number} shows the path {path}" for path in paths if len(path) > 1 and path in text]
            sizes = {mime: len(value) * 3 // 4 for mime, value in data.items() if mime.startswith("image/")}
            for mime, size in sizes.items():
                if size > FIGURE_BYTES:
                    faults.append(f"cell {number} has a figure of {size} bytes, at most {FIGURE_BYTES} are allowed")
                if mime == "image/svg+xml":
                    faults.append(f"cell {number} has an SVG, which carries a date: use PNG")
    return faults


def check(source, target):
    """Reasons why a built notebook does not belong to its source; nothing is executed."""
    if not target.is_file():
        return [f"{target.name} is missing"]
    wanted, found = read_source(source), nbformat.read(target, as_version=4)
    faults = output_faults(found)
    if found.metadata != wanted.metadata:
        faults.append(f"metadata are {dict(found.metadata)}, expected {METADATA}")
    if len(found.cells) != len(wanted.cells):
        faults.append(f"{len(found.cells)} cells, the source has {len(wanted.cells)}")
    for number, (a, b) in enumerate(zip(wanted.cells, found.cells), start=1):
        parts = [part for part in ("cell_type", "source", "id", "metadata") if a.get(part) != b.get(part)]
        faults += [f"cell {number} differs from its source: {', '.join(parts)}"] if parts else []
        if b.cell_type == "code" and not b.execution_count:
            faults.append(f"cell {number} was not executed")
        if CHECKED in b.metadata.get("tags", ()) and not any(o.output_type == "stream" for o in b.get("outputs", ())):
            faults.append(f"cell {number} is a check without printed output")
    return faults


def sources(numbers):
    """The source files with these numbers ("08"), all without any."""
    found = sorted((NOTEBOOKS / "src").glob("[0-9][0-9]_*.py"))
    for number in numbers:
        if not any(file.name.startswith(f"{number}_") for file in found):
            raise NotFound(f"no notebook {number}: choose from {', '.join(file.name[:2] for file in found)}")
    return [file for file in found if not numbers or file.name[:2] in numbers]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", metavar="NN", help="two digits; all notebooks without any")
    parser.add_argument("--check", action="store_true", help="compare built notebooks with their sources")
    arguments = parser.parse_args(argv)
    faults = []
    try:
        for source in sources(arguments.numbers):
            target = NOTEBOOKS / f"{source.stem}.ipynb"
            if not arguments.check:
                print(f"building {target.name}", flush=True)
                build(source, target)
            faults += [f"{target.name}: {fault}" for fault in check(source, target)]
    except UserError as error:
        faults.append(str(error))
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults and arguments.check:
        print("rebuild with: python notebooks/tools/build.py", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
