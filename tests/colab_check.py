"""Run the chapters as Google Colab would: in an environment with Colab's versions, each through its own set-up cell.

    python3.13 tests/colab_check.py                         all chapters, in an environment that is deleted afterwards
    python3.13 tests/colab_check.py --chapters 02 05        two of them
    python3.13 tests/colab_check.py --venv FOLDER           keep the environment in FOLDER, or use the one there
    python3.11 tests/colab_check.py --use torch==2.13.0     another version than that of tests/colab-packages.txt

Colab has Python 3.13; the Python that runs this needs no package, but git beside it. Notebooks and package are those of
the commit HEAD. A set-up cell runs as it stands but for the address: this checkout's instead of GitHub's. What it
installed is removed before the next chapter, so that every chapter starts as on a new machine, in an empty folder.
Prints every version that is not the list's, and a line per chapter; exits with 1 where anything failed.

On Linux the registry's PyTorch brings its CUDA libraries, several GB; `--use` can name a version that comes without.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ROOT / "tests" / "colab-packages.txt"
IS_COLAB = 'import sys, types\n\nsys.modules["google.colab"] = types.ModuleType("google.colab")'
FOREIGN = ("NCVQVAE_", "PYTHON", "JUPYTER", "IPYTHON", "MPL", "VIRTUAL_ENV")  # variables that Colab does not have


def plain(name):
    """A package's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(lines):
    """name -> version, of lines name==version."""
    pairs = (line.strip().split("==") for line in lines if line.strip() and not line.startswith("#"))
    return {plain(name): version for name, version in pairs}


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], check=True, capture_output=True, text=True).stdout


# --- the environment ---


class Environment:
    """A virtual environment of the running Python, with Colab's packages."""

    def __init__(self, folder):
        self.names = Path(folder, "packages.json")  # what is installed before any set-up cell has run
        self.python = Path(folder, "Scripts" if os.name == "nt" else "bin", "python")
        if not self.python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)

    def pip(self, *arguments):
        return subprocess.run([self.python, "-m", "pip", *arguments], capture_output=True, text=True)

    def versions(self):
        """name -> version of everything that is installed."""
        listed = self.pip("list", "--format=json", "--disable-pip-version-check")
        return {plain(package["name"]): package["version"] for package in json.loads(listed.stdout)}

    def unmet(self):
        """What pip finds missing: lines such as "aeon 1.6.0 requires numba, which is not installed."."""
        checked = self.pip("check")
        return checked.stdout.strip().splitlines() if checked.returncode else []

    def install(self, wanted):
        """Install these versions; where this Python cannot have one, the nearest that it can."""
        self.pip("install", f"pip=={wanted['pip']}")
        installed = self.pip("install", *(f"{name}=={version}" for name, version in wanted.items()))
        if installed.returncode:
            wanted = {name: self.nearest(name, version) for name, version in wanted.items()}
            installed = self.pip("install", *(f"{name}=={version}" for name, version in wanted.items()))
        if installed.returncode:
            sys.exit(f"Colab's packages cannot be installed:\n{installed.stderr}")
        if not self.names.exists():
            self.names.write_text(json.dumps(sorted(self.versions())))

    def make_fresh(self):
        """Remove what set-up cells have installed; returns name -> version of the rest."""
        added = self.versions().keys() - set(json.loads(self.names.read_text()))
        if added:
            self.pip("uninstall", "--yes", *added)
        return self.versions()

    def nearest(self, name, version):
        """The installable version that differs least from this one, first in the major number; a newer one in a tie."""
        listed = self.pip("index", "versions", "--only-binary=:all:", name).stdout
        known = [text for line in re.findall(r"Available versions: (.+)", listed) for text in line.split(", ")]
        if version in known or not known:
            return version

        def distance(other):
            pairs = list(zip(numbers(version), numbers(other), strict=False))
            return [abs(a - b) for a, b in pairs], [-b for _, b in pairs]

        return min(known, key=distance)


def numbers(version):
    return [int(part) for part in re.findall(r"\d+", version)]


# --- the chapters ---


def set_up_cell(notebook):
    """The cell that every notebook starts with."""
    (cell,) = [cell for cell in notebook["cells"] if "colab-setup" in cell["metadata"].get("tags", ())]
    return cell


def named(cell):
    """The packages that a set-up cell names."""
    return {plain(name) for name in re.findall(r'"([\w-]+)(?: @|>=)', "".join(cell["source"]))}


