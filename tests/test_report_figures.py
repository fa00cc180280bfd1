"""Figures of the report draw the rows that they are given, mark what is missing, and are legible."""

import io
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image
from scipy import stats
from scipy.stats import rankdata

from ncvqvae_lite import plots
from ncvqvae_lite.data import THESIS_DATASETS
from ncvqvae_lite.errors import NotFound
from ncvqvae_lite.lab.report import figures, panel_figures, score_figures
from ncvqvae_lite.lab.report.tables import comparable, thesis_fcn
from ncvqvae_lite.lab.report.tests import authors_frame
from ncvqvae_lite.lab.results import COLUMNS, load_cells
from ncvqvae_lite.names import METHODS, SCORES, arm
from ncvqvae_lite.thesis import CONFIGURATIONS, author_runs

CELLS = [(dataset, *c) for dataset in ("FordA", "Symbols") for c in (("regular", "none"), ("vibcreg", "gauss"))]


def rows_of(*runs):
    """Rows of a results table from (data set, method, augmentation, seed, ablation, {metric: value})."""
    rows = []
    for dataset, method, augmentation, seed, ablation, metrics in runs:
        cell = dict(dataset=dataset, method=method, augmentation=augmentation, seed=seed, preset="paper")
        cell |= dict(ablation=ablation, fcn=min(filter(None, thesis_fcn()[dataset]["hashes"])), device="cpu", threads=1)
        cell |= dict(seconds=1.0, package_version="0", commit="0123456789ab", folder="")
        rows += [cell | {"metric": metric, "value": float(value)} for metric, value in metrics.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def priors_of(dataset, seed, *fids):
    """Runs of the four priors on one tokenizer; None leaves one out."""
    changes = "", "mask_polarity=masked", "head=untied", "mask_polarity=masked head=untied"
    values = {"recon_val": seed / 10, "fid_test_halves": 0.5, "fid_train_test": 2.5}
    return [
        (dataset, "regular", "none", seed, f"{change} cas=False".strip(), values | {"fid": fid})
        for change, fid in zip(changes, fids)
        if fid is not None
    ]


def panel_of(dataset, method, augmentation, ablation="cas=False"):
    rng = np.random.default_rng(len(dataset + method))
    return dict(
        dataset=dataset, method=method, augmentation=augmentation, preset="paper", ablation=ablation,
        points=rng.normal(size=(30, 2)).astype(np.float16), classes=np.arange(30) % 3,
        accepted=rng.integers(0, 9, size=(10, 20)), shown=np.arange(3), time=np.arange(0, 60, 2),
        real=np.sort(rng.normal(size=(3, 3, 30)), axis=1).astype(np.float16),
        generated=rng.normal(size=(3, 5, 30)).astype(np.float16),
        class_names=np.array(["a", "b", "c"]),
    )  # fmt: skip


def curves_of(dataset, method, augmentation, seed=1):
    epochs = np.array([0, 1, 10, 100, 200])
    frame = pd.DataFrame(dict(epoch=epochs, recon_val=[3, np.nan, np.nan, 1.5, 1.2], time=[np.nan, 4, 3, 2, 1]))
    frame["ssl"] = np.nan if method == "regular" else [np.nan, 1.1, 0.8, 0.6, 0.5]
    frame["knn_acc"] = [0.3, np.nan, np.nan, 0.6, 0.7]
    cell = dict(dataset=dataset, method=method, augmentation=augmentation, seed=seed, preset="paper", ablation="")
    return frame.assign(**cell).reindex(columns=list(panel_figures.CURVE_COLUMNS))


def assert_legible(fig):
    png = fig._repr_png_()
    assert len(png) < 150_000 and Image.open(io.BytesIO(png)).width == 720
    texts = [t for t in fig.findobj(lambda artist: hasattr(artist, "get_fontsize")) if t.get_text()]
    assert min(t.get_fontsize() for t in texts) >= 11


def drawn(fig):
    """The axes of a figure that are drawn, by their titles."""
    return {ax.get_title(): ax for ax in fig.axes if ax.axison}


def said_below(fig):
    """What stands below a figure, in one line."""
    titles = [found.get_title().get_text() for found in fig.legends]
    return " ".join(" ".join([fig.get_supxlabel(), *titles]).split())


def legend(fig):
    return [text.get_text() for found in fig.legends for text in found.get_texts()]


# --- scores ---


def test_comparison_sets_our_seeds_over_the_authors_range():
    metrics = {"fid_test_halves": 1.0, "fid_train_test": 3.0, "recon_val": 0.1}
    runs = [("Symbols", "vibcreg", "gauss", seed, "", metrics | {"fid": seed + 4.0}) for seed in (1, 2, 5)]
    fig = score_figures.comparison(comparable(rows_of(*runs)), "fid")
    (ax,) = fig.axes
    assert ax.get_title() == "Symbols"
    others = [panel_figures.short_name(name) for name in THESIS_DATASETS if name != "Symbols"]
    assert said_below(fig) == f"Not run by us: {', '.join(others[:-1])} and {others[-1]}."
    assert len(ax.patches) == 7
    for bar, configuration in zip(ax.patches, CONFIGURATIONS):
        theirs = author_runs("Symbols", *configuration)["fid"]
        assert (bar.get_x(), bar.get_x() + bar.get_width()) == pytest.approx((min(theirs), max(theirs)))
        assert bool(bar.get_hatch()) == (configuration != ("vibcreg", "gauss"))
        assert to_hex(bar.get_edgecolor()).upper() == METHODS[configuration[0]].colour.upper()
    (points,) = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert sorted(points.get_xdata()) == [5, 6, 9] and set(points.get_ydata()) == {6}
    (mean,) = [line for line in ax.lines if line.get_marker() == "D"]
    assert mean.get_xdata() == pytest.approx(20 / 3)
    spread = ax.collections[0].get_segments()[0][:, 0]
    assert np.ptp(spread) / 2 == pytest.approx(np.std([5, 6, 9], ddof=1))
    bounds = {line.get_linestyle(): line.get_xdata()[0] for line in ax.lines if line.get_linestyle() in (":", "--")}
    assert bounds == {":": 1.0, "--": 3.0}
    assert [label.get_text() for label in ax.get_yticklabels()][::6] == ["naive", "VIbCReg gauss"]
    assert_legible(fig)


@pytest.mark.parametrize("metric", ["recon_val", "cas"])
def test_without_runs_every_bar_of_a_comparison_is_hatched(metric):
    fig = score_figures.comparison(comparable(rows_of()), metric)
    assert all(bar.get_hatch() for ax in fig.axes for bar in ax.patches)
    assert sum(len(ax.patches) for ax in fig.axes) == 13 * 7
    assert fig.get_suptitle() == SCORES[metric].axis and said_below(fig) == ""
    assert_legible(fig)


def test_matched_priors_are_ratios_within_tokenizers():
    runs = [*priors_of("Symbols", 1, 8.0, 4.0, 2.0, 1.0), *priors_of("Symbols", 2, 2.0, 9.0, None, 4.0)]
    runs += [*priors_of("FordA", 1, 3.0, None, None, 6.0)]
    runs += [("Wafer", "regular", "none", 1, "", {"fid": 3.0, "recon_val": 0.1})]  # one prior: nothing to compare
    fig = score_figures.matched_priors(rows_of(*runs))
    whole, masked, untied = fig.axes
    assert list(drawn(fig)) == ["NC prior : naive prior", "masked : kept", "untied : tied"]
    assert [label.get_text() for label in whole.get_yticklabels()] == ["FordA", "Symbols", "over data sets"]

    def circles(ax):
        found = [line for line in ax.lines if line.get_marker() == "o"]
        return {round(line.get_ydata()[0]): line.get_xdata().tolist() for line in found if len(line.get_xdata())}

    assert circles(whole) == {0: pytest.approx([2.0]), 1: pytest.approx([1 / 8, 2.0])}
    assert circles(masked) == {1: pytest.approx([0.5])}  # of the one seed that has all four
    assert circles(untied) == {1: pytest.approx([0.25])}
    means = {round(line.get_ydata()[0]): line.get_xdata()[0] for line in whole.lines if line.get_marker() == "D"}
    assert means == pytest.approx({0: 2.0, 1: 0.5, 2: 1.0})  # geometric, over data sets too
    (bar,) = [line.get_xdata() for line in whole.lines if line.get_linewidth() == 1.8]  # one seed has no interval
    assert bar == pytest.approx([0.5 * 4.0**-half for half in (12.706, -12.706)], rel=1e-2)
    assert "below 1: lower" in fig.get_suptitle() and "mean (geometric) and 95 % interval" in legend(fig)
    assert_legible(fig)


def test_tokens_of_other_arms_have_rows_of_their_own():
    barlow = [("Symbols", "barlowtwins", "warp", *run[3:]) for run in priors_of("Symbols", 1, 8.0, 4.0)]
    barlow = [(*run[:4], change, run[5]) for run, change in zip(barlow, ("cas=False", "mask_polarity=kept cas=False"))]
    barlow += [(*barlow[0][:4], "mask_polarity=kept head=tied cas=False", barlow[0][5] | {"fid": 2.0})]
    fig = score_figures.matched_priors(rows_of(*priors_of("Symbols", 1, 4.0, None, None, 1.0), *barlow))
    rows = [label.get_text() for label in fig.axes[0].get_yticklabels()]
    assert rows == ["Symbols", "Symbols\nBarlow warp", "over data sets"]
    colours = [line.get_color() for line in fig.axes[0].lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert colours == [METHODS[name].colour for name in ("regular", "barlowtwins")]
    assert_legible(fig)


def test_matched_priors_need_two_priors_on_one_tokenizer():
    for runs in ([], priors_of("Symbols", 1, 8.0, None, None, None)):
        with pytest.raises(NotFound, match="no data set has"):
            score_figures.matched_priors(rows_of(*runs))


def test_many_data_sets_have_a_row_each():
    runs = [run for name in THESIS_DATASETS for run in priors_of(name, 1, 4.0, 3.0, 2.0, 1.0)]
    fig = score_figures.matched_priors(rows_of(*runs))
    names = [label.get_text() for label in fig.axes[0].get_yticklabels()]
    assert names == [*map(panel_figures.short_name, THESIS_DATASETS), "over data sets"]
    assert_legible(fig)


def test_ranks_stand_on_an_axis_with_bars_over_those_not_told_apart():
    frame = authors_frame("fid")
    frame.loc[:] = np.random.default_rng(0).uniform(1, 2, frame.shape)  # nothing differs
    frame["vibcreg-warp"] = np.linspace(0.1, 0.2, len(frame))  # best everywhere, so it differs from all others
    fig = score_figures.critical_difference(frame, "fid")
    (ax,) = fig.axes
    ranks = rankdata(frame.to_numpy(), axis=1).mean(axis=0)
    shown = {text.get_text(): text.get_color() for text in ax.texts}
    for (method, augmentation), rank in zip(CONFIGURATIONS, ranks):
        (text,) = [text for text in shown if arm(method, augmentation) in text]
        assert f"{rank:.1f}" in text and shown[text] == METHODS[method].colour
    assert ranks.min() == 1 and len(shown) == 7
    (bar,) = [line for line in ax.lines if line.get_linewidth() == 4]
    assert bar.get_xdata() == pytest.approx([sorted(ranks)[1], max(ranks)], abs=0.1)
    differ = [stats.wilcoxon(frame["vibcreg-warp"], frame[name]).pvalue < 0.05 / 21 for name in frame.columns[:3]]
    assert all(differ) and "6 of 21 pairs differ" in ax.get_xlabel() and "13 data sets" in ax.get_title()
    assert [x for line in ax.lines if line.get_linewidth() == 1.5 for x in line.get_xdata()[:1]] == sorted(ranks)
    assert_legible(fig)


def test_the_ranks_of_the_authors_runs_are_legible():
    for metric in ("fid", "svm_acc"):
        assert_legible(score_figures.critical_difference(authors_frame(metric), metric))


def test_ranks_need_five_data_sets_without_gaps():
    frame = authors_frame("fid").iloc[:5]
    score_figures.critical_difference(frame, "fid")
    frame.iloc[0, 0] = np.nan
    with pytest.raises(NotFound, match="4 data sets have all configurations, ranks need at least 5"):
        score_figures.critical_difference(frame, "fid")


# --- inside runs ---


def test_grids_have_a_picture_for_each_run_and_name_the_others():
    panels = [panel_of(*cell) for cell in CELLS] + [panel_of("Symbols", "regular", "none", "head=untied")]
    panels += [panel_of("Wafer", method, augmentation) for method, augmentation in CONFIGURATIONS[:6]]
    for draw in (panel_figures.latent_maps, panel_figures.accepted_probabilities):
        fig = draw(panels, ["FordA", "Symbols"])
        titles = [f"{name}\n{arm}" for name in ("FordA", "Symbols") for arm in ("naive", "VIbCReg gauss")]
        assert list(drawn(fig)) == titles
        assert said_below(fig).endswith("Not kept: all but naive and VIbCReg gauss of FordA and Symbols.")
        assert_legible(fig)
        fig = draw(panels, ["Wafer", "FordA"])
        assert len(drawn(fig)) == 8 and said_below(fig).endswith(
            "Not kept: VIbCReg gauss of Wafer; all but naive and VIbCReg gauss of FordA."
        )


def test_latents_have_a_colour_for_each_class():
    found = panel_of("Symbols", "regular", "none")
    ax = panel_figures.latent_maps([found], ["Symbols"]).axes[0]
    for k, dots in enumerate(ax.collections):
        np.testing.assert_allclose(dots.get_offsets(), found["points"][found["classes"] == k])
        assert to_hex(dots.get_facecolor()[0]).upper() == plots.CLASS_COLOURS[k].upper()


def test_certainty_shows_shares_of_each_step_and_their_mean():
    found = panel_of("Symbols", "vibcreg", "gauss")
    (ax,) = panel_figures.accepted_probabilities([found], ["Symbols"]).axes
    shares = found["accepted"] / found["accepted"].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ax.images[0].get_array(), shares.T)
    middles = [np.repeat(np.arange(0.025, 1, 0.05), counts).mean() for counts in found["accepted"]]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), middles)
    assert [tick.get_text() for tick in ax.get_yticklabels()]


