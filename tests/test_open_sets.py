"""What a user's own code may add, without touching the package: an augmentation, a loss, a score, a source of series.

Everything happens in a process of its own, so that no other test sees the additions.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ncvqvae_lite

ADDITIONS = '''
import json, sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.text import Text

from ncvqvae_lite import ExperimentConfig, cell_folder, load_dataset, load_run, nb, plots, run_experiment, two_patterns
from ncvqvae_lite.augmentations import AUGMENTATIONS, Augmentation
from ncvqvae_lite.data import SOURCES, Source, from_arrays
from ncvqvae_lite.experiment import not_computed
from ncvqvae_lite.experiment_tokenizer import ssl_loss_of, view_of
from ncvqvae_lite.lab.campaign import load_campaign
from ncvqvae_lite.names import METHODS, SCORES, Method, Score
from ncvqvae_lite.tables import scores_table


class Pull(NamedTuple):
    total: torch.Tensor


def pull_together(a, b, pull=1.0, spread=1.0):
    return Pull(pull * (a - b).square().mean() + spread * torch.relu(1 - a.std(dim=0)).mean())


def upside_down(x, generator=None):
    return -x


def mean_step(evidence):
    """How far a generated series moves per step, and a real one."""
    steps = [x.diff(dim=-1).abs().mean() for x in (evidence.generated, evidence.test)]
    return {"": steps[0], "_real": steps[1]}


def find(name):
    made = two_patterns(40, 20, 32)
    if name == "Mine":
        arrays = (made.x_train, made.y_train, made.x_test, made.y_test)
        return from_arrays(*arrays, name=name, source="made in memory")


AUGMENTATIONS["upside"] = Augmentation(upside_down, "upside down", "#123456")
METHODS["pull"] = Method("Pull", "#654321", pull_together, {"pull": 2.0, "spread": 3.0}, scale=0.1)
SCORES["mean_step"] = Score("mean step", "step", better="lower", compute=mean_step)
SOURCES["memory"] = Source("in memory", find, lambda: {"Mine"})

out = Path(sys.argv[1])
ds = load_dataset("Mine")
cfg = ExperimentConfig.preset(
    "quick", dataset="Mine", method="pull", augmentation="upside", epochs=1, min_steps=1, prior_epochs=1,
    prior_min_steps=1, fcn_epochs=1, fcn_min_steps=1, cas_epochs=1, dim=8, n_blocks=1, projector_width=32,
    prior_width=16, prior_depth=1, min_samples=16, batch_size=16, zero_tail=False,
)
metrics = run_experiment(cfg, ds, out, device="cpu")
a, b = torch.randn(8, 5), torch.randn(8, 5)
run = load_run(cell_folder(cfg, out))
campaign = out / "mine.toml"
campaign.write_text(
    'preset = "quick"\\ndatasets = ["Mine"]\\nconfigurations = ["pull-upside", "regular-none"]\\nseeds = [1]'
)
x = ds.x_test[:4]
history = nb.read_history(cell_folder(cfg, out) / "history.csv")
tokenizer_history = nb.read_history(cfg.tokenizer_folder(out) / "history.csv")
views = nb.views_of(cfg, x, torch.Generator().manual_seed(0))
figures = [
    plots.augmented_views(x, ds.y_test[:4], ds.class_names, views, used="upside"),
    plots.loss_curves(tokenizer_history, history, cfg.method, cfg.augmentation),
    plots.real_and_generated(x, ds.y_test[:4], run.sample(4), ds.y_test[:4], ds.class_names, cfg.method),
]
print(json.dumps({
    "metrics": metrics,
    "source": ds.source,
    "loss": [ssl_loss_of(cfg)(a, b).item(), (0.1 * pull_together(a, b, 2.0, 3.0).total).item()],
    "view": bool(torch.equal(view_of(cfg)(x), -x)),
    "ssl": tokenizer_history[-1]["ssl"],
    "cells": [cell.label for cell in load_campaign(campaign).cells()],
    "figures": [len(figure._repr_png_()) for figure in figures],
    "labels": [text.get_text() for figure in figures for text in figure.findobj(Text)],
    "table": scores_table(metrics),
    "folder": cell_folder(cfg, out).parts[-3],
    "absent": list(not_computed(cfg, ds)),
}))
'''


def test_additions_from_outside_the_package_are_run_drawn_and_listed(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(ncvqvae_lite.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    script = tmp_path / "additions.py"
    script.write_text(ADDITIONS)
    command = [sys.executable, "-W", "ignore", str(script), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["source"] == "made in memory"
    assert found["loss"][0] == pytest.approx(found["loss"][1], rel=1e-6) and found["ssl"] > 0 and found["view"]
    assert 0 < found["metrics"]["mean_step"] and 0 < found["metrics"]["mean_step_real"]
    assert found["folder"] == "pull-upside" and "mean_step" not in found["absent"]
    assert found["cells"] == ["Mine pull-upside seed 1", "Mine regular-none seed 1"]
    assert min(found["figures"]) > 1000 and "upside" in " ".join(found["labels"])
    row = next(line for line in found["table"].splitlines() if line.startswith("mean step"))
    assert f"{found['metrics']['mean_step']:.4g}" in row and "lower" in row
