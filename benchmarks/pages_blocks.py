"""The blocks of README.md and data/results/README.md: each function returns one as Markdown, from recorded rows."""

import re
import textwrap
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from ncvqvae_lite import names
from ncvqvae_lite.demonstration import ARMS, ROWS, verdict
from ncvqvae_lite.evaluation.scores import SCORES as QUESTIONS
from ncvqvae_lite.files import read_csv
from ncvqvae_lite.lab.campaign import load_campaign
from ncvqvae_lite.lab.report import answer, prior
from ncvqvae_lite.lab.report.tables import (
    CELL,
    LEVEL,
    SEEDS,
    comparable,
    count_verdicts,
    coverage,
    thesis_fcn,
    thesis_tables,
)
from ncvqvae_lite.lab.results import load_cells
from ncvqvae_lite.thesis import CONFIGURATIONS, METRICS, author_runs, published_values

ROOT = Path(__file__).resolve().parents[1]
NAIVE, *NC = CONFIGURATIONS
RUN = [*CELL, "seed"]
SMALL = "SonyAIBORobotSurface2"  # the set with all seven arms
THEIRS = {metric.ours: metric.theirs for metric in METRICS}

# score -> name on the pages, digits after the point
SCORES = {
    "recon_last_batch": ("recon", 3),
    "knn_acc": ("KNN", 3),
    "svm_acc": ("SVM", 3),
    "fid": ("FID", 2),
    "is": ("IS", 2),
    "cas": ("CAS", 3),
}
PROBES = {"knn_acc": "KNN", "svm_acc": "SVM"}


@cache
def recorded():
    """The rows of data/results/cells.csv."""
    return load_cells()


# --- texts ---


def table(head, rows):
    """A table as Markdown; `head` and every row a list of texts."""
    lines = [[f" {text} " if text else " " for text in line] for line in (head, *rows)]
    return "\n".join(f"|{'|'.join(line)}|" for line in (lines[0], ["---"] * len(head), *lines[1:]))


def paragraph(*sentences):
    return textwrap.fill(" ".join(sentences), 135, break_long_words=False, break_on_hyphens=False)


def number(value, digits, nothing="-"):
    return nothing if np.isnan(value) else f"{value:.{digits}f}"


def spread(values, digits):
    """lowest..highest, the one value, or a dash."""
    ends = sorted(values)[:: max(len(values) - 1, 1)]
    return "..".join(number(value, digits) for value in ends) or "-"


def beside(one, other, digits):
    """0.1 (0.2)"""
    return f"{number(one, digits)} ({number(other, digits)})"


def scores_of(one, other):
    """KNN 0.1 (0.2), FID 1.2 (2.3): two runs, each metric -> value."""
    return ", ".join(f"{name} {beside(one[m], other[m], d)}" for m, (name, d) in SCORES.items() if m in one)


def arm(method, augmentation):
    return f"`{method}`" if augmentation == "none" else f"`{method}` + `{augmentation}`"


def of_cell(rows, dataset, configuration):
    return rows[(rows[CELL] == (dataset, *configuration)).all(axis=1)]


def one_run(dataset, configuration, ablation, seed=1):
    """Metric -> value of one recorded run of the preset `paper`, as a Series."""
    rows = of_cell(recorded(), dataset, configuration)
    rows = rows[(rows.preset == "paper") & (rows.ablation == ablation) & (rows.seed == seed)]
    return rows.set_index("metric").value


def sets_in(rows):
    """The thesis' data sets that rows are of, in the order of its campaign."""
    found = {*rows.dataset}
    return [dataset for dataset in load_campaign("thesis").datasets if dataset in found]


# --- the preset `paper`: the thesis again ---


def replication():
    """How much of the thesis was run, and how many of its means came back."""
    rows = comparable(recorded())
    grid, counts = coverage(rows), count_verdicts(thesis_tables(rows))
    means = counts[(counts.table == "all") & (counts.metric == "mean")].iloc[0]
    arms = rows[rows.metric == "fid"].drop_duplicates(CELL).dataset.value_counts()
    whole = (arms == len(CONFIGURATIONS)).sum()
    said = [
        f"**{grid['run']} of the {grid['cells']} cells** of the thesis are run, on {grid['datasets']} of its",
        f"{len(thesis_fcn())} data sets, {whole} of them with all seven arms.",
        f"Of {means.run} means that can be compared,",
        f"**{means.inside} lie inside** the range of the authors' four runs,",
        f"**{means.better} are better, {means.worse} worse**;",
        f"{means.inside_expected:.0f} would lie inside if our runs and theirs came from one distribution.",
        f"A t test tells {means.differ:.0f} of them apart",
        f"(p < {LEVEL}, not corrected: chance alone gives {LEVEL * means.run:.0f}).",
    ]
    return paragraph(*said)


