"""Published numbers beside ours: the thesis' tables (Mathisen 2024), the authors' own runs, and `compare`.

The tables ship with the package (data/README.md says what each column means). Names join with ours except for two:
the authors recorded `recon_val` and `val_perplexity` on the last test batch only (Q1), so they are compared with our
`recon_last_batch` and `val_perplexity_last_batch`, not with our means over the whole test set.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from .arguments import checked, flag, instance_of
from .errors import BadInput
from .files import data_file, read_csv
from .names import SCORES

CONFIGURATIONS = (
    ("regular", "none"),
    *((method, augmentation) for method in ("barlowtwins", "vibcreg") for augmentation in ("warp", "slice", "gauss")),
)

# Cells of the thesis that disagree with the authors' run files: (table, dataset, method, augmentation, metric).
# Two swapped cells, one slip, and a row of "best of 4" that holds the worst of 4 (Q15). We show what is printed.
MISPRINTS = frozenset(
    {
        ("recon_mean", "SonyAIBORobotSurface1", "vibcreg", "warp", "recon_val"),
        ("recon_mean", "SonyAIBORobotSurface1", "vibcreg", "slice", "recon_val"),
        ("probe_mean", "TwoPatterns", "barlowtwins", "gauss", "svm_acc"),
        *(("probe_top1", "Mallat", method, augmentation, "knn_acc") for method, augmentation in CONFIGURATIONS),
    }
)

NOT_COMPUTED = "not computed"
NOT_IN_THESIS = "not in the thesis"
OTHER_SERIES = "other series than the thesis"
OWN_FCN = "own FCN: not comparable with the thesis"


class Metric(NamedTuple):
    """How one metric is called on both sides."""

    name: str
    ours: str
    theirs: str

    @property
    def better(self):
        """ "lower" or "higher"; "" where neither is."""
        return SCORES[self.theirs].better if self.theirs in SCORES else ""


# Two of ours are taken at another moment than theirs: `train_perplexity` is our mean over the last epoch, theirs the
# last batch; `codebook_abs_*` ours after the last epoch, theirs at the last epoch that 200 divides (the same for 1000).
METRICS = (
    Metric("recon", "recon_last_batch", "recon_val"),
    Metric("knn_acc", "knn_acc", "knn_acc"),
    Metric("svm_acc", "svm_acc", "svm_acc"),
    Metric("train_perplexity", "train_perplexity", "train_perplexity"),
    Metric("val_perplexity", "val_perplexity_last_batch", "val_perplexity"),
    Metric("codebook_abs_corr", "codebook_abs_corr", "codebook_abs_corr"),
    Metric("codebook_abs_cos", "codebook_abs_cos", "codebook_abs_cos"),
    Metric("fid", "fid", "fid"),
    Metric("is", "is", "is"),
    Metric("cas", "cas", "cas"),
)


class PublishedValue(NamedTuple):
    """One number of the thesis' tables; `printed` keeps its digits as they stand there."""

    table: str
    dataset: str
    method: str
    augmentation: str
    metric: str
    statistic: str  # "mean" of 4 runs, or "top1": the best of 4
    printed: str

    @property
    def misprint(self):
        return (self.table, self.dataset, self.method, self.augmentation, self.metric) in MISPRINTS


class Row(NamedTuple):
    """One metric of one configuration: our value, the thesis' mean as printed, the range of the authors' runs."""

    metric: str
    ours: float | None
    thesis_mean: float | None
    authors_min: float | None
    authors_max: float | None
    verdict: str
    misprint: bool = False  # the printed mean disagrees with the authors' run files
    published: str = ""  # the data set and configuration of the published columns
    other_series: str = ""  # how a data set of the same name differs from the thesis', which then has no columns here


@cache
def published_values():
    """All 1001 numbers of the seven tables in the thesis' results chapter, as a tuple of `PublishedValue`."""
    return tuple(PublishedValue(printed=row.pop("value"), **row) for row in read_csv(data_file("thesis_tables.csv")))


@cache
def _authors():
    """(dataset, method, augmentation) -> {metric: values in the order of the authors' files}."""
    table = {}
    for row in read_csv(data_file("author_runs.csv")):
        cell = table.setdefault((row["dataset"], row["method"], row["augmentation"]), {})
        cell[row["metric"]] = (*cell.get(row["metric"], ()), float(row["value"]))
    return table


def _known(dataset, method, augmentation):
    key = (dataset, method, augmentation)
    if key not in _authors():
        names = ", ".join(dict.fromkeys(name for name, *_ in _authors()))
        pairs = ", ".join(f"{m} + {a}" for m, a in CONFIGURATIONS)
        raise BadInput(f"no published numbers for {dataset}, {method} + {augmentation}, expected {names} with {pairs}")
    return key