def on_colab(notebook, commit):
    """Change a notebook so that its set-up cell takes itself to be on Colab, and this checkout to be GitHub."""
    cell = set_up_cell(notebook)
    here = f"git+{ROOT.as_uri()}@{commit}"
    source, places = re.subn(r"git\+https://[^\s\"@]+@v[\w.]+", here, "".join(cell["source"]))
    if places != 1:
        sys.exit(f"the set-up cell installs from {places} addresses, not from one:\n{source}")
    cell["source"] = source
    first = {"cell_type": "code", "id": "colab", "metadata": {}, "execution_count": None, "outputs": []}
    notebook["cells"].insert(0, first | {"source": IS_COLAB})


def execute(file):
    """In the environment: run a notebook in the current folder, a failing cell's error as the last line of stdout."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    try:
        NotebookClient(nbformat.read(file, as_version=4), kernel_name="python3", timeout=None).execute()
    except CellExecutionError as error:
        print(f"{error.ename}: {error.evalue.strip().splitlines()[0] if error.evalue.strip() else ''}")
    except DeadKernelError as error:
        print(error)


def run_chapter(environment, name, commit, folder):
    """Run a chapter on a new machine; returns (what is wrong, or "", what its set-up cell installed)."""
    notebook = json.loads(git("show", f"{commit}:{name}"))
    before = environment.make_fresh()
    absent = named(set_up_cell(notebook)) - before.keys()
    on_colab(notebook, commit)
    place = Path(tempfile.mkdtemp(prefix="content-", dir=folder))
    file = Path(folder, Path(name).name)
    file.write_text(json.dumps(notebook), encoding="utf-8")

    variables = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    path = os.pathsep.join([str(environment.python.parent), os.environ["PATH"]])
    variables |= {"PATH": path, "NCVQVAE_CACHE": str(place / "cache"), "JUPYTER_PREFER_ENV_PATH": "1"}
    command = [environment.python, Path(__file__).resolve(), "--execute", file]
    ran = subprocess.run(command, cwd=place, env=variables, capture_output=True, text=True)

    after = environment.versions()
    changed = {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)}
    faults = ran.stdout.strip().splitlines()[-1:] or (ran.stderr.strip().splitlines()[-1:] if ran.returncode else [])
    if changed != absent:
        others = ", ".join(f"{n} {before.get(n)} -> {after.get(n)}" for n in sorted(changed ^ absent))
        faults.append(f"the set-up cell should have installed {', '.join(sorted(absent))} and nothing else: {others}")
    faults += [line for line in environment.unmet() if not line.startswith("ncvqvae-lite ")]  # the commands need tqdm
    return "; ".join(faults), ", ".join(f"{n} {after.get(n)}" for n in sorted(changed))


def pins():
    return pinned(PACKAGES.read_text(encoding="utf-8").splitlines())


def check(arguments, folder):
    commit = git("rev-parse", "HEAD").strip()
    listed = git("ls-tree", "--name-only", commit, "notebooks/")
    names = dict((Path(name).name[:2], name) for name in re.findall(r"^.+/\d\d_\w+\.ipynb$", listed, re.MULTILINE))
    missing = set(arguments.chapters) - names.keys()
    if missing:
        sys.exit(f"the commit {commit[:7]} has no built chapter {', '.join(sorted(missing))}")
    chosen = [name for number, name in names.items() if number in (arguments.chapters or names)]
    if git("status", "--porcelain", "--", "notebooks", "ncvqvae_lite", "data", "pyproject.toml"):
        print("changes that are not committed are not tested")

    environment = Environment(arguments.venv or Path(folder, "venv"))
    environment.install(pins() | pinned(arguments.use))
    has = environment.versions()
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"commit {commit[:7]}, Python {version}, {len(pins())} packages of Colab, torch {has['torch']}")
    for name, wanted in pins().items():
        if has[name] != wanted:
            print(f"instead of {name} {wanted}: {has[name]}", flush=True)

    failed, told = 0, None
    for name in chosen:
        start = time.monotonic()
        fault, installed = run_chapter(environment, name, commit, folder)
        if installed != told:
            print(f"the set-up cell installed {installed}")
        failed, told = failed + bool(fault), installed
        verdict = f"FAILED: {fault}" if fault else "passed"
        print(f"{Path(name).stem:22} {time.monotonic() - start:5.0f} s  {verdict}", flush=True)
    print("pip check:", " ".join(environment.unmet()) or "nothing missing")
    print(f"{len(chosen) - failed} of {len(chosen)} chapters passed")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chapters", nargs="+", default=[], metavar="NN", help="two digits; all chapters without any")
    parser.add_argument("--venv", type=Path, metavar="FOLDER", help="environment to make or use, and to keep")
    parser.add_argument("--use", nargs="+", default=[], metavar="NAME==VERSION", help="instead of the list's versions")
    parser.add_argument("--execute", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.execute:
        return execute(arguments.execute)
    with tempfile.TemporaryDirectory(prefix="colab-") as folder:
        return check(arguments, folder)


if __name__ == "__main__":
    sys.exit(main())
