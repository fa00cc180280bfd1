"""`lab.report.prior`: which priors are paired, and the effects against regression and hand-made numbers."""

import numpy as np
import pytest
from scipy import stats
from test_report_tables import SONY, cell, frame

from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.lab.report import prior
from ncvqvae_lite.thesis import author_runs

ABLATIONS = {
    "kept tied": "cas=False",
    "masked tied": "mask_polarity=masked cas=False",
    "kept untied": "head=untied cas=False",
    "masked untied": "mask_polarity=masked head=untied cas=False",
}
OF_NC = {
    "kept tied": "mask_polarity=kept head=tied cas=False",
    "masked tied": "head=tied cas=False",
    "kept untied": "mask_polarity=kept cas=False",
    "masked untied": "cas=False",
}


def runs(fids, dataset=SONY, seed=1, tokens=None, **cell_of):
    """Rows of a 2 x 2 (prior -> FID) on one tokenizer."""
    ablations = OF_NC if cell_of else ABLATIONS
    scores = [(ablations[name], fid) for name, fid in fids.items()]
    tokens = seed / 10 if tokens is None else tokens
    return [
        row
        for text, fid in scores
        for row in cell(dataset, seed=seed, ablation=text, recon_val=tokens, fid=fid, is_=1 / fid, **cell_of)
    ]


def random_runs(seeds=(1, 2, 3), dataset=SONY, draw=0, **cell_of):
    """(rows, log FIDs as (seeds, 2, 2): mask, head)."""
    logs = np.random.default_rng(draw).normal(size=(len(seeds), 2, 2))
    rows = []
    for seed, values in zip(seeds, np.exp(logs)):
        fids = {
            f"{m} {h}": values[i, j] for i, m in enumerate(("kept", "masked")) for j, h in enumerate(("tied", "untied"))
        }
        rows += runs(fids, dataset, seed, **cell_of)
    return rows, logs


def blocks_of(cells, metric):
    return prior.prior_blocks(prior.prior_rows(cells, metric))


# --- blocks ---


@pytest.mark.parametrize("method", ["regular", "barlowtwins", "vibcreg"])
def test_a_run_without_changes_has_the_prior_of_its_preset(method):
    augmentation = "none" if method == "regular" else "warp"
    cfg = ExperimentConfig.preset("paper", dataset=SONY, method=method, augmentation=augmentation)
    assert prior._prior(method, "") == f"{cfg.mask_polarity} {cfg.head}"
    assert prior._prior(method, "head=tied mask_polarity=kept") == prior.NAIVE_PRIOR


def test_ablations_name_the_priors_of_each_arm():
    fids = {name: i + 1.0 for i, name in enumerate(prior.PRIORS)}
    nc = dict(method="vibcreg", augmentation="gauss")
    blocks = blocks_of(frame(runs(fids), runs(fids, **nc)), "fid")
    assert blocks.columns.tolist() == list(prior.PRIORS)
    assert blocks.loc[(SONY, "regular", "none", 1)].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert blocks.loc[(SONY, "vibcreg", "gauss", 1)].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_priors_on_other_tokens_are_not_paired():
    whole = {"kept tied": 1.0, "masked tied": 2.0, "kept untied": 3.0}
    rows = frame(
        runs(whole, tokens=0.5), runs({"masked untied": 4.0}, tokens=0.6), runs({"kept tied": 9.0}, tokens=0.7)
    )
    rows.loc[rows.index[-3:], "ablation"] = "precision=bf16 cas=False"  # a third tokenizer of the same seed
    blocks = blocks_of(rows, "fid")
    assert len(blocks) == 1
    assert blocks.iloc[0].tolist()[:3] == [1.0, 2.0, 3.0] and np.isnan(blocks.iloc[0]["masked untied"])


def test_other_recipes_and_feature_nets_stay_out():
    fids = dict.fromkeys(prior.PRIORS, 1.0)
    other = frame(runs(fids)).assign(fcn="own")
    leaked = frame(runs(fids)).assign(ablation="reproduce_probe_leak=True cas=False")
    improved = frame(runs(fids)).assign(preset="improved")
    for rows in (other, leaked, improved, frame()):
        assert blocks_of(rows, "fid").empty


# --- effects ---


def test_effects_of_one_data_set_are_paired_over_seeds():
    rows, logs = random_runs()
    effects = prior.prior_effects(blocks_of(frame(rows), "fid")).set_index("effect")
    by_hand = {
        "NC prior : naive prior": logs[:, 1, 1] - logs[:, 0, 0],
        "masked : kept": logs[:, 1].mean(axis=1) - logs[:, 0].mean(axis=1),
        "untied : tied": logs[:, :, 1].mean(axis=1) - logs[:, :, 0].mean(axis=1),
        "interaction": (logs[:, 1, 1] - logs[:, 0, 1]) - (logs[:, 1, 0] - logs[:, 0, 0]),
    }
    assert effects.index.tolist() == list(by_hand)
    for name, values in by_hand.items():
        interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        expected = [3, *np.exp([values.mean(), interval.low, interval.high])]
        np.testing.assert_allclose(effects.loc[name, ["seeds", "ratio", "low", "high"]].astype(float), expected)


