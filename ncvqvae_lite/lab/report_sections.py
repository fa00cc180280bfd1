"""The thesis' tables and the tests over data sets as HTML; `report_tables` and `report_tests` compute them."""

import numpy as np

from . import report_tables as tables
from . import report_tests as tests
from .report_html import CLASSES, METRICS, NAMES, SIGNS, number, paragraph, table, text, with_sign

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
    """One cell: sign and our value; its seeds; the thesis' value and the authors' range."""
    if found is None:
        lines = ["not run"]
    else:
        spread = f" ± {number(row.sd)}" if row.statistic == "mean" and row.n > 1 else ""
        star = "*" if row.differs else ""
        title = f"{row.verdict}; differs" if star else row.verdict
        value = f"<b>{number(row.ours)}</b>{spread}{star}"
        lines = [f'<span class="sign" title="{title}">{SIGNS[row.verdict]}</span>{value}']
        reduced = " bf16" if row.reduced else ""
        lines += [f"<small>seed{'s' * (row.n > 1)} {trail.seeds(found)}{reduced}</small>"]
    mark = "†" if row.misprint else ""
    lines += [f"<small>thesis {text(row.printed)}{mark}</small>"]
    lines += [f"<small>{number(row.authors_min)} … {number(row.authors_max)}</small>"]
    return "<br>".join(lines)


def _legend():
    body = [[(CLASSES[word], with_sign(word))] for word in tables.VERDICTS]
    marks = (
        "In a cell: our mean ± standard deviation over seeds (or our best), its seeds, the thesis' value, the lowest "
        "and highest of the authors' four runs. bf16: a part was computed in that precision. FID and IS only with the "
        "thesis' feature net."
    )
    line = "".join(f'<td class="{kind}">{content}</td>' for [(kind, content)] in body)
    return f'<div class="scroll"><table class="legend"><tr>{line}</tr></table></div>' + paragraph(marks, "note")


def _counts(counts):
    words = [word for word in tables.VERDICTS if word != tables.NOT_RUN]
    header = ["table", "cells", "run", *words, "inside expected", "differ (*)", "differ expected"]
    body = []
    for row in counts.to_dict("records"):
        whole = row["table"] == "all"
        name = (
            "all tables" if whole else f'<a href="#{row["table"]}-{row["metric"]}">{row["table"]}, {row["metric"]}</a>'
        )
        line = [name, row["cells"], row["run"], *(row[word] for word in words)]
        line += [f"{row['inside_expected']:.1f}", row["differ"], f"{tables.LEVEL * row['compared']:.1f}"]
        body.append([str(cell) for cell in line])
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
        "reconstructed test set is a floor of the tokens (mean over configurations and seeds). CAS trains the same net "
        "on generated series; its accuracy after training on real ones is the ceiling."
    )
    return table(["data set", *heads.values(), "accuracy of the feature net"], body) + paragraph(note, "note")


# --- tests over data sets ---


def paired_tests(rows):
    """Each NC configuration against the naive one, from the authors' runs and from ours; the best of six unmasked."""
    parts = [paragraph(tests.RULE)]
    for metric in tests.TESTED:
        sources = [tests.authors_frame(metric), tests.our_frame(rows, metric)]
        found = [tests.paired_tests(frame, metric) for frame in sources]
        parts += [f"<h3>{text(METRICS[metric])}</h3>", _test_table(found, metric)]
    parts += ["<h3>How often NC wins</h3>", _wins(), paragraph(_WINS_NOTE, "note")]
    return "\n".join(parts)


def _test_table(found, metric):
    kind = "median ratio" if metric in tests.ON_LOG_SCALE else "median difference"
    columns = ("data sets", "wins : losses", kind, "r", "p (Holm)")
    header = ["configuration", *(f"{whose}: {name}" for whose in ("authors", "ours") for name in columns)]
    body = []
    for name in tests.NC:
        line = [NAMES[name]]
        for row in (table_of.loc[name] for table_of in found):
            effect = f"{row.effect:+.3f}" if kind == "median difference" else number(row.effect)
            line += [str(int(row.n)), f"{int(row.wins)} : {int(row.losses)}", effect if row.n else number(None)]
            enough = not np.isnan(row.p_holm)
            few = ("empty", "too few")
            p = f"<b>{row.p_holm:.2g}</b>" if row.p_holm < tables.LEVEL else f"{row.p_holm:.2g}"
            line += [f"{row.rank_biserial:+.2f}", p] if enough else [few, few]
        body.append(line)
    return table(header, body)


_WINS_NOTE = (
    "Some configuration: the best of six, chosen on the test set, against one naive value, which is how the thesis "
    "counts. Were the seven alike, the naive one would still be beaten on 6 data sets of 7. Significant: "
    "configurations with a corrected p below 0.05 in the tests above, authors' runs."
)


def _wins():
    body = []
    for name, metric in TITLES:
        won = tests.wins(tests.printed_frame(name, metric), metric)
        best = won.loc["best of six"]
        single = won.drop("best of six").wins
        cells = [f"{best.wins:.0f} of {best.n:.0f}", f"{best.by_chance:.1f}", f"{single.min()} to {single.max()}"]
        if name.endswith("mean"):
            p = tests.paired_tests(tests.authors_frame(metric), metric).p_holm
            cells.append(f"{(p < tables.LEVEL).sum()} of 6")
        else:
            cells.append(number(None))
        body.append([f"{name}, {metric}", *cells])
    header = [
        "thesis' table",
        "some configuration wins",
        "if all were alike",
        "single configurations win",
        "significant",
    ]
    return table(header, body)