def test_samples_stand_over_the_range_of_real_series_of_their_class():
    panels = [panel_of(*cell) for cell in CELLS]
    panels[2]["generated"][1, 2, 4] = 1000  # far outside
    fig = panel_figures.class_samples(panels, "Symbols")
    axes = np.reshape(fig.axes, (3, 3))
    for k, row in enumerate(axes):
        regular, gauss = panels[2:]
        np.testing.assert_array_equal(row[0].lines[0].get_ydata(), regular["real"][k, 1])  # the median
        for ax, found in (row[1], regular), (row[2], gauss):
            drawn = np.array([line.get_ydata() for line in ax.lines])[::-1]
            np.testing.assert_array_equal(drawn, found["generated"][k])
            (band,) = ax.collections
            corners = band.get_paths()[0].vertices[:, 1]
            assert (corners.min(), corners.max()) == (regular["real"][k, 0].min(), regular["real"][k, 2].max())
        low, high = panels[2]["real"][k].min(), panels[2]["real"][k].max()
        assert row[1].get_ylim() == pytest.approx((low - (high - low) / 2, high + (high - low) / 2), rel=1e-3)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["class a", "class b", "class c"]
    assert [ax.get_title() for ax in axes[0]] == ["real\n(test)", "naive", "VIbCReg\ngauss"]
    assert said_below(fig).endswith("Not kept: all but naive and VIbCReg gauss of Symbols.")
    assert_legible(fig)


