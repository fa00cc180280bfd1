"""The README's Python runs as it stands there, and its commands exist."""

import json
import re
from pathlib import Path

import numpy as np

from ncvqvae_lite.data import two_patterns

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
MICRO = "epochs=1, prior_epochs=1, fcn_epochs=1, cas_epochs=1, min_steps=0, prior_min_steps=0, fcn_min_steps=0"


def test_your_own_series_in_ten_lines(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", README, flags=re.S).group(1)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    ds = two_patterns(n_train=100, n_test=4)  # a fifth is held out: the 20 test series that IS needs
    monkeypatch.chdir(tmp_path)
    np.save("my_series.npy", ds.x_train[:, 0].numpy() * 3 + 7)
    np.save("my_labels.npy", np.array(["a", "b", "c", "d"])[ds.y_train.numpy()])
    names = {}
    exec(code.replace('method="vibcreg"', f'method="vibcreg", {MICRO}'), names)
    assert names["new"].shape == (8, 1, 128)
    assert 0 < names["new"].mean() < 14  # in the units of x: mean 7, not the scaled 0
    assert {"recon_val", "knn_acc", "svm_acc", "fid", "is", "cas"} <= names["metrics"].keys()


def test_every_make_target_that_the_readme_names_exists():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([a-z]+)\b", README.replace("GNU make and", ""))) - {"it"}
    assert {"replicate", "test", "bench"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_the_expected_output_is_that_of_the_built_notebook():
    """The table of `make replicate` in the README is the table in notebook 08."""
    block = re.search(r"```\n(Published: .*?)\n\.\.\.\n", README, flags=re.S).group(1)
    cells = json.loads((Path(__file__).parents[1] / "notebooks" / "08_replicate.ipynb").read_text(encoding="utf-8"))[
        "cells"
    ]
    outputs = ["".join(output.get("text", ())) for cell in cells for output in cell.get("outputs", ())]
    assert any(block in text for text in outputs)
