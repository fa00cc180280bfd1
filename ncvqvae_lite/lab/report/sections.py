"""The sections of the report as data: what `answer`, `prior`, `tables` and `tests` compute, as tables and sentences."""

import numpy as np

from ...names import METHODS, SCORES, arm
from ...thesis import CONFIGURATIONS
from ..text import counted
from . import answer, prior, tables, tests
from .entries import CLASSES, Entry, Link, Table, empty, number, ratio

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
FLOORS = {
    "fid_test_halves": "FID, two halves of the test set",
    "fid_train_test": "FID, train against test",
    "fid_reconstruction": "FID, reconstructed test set",
    "is_real": "IS, test set",
}
ARMS = {"-".join(configuration): arm(*configuration) for configuration in CONFIGURATIONS}
PRIOR_HEADS = [f"{name.replace(' ', ', ')} head" for name in prior.PRIORS]


def arm_name(method, augmentation):
    """Its name in the tables, also where the method of a row is not registered here."""
    return arm(method, augmentation) if method in METHODS else f"{method} {augmentation}"


# --- the answer ---


def first_answer(cells):
    """The answer, what is missing for it, the rule, a sentence for each score, and a table of them (None: no pair)."""
    rows = answer.answer_rows(cells)
    found = answer.effects(rows)
    body = [_answered(row) for row in found.itertuples() if row.pairs]
    header = ["score", "NC against naive", "95 % interval", "arms, from lowest to highest", "n"]
    return {
        "headline": answer.headline(found),
        "missing": answer.missing(rows),
        "noise": answer.noise(rows),
        "rule": answer.RULE,
        "sentences": [answer.sentence(row) for row in found.itertuples()],
        "table": Table(header, body) if body else None,
    }


def _answered(row):
    kind = {answer.IMPROVES: CLASSES[tables.BETTER], answer.WORSENS: CLASSES[tables.WORSE]}.get(row.verdict, "")
    effect = Entry(answer.size(row.Index, row.effect), verdict=row.verdict, kind=kind)
    bounds = empty("too few data sets") if np.isnan(row.low) else answer.bounds(row)
    arms = sorted(row.by_arm, key=row.by_arm.get)
    by_arm = [f"{answer.size(row.Index, row.by_arm[arm])} ({ARMS[arm]})" for arm in dict.fromkeys((arms[0], arms[-1]))]
    return [answer.ASKED[row.Index], effect, bounds, " … ".join(by_arm), answer.rests_on(row)]


# --- the matched prior ---


def matched_prior(cells, trail):
    """Headline, FID of the four priors on the same tokens, their effects, SSL at an equal prior (None: not run)."""
    rows = {metric: prior.prior_rows(cells, metric) for metric in ("fid", "is")}
    blocks = {metric: prior.prior_blocks(found) for metric, found in rows.items()}
    effects = {metric: prior.prior_effects(found) for metric, found in blocks.items()}
    return {
        "headline": prior.headline(effects["fid"]),
        "priors": _prior_table(rows["fid"], effects["fid"], trail),
        "effects": [_effect_table(found, SCORES[metric].label) for metric, found in effects.items()],
        "ssl": _ssl_table(prior.ssl_effects(blocks["fid"])),
    }


def _prior_table(rows, effects, trail):
    whole = effects[effects.effect == prior.WHOLE].set_index(tables.CELL)
    body = []
    for cell, part in rows.groupby(tables.CELL):
        dataset, *configuration = cell
        line = [dataset, arm_name(*configuration)]
        line += [_seeds_of(part[part.prior == name], trail) for name in prior.PRIORS]
        theirs = number(prior.authors_ratio(dataset, "fid")) if tuple(configuration) == prior.NAIVE else ""
        body.append([*line, ratio(whole.loc[cell]) if cell in whole.index else empty(), theirs])
    return Table(["data set", "tokens", *PRIOR_HEADS, "NC : naive prior", "NC : naive in the thesis"], body)