def test_loss_curves_have_a_line_for_each_seed():
    runs = [("vibcreg", "gauss", 1), ("vibcreg", "gauss", 2), ("regular", "none", 1)]
    curves = pd.concat([curves_of("Symbols", *run) for run in runs])
    fig = panel_figures.loss_curves(curves, ["Symbols"])
    error, vibcreg = fig.axes
    assert said_below(fig) == "Not kept: SSL loss, Barlow of Symbols."
    assert [error.get_ylabel(), vibcreg.get_ylabel()] == ["test error (MSE)", "SSL loss, VIbCReg"]
    assert legend(fig) == ["naive", "VIbCReg", "view: gauss"]
    assert [line.get_ydata().tolist() for line in vibcreg.lines] == [[1.1, 0.8, 0.6, 0.5]] * 2
    assert {line.get_color() for line in vibcreg.lines} == {plots.augmentation_colour("gauss")}
    assert [line.get_xdata().tolist() for line in error.lines] == [[100, 200]] * 3
    colours = [METHODS[method].colour for method in ("regular", "vibcreg", "vibcreg")]
    assert [line.get_color() for line in error.lines] == colours
    assert_legible(fig)


def test_accuracy_is_drawn_against_the_loss_of_the_same_epoch():
    curves = pd.concat([curves_of("Symbols", "barlowtwins", "warp"), curves_of("FordA", "regular", "none")])
    fig = panel_figures.accuracy_by_loss(curves, ["FordA", "Symbols"])
    axes = {(ax.get_title(), ax.get_xlabel()): ax for ax in fig.axes}
    assert list(axes) == [(n, "test error (MSE)") for n in ("FordA", "Symbols")] + [("Symbols", "SSL loss, Barlow")]
    path, end = axes["Symbols", "SSL loss, Barlow"].lines
    assert path.get_xdata().tolist() == [0.6, 0.5] and path.get_ydata().tolist() == [0.6, 0.7]
    assert (end.get_xdata()[0], end.get_ydata()[0]) == (0.5, 0.7)
    assert axes["Symbols", "test error (MSE)"].lines[0].get_xdata().tolist() == [1.5, 1.2]
    assert said_below(fig) == (
        "Not kept: SSL loss, Barlow and SSL loss, VIbCReg of FordA; SSL loss, VIbCReg of Symbols."
    )
    assert_legible(fig)