def test_effects_are_those_of_a_regression_with_seeds_as_blocks():
    rows, logs = random_runs(draw=1)
    effects = prior.prior_effects(blocks_of(frame(rows), "fid")).set_index("effect").ratio
    masked, untied = np.array([[-0.5, -0.5], [0.5, 0.5]]), np.array([[-0.5, 0.5], [-0.5, 0.5]])
    design = np.stack([np.tile(part, (3, 1, 1)).ravel() for part in (masked, untied, masked * untied)], axis=1)
    design = np.hstack([np.repeat(np.eye(3), 4, axis=0), design])  # one intercept per seed
    slopes = np.linalg.lstsq(design, logs.ravel(), rcond=None)[0][3:]
    names = ["masked : kept", "untied : tied", "interaction"]
    np.testing.assert_allclose(np.log(effects[names]), slopes)


def test_missing_priors_cost_only_the_effects_that_need_them():
    rows = runs({"kept tied": 2.0, "masked untied": 1.0}) + runs({"kept tied": 2.0, "masked tied": 1.0}, seed=2)
    effects = prior.prior_effects(blocks_of(frame(rows), "fid"))
    assert effects.effect.tolist() == [prior.WHOLE]
    row = effects.iloc[0]
    assert (row.seeds, row.ratio) == (1, pytest.approx(0.5)) and np.isnan(row.low) and np.isnan(row.high)


def test_over_data_sets_each_counts_alike_and_few_have_no_interval():
    cells, means = [], []
    for i, (dataset, seeds) in enumerate({"FordA": (1,), "Wafer": (1, 2, 3), "Symbols": (1, 2)}.items()):
        rows, logs = random_runs(seeds, dataset, draw=i)
        cells.append(rows)
        means.append((logs[:, 1, 1] - logs[:, 0, 0]).mean())
    effects = prior.prior_effects(blocks_of(frame(*cells), "fid"))
    whole = prior.over_datasets(effects).set_index("effect").loc[prior.WHOLE]
    interval = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    np.testing.assert_allclose([whole.ratio, whole.low, whole.high], np.exp([np.mean(means), *interval]))
    assert whole.datasets == 3
    two = prior.over_datasets(effects[effects.dataset != "FordA"]).set_index("effect").loc[prior.WHOLE]
    assert two.ratio == pytest.approx(np.exp(np.mean(means[1:]))) and np.isnan(two.low)


def test_ssl_is_judged_at_equal_prior_by_welch():
    naive, base = random_runs(draw=2)
    arm, logs = random_runs(seeds=(1, 2), draw=3, method="barlowtwins", augmentation="warp")
    effects = prior.ssl_effects(blocks_of(frame(naive, arm), "fid")).set_index("prior")
    ours, theirs = logs[:, 1, 0], base[:, 1, 0]  # masked tied
    variances = [ours.var(ddof=1) / 2, theirs.var(ddof=1) / 3]
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / 1 + variances[1] ** 2 / 2)  # Welch and Satterthwaite
    half = stats.t.ppf(0.975, freedom) * np.sqrt(sum(variances))
    shift = ours.mean() - theirs.mean()
    row = effects.loc["masked tied"]
    np.testing.assert_allclose([row.ratio, row.low, row.high], np.exp([shift, shift - half, shift + half]))
    assert (row.seeds, row.naive_seeds) == (2, 3) and len(effects) == 4


def test_the_headline_says_what_there_is():
    assert prior.headline(prior.prior_effects(blocks_of(frame(), "fid"))).startswith("Not run yet")
    rows = runs({"kept tied": 4.0, "masked untied": 1.0})
    one = prior.headline(prior.prior_effects(blocks_of(frame(rows), "fid")))
    assert "multiplies the FID by 0.25 (1 data set, too few for an interval)" in one and "cannot be said" in one
    cells = [
        runs({"kept tied": 4.0, "masked untied": f}, d) for d, f in (("FordA", 1.0), ("Wafer", 2.0), ("Symbols", 1.0))
    ]
    many = prior.headline(prior.prior_effects(blocks_of(frame(*cells), "fid")))
    assert "95 % interval 0.12 to 0.85, 3 data sets" in many and "The prior alone lowers the FID." in many
    cells[0] = runs({"kept tied": 1.0, "masked untied": 4.0}, "FordA")
    open_question = prior.headline(prior.prior_effects(blocks_of(frame(*cells), "fid")))
    assert "The interval contains 1" in open_question and "lowers" not in open_question


def test_the_headline_says_on_how_many_data_sets_mask_and_head_were_told_apart():
    extremes = {"kept tied": 4.0, "masked untied": 1.0}
    cells = [runs(extremes, "ECG5000"), runs(extremes, "TwoPatterns")]
    cells.append(runs(extremes | {"masked tied": 1.0, "kept untied": 8.0}, "Symbols"))
    said = prior.headline(prior.prior_effects(blocks_of(frame(*cells), "fid")))
    assert "multiplies the FID by 0.25 (95 % interval 0.25 to 0.25, 3 data sets)" in said
    few = "(1 data set, too few for an interval)"
    assert f"Where all four priors were run: masked : kept 0.18 {few}, untied : tied 1.41 {few}." in said
    assert "parts" not in said


def test_the_authors_ratio_is_that_of_their_runs():
    naive = np.mean(author_runs("Wafer", "regular", "none")["fid"])
    nc = [
        np.mean(author_runs("Wafer", m, a)["fid"])
        for m in ("barlowtwins", "vibcreg")
        for a in ("warp", "slice", "gauss")
    ]
    assert prior.authors_ratio("Wafer", "fid") == pytest.approx(stats.gmean(nc) / naive)