def thesis():
    """Every cell that may stand beside the thesis, with the authors' range below it."""
    rows, lines = comparable(recorded()), []
    for dataset in sets_in(rows):
        for configuration in CONFIGURATIONS:
            part = of_cell(rows, dataset, configuration)
            if part.empty:
                continue
            name = f"{dataset}, {arm(*configuration)}"
            reduced = sorted({*" ".join(part.reduced).split()})
            seeds = ", ".join(map(str, sorted({*part.seed})))
            ours = [spread(part[part.metric == metric].value, digits) for metric, (_, digits) in SCORES.items()]
            runs = author_runs(dataset, *configuration)
            theirs = [spread(runs[THEIRS[metric]], digits) for metric, (_, digits) in SCORES.items()]
            lines += [[name, seeds, *ours, ", ".join(reduced)], ["authors", "", *theirs, ""]]
    return table(["", "seeds", *(name for name, _ in SCORES.values()), "in bf16"], lines)


def versions():
    """How far equal seeds at two versions of the code lie apart."""
    said = []
    for configuration in (NC[0], NAIVE):
        new, old = (one_run(SMALL, configuration, text) for text in ("cas=False", "fcn_precision=bf16"))
        said.append(f"{arm(*configuration)}: {scores_of(new[['knn_acc', 'fid']], old)}")
    return paragraph(f"{SMALL}, seed 1, in brackets an older version of the code: {'; '.join(said)}.")


def leak():
    """Cells with the leak of the probes, beside the same without."""
    cells = recorded()
    rows = comparable(cells)
    with_leak = cells[cells.ablation == "reproduce_probe_leak=True cas=False"]
    found = {name: part.set_index("metric").value for name, part in with_leak.groupby(RUN)}
    found = sorted(found.items(), key=lambda item: (CONFIGURATIONS.index(item[0][1:3]), item[0][3]))
    shown = {**SCORES, "train_perplexity": ("train perplexity", 1)}
    del shown["cas"]
    lines, clean = [], {name: part.set_index("metric").value for name, part in rows.groupby(RUN)}
    for (dataset, *configuration, seed), leaky in found:
        other = clean[dataset, *configuration, seed]
        values = [beside(leaky[metric], other[metric], digits) for metric, (_, digits) in shown.items()]
        lines.append([f"{arm(*configuration)}, seed {seed}", *values])
    higher = pd.DataFrame({name: leaky[[*PROBES, "fid"]] > clean[name][[*PROBES, "fid"]] for name, leaky in found}).T
    naive = higher.loc[[name for name, _ in found if name[1:3] == NAIVE], "fid"]
    runs = author_runs(SMALL, *NAIVE)
    lines.append(["authors, `regular`", *(spread(runs[THEIRS[m]], digits) for m, (_, digits) in shown.items())])
    below = dict.fromkeys(PROBES, 0)
    for configuration in NC:
        means = of_cell(rows, SMALL, configuration).groupby("metric").value.mean()
        runs = author_runs(SMALL, *configuration)
        below = {metric: n + int(means[metric] < min(runs[metric])) for metric, n in below.items()}
    shown = table([f"{SMALL}, in brackets without the leak", *(name for name, _ in shown.values())], lines)
    said = paragraph(
        f"With the leak KNN is higher in {higher.knn_acc.sum()} of {len(higher)} pairs, SVM in {higher.svm_acc.sum()},",
        f"and the FID of the naive arm in {naive.sum()} of {len(naive)}. Without it our",
        f"KNN lies below the authors' range in {below['knn_acc']} of the {len(NC)} NC arms of this set, SVM in",
        f"{below['svm_acc']}.",
    )
    return f"{shown}\n\n{said}"


def bf16():
    """One cell with the products of both stages in bf16, beside fp32."""
    low, full = (one_run(SMALL, NC[0], text) for text in ("precision=bf16 prior_precision=bf16 cas=False", "cas=False"))
    return paragraph(f"{SMALL}, {arm(*NC[0])}, seed 1, in brackets fp32: {scores_of(low, full)}.")


# --- the preset `improved` ---

