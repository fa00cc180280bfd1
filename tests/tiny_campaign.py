"""A campaign whose cells take seconds, in processes of its own, with faults on demand. Used by the tests of campaigns.

Its cells are executed by a notebook shorter than 08 with the same parameters: `REAL` runs the experiment, `SHAM` only
leaves the files of one, without loading torch, where engines are tested and not trainings. A file sitecustomize.py,
which Python imports at the start of every process, puts the notebook in place and makes the fault.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import ncvqvae_lite
from ncvqvae_lite.data import two_patterns
from ncvqvae_lite.fcn import FCN

ROOT = Path(ncvqvae_lite.__file__).parents[1]
SETTINGS = {
    "epochs": 2, "min_steps": 0, "probe_every": 1, "dim": 8, "n_blocks": 1, "codebook_size": 8, "batch_size": 20,
    "projector_width": 16, "whitening_groups": 4, "prior_epochs": 2, "prior_min_steps": 0, "prior_dim": 8,
    "prior_width": 16, "prior_depth": 1, "prior_heads": 1, "decoding_steps": 2, "min_samples": 16, "fcn_epochs": 1,
    "fcn_min_steps": 0, "cas_epochs": 1, "second_fcn": False,
}  # fmt: skip
PARAMETERS = """
# %% tags=["parameters"]
dataset: str = ""
method: str = ""
augmentation: str = ""
seed: int = 1
preset: str = "quick"
out: str = ""
data: str = ""
fcn: str = ""
settings: str = "{}"

# %% [markdown]
# Prose

# %%
import json, os, time
with open(os.environ["TINY_EXECUTIONS"], "a") as file:
    print(f"{dataset} {method}-{augmentation} {seed}", file=file)
"""
REAL = f"""{PARAMETERS}
# %%
from ncvqvae_lite import nb
from ncvqvae_lite.data import load_dataset
from ncvqvae_lite.experiment import run_experiment
nb.seed_everything(seed)
cfg = nb.experiment_config(dataset, method, augmentation, seed, preset, settings)
run_experiment(cfg, load_dataset(dataset, data or None), out, fcn or None)
"""
SHAM = f"""{PARAMETERS}
# %%
from pathlib import Path
from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.files import hold, read_json, write_json
from ncvqvae_lite.fcn_weights import file_hash
from ncvqvae_lite.lab.campaign.state import needed_metrics
names = dict(dataset=dataset, method=method, augmentation=augmentation, seed=seed)
cfg = ExperimentConfig.preset(preset, **names, **json.loads(settings))
folder, tokenizer = cfg.cell_folder(out, file_hash(fcn)), cfg.tokenizer_folder(out)
with hold(folder):
    write_json(folder / "config.json", names)
    if read_json(tokenizer / "metrics.json") is None:
        tokenizer.mkdir(parents=True)
        write_json(tokenizer / "metrics.json", {{"recon_val": 1.0}})
    if os.environ.get("TINY_MISTAKE") == f"{{dataset}} {{method}} {{seed}}":
        raise BadInput("this cell is to fail: take the mistake away")
    time.sleep(float(os.environ.get("TINY_SLEEP", 0)))
    if read_json(folder / "metrics.json") is None:
        write_json(folder / "metrics.json", {{name: 1.0 for name in needed_metrics(cfg, {{"fid": 1, "knn_acc": 1}})}})
"""
SITE = """
import errno, os, signal, sys