def _printed_means(dataset, method, augmentation):
    key = _known(dataset, method, augmentation)
    return {c.metric: c for c in published_values() if c.statistic == "mean" and c[1:4] == key}


def thesis_mean(dataset, method, augmentation):
    """Means over 4 runs as the thesis prints them: {recon_val, knn_acc, svm_acc, fid, is, cas} -> float."""
    return {metric: float(c.printed) for metric, c in _printed_means(dataset, method, augmentation).items()}


def author_runs(dataset, method, augmentation):
    """The authors' runs: metric -> 4 values (fewer where theirs is NaN: `codebook_abs_corr` of Mallat).

    Do not pair values across stages by position: seeds were not recorded, and the order differs.
    """
    return dict(_authors()[_known(dataset, method, augmentation)])


@cache
def _sizes():
    """Data set of the thesis -> {n_train, n_test, length, n_classes}."""
    rows = [dict(row) for row in read_csv(data_file("thesis_sizes.csv"))]
    return {row.pop("dataset"): {name: int(value) for name, value in row.items()} for row in rows}


def other_series(dataset, ds):
    """How the series of a run differ in size from the thesis' data set, in words; "" where they do not.

    dataset    name of one of the thesis' data sets
    ds         TimeSeriesDataset. Without labels its classes do not count
    """
    ours = {"n_train": len(ds.x_train), "n_test": len(ds.x_test), "length": ds.length, "channels": ds.channels}
    return other_sizes(dataset, ours | {"n_classes": ds.n_classes or _sizes()[dataset]["n_classes"]})


def other_sizes(dataset, ours: dict[str, int]):
    """The same of sizes by name: n_train, n_test, length, channels, n_classes; "" for no data set of the thesis."""
    theirs = {"channels": 1} | _sizes().get(dataset, ours)
    words = {"n_train": "train series", "n_test": "test series", "length": "steps", "channels": "channel(s)"}
    words |= {"n_classes": "classes"}
    return ", ".join(
        f"{ours[name]:,} {what} (thesis: {theirs[name]:,})"
        for name, what in words.items()
        if ours[name] != theirs[name]
    )


@checked(metrics=instance_of(Mapping), dataset=instance_of(str), method=instance_of(str))
@checked(augmentation=instance_of(str), own_fcn=flag)
def compare(metrics, dataset, method, augmentation, *, own_fcn=False, ds=None):
    """Our numbers beside the published ones, one `Row` per metric.

    metrics    dict as `run_experiment` returns it; a metric that is missing, None or NaN counts as not computed
    dataset    "TwoPatternsGenerated" is set beside the archive's TwoPatterns; a data set or configuration that the
               thesis does not have gives rows without published numbers
    own_fcn    True if FID and IS come from an FCN other than the authors': their scale depends on it
    ds         TimeSeriesDataset of the run: where its sizes are not those of the thesis' data set, it is another one of
               the same name, and the rows have no published numbers. None: taken for the thesis'
    verdict    "inside" the range of the authors' runs; else "better" or "worse", or "outside" where neither is better
    """
    archive = "TwoPatterns" if dataset == "TwoPatternsGenerated" else dataset
    mean, runs, published, differs, rows = {}, {}, "", "", []
    if (archive, method, augmentation) in _authors():
        differs = other_series(archive, ds) if ds else ""
        if not differs:
            mean, runs = _printed_means(archive, method, augmentation), author_runs(archive, method, augmentation)
            name = archive if archive == dataset else f"archive's {archive}"
            published = f"{name}, {method} + {augmentation}"
    for metric in METRICS:
        ours = metrics.get(metric.ours)
        ours = None if ours is None or math.isnan(ours) else float(ours)
        printed, theirs = mean.get(metric.theirs), runs.get(metric.theirs, ())
        columns = float(printed.printed) if printed else None, min(theirs, default=None), max(theirs, default=None)
        if ours is None:
            word = NOT_COMPUTED
        elif not theirs:
            word = OTHER_SERIES if differs else NOT_IN_THESIS
        else:
            word = OWN_FCN if own_fcn and metric.name in ("fid", "is") else verdict(ours, theirs, metric.better)
        rows.append(Row(metric.name, ours, *columns, word, bool(printed and printed.misprint), published, differs))
    return rows


def verdict(value, theirs, better):
    """ "inside" the range of `theirs`; else "better" or "worse", or "outside" where neither direction is better."""
    if min(theirs) <= value <= max(theirs):
        return "inside"
    if not better:
        return "outside"
    return "better" if (value < min(theirs)) == (better == "lower") else "worse"