# metric -> name and digits; the same of train series whose tokens were drawn anew, and of real series
OF_SAMPLES = {
    "recon_last_batch": ("recon, last batch", 3),
    "knn_acc": ("KNN", 2),
    "svm_acc": ("SVM", 2),
    "fid": ("FID", 2),
    "fid_by_class": ("FID by class", 2),
    "is": ("IS", 2),
    "is_by_class": ("IS by class", 2),
    "cas": ("CAS", 3),
    "coverage": ("coverage", 2),
    "recall": ("recall", 2),
    "nearest_train": ("nearest-train AUC", 2),
}
RESAMPLED = {metric: f"{metric}_resampled" for metric in ("fid", "coverage", "recall", "nearest_train")}
REAL = {"fid": "fid_train_test", "is": "is_real", "cas": "fcn_accuracy"}
REAL |= {metric: f"{metric}_test_halves" for metric in ("coverage", "recall")}
PRINTED = {"recon_val": "recon_mean", "knn_acc": "probe_mean", "svm_acc": "probe_mean"}
PRINTED |= {"fid": "gen_mean", "is": "gen_mean", "cas": "cas_mean"}


def improved():
    """The naive arm on every data set that has all four seeds: mean and deviation, with floors and ceilings."""
    rows = answer.answer_rows(recorded())
    lines, alone, copies = [], [], []
    for dataset in sets_in(rows):
        part = of_cell(rows, dataset, NAIVE)
        if not {*SEEDS} <= {*part.seed}:
            continue
        mean, sd = (part.groupby("metric").value.agg(how) for how in ("mean", "std"))
        lines.append([f"{dataset}, naive", *(beside(mean[m], sd[m], d) for m, (_, d) in OF_SAMPLES.items())])
        lines.append(["thesis, best arm", *(best_printed(dataset, THEIRS.get(m, m)) for m in OF_SAMPLES)])
        for name, metrics in (("train series, tokens drawn anew", RESAMPLED), ("real series", REAL)):
            bounds = [mean.get(metrics.get(metric), np.nan) for metric in OF_SAMPLES]
            lines.append([name, *(number(v, d, "") for v, (_, d) in zip(bounds, OF_SAMPLES.values()))])
        alone.append(f"{1 - mean.coverage:.0%} on {dataset} ({1 - mean.coverage_test_halves:.0%})")
        copies.append(f"{number(mean.fid_reconstruction, 2)} on {dataset}")
    said = paragraph(
        "Real series that have no sample near, in brackets no series of the other half of test:",
        f"{', '.join(alone)}. FID of test series that went through the tokens and back: {', '.join(copies)}.",
    )
    return f"{table(['', *(name for name, _ in OF_SAMPLES.values())], lines)}\n\n{said}"


def best_printed(dataset, metric):
    """The best of the seven arms' means as the thesis prints it; "" where it has no such score."""
    place = (PRINTED.get(metric), dataset, metric)
    found = [value.printed for value in published_values() if (value.table, value.dataset, value.metric) == place]
    lower = metric in ("recon_val", "fid")
    return (min if lower else max)(found, key=float) if found else ""


def headline():
    """What the non-contrastive loss does, all else being equal, in the report's words; how far that campaign is."""
    rows = answer.answer_rows(recorded())
    found, lines = answer.effects(rows), []
    for row in found.itertuples():
        interval = "-" if np.isnan(row.low) else answer.bounds(row)
        effect = answer.size(row.Index, row.effect)
        lines.append([answer.ASKED[row.Index], effect, interval, row.verdict, answer.rests_on(row)])
    parts = [
        paragraph(answer.headline(found), answer.missing(rows)),
        table(["score", "NC against naive", "95 % interval", "NC", "rests on"], lines),
    ]
    for dataset, part in rows[rows.metric == "fid_by_class"].groupby("dataset"):
        if len(part) == len(CONFIGURATIONS) * len(SEEDS):
            arms = part.groupby("arm").value.agg(["mean", "std"])
            others = arms["mean"].drop(answer.NAIVE)
            parts.append(
                paragraph(
                    f"{dataset}, all {len(part)} cells: FID by class of the naive arm",
                    f"{beside(*arms.loc[answer.NAIVE], 2)}, means of the {len(others)} NC arms {spread(others, 2)}.",
                )
            )
    return "\n\n".join(parts)


LOSSES = ("regular-none", "barlowtwins-warp", "vibcreg-warp", "vicreg-warp", "simclr-warp")
WITHOUT_CLASSIFIER = ("", "cas=False")  # `headline`, and `contrastive`: no other score looks at CAS


