"""Fixtures of all tests. Real series are used where $NCVQVAE_DATA names a folder that has them, else visibly not.

Where $NCVQVAE_TYPES is set, beartype checks each call of a function whose types say shapes, by jaxtyping's import hook:
what it is given after `arguments.checked` has seen it, and what it returns. That takes a third more time: `make test`
does it for every public function once, apart (test_shapes.py). Nothing of the package may be imported before the hook.
"""

import os
import re
import signal
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
TYPED = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "ncvqvae_lite").rglob("*.py"))
    if re.search(r"^from \.+shapes import", path.read_text(encoding="utf-8"), re.MULTILINE)
]
if os.environ.get("NCVQVAE_TYPES"):
    from jaxtyping import install_import_hook

    install_import_hook(TYPED, "beartype.beartype")


def pytest_report_header():
    checked = "are checked" if os.environ.get("NCVQVAE_TYPES") else "are not checked in this run: set NCVQVAE_TYPES=1"
    return f"shapes: types of {len(TYPED)} modules {checked}"


def pytest_configure(config):
    """A shell's background jobs ignore Ctrl-C, and their children would, too: the tests of Ctrl-C need to be heard."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _one_seed_per_test():
    """Every test starts from the same global seed, so that its result does not depend on its neighbours."""
    torch.manual_seed(0)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def real_data():
    """`real_data(name)` -> TimeSeriesDataset of real series, or a visible skip."""

    from ncvqvae_lite.data import load_dataset

    def load(name):
        root = os.environ.get("NCVQVAE_DATA")
        if not root or not (Path(root) / f"{name}.npz").exists():
            pytest.skip(f"real series of {name}: set NCVQVAE_DATA to a folder that holds {name}.npz")
        return load_dataset(name, root=root)

    return load


@pytest.fixture(scope="session")
def reference_fcn():
    """`reference_fcn(name)` -> path of the reference's FCN weights, or a visible skip."""

    def path(name):
        root = os.environ.get("NCVQVAE_FCN")
        if not root or not (Path(root) / f"{name}.safetensors").exists():
            pytest.skip(f"FCN weights of {name}: set NCVQVAE_FCN to a folder that holds {name}.safetensors")
        return Path(root) / f"{name}.safetensors"

    return path
