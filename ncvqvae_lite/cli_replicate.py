"""`ncvqvae replicate`: one cell of the thesis' tables, from the command line to the comparison."""

import sys
from dataclasses import dataclass
from pathlib import Path

from .cli_options import check_notebook_extra, parse_changes
from .cli_progress import progress_on
from .config import ExperimentConfig
from .errors import BadInput
from .fcn_weights import file_hash, find_weights, is_thesis_weights
from .thesis import compare

GENERATED = "TwoPatternsGenerated"


@dataclass(frozen=True)
class Replicate:
    """Train a tokenizer and a prior, generate series, judge them, and set the numbers beside the published ones.

    A run that was interrupted continues where it stopped when the same command is given again; a finished one is not
    repeated.

    dataset D         a data set of the UCR archive or of the folder --data; TwoPatternsGenerated needs no download
    method M          regular, barlowtwins, vibcreg, vicreg
    augmentation A    warp, slice or gauss; none for regular
    seed S            a whole number
    preset P          quick (small and short), paper (the thesis' values) or improved (its quirks put right)
    out FOLDER        folder of all runs
    notebook          also execute this run's notebook and keep it in the run's folder (needs the extra `notebooks`)
    data FOLDER       folder with D.npz, or D_TRAIN.tsv and D_TEST.tsv (.txt, .ts); if not given: $NCVQVAE_DATA, the
                      series that aeon bundles, the archive
    fcn FILE          weights (.safetensors) of the FCN behind FID and IS; if not given: D.safetensors in the folder
                      that $NCVQVAE_FCN names, else in the folder fcn of the cache ($NCVQVAE_CACHE, else
                      ~/.cache/ncvqvae_lite); `ncvqvae fcn import` fills it. Without weights an FCN is trained, and FID
                      and IS are not comparable with the thesis
    set FIELD=VALUE   replace single settings of the preset, for example --set epochs=100 cas=false
    """

    dataset: str = GENERATED
    method: str = "regular"
    augmentation: str = "none"
    seed: int = 1
    preset: str = "quick"
    out: Path = Path("runs")
    notebook: bool = False
    data: Path | None = None
    fcn: Path | None = None
    set: tuple[str, ...] = ()

    def run(self):
        """Run what is left of the cell and print the comparison; returns the exit code."""
        changes = parse_changes(self.set)
        cell = {name: getattr(self, name) for name in ("dataset", "method", "augmentation", "seed")}
        cfg = ExperimentConfig.preset(self.preset, **cell, **changes)
        if self.data and self.dataset == GENERATED:
            raise BadInput(f"{GENERATED} is made, not read: leave out --data, or name a data set of it by --dataset")
        weights = find_weights(self.dataset, self.fcn)
        if self.notebook:
            check_notebook_extra("--notebook", ", or leave out --notebook")

        from .data import load_dataset
        from .experiment import cell_folder, check_experiment, not_computed, run_experiment
        from .nb import floors_table, published_table

        ds = load_dataset(self.dataset, self.data)
        if not ds.n_classes:
            weights = None  # neither FID nor IS is computed
        check_experiment(cfg, ds, weights)
        folder = cell_folder(cfg, self.out, weights)
        _say(_about(cfg, ds, changes))
        absent = not_computed(cfg, ds)
        if "fid" not in absent:
            _say(f"FCN: {_about_weights(weights, self)}")
        if (folder / "metrics.json").exists():
            _say("This run is finished: nothing is computed again.")
        with progress_on(sys.stderr) as progress:
            metrics = run_experiment(cfg, ds, self.out, weights, progress=progress)

        own_fcn = not (weights and is_thesis_weights(weights, self.dataset))
        rows = compare(metrics, cfg.dataset, cfg.method, cfg.augmentation, own_fcn=own_fcn)
        _say(f"\n{published_table(rows)}\n")
        if "fid" in metrics:
            _say(f"{floors_table(metrics)}\n")
        if rows[0].published and (cfg.preset_name != "paper" or changes or cfg.dataset == GENERATED):
            _say("The verdicts do not test the method: this run has other series or another recipe than the thesis.")
        for line in _reasons(absent):
            _say(f"Not computed: {line}")
        if "fid" not in absent:
            _say(f"FID and IS: {_judge(cfg, self.out, weights, own_fcn, metrics)}")
        _say(f"Run folder: {folder}")
        if self.notebook:
            return _execute_notebook(cfg, self, weights, changes)
        return 0


def _execute_notebook(cfg, command, weights, changes):
    """Run notebook 08 over the finished run; returns the exit code, 1 if a cell fails (the traceback is printed)."""
    from .lab.runner import NotebookFailed, replicate_notebook

    try:
        notebook = replicate_notebook(cfg, command.out, data=command.data, fcn=weights, settings=changes)
    except NotebookFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _say(f"Notebook: {notebook}")
    return 0


def _say(text):
    print(text, flush=True)


def _about(cfg, ds, changes):
    changed = "".join(f", {name}={value}" for name, value in changes.items())
    return (
        f"Run: {cfg.dataset}, {cfg.method} + {cfg.augmentation}, seed {cfg.seed}, preset {cfg.preset_name}{changed}\n"
        f"Data: {len(ds.x_train)} train and {len(ds.x_test)} test series, {ds.channels} channel(s), {ds.length} steps, "
        f"{ds.n_classes or 'no'} classes; {ds.source}"
    )


def _about_weights(weights, command):
    if weights is None:
        return "trained on this data set, because there are no weights for it (see `ncvqvae doctor`)"
    return f"{weights}{'' if command.fcn else ', found there because --fcn was not given'}"


def _judge(cfg, out, weights, own_fcn, metrics):
    """Which feature net stands behind FID and IS."""
    if weights is None:
        file = cfg.fcn_folder(out) / "fcn.safetensors"
        accuracy = f"test accuracy {metrics['fcn_accuracy']:.3f}, SHA-256 {file_hash(file)}"
        return f"our own FCN ({accuracy}): not comparable with the thesis"
    comparable = "another FCN than the thesis used: not comparable with it" if own_fcn else "the FCN of the thesis"
    return f"{comparable} ({weights}, SHA-256 {file_hash(weights)})"


def _reasons(absent):
    """{metric: reason} -> one text per reason, with its metrics."""
    by_reason = {}
    for name, reason in absent.items():
        by_reason.setdefault(reason, []).append(name)
    return [f"{', '.join(names)} ({reason})" for reason, names in by_reason.items()]