def contrastive():
    """What other losses do in the tokenizer: mean and deviation over the seeds that all of them have, set by set."""
    shown = ("knn_acc", "svm_acc", "fid", "fid_by_class", "is_by_class", "coverage")
    scores, rows = {name: OF_SAMPLES[name] for name in shown}, recorded()
    rows = rows[(rows.preset == "improved") & rows.ablation.isin(WITHOUT_CLASSIFIER) & rows.metric.isin(scores)]
    rows = rows.assign(arm=rows.method + "-" + rows.augmentation)
    lines = []
    for dataset in sets_in(rows):
        part = rows[rows.dataset == dataset].pivot_table(index=["arm", "seed"], columns="metric", values="value")
        having = [{seed for name, seed in part.index if name == loss} for loss in LOSSES]
        if seeds := sorted(set.intersection(*having)):
            for configuration in LOSSES:
                found = part.loc[[(configuration, seed) for seed in seeds]].agg(["mean", "std"])
                values = [beside(*found[name], digits) for name, (_, digits) in scores.items()]
                named = arm(*configuration.split("-"))
                lines.append([f"{dataset}, {named}", ", ".join(map(str, seeds)), *values])
    return table(["", "seeds", *(name for name, _ in scores.values())], lines)


# --- which part of the prior ---

PRIORS = {"kept tied": "kept, tied (reference, naive)", "kept untied": "kept, untied"}
PRIORS |= {"masked tied": "masked, tied", "masked untied": "masked, untied (reference, NC)"}
EFFECTS = {"untied : tied": "untied : tied", "masked : kept": "masked : kept"}
EFFECTS |= {prior.WHOLE: "NC arms' prior : naive arm's prior"}
PARTS = {
    "untied layer": [(f"{mask} untied", f"{mask} tied") for mask in ("kept", "masked")],
    "mask": [(f"masked {head}", f"kept {head}") for head in ("tied", "untied")],
}


def naive_blocks(metric):
    """Rows data set and seed, columns the four priors, on naive tokens."""
    blocks = prior.prior_blocks(prior.prior_rows(recorded(), metric))
    return blocks[blocks.index.get_level_values("method") == NAIVE[0]]


def priors():
    """FID of the four priors on the same naive tokens, then the effects as ratios."""
    blocks, lines = naive_blocks("fid"), []
    sets = sets_in(blocks.reset_index())
    for dataset in sets:
        part = blocks.xs(dataset, level="dataset")
        values = [", ".join(number(v, 1 if v >= 10 else 2) for v in part[name].dropna()) or "-" for name in PRIORS]
        lines.append([dataset, ", ".join(map(str, part.index.get_level_values("seed"))), *values])
    by_seed = table(["FID", "seeds", *PRIORS.values()], lines)
    effects, lines = prior.prior_effects(blocks), []
    over = {row.effect: row for row in prior.over_datasets(effects).itertuples()}
    for effect, name in EFFECTS.items():
        ratios = {row.dataset: ratio(row) for row in effects[effects.effect == effect].itertuples()}
        lines.append([name, *(ratios.get(dataset, "-") for dataset in sets)])
        lines[-1].append(f"{ratio(over[effect])}, {over[effect].datasets} sets")
    published = [f"{prior.authors_ratio(dataset, 'fid'):.2f}" for dataset in sets]
    lines.append(["NC arms : naive arm in the thesis (prior and SSL at once)", *published, ""])
    return "\n\n".join([by_seed, table(["ratio of FIDs, 95 % interval", *sets, "over the sets"], lines)])


def ratio(row):
    return f"{row.ratio:.2f}" + ("" if np.isnan(row.low) else f" ({row.low:.2f} to {row.high:.2f})")


def pairs():
    """In how many pairs either part of the prior lowers FID, raises IS, and brings the class mix nearer."""
    blocks, said = {metric: naive_blocks(metric) for metric in ("fid", "is", "class_mix_error")}, []
    for name, contrasts in PARTS.items():
        lower = pd.DataFrame(
            {
                metric: pd.concat([values[[a, b]].dropna().pipe(lambda v, a=a, b=b: v[a] < v[b]) for a, b in contrasts])
                for metric, values in blocks.items()
            }
        )
        n, higher = len(lower), ~lower["is"]
        both = (lower.fid & lower.class_mix_error).sum()
        said.append(
            f"The {name} lowers the FID in {lower.fid.sum()} of {n} pairs, raises IS in {higher.sum()}, and brings the"
            f" class mix of the samples nearer to the real one (`class_mix_error`) in {lower.class_mix_error.sum()},"
            f" {both} of which are among those with a lower FID."
        )
    return paragraph(*said)