def _seeds_of(rows, trail):
    """Mean, spread and seeds of one entry of a table; "not run" without rows."""
    if rows.empty:
        return empty()
    spread = f" ± {number(rows.value.std(), 2)}" if len(rows) > 1 else ""
    return Entry(number(rows.value.mean()), spread, runs=trail.seeds(rows), reduced=rows.reduced.any())


def _effect_table(effects, score):
    body = []
    for configuration, part in effects.groupby(["method", "augmentation"], sort=False):
        tokens, over = f"{arm_name(*configuration)} tokens", prior.over_datasets(part)
        for dataset, found in part.groupby("dataset"):
            line = _ratios(prior.EFFECTS, found, "effect", lambda row: counted(row.seeds, "seed"))
            body.append([f"{dataset}, {tokens}", *line])
        line = _ratios(prior.EFFECTS, over, "effect", lambda row: counted(row.datasets, "data set"))
        body.append([f"all, {tokens}", *line])
    return Table(["data set and tokens", *prior.EFFECTS], body, f"Effects on {score}, as ratios")


def _ssl_table(ssl):
    body = []
    for (dataset, *configuration), part in ssl.groupby(tables.CELL):
        line = _ratios(prior.PRIORS, part, "prior", lambda row: f"seeds: {row.seeds} against {row.naive_seeds}")
        body.append([dataset, arm_name(*configuration), *line])
    return Table(["data set", "tokens", *PRIOR_HEADS], body) if body else None


def _ratios(names, rows, column, behind):
    """One entry for each name in a column of `rows`: the ratio, its interval, and what is `behind(row)`."""
    ratios = {getattr(row, column): ratio(row, behind(row)) for row in rows.itertuples()}
    return [ratios.get(name, empty()) for name in names]


# --- the thesis' tables ---


def thesis_tables(rows, trail):
    """The rule, the verdicts with their classes and counts, the floors, every table of the thesis."""
    compared, ours = tables.thesis_tables(rows), dict(list(rows.groupby([*tables.CELL, "metric"])))
    parts = compared.groupby(["table", "metric"])
    return {
        "rule": tables.RULE,
        "legend": CLASSES,
        "verdicts": _counts(tables.count_verdicts(compared)),
        "floors": _floors(rows, trail),
        "tables": [_thesis_table(parts.get_group(key), key, ours, trail) for key in TITLES],
    }


def _thesis_table(part, key, ours, trail):
    body = []
    for dataset, line in part.groupby("dataset", sort=False):
        found = (ours.get((*row[1:4], tables.METRIC[key[1]].ours)) for row in line[tables.CELL].itertuples())
        body.append([dataset, *(_compared(row, runs, trail) for row, runs in zip(line.itertuples(), found))])
    said = ", ".join(f"{(part.verdict == word).sum()} {word}" for word in tables.VERDICTS)
    note = f"{(part.n > 0).sum()} of {len(part)} cells run: {said}."
    if part.misprint.any():
        note += " † as printed; the authors' run files say otherwise."
    return Table(["data set", *ARMS.values()], body, TITLES[key], note, "-".join(key))


def _compared(row, runs, trail):
    """One entry: our value, verdict and seeds, the thesis' value and the authors' range."""
    published = f"thesis {row.printed}{'†' * row.misprint}", f"{number(row.authors_min)} … {number(row.authors_max)}"
    kind = CLASSES[row.verdict]
    if runs is None:
        return Entry(text="not run", small=published, kind=kind)
    spread = f" ± {number(row.sd, 2)}" if row.statistic == "mean" and row.n > 1 else ""
    said = "" if row.verdict == tables.TOO_FEW_SEEDS else row.verdict
    text = spread + ("*" if row.differs else "")
    return Entry(number(row.ours), text, said, trail.seeds(runs), bool(row.reduced), published, kind)


