"""The thesis' tables and the tests over data sets as HTML; `report_tables` and `report_tests` compute them."""

import numpy as np

from . import report_tables as tables
from . import report_tests as tests
from .report_html import CLASSES, METRICS, NAMES, number, paragraph, table, text

TITLES = {
    ("recon_mean", "recon_val"): "Reconstruction error of the last test batch, mean (lower is better)",
    ("recon_top1", "recon_val"): "Reconstruction error of the last test batch, best of four",
    ("probe_mean", "knn_acc"): "Accuracy of 5 nearest neighbours on latents, mean (higher is better)",
    ("probe_mean", "svm_acc"): "Accuracy of a linear SVM on latents, mean (higher is better)",
    ("probe_top1", "knn_acc"): "Accuracy of 5 nearest neighbours on latents, best of four",
    ("probe_top1", "svm_acc"): "Accuracy of a linear SVM on latents, best of four",
    ("gen_mean", "fid"): "FID of generated series, mean (lower is better)",
    ("gen_mean", "is"): "Inception score of generated series, mean (higher is better)",
    ("gen_top1", "fid"): "FID of generated series, best of four",
    ("gen_top1", "is"): "Inception score of generated series, best of four",
    ("cas_mean", "cas"): "CAS: accuracy on real test series after training on generated ones, mean (higher is better)",
}


# --- the thesis' tables ---


def thesis_tables(rows, trail):
    """All tables with verdicts, after the rule, the legend and the counts."""
    table_of = tables.thesis_tables(rows)
    counts = tables.count_verdicts(table_of)
    parts = [paragraph(tables.RULE), _legend(), _counts(counts), "<h3>Floors and ceilings</h3>", _floors(rows, trail)]
    ours = dict(list(rows.groupby([*tables.CELL, "metric"])))
    for (name, metric), title in TITLES.items():
        part = table_of[(table_of.table == name) & (table_of.metric == metric)]
        parts += [f'<h3 id="{name}-{metric}">{text(title)}</h3>', _thesis_table(part, metric, ours, trail)]
    return "\n".join(parts)


def _thesis_table(part, metric, ours, trail):
    body = []
    for dataset, line in part.groupby("dataset", sort=False):
        cells = []
        for row in line.itertuples():
            found = ours.get((dataset, row.method, row.augmentation, tables.METRIC[metric].ours))
            cells.append((CLASSES[row.verdict], _compared(row, found, trail)))
        body.append([text(dataset), *cells])
    run, whole = int((part.n > 0).sum()), len(part)
    said = ", ".join(f"{(part.verdict == word).sum()} {word}" for word in tables.VERDICTS)
    note = f"{run} of {whole} cells run: {said}."
    if part.misprint.any():
        note += " † as printed; the authors' run files say otherwise."
    return table(["data set", *NAMES.values()], body) + paragraph(note, "note")


def _compared(row, found, trail):
    """One cell: our value, verdict and seeds, the thesis' value and the authors' range."""
    if found is None:
        lines = ["not run"]
    else:
        spread = f" ± {number(row.sd, 2)}" if row.statistic == "mean" and row.n > 1 else ""
        lines = [f"<b>{number(row.ours)}</b>{spread}{'*' if row.differs else ''}"]
        lines += [f"<small><b>{row.verdict}</b></small>"] if row.verdict != tables.TOO_FEW_SEEDS else []
        lines += [f"<small>{trail.seeds(found)}{', bf16' if row.reduced else ''}</small>"]
    mark = "†" if row.misprint else ""
    lines += [f"<small>thesis {text(row.printed)}{mark}</small>"]
    lines += [f"<small>{number(row.authors_min)} … {number(row.authors_max)}</small>"]
    return "<br>".join(lines)


def _legend():
    words = "".join(f'<td class="{CLASSES[word]}">{text(word)}</td>' for word in tables.VERDICTS)
    marks = (
        "In a cell: our mean ± standard deviation over seeds (or our best), its seeds, the thesis' value, the lowest "
        "and highest of the authors' four runs. bf16: a part was computed in that precision. FID and IS only with the "
        "thesis' feature net."
    )
    return f'<div class="scroll"><table><tr>{words}</tr></table></div>' + paragraph(marks, "note")


def _counts(counts):
    words = [word for word in tables.VERDICTS if word != tables.NOT_RUN]
    header = ["table", "cells", "run", *words, "inside expected", "differ (*)", "differ expected"]
    counts = counts.set_index(["table", "metric"])
    totals = {("all", "mean"): "all means", ("all", "top1"): "all best ones", ("all", ""): "all tables"}
    body = []
    for key in (*TITLES, *totals):
        row, link = counts.loc[key], f'<a href="#{"-".join(key)}">{", ".join(key)}</a>'
        line = [totals.get(key, link), *(f"{row[name]:.0f}" for name in ("cells", "run", *words))]
        if np.isnan(row.compared):
            line += [number(None)] * 3
        else:
            line += [f"{row.inside_expected:.1f}", f"{row.differ:.0f}", f"{tables.LEVEL * row.compared:.1f}"]
        body.append(line)
    note = (
        "Expected: how many cells of the tables of means would be inside, or would differ, if our runs and the "
        "authors' came from the same (normal) distribution. A single seed of a perfect replication is inside in 3 of 5 "
        "cells. Cells share tokenizers, so they are not independent."
    )
    return "<h3>Verdicts</h3>" + table(header, body) + paragraph(note, "note")