def fault(source, target, replace=os.replace):
    what, _, name = os.environ.get("TINY_FAULT", "").partition(" ")
    if what and str(target).endswith(name):
        if what == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "kill-once" and not os.path.exists(os.environ["TINY_EXECUTIONS"] + ".killed"):
            open(os.environ["TINY_EXECUTIONS"] + ".killed", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = fault
if os.environ.get("TINY_NOTEBOOK"):
    from ncvqvae_lite.lab import runner
    runner.REPLICATE = os.environ["TINY_NOTEBOOK"]
"""


class Tiny:
    """A folder with series, a campaign file, and the means to run it; `out` is the folder of all runs."""

    def __init__(
        self, folder, notebook=SHAM, *, datasets=("TinyA",), configurations=("regular-none",), seeds=(1,), ablations=()
    ):
        self.folder, self.out, self.file = folder, folder / "runs", folder / "tiny.toml"
        (folder / "data").mkdir()
        ds = two_patterns(40, 20, 32)
        arrays = {f"X_{split}": x[:, 0].numpy() for split, x in (("train", ds.x_train), ("test", ds.x_test))}
        arrays |= {"y_train": ds.y_train.numpy(), "y_test": ds.y_test.numpy()}
        (folder / "fcn").mkdir()
        for name in datasets:
            np.savez(folder / "data" / f"{name}.npz", **arrays)
            FCN(4).save(folder / "fcn" / f"{name}.safetensors")
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(SITE)
        self.notebook = folder / "tiny_notebook.py"
        self.notebook.write_text(notebook)
        tables = [f"[[ablations]]\n{_toml(ablation)}" for ablation in ablations]
        lists = dict(preset="quick", datasets=list(datasets), configurations=list(configurations), seeds=list(seeds))
        self.file.write_text("\n".join([_toml(lists), "[settings]", _toml(SETTINGS), *tables]))

    def command(self, action, *options):
        program = [sys.executable, "-m", "ncvqvae_lite.cli", "campaign", action]
        return [*program, str(self.file), "--out", str(self.out), *options]

    def environment(self, **variables):
        own = {"PYTHONPATH": os.pathsep.join([str(self.folder / "site"), str(ROOT)]), "OMP_NUM_THREADS": "1"}
        own |= {"TINY_NOTEBOOK": str(self.notebook), "TINY_EXECUTIONS": str(self.folder / "executions")}
        own |= {"NCVQVAE_DATA": str(self.folder / "data"), "NCVQVAE_FCN": str(self.folder / "fcn")}
        own |= {"CUDA_VISIBLE_DEVICES": ""}
        foreign = ("SNAKEMAKE_PROFILE", "SLURM_JOB_ID")
        return {name: value for name, value in os.environ.items() if name not in foreign} | own | variables

    def start(self, *options, **variables):
        """An engine, as a process in a group of its own; inline unless the options say otherwise."""
        engine = () if "--engine" in options else ("--engine", "inline")
        return subprocess.Popen(
            self.command("run", *engine, *options), env=self.environment(**variables), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def run(self, *options, **variables):
        """Run an engine to its end -> (exit code, stdout, stderr)."""
        process = self.start(*options, **variables)
        out, err = process.communicate(timeout=900)
        return process.returncode, out, err

    def status(self):
        """What `campaign status` prints."""
        done = subprocess.run(self.command("status"), env=self.environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def executions(self):
        """One line for each notebook that was begun."""
        file = self.folder / "executions"
        return file.read_text().splitlines() if file.exists() else []

    def cells(self):
        """Folders of the cells that have results."""
        return sorted(file.parent for file in self.out.glob("cells/*/*/*/*/metrics.json"))

    def failures(self):
        """Contents of all failed.json."""
        return [json.loads(file.read_text()) for file in sorted(self.out.rglob("failed.json"))]

    def results(self):
        """{path: (time of writing, content)} of everything that a finished stage leaves."""
        kept = ("metrics.json", "history.csv", "samples.npz")
        files = [f for f in sorted(self.out.rglob("*")) if f.name in kept or f.suffix == ".safetensors"]
        return {f.relative_to(self.out).as_posix(): (f.stat().st_mtime_ns, f.read_bytes()) for f in files}


def wait_for(condition, seconds=300):
    """Wait until a function returns something true, and return that."""
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError("this did not happen")


def _toml(table):
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in table.items())
