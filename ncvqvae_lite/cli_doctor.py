"""`ncvqvae doctor`: what is installed, which device, data and weights are found, and whether a small run works here."""

import os
import platform
import re
import tempfile
import time
import tomllib
import warnings
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from . import __version__
from .cli_fcn import report_weights
from .config import ExperimentConfig
from .errors import BadInput, WeakEvidence

PACKAGE = "ncvqvae-lite"


@dataclass(frozen=True)
class Doctor:
    """Say what is installed, which device, data sets and FCN weights are found, and try a small run (seconds).

    The exit code is 1 if a package that is always needed is missing or the small run fails.
    """

    def run(self):
        """Print the report; returns the exit code."""
        missing = report_packages()
        if missing:
            print(f"\nfailed: {', '.join(missing)} not installed: pip install {PACKAGE}")
            return 1
        report_device()
        report_data()
        print()
        report_weights()
        try:
            seconds = self_test()
        except Exception as error:  # whatever goes wrong here, the answer is that it does not work
            print(f"\nfailed: the self-test ended in {type(error).__name__}: {error}")
            return 1
        print(f"\nSelf-test: a small run was trained, interrupted, resumed and sampled from, in {seconds:.0f} s\nok")
        return 0


# --- packages ---


def declared_packages():
    """What the package asks for: {"": [names always needed], extra: [names]}, installed or run from a checkout."""
    try:
        declared = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        declared = project["dependencies"]
        for extra, texts in project["optional-dependencies"].items():
            declared += [f"{text}; extra == '{extra}'" for text in texts]
    packages = {}
    for text in declared:
        extra = re.search(r"""extra\s*==\s*["']([\w-]+)""", text)
        packages.setdefault(extra[1] if extra else "", []).append(re.split(r"[^\w.-]", text)[0])
    return {extra: [name for name in names if name != PACKAGE] for extra, names in packages.items()}


def report_packages():
    """Print versions; returns the names of missing packages that are always needed."""
    print(f"{PACKAGE} {__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}")
    missing = []
    for extra, names in declared_packages().items():
        versions, absent = [], []
        for name in names:
            try:
                versions.append(f"{name} {metadata.version(name)}")
            except metadata.PackageNotFoundError:
                absent.append(name)
        found = ", ".join(versions)
        if extra:
            state = f"absent ({', '.join(absent)} missing: pip install '{PACKAGE}[{extra}]')" if absent else "present"
            print(f"Extra {extra}: {state}{'; ' + found if found else ''}")
        else:
            print(f"Packages: {found}")
            missing = absent
    return missing


def report_device():
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    used = f"GPU {gpus[0]}" if torch.cuda.is_available() else "CPU (torch finds no CUDA GPU)"
    print(f"Device: {used}; torch uses {torch.get_num_threads()} threads on {os.cpu_count()} CPU cores")


# --- data ---


def report_data():
    """Print where data sets are looked for, and what the first place that has one of the thesis' thirteen holds."""
    from .data import SOURCES, THESIS_DATASETS

    print("\nData sets, in the order in which they are looked for:")
    for source in SOURCES.values():
        print(f"  {source.label}: {_about(source)}")
    print("The thesis' data sets:")
    for dataset in THESIS_DATASETS:
        states = (state_in(source, dataset) for source in SOURCES.values())
        print(f"  {dataset:<22}  {next(filter(None, states), 'missing')}")


def _about(source):
    """What a source holds, in a few words."""
    folder, names = source.folder(), sorted(source.names())
    if folder:
        return f"{len(names)} data sets in {folder}" if folder.is_dir() else f"no folder {folder}"
    few = ", ".join(names) or ("not set" if source.label.startswith("$") else "none")
    return few if len(names) < 4 else f"{len(names)} data sets"


def state_in(source, name):
    """What a source holds of a data set: "complete ...", "partial ..." or "unreadable ...", or None if nothing."""
    from .data_files import find_files, find_other, npz_keys

    folder = source.folder()
    if not folder:
        return f"{source.state}: {source.label}" if name in source.names() else None
    files, absent = find_files(folder, name)
    if not files:
        other = find_other(folder, name)
        return (
            f"unreadable: {other} ({other.suffix} is not read, expected .npz, .tsv, .txt, .csv or .ts)"
            if other
            else None
        )
    if absent:
        return f"partial: {absent[0].parent} has no {absent[0].name}"
    if len(files) == 2:
        return f"complete: {files[0]} and {files[1].name}"
    try:
        held = npz_keys(files[0])
    except BadInput as error:
        return f"unreadable: {error}"
    lacking = [split for split in ("train", "test") if f"x_{split}" not in held]
    return f"partial: {files[0]} has no {' and no '.join(lacking)} split" if lacking else f"complete: {files[0]}"


# --- self-test ---


class _Interrupted(Exception):
    """Stands for a kill in the middle of a run."""


def self_test():
    """Run a micro experiment twice, once undisturbed and once interrupted and resumed; returns the seconds it took.

    raises   BadInput if the two differ or the samples are not what they should be; whatever a run raises
    """
    import torch

    from .data import two_patterns
    from .experiment import cell_folder, load_run, run_experiment

    start = time.monotonic()
    ds = two_patterns(n_train=40, n_test=20, length=32)
    small = dict(dim=16, n_blocks=1, projector_width=64, prior_width=32, prior_depth=1, batch_size=20, min_samples=20)
    short = dict(epochs=2, prior_epochs=2, fcn_epochs=1, cas=False)
    cfg = ExperimentConfig.preset("paper", dataset=ds.name, method="vibcreg", augmentation="gauss", **small, **short)

    def interrupt(stage, done, *_):
        if (stage, done) == ("prior", 2):  # the first epoch is in a checkpoint
            raise _Interrupted

    with tempfile.TemporaryDirectory(prefix="ncvqvae-doctor-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", WeakEvidence)  # the micro experiment's FCN guesses
        undisturbed, disturbed = (Path(folder) / name for name in ("undisturbed", "disturbed"))
        expected = run_experiment(cfg, ds, undisturbed)
        with suppress(_Interrupted):
            run_experiment(cfg, ds, disturbed, progress=interrupt, checkpoint_seconds=0)
        found = run_experiment(cfg, ds, disturbed)
        if found != expected:
            names = ", ".join(name for name in expected if found.get(name) != expected[name])
            raise BadInput(f"a resumed run gives other numbers than an undisturbed one: {names}")
        series = load_run(cell_folder(cfg, disturbed)).sample(4)
        if series.shape != (4, 1, 32) or not torch.isfinite(series).all():
            raise BadInput(f"samples are not 4 finite series of 32 steps: {tuple(series.shape)}")
    return time.monotonic() - start