def _counts(counts):
    words = [word for word in tables.VERDICTS if word != tables.NOT_RUN]
    counts = counts.set_index(["table", "metric"])
    heads = {key: Entry(text=Link(", ".join(key), href=f"#{'-'.join(key)}")) for key in TITLES}
    heads |= {("all", "mean"): "all means", ("all", "top1"): "all best ones", ("all", ""): "all tables"}
    body = []
    for key, head in heads.items():
        row = counts.loc[key]
        chance = [f"{row.inside_expected:.1f}", f"{row.differ:.0f}", f"{tables.LEVEL * row.compared:.1f}"]
        if np.isnan(row.compared):  # of best ones nothing is expected
            chance = [number(None)] * 3
        body.append([head, *(f"{row[name]:.0f}" for name in ("cells", "run", *words)), *chance])
    return Table(["table", "cells", "run", *words, "inside expected", "differ (*)", "differ expected"], body)


def _floors(rows, trail):
    body = []
    for dataset, accuracy in tables.floors(rows).fcn_accuracy.items():
        mine = rows[rows.dataset == dataset]
        line = [trail.mean(mine[mine.metric == name]) for name in FLOORS]
        body.append([dataset, *line, empty("not known") if np.isnan(accuracy) else number(accuracy)])
    return Table(["data set", *FLOORS.values(), "accuracy of the feature net"], body)


# --- tests over data sets ---


def paired_tests(rows):
    """The best of six unmasked; then each NC configuration against the naive one, the authors' runs and ours."""
    frames = tests.authors_frame, lambda metric: tests.our_frame(rows, metric)
    found = [{metric: tests.paired_tests(frame(metric), metric) for metric in tests.TESTED} for frame in frames]
    return {
        "gains": [_gains(of_source) for of_source in found],
        "fewest": tests.FEWEST,
        "wins": _wins(),
        "tables": [_test_table(metric, [of_source[metric] for of_source in found]) for metric in tests.TESTED],
    }


def _gains(found):
    """By how many NC configurations each score gains after correction, as text; "" where nothing was tested."""
    tested = {SCORES[metric].label: test for metric, test in found.items() if test.p_holm.notna().any()}
    gained = (((test.p_holm < tables.LEVEL) & (test.rank_biserial > 0)).sum() for test in tested.values())
    return ", ".join(f"{label} {n}" for label, n in zip(tested, gained))


def _test_table(metric, both):
    kind = "median ratio" if metric in tests.ON_LOG_SCALE else "median difference"
    header = [f"{whose}: {name}" for whose in ("authors", "ours") for name in ("wins", kind, "r", "p (Holm)")]
    body = [[ARMS[name], *(entry for test in both for entry in _tested(test.loc[name], metric))] for name in tests.NC]
    return Table(["configuration", *header], body, f"NC against naive: {SCORES[metric].label}")


def _tested(row, metric):
    """Wins, effect, r and p of one configuration in one source, as four entries."""
    if row.n == 0:
        return [empty()] * 4
    effect = number(row.effect) if metric in tests.ON_LOG_SCALE else f"{row.effect:+.3f}"
    line = [f"{row.wins:.0f} of {row.n:.0f}", effect]
    if np.isnan(row.p_holm):
        return [*line, *[empty("too few")] * 2]
    p = f"{row.p_holm:.2g}"
    return [*line, f"{row.rank_biserial:+.2f}", Entry(p) if row.p_holm < tables.LEVEL else p]


def _wins():
    body = []
    for name, metric in TITLES:
        won = tests.wins(tests.printed_frame(name, metric), metric)
        best, single = won.loc["best of six"], won.drop("best of six").wins
        line = [f"{best.wins:.0f} of {best.n:.0f}", f"{best.by_chance:.1f}"]
        line += [f"{single[least]} ({ARMS[least]})" for least in (single.idxmin(), single.idxmax())]
        body.append([f"{name}, {metric}", *line])
    header = ["thesis' table", "some configuration wins", "were all alike", "fewest of one", "most of one"]
    return Table(header, body)
