"""How the settings of `improved` were chosen: `python benchmarks/search.py [--sets ...] [--trials ...] [--seeds ...]`

One trial is one change of the preset, run as a whole cell on sets that no result is reported on: generated series with
fresh test series, and the train splits of ECG5000 and Wafer cut into folds (a fifth held out as test; $NCVQVAE_DATA).
The archive's test splits are not touched. Every trial, losers included, becomes a row of `search.csv` beside this file:
a change of the preset as it was at the commit of the row. Run folders (--out) make the search resumable; trials that
share a tokenizer train it once, and those that only draw other samples take the prior of the trial `preset`. CAS, which
is dear, is computed for `preset` alone. A trial without a row has not been run. Sets without a judge that ships are
judged by a feature net trained on them; kernel distances, coverage and recall compare within one commit.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from ncvqvae_lite import ExperimentConfig, cell_folder, from_arrays, load_dataset, run_experiment
from ncvqvae_lite.errors import NotFound
from ncvqvae_lite.experiment_folders import commit
from ncvqvae_lite.fcn_weights import find_weights
from ncvqvae_lite.files import hold, read_csv, read_json, write_csv

TABLE = Path(__file__).with_name("search.csv")
GENERATED = ("TwoPatternsGenerated", "CBFGenerated", "SyntheticControlGenerated")
SMALL = ("TwoPatternsGenerated-60", "CBFGenerated-30", "SyntheticControlGenerated-60")  # with so many train series
FOLDS = ("ECG5000", "Wafer", "ShapesAll", "UWaveGestureLibraryAll")  # their train splits
KEPT = (
    "recon_val fid fid_by_class fid_reconstruction fid_train_test fid_resampled is_by_class is_real class_accuracy "
    "fid_kernels fid_kernels_reconstruction fid_kernels_train_test coverage coverage_test_halves recall "
    "recall_test_halves nearest_train noise knn_acc svm_acc cas"
).split()
STAGES = ("fcn", "tokenizer", "prior", "noise", "evaluation", "cas")

SAMPLING = {"order", "decoding_steps", "choice_temperature", "guidance", "noise", "sampling_precision"}

# One change of the preset each, by what it is about.
TRIALS = {
    "preset": dict(cas=True),
    # geometry and codes
    "grid, width 16": dict(geometry="grid", width=16),
    "half the tokens": dict(width=16),
    "n_fft 4": dict(n_fft=4),
    "K 64": dict(codebook_size=64),
    "K 128": dict(codebook_size=128),
    "K 256": dict(codebook_size=256),
    "2 blocks": dict(n_blocks=2),
    "no k-means": dict(kmeans_init=False),
    "no restarts": dict(expire_below=0.0),
    # training of the tokenizer
    "spectrum weight 0": dict(spectrum_weight=0.0),
    "spectrum weight 1": dict(spectrum_weight=1.0),
    "1500 tokenizer steps": dict(epochs=1, min_steps=1500),
    # training of the prior
    "AdamW": dict(muon_times=0.0),
    "AdamW at twice the rate": dict(muon_times=0.0, prior_lr=4e-3),
    "AdamW at four times the rate": dict(muon_times=0.0, prior_lr=8e-3),
    "Muon at half the rate": dict(muon_times=5.0),
    "Muon at twice the rate": dict(muon_times=20.0),
    "no zero blocks": dict(zero_blocks=False),
    "bottleneck of 64": dict(prior_dim=64),
    "1500 prior steps": dict(prior_epochs=1, prior_min_steps=1500),
    "3000 prior steps": dict(prior_epochs=1, prior_min_steps=3000),
    "depth 4": dict(prior_depth=4),
    "tokens at temperature 0.3": dict(token_temperature=0.3),
    "argmax tokens": dict(token_temperature=0.01),
    # sampling
    "random order": dict(order="random"),
    "confidence order": dict(order="confidence"),  # the preset's from 100 train series on
    "10 steps": dict(decoding_steps=10),
    "40 steps": dict(decoding_steps=40),
    "choice temperature 2": dict(choice_temperature=2.0),
    "choice temperature 10": dict(choice_temperature=10.0),
    "guidance 1.5": dict(guidance=1.5),
    "no noise": dict(noise="none"),
    "noise": dict(noise="pieces"),
    "bf16 sampling": dict(sampling_precision="bf16"),
    # the non-contrastive branch
    "Barlow warp": dict(method="barlowtwins", augmentation="warp"),
    "Barlow warp, a third of the weight": dict(method="barlowtwins", augmentation="warp", barlow_weight=0.3),
    "VIbCReg warp": dict(method="vibcreg", augmentation="warp"),
    "VIbCReg warp, a third of the weight": dict(method="vibcreg", augmentation="warp", vibcreg_weight=0.003),
}


def data_set(name):
    """A generated set, other series than its default and perhaps few; or a fold of an archive's train split."""
    generated, _, n_train = name.partition("-")
    if generated in GENERATED:
        from ncvqvae_lite.generators import GENERATORS

        sizes = dict(n_test=1000, seed=11) | (dict(n_train=int(n_train)) if n_train else {})
        x_train, y_train, x_test, y_test, source = GENERATORS[generated](**sizes)
        return from_arrays(x_train, y_train, x_test, y_test, name=generated, source=source)
    whole = load_dataset(name.removesuffix("Fold"))
    labels = [whole.class_names[k] for k in whole.y_train]
    return from_arrays(whole.x_train, labels, name=name)  # a fifth of every class is held out