def test_methods_of_which_the_thesis_knows_nothing_have_columns_of_their_own():
    cells = [("Symbols", "vicreg", "mirror"), ("Symbols", "not registered", "warp")]
    panels = [panel_of("Symbols", "vibcreg", "gauss"), *(panel_of(*cell) for cell in cells)]
    for fig in (panel_figures.latent_maps(panels, ["Symbols"]), panel_figures.class_samples(panels, "Symbols")):
        titles = [" ".join(title.split()) for title in drawn(fig) if title]
        assert [title.removeprefix("Symbols ") for title in titles[-2:]] == ["VIbCReg gauss", "VICReg mirror"]
        assert "all but VIbCReg gauss of Symbols" in said_below(fig)
        assert_legible(fig)
    curves = pd.concat([curves_of(*cell) for cell in cells])
    for draw in (panel_figures.loss_curves, panel_figures.accuracy_by_loss):
        fig = draw(curves, ["Symbols"])
        error, ssl = fig.axes
        assert "SSL loss, VICReg" in (ssl.get_xlabel(), ssl.get_ylabel())
        assert set(legend(fig)) - {"end of training"} == {"view: mirror", "VICReg"}
        assert said_below(fig) == "Not kept: SSL loss, Barlow and SSL loss, VIbCReg of Symbols."
        assert error.lines[0].get_color() == METHODS["vicreg"].colour
        assert_legible(fig)


