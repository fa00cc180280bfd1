"""The report's headline as HTML: the matched prior. `report_prior` computes it."""

from . import report_prior as prior
from . import report_tables as tables
from .report_html import METRICS, counted, name_of, number, paragraph, ratio, table, text


def matched_prior(cells, trail, figure):
    """The headline: sentences, figure (HTML), the four priors' FID on the same tokens, effects, SSL at equal prior."""
    rows = {metric: prior.prior_rows(cells, metric) for metric in ("fid", "is")}
    blocks = {metric: prior.prior_blocks(found) for metric, found in rows.items()}
    effects = {metric: prior.prior_effects(found) for metric, found in blocks.items()}
    question = (
        "The thesis' NC arms differ from the naive arm in two ways at once: the SSL loss of the tokenizer, and another "
        "prior. Here priors with either mask and either head are trained on the same tokens. What the prior "
        "alone does to the FID is not SSL's doing."
    )
    parts = [paragraph(question), paragraph(prior.headline(effects["fid"]), "headline")]
    parts += [_prior_table(rows["fid"], effects["fid"], trail), figure]
    for metric in rows:
        parts += [f"<h3>Effects on {METRICS[metric]}, as ratios</h3>", _effect_table(effects[metric])]
    parts += [paragraph(prior.RULE, "note"), "<h3>SSL at an equal prior</h3>"]
    ssl = prior.ssl_effects(blocks["fid"])
    if ssl.empty:
        parts += [
            paragraph("Not run yet: no prior was trained both on naive and on NC tokens of one data set.", "note")
        ]
    else:
        parts += [paragraph("FID on NC tokens over FID on naive tokens, the prior being the same."), _ssl_table(ssl)]
        parts += [paragraph("95 % intervals by Welch's t test over seeds; none with one seed on a side.", "note")]
    return "\n".join(parts)


def _prior_table(rows, effects, trail):
    header = ["data set", "tokens", *(f"{name.replace(' ', ', ')} head" for name in prior.PRIORS)]
    header += ["NC : naive prior", "NC : naive in the thesis"]
    whole = effects[effects.effect == prior.WHOLE].set_index(tables.CELL)
    body = []
    for cell, part in rows.groupby(tables.CELL):
        dataset, *configuration = cell
        line = [text(dataset), name_of(*configuration)]
        line += [_seeds_of(part[part.prior == name], trail) for name in prior.PRIORS]
        line += [ratio(whole.loc[cell]) if cell in whole.index else ("empty", "not run")]
        theirs = number(prior.authors_ratio(dataset, "fid")) if tuple(configuration) == prior.NAIVE else ""
        body.append([*line, theirs])
    note = (
        "FID: mean ± standard deviation over seeds (each links to its notebook). The naive arm of the thesis has the "
        "prior kept, tied; its NC arms masked, untied. Last column: geometric mean of the authors' six NC means over "
        "their naive mean, SSL and prior at once. bf16: a part was computed in that precision."
    )
    return table(header, body) + paragraph(note, "note")


def _seeds_of(rows, trail):
    """Mean, spread and seeds of one cell of a table; "not run" without rows."""
    if rows.empty:
        return "empty", "not run"
    spread = f" ± {number(rows.value.std(), 2)}" if len(rows) > 1 else ""
    bf16 = ", bf16" if rows.reduced.any() else ""
    return f"<b>{number(rows.value.mean())}</b>{spread}<br><small>{trail.seeds(rows)}{bf16}</small>"


def _effect_table(effects):
    key = ["method", "augmentation"]
    body = []
    for configuration, part in effects.groupby(key, sort=False):
        for dataset, found in part.groupby("dataset"):
            line = f"{text(dataset)}, {name_of(*configuration)} tokens"
            body.append([line, *_effects_of(found, "seeds", "seed")])
        over = _effects_of(prior.over_datasets(part), "datasets", "data set")
        body.append([f"all, {name_of(*configuration)} tokens", *over])
    return table(["data set and tokens", *prior.EFFECTS], body)


def _effects_of(found, column, noun):
    """One cell for each effect; `column` counts the values behind it."""
    cells = dict.fromkeys(prior.EFFECTS, ("empty", "not run"))
    for row in found.itertuples():
        cells[row.effect] = f"{ratio(row)}<br><small>{counted(getattr(row, column), noun)}</small>"
    return list(cells.values())


def _ssl_table(ssl):
    body = []
    for cell, part in ssl.groupby(tables.CELL):
        cells = dict.fromkeys(prior.PRIORS, ("empty", "not run"))
        for row in part.itertuples():
            cells[row.prior] = f"{ratio(row)}<br><small>seeds: {row.seeds} against {row.naive_seeds}</small>"
        body.append([text(cell[0]), name_of(*cell[1:]), *cells.values()])
    return table(["data set", "tokens", *(f"{p.replace(' ', ', ')} head" for p in prior.PRIORS)], body)