def trial(name, changes, ds, seed, out):
    """One row of the table, but for the set."""
    cell = {"dataset": ds.name, "seed": seed, "cas": False}
    cfg = ExperimentConfig.preset("improved", **cell | changes)
    weights = find_weights(ds.name)
    if changes.keys() <= SAMPLING:
        preset = cell_folder(ExperimentConfig.preset("improved", **cell | TRIALS["preset"]), out, weights)
        if not (preset / "prior.safetensors").is_file():
            raise NotFound(f"no prior of the trial preset on {ds.name}, seed {seed}, in {out}: run that trial first")
        cell_folder(cfg, out, weights).mkdir(parents=True, exist_ok=True)
        for file in ("prior.safetensors", "history.csv"):
            shutil.copy(preset / file, cell_folder(cfg, out, weights))
    metrics = run_experiment(cfg, ds, out, weights, device="cpu")
    seconds = read_json(cell_folder(cfg, out, weights) / "seconds.json")
    history = read_csv(cell_folder(cfg, out, weights) / "history.csv")
    row = {"trial": name, "seed": seed, "commit": commit()}
    row |= {metric: format(metrics[metric], ".4g") for metric in KEPT if metric in metrics}
    row |= {"prior_loss": format(float(history[-1]["validation"]), ".4g")}
    return row | {f"seconds_{stage}": round(seconds[stage]) for stage in STAGES if stage in seconds}


def add(row):
    """Put a row into the table, in place of an earlier one of this trial, set, seed and commit."""
    columns = ["set", "trial", "seed", "commit", *KEPT, "prior_loss", *(f"seconds_{s}" for s in STAGES)]
    rows = read_csv(TABLE) if TABLE.exists() else []
    same = {name: str(row[name]) for name in ("set", "trial", "seed", "commit")}
    rows = [r for r in rows if any(r[name] != value for name, value in same.items())]
    rows.append({name: row.get(name, "") for name in columns})
    write_csv(TABLE, sorted(rows, key=lambda r: (r["set"], list(TRIALS).index(r["trial"]), int(r["seed"]))), columns)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=[*GENERATED, *SMALL, "ECG5000Fold", "WaferFold"])
    parser.add_argument("--trials", nargs="+", default=list(TRIALS), choices=list(TRIALS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[11])
    parser.add_argument("--out", type=Path, default=Path("runs/search"))
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    for seed in given.seeds:
        for name in given.trials:
            for data in given.sets:
                row = {"set": data} | trial(name, TRIALS[name], data_set(data), seed, given.out / data)
                with hold(given.out, wait=True, name=".table.lock"):
                    add(row)
                print(row, flush=True)


if __name__ == "__main__":
    sys.exit(main())