def _floors(rows, trail):
    heads = {
        "fid_test_halves": "FID, two halves of the test set",
        "fid_train_test": "FID, train against test",
        "fid_reconstruction": "FID, reconstructed test set",
        "is_real": "IS, test set",
    }
    body = []
    for dataset, net in tables.floors(rows).iterrows():
        mine = rows[rows.dataset == dataset]
        means = [mine[mine.metric == name] for name in heads]
        cells = [trail.mean(found) if len(found) else ("empty", "not run") for found in means]
        accuracy = ("empty", "not known") if np.isnan(net.fcn_accuracy) else number(net.fcn_accuracy)
        body.append([text(dataset), *cells, accuracy])
    note = (
        "No generator needs to be below the first columns: that is what real series reach against real series. The "
        "reconstructed test set shows what the tokens lose, series by series (mean over configurations and seeds). It "
        "is no floor: FID compares whole sets, and generated ones can meet mean and covariance better. CAS trains the "
        "same net on generated series; its accuracy after training on real ones is the ceiling."
    )
    return table(["data set", *heads.values(), "accuracy of the feature net"], body) + paragraph(note, "note")


# --- tests over data sets ---


def paired_tests(rows):
    """The best of six unmasked; then each NC configuration against the naive one, the authors' runs and ours."""
    found = {}
    for metric in tests.TESTED:
        sources = [tests.authors_frame(metric), tests.our_frame(rows, metric)]
        found[metric] = [tests.paired_tests(frame, metric) for frame in sources]
    parts = [paragraph(tests.RULE), paragraph(_summary(found)), "<h3>How often NC wins in the thesis' tables</h3>"]
    parts += [_wins(), paragraph(_WINS_NOTE, "note")]
    for metric, both in found.items():
        parts += [f"<h3>NC against naive: {text(METRICS[metric])}</h3>", _test_table(both, metric)]
    return "\n".join(parts)


def _summary(found):
    """Which metrics gain by NC after correction, by the authors' runs and by ours."""
    sentences = []
    for i, whose in enumerate(("In the authors' runs", "In ours")):
        said = []
        for metric, both in found.items():
            table_of = both[i]
            if table_of.p_holm.notna().any():
                gained = (table_of.p_holm < tables.LEVEL) & (table_of.rank_biserial > 0)
                said.append(f"{METRICS[metric]} {gained.sum()}")
        few = f"too few data sets for a test (fewer than {tests.FEWEST})"
        sentences.append(f"{whose}: {', '.join(said) if said else few}.")
    head = "How many of the six NC configurations are better than naive after correction, by metric."
    return f"{head} {' '.join(sentences)} FID, inception score and CAS compare arms with different priors."


def _test_table(both, metric):
    kind = "median ratio" if metric in tests.ON_LOG_SCALE else "median difference"
    header = [f"{whose}: {name}" for whose in ("authors", "ours") for name in ("wins", kind, "r", "p (Holm)")]
    lines = [[NAMES[name], *_tested(both[0].loc[name], kind), *_tested(both[1].loc[name], kind)] for name in tests.NC]
    return table(["configuration", *header], lines)


def _tested(row, kind):
    """Wins, effect, r and p of one configuration in one source, as four cells."""
    if row.n == 0:
        return [("empty", "not run")] * 4
    effect = f"{row.effect:+.3f}" if kind == "median difference" else number(row.effect)
    cells = [f"{row.wins:.0f} of {row.n:.0f}", effect]
    if np.isnan(row.p_holm):
        return [*cells, ("empty", "too few"), ("empty", "too few")]
    p = f"{row.p_holm:.2g}"
    return [*cells, f"{row.rank_biserial:+.2f}", f"<b>{p}</b>" if row.p_holm < tables.LEVEL else p]


_WINS_NOTE = (
    "Some configuration: the best of six, chosen on the test set, against one naive value, which is how the thesis "
    "counts. Were the seven alike, the naive one would still be beaten on 6 data sets of 7."
)


def _wins():
    header = ["thesis' table", "some configuration wins", "were all alike", "fewest of one", "most of one"]
    body = []
    for name, metric in TITLES:
        won = tests.wins(tests.printed_frame(name, metric), metric)
        best, single = won.loc["best of six"], won.drop("best of six").wins
        line = [f"{best.wins:.0f} of {best.n:.0f}", f"{best.by_chance:.1f}"]
        line += [f"{single[least]} ({NAMES[least]})" for least in (single.idxmin(), single.idxmax())]
        body.append([f"{name}, {metric}", *line])
    return table(header, body)
