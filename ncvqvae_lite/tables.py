"""Tables as text: our numbers beside the published ones, beside their floors, and those of recorded runs."""

import numpy as np

from .config import PRESETS
from .files import read_csv
from .names import SCORES
from .thesis import METRICS, data_file

# What FID is set beside, each against the test split.
COMPARISONS = (
    ("fid", "generated, unconditional"),
    ("fid_reconstruction", "test series after tokens and back"),
    ("fid_train_test", "train series"),
    ("fid_test_halves", "one half of test against the other"),
)
RECORDED = {metric.ours: SCORES[metric.theirs].short for metric in METRICS if metric.theirs in SCORES}


def _columns(rows):
    """Rows of texts with aligned columns: the first to the left, the last as it is, those between to the right."""
    first, *widths, _ = (max(map(len, column)) for column in zip(*rows))
    return [
        "  ".join([name.ljust(first), *(n.rjust(w) for n, w in zip(numbers, widths)), last]).rstrip()
        for name, *numbers, last in rows
    ]


def scores_table(metrics):
    """Every registered score that is in `metrics`, as text: its label, its value, which direction is better."""
    found = [(score.label, f"{metrics[name]:.4g}", score.better) for name, score in SCORES.items() if name in metrics]
    if not found:
        return "no score was computed"
    return "\n".join(_columns([("score", "value", "better"), *found]))


def published_table(rows):
    """`thesis.compare`'s rows as aligned text, with a heading that says what the published columns stand for."""
    lines = [("metric", "ours", "thesis mean", "authors' min", "authors' max", "verdict")]
    for r in rows:
        ours, mean, low, high = (
            "-" if v is None else f"{v:.4g}" for v in (r.ours, r.thesis_mean, r.authors_min, r.authors_max)
        )
        lines.append((r.metric, ours, mean + "*" * r.misprint, low, high, r.verdict))
    published = next((r.published for r in rows if r.published), "")
    heading = f"Published: {published} (4 runs)" if published else "Published: none, the thesis does not have this one"
    notes = ["recon and val_perplexity: last test batch only, as the authors recorded them"]
    if any(r.misprint for r in rows):
        notes.append("* as printed; the authors' run files say otherwise")
    return "\n".join([heading, *_columns(lines), *notes])


def floors_table(metrics):
    """FID of the generated series beside what it can be compared with, as text; each line is against the test split.

    Two real samples of the same source do not have FID 0, and no sample can be better than the tokenizer's decoder.
    """
    found = [(label, metrics[name]) for name, label in COMPARISONS if name in metrics]
    if not found:
        return "FID: not computed"
    width = max(len(label) for label, _ in found)
    lines = [f"{'FID against the test split of':{width}}  value"]
    lines += [f"{label:{width}}  {value:.4g}" for label, value in found]
    if "fid_train" in metrics:
        lines.append(f"Generated against train instead of test: {metrics['fid_train']:.4g}")
    if "fid_test_halves" in metrics and metrics["fid"] <= metrics["fid_test_halves"]:
        lines.append("Generated series are as near as real ones here: too near, or too few to tell them apart by FID.")
    if "is" in metrics:
        lines.append(f"IS: {metrics['is']:.4g} generated, {metrics['is_real']:.4g} real test series")
    return "\n".join(lines)


# --- recorded runs ---


def recorded_runs(chapter):
    """What recorded runs of a chapter found, as text: per preset and number the mean, the spread and the seeds.

    The rows are in data/results/chapters.csv; notebooks/tools/record.py makes them.
    """
    found = {}
    for row in read_csv(data_file("results/chapters.csv")):
        if row["chapter"] == chapter:
            found.setdefault((row["name"], row["preset"]), []).append(float(row["value"]))
    if not found:
        return f"no recorded runs of chapter {chapter}"
    names = list(dict.fromkeys(name for name, _ in found))
    width = max(map(len, names))
    lines = [f"{'':{width}}  preset    mean      sd (over seeds)"]
    for (name, preset), values in sorted(found.items(), key=lambda i: (names.index(i[0][0]), PRESETS.index(i[0][1]))):
        sd = f"{np.std(values, ddof=1):.2g}" if len(values) > 1 else "-"
        lines.append(f"{name:{width}}  {preset:8}  {np.mean(values):<8.3g}  {sd} ({len(values)})")
    return "\n".join(lines)


def recorded_cells(dataset, method, augmentation):
    """Recorded runs of one cell as text, one line per run: its seed, preset, changed settings and main scores.

    The rows are in data/results/cells.csv; `ncvqvae campaign export` adds finished runs. FID and IS are
    comparable between lines with one FCN only, which is named by the first digits of its hash.
    """
    runs = {}
    for row in read_csv(data_file("results/cells.csv")):
        if (row["dataset"], row["method"], row["augmentation"]) == (dataset, method, augmentation):
            key = (row["preset"], row["ablation"], int(row["seed"]), row["fcn"][:4])
            runs.setdefault(key, {})[row["metric"]] = float(row["value"])
    if not runs:
        return f"no recorded runs of {dataset}, {method} + {augmentation}"
    lines = ["preset    seed  " + "".join(f"{short:>7}" for short in RECORDED.values()) + "  FCN   changed settings"]
    for (preset, ablation, seed, fcn), scores in sorted(runs.items()):
        values = (f"{scores[name]:7.3f}" if name in scores else f"{'-':>7}" for name in RECORDED)
        lines.append(f"{preset:8}  {seed:4}  " + "".join(values) + f"  {fcn:4}  {ablation}".rstrip())
    return "\n".join(lines)