def test_of_several_panels_of_a_cell_the_one_in_full_precision_is_shown():
    fp32, bf16 = (panel_of("Symbols", "regular", "none", text) for text in ("cas=False", "precision=bf16 cas=False"))
    for panels in ([fp32, bf16], [bf16, fp32]):
        assert panel_figures.thesis_panels(panels)["Symbols", "regular", "none"] is fp32


def test_other_recipes_are_not_shown():
    quick = panel_of("Symbols", "regular", "none") | {"preset": "quick"}
    panels = [panel_of("Symbols", "regular", "none", "head=untied"), quick]
    assert panel_figures.thesis_panels(panels) == {}
    curves = curves_of("Symbols", "regular", "none")
    assert len(panel_figures.thesis_curves(curves.assign(ablation="epochs=10"))) == 0
    assert len(panel_figures.thesis_curves(curves.assign(ablation="precision=bf16"))) == 5


# --- all of them ---


@pytest.mark.slow
def test_every_entry_of_the_report_is_drawn_or_says_why(tmp_path):
    shown = figures.all_figures(rows_of(), tmp_path)
    assert all((entry.figure is None) == bool(entry.reason) for entry in shown)
    assert all(entry.title and entry.kind for entry in shown)
    reasons = {entry.title: entry.reason for entry in shown if entry.reason}
    assert len({entry.title for entry in shown}) == len(shown)
    assert "no data set" in reasons["Four priors on the same tokens"]
    assert "0 data sets" in reasons["Ranks by any score, our runs"]
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_panels_of_the_runs_come_before_those_that_ship(tmp_path):
    shipped = figures.kept(None)
    assert [len(part) for part in figures.kept(tmp_path)] == [len(part) for part in shipped]
    (tmp_path / "panels").mkdir()
    curves_of("Symbols", "regular", "none").to_csv(tmp_path / "curves.csv", index=False)
    panels, curves = figures.kept(tmp_path)
    assert panels == [] and curves.dataset.unique().tolist() == ["Symbols"]


@pytest.mark.parametrize(("n", "sizes"), [(0, []), (1, [1]), (5, [5]), (7, [5, 2]), (13, [5, 5, 3])])
def test_many_data_sets_are_several_figures(n, sizes):
    entries = figures._paged("Latents", lambda data, page: page, None, list(THESIS_DATASETS[:n]))
    assert [len(entry.figure) for entry in entries if entry.figure] == sizes
    many = [f"Latents ({i + 1} of {len(sizes)})" for i in range(len(sizes))]
    assert [entry.title for entry in entries] == (many if len(sizes) > 1 else ["Latents"])
    assert bool(entries[0].reason) == (n == 0)


@pytest.mark.slow
def test_the_recorded_table_can_be_drawn():
    for entry in figures.all_figures(load_cells()):
        if entry.figure:
            assert_legible(entry.figure)
