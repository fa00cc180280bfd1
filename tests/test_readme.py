"""The README's Python runs as it stands there; what the README pages link to, name or command exists."""

import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import numpy as np
import pytest
import torch

from ncvqvae_lite import ExperimentConfig
from ncvqvae_lite.augmentations import AUGMENTATIONS
from ncvqvae_lite.cli import COMMANDS
from ncvqvae_lite.data import two_patterns

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    page
    for folder in ("", "data", "data/results", "notebooks", "benchmarks", "ncvqvae_lite", "ncvqvae_lite/lab")
    for page in (ROOT / folder).glob("*.md")
)
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
MICRO = "epochs=1, prior_epochs=1, fcn_epochs=1, cas_epochs=1, min_steps=0, prior_min_steps=0, fcn_min_steps=0"
# Files that a run makes or that a reader has, in the words of the pages.
OF_THE_READER = re.compile(r"^(my_|new\.|NAME|metrics\.json|config\.json|saved_models/|runs/)")


def test_the_first_page_is_short():
    assert len(README.splitlines()) <= 90


def test_your_own_series_in_ten_lines(tmp_path, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", README, flags=re.S).group(1)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    ds = two_patterns(n_train=100, n_test=4)  # a fifth is held out: the 20 test series that IS needs
    monkeypatch.chdir(tmp_path)
    np.save("my_series.npy", ds.x_train[:, 0].numpy() * 3 + 7)
    np.save("my_labels.npy", np.array(["a", "b", "c", "d"])[ds.y_train.numpy()])
    names = {}
    exec(code.replace('method="vibcreg"', f'method="vibcreg", {MICRO}'), names)
    assert names["new"].shape == (200, 1, 128) and names["kind"].shape == (200,)
    assert 0 < names["new"].mean() < 14  # in the units of x: mean 7, not the scaled 0
    assert {"recon_val", "knn_acc", "svm_acc", "fid", "is", "cas"} <= names["metrics"].keys()
    printed = capsys.readouterr().out
    scores = [line.split()[0] for line in printed.splitlines() if re.search(r" (as real|close|worse|far)$", line)]
    assert {"fid", "coverage", "nearest_train", "tstr"} <= {*scores}, printed


def test_a_view_of_series_is_added_as_the_page_says(monkeypatch):
    monkeypatch.setitem(AUGMENTATIONS, "backwards", None)  # so that it goes again
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    exec(re.search(r"```python\n(.*?)```", page, flags=re.S).group(1), {})
    x = two_patterns(n_train=4, n_test=4).x_train
    assert torch.equal(AUGMENTATIONS["backwards"](x), x.flip(2))
    ExperimentConfig.preset("quick", dataset="TwoPatternsGenerated", method="barlowtwins", augmentation="backwards")


def commands_in(text, program):
    """What follows a program in code, in blocks or between backticks: `make test` -> "test"."""
    code = re.findall(r"^```sh\n(.*?)^```", text, flags=re.M | re.S)
    code += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    return [found for part in code for found in re.findall(rf"(?:^|[\s/]){program} ([a-z]+(?: [a-z]+)?)", part)]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_make_target_and_command_exists(page):
    text = page.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in commands_in(text, "make"):
        assert re.search(rf"^{target.split()[0]}:", makefile, flags=re.M), f"make {target}"
    for command in commands_in(text, "ncvqvae"):
        assert command in COMMANDS or command.split()[0] in COMMANDS, f"ncvqvae {command}"


def test_the_first_page_names_the_commands():
    assert {"replicate", "test", "notebooks"} <= {target.split()[0] for target in commands_in(README, "make")}
    assert {"replicate", "sample", "evaluate"} <= {command.split()[0] for command in commands_in(README, "ncvqvae")}


def anchors(page):
    """The anchors that GitHub gives the headings of a page, or Jupyter those of a notebook."""
    if page.suffix == ".ipynb":
        cells = nbformat.read(page, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        return {head.replace(" ", "-") for head in re.findall(r"^#+ (.*)$", text, flags=re.M)}
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http:", "https:")):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists() and ROOT in target.parents, link
        assert not anchor or unquote(anchor) in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_are_named_exist(page):
    for name in re.findall(r"`([\w./-]+(?:\.(?:py|csv|md|png|toml|yml|yaml|npz|json|txt|cff)|/))`", page.read_text()):
        folders = (page.parent, ROOT, ROOT / "data" / "results", ROOT / "data" / "judges")
        assert any((folder / name).exists() for folder in folders) or OF_THE_READER.match(name), name