def random_start():
    """The tied layer whose prior starts at random instead of as the codebook: ratio of FIDs."""
    said, both = [], ("mask_polarity=masked prior_start=random cas=False", "mask_polarity=masked cas=False")
    for dataset in ("SonyAIBORobotSurface1", SMALL):
        random, codebook = ([one_run(dataset, NAIVE, text, seed).fid for seed in SEEDS] for text in both)
        times, low, high = prior.ratio_interval(np.log(random) - np.log(codebook), fewest=2)
        said.append(f"{times:.2f} ({low:.2f} to {high:.2f}) times as large on {dataset}")
    return paragraph(f"Its FID is {', '.join(said)}, seeds {', '.join(map(str, SEEDS))}.")


# --- the demonstration, speed, the course ---

ASKS = {  # what each score of the demonstration asks, for readers who have not met it
    "recon_val": "what is lost when a series is written as tokens and read back; 0 is nothing",
    "knn_acc": "how often do the tokens alone, learnt without labels, tell the class? Five nearest neighbours decide",
    "svm_acc": "the same, a straight line between classes decides",
    "fid": "distance of samples from real series, in the features of a judge",
    "is": "how sure and how varied the judge is about samples",
    "class_accuracy": "the judge, a classifier trained on other real series, sees the class that was asked for",
    "cas": "a classifier that learnt from samples only: how often is it right on real series?",
    "is_by_class": "how sure and how varied is the judge about samples? At most the number of classes",
    "fid_by_class": "distance of samples from real series, in the features of the judge; two real sets have one, too",
    "coverage": "share of the real series that have a sample near",
    "nearest_train": "is a sample nearer to the training series than a new real one is? 0.5: no; 1: it is a copy",
}


def demonstration():
    """The closing table of `make replicate`, as it was when it was recorded, and its verdict."""
    rows = read_csv(ROOT / "data" / "results" / "replicate.csv")
    lines = [
        [names.SCORES[row["metric"]].label, row["naive"], row["non_contrastive"], row["real"] or "-"] for row in rows
    ]
    lines = [[*line, ASKS[row["metric"]]] for line, row in zip(lines, rows)]
    arms = [{row["metric"]: float(row[name]) for row in rows if row[name]} for name in ARMS]
    real = {ROWS[row["metric"]]: float(row["real"]) for row in rows if row["real"]}
    said = verdict(*({**found, **real} for found in arms))
    return f"{table(['score', 'naive', 'non-contrastive', 'real', 'what it asks'], lines)}\n\n{paragraph(said)}"


def questions():
    """The scores of `ncvqvae evaluate`: what each asks, what is good, what it needs."""
    good = {"lower": "low", "higher": "high", "half": "one half"}
    lines = [
        [f"`{name}`", score.label, score.question, good[score.better], score.needs] for name, score in QUESTIONS.items()
    ]
    return table(["name", "score", "what it asks of synthetic series", "good is", "needs"], lines)


def speed():
    """Times of data/results/speed.csv."""
    tasks, lines = {}, []
    for row in read_csv(ROOT / "data" / "results" / "speed.csv"):
        tasks.setdefault(row["task"], {})[row["precision"]] = row
    for task, rows in tasks.items():
        lines.append([task, *timed(rows.get("fp32")), *timed(rows.get("bf16")), rows["fp32"]["share_of_authors_time"]])
    head = ["", "fp32", "times the baseline", "bf16", "times the baseline", "share of the authors' time"]
    return table(head, lines)


def timed(row):
    """Milliseconds and ratio of one row, empty where only the share of the authors' time was measured."""
    if not row or not row["milliseconds"]:
        return "", ""
    return f"{row['milliseconds']} ms", f"{row['times_baseline']} ({row['low']}..{row['high']})"


def course():
    """How long the course takes, by the headers of its chapters."""
    text = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    times = re.findall(r"\*\*Time\*\*: (\d+) minutes of reading(.*)", text)
    reading = sum(int(minutes) for minutes, *_ in times)
    (computing,) = re.findall(r"computes, (\d+) minutes for all of them", " ".join(text.split()))
    practice = sum(int(minutes) for *_, rest in times for minutes in re.findall(r"(\d+) minutes of exercises", rest))
    sheets = (ROOT / "notebooks" / "exercises").glob("*.ipynb")
    exercises = sum(len(re.findall(r'"### \d+\.\d+ ', sheet.read_text(encoding="utf-8"))) for sheet in sheets)
    return paragraph(
        f"{len(times)} chapters: {reading / 60:.0f} hours of reading, {computing} minutes of computing,",
        f"and {exercises} exercises of {practice / 60:.0f} hours (the index says how that is counted).",
    )


BLOCKS = (replication, thesis, versions, leak, bf16, improved, headline, contrastive, priors, pairs, random_start)
BLOCKS = (*BLOCKS, demonstration, questions, speed, course)
BLOCKS = {block.__name__: block for block in BLOCKS}
