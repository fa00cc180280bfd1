"""`ncvqvae replicate`: one cell of the thesis' tables, from the command line to the comparison."""

import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .cli_options import check_notebook_extra, parse_changes
from .cli_progress import progress_on
from .config import ExperimentConfig
from .errors import BadInput
from .experiment_parts import hash_when_made
from .fcn_weights import file_hash, find_weights, is_thesis_weights, shipped_judge
from .thesis import METRICS, compare

GENERATED = "TwoPatternsGenerated"
say = partial(print, flush=True)  # so that it stands in order with the progress on the other stream


@dataclass(frozen=True)
class Replicate:
    """Train a tokenizer and a prior, generate series, judge them, and set the numbers beside the published ones.

    A run that was interrupted continues where it stopped when the same command is given again; a finished one is not
    repeated.

    dataset D         a data set of the UCR archive or of the folder --data; TwoPatternsGenerated, CBFGenerated and
                      SyntheticControlGenerated are made and need no download
    method M          regular (no second view), or a loss between two views: barlowtwins, vibcreg, vicreg, ...
    augmentation A    what makes the second view: warp, slice, gauss, ...; none for regular
    seed S            a whole number
    preset P          quick (small and short), paper (the thesis' values) or improved (our own recipe)
    out FOLDER        folder of all runs
    notebook          also execute this run's notebook and keep it in the run's folder (needs the extra `notebooks`)
    data FOLDER       folder with D.npz, or D_TRAIN.tsv and D_TEST.tsv (.txt, .csv, .ts); if not given: $NCVQVAE_DATA,
                      the series that aeon bundles, the archive
    fcn FILE          weights (.safetensors) of the FCN behind FID and IS; if not given: D.safetensors in the folder
                      that $NCVQVAE_FCN names, else in the folder fcn of the cache ($NCVQVAE_CACHE, else
                      ~/.cache/ncvqvae_lite); `ncvqvae fcn fetch` fills it. For generated sets weights ship with the
                      package; for others without weights an FCN is trained. With either, FID and IS are not
                      comparable with the thesis
    set FIELD=VALUE   replace single settings of the preset, for example --set epochs=100 cas=false. Where series are
                      few, min_steps of the preset asks for more epochs: --set min_steps=0 to have exactly so many
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
        if self.data:
            from .generators import GENERATORS  # here, as it loads torch

            if self.dataset in GENERATORS:
                raise BadInput(f"{self.dataset} is made, not read: leave out --data, or name a data set by --dataset")
        weights = find_weights(self.dataset, self.fcn)
        if self.notebook:
            check_notebook_extra("--notebook", ", or leave out --notebook")

        from .data import load_dataset
        from .experiment import cell_folder, check_experiment, not_computed, run_experiment
        from .experiment_card import trained_epochs
        from .tables import floors_table, published_table, scores_table

        ds = load_dataset(self.dataset, self.data)
        if not ds.n_classes:
            weights = None  # neither FID nor IS is computed
        check_experiment(cfg, ds, weights)
        folder = cell_folder(cfg, self.out, weights)
        recipe = ", ".join([f"preset {self.preset}", *self.set])
        more = [
            f"{count} {name}" for name, count in trained_epochs(cfg, ds).items() if count > changes.get(name, count)
        ]
        recipe += f" ({' and '.join(more)} are trained, so that there are min_steps)" if more else ""
        say(f"Run: {self.dataset}, {self.method} + {self.augmentation}, seed {self.seed}, {recipe}")
        say(f"Data: {ds.sizes}, {ds.n_classes or 'no'} classes; {ds.source}")
        absent = not_computed(cfg, ds)
        if "fid" not in absent:
            where = "which ships with the package, used" if weights == shipped_judge(self.dataset) else "found there"
            found = f"{weights}{'' if self.fcn else f', {where} because --fcn was not given'}"
            none = "trained on this data set, because there are no weights for it (see `ncvqvae doctor`)"
            say(f"FCN: {found if weights else none}")
        if (folder / "metrics.json").exists():
            say("This run is finished: nothing is computed again.")
        with progress_on(sys.stderr) as progress:
            metrics = run_experiment(cfg, ds, self.out, weights, progress=progress)

        own_fcn = not (weights and is_thesis_weights(weights, self.dataset))
        rows = compare(metrics, cfg.dataset, cfg.method, cfg.augmentation, own_fcn=own_fcn, ds=ds)
        say(f"\n{published_table(rows)}\n")
        if "fid" in metrics:
            say(f"{floors_table(metrics)}\n")
        published = {metric.ours for metric in METRICS}
        say(f"{scores_table({name: value for name, value in metrics.items() if name not in published})}\n")
        if rows[0].published and (cfg.preset_name != "paper" or changes or cfg.dataset == GENERATED):
            say("The verdicts do not test the method: this run has other series or another recipe than the thesis.")
        by_reason = defaultdict(list)
        for name, reason in absent.items():
            by_reason[reason].append(name)
        for reason, names in by_reason.items():
            say(f"Not computed: {', '.join(names)} ({reason})")
        if "fid" not in absent:
            say(f"FID and IS: {_judge(cfg, self.out, folder, weights, own_fcn, metrics)}")
        say(f"Run folder: {folder}")
        if not self.notebook:
            return 0

        from .lab.runner import NotebookFailed, replicate_notebook

        try:
            say(f"Notebook: {replicate_notebook(cfg, self.out, data=self.data, fcn=weights)}")
        except NotebookFailed as error:  # its traceback is printed already
            say(f"error: {error}", file=sys.stderr)
            return 1
        return 0


def _judge(cfg, out, folder, weights, own_fcn, metrics):
    """Which feature net stands behind FID and IS."""
    if weights is None:
        sha = hash_when_made(folder, cfg.fcn_folder(out) / "fcn.safetensors")[:12]
        accuracy = f"test accuracy {metrics['fcn_accuracy']:.3f}, SHA-256 {sha}"
        return f"our own FCN ({accuracy}): not comparable with the thesis"
    comparable = "another FCN than the thesis used: not comparable with it" if own_fcn else "the FCN of the thesis"
    return f"{comparable} ({weights}, SHA-256 {file_hash(weights)})"
