"""`lab.report.answer`: which cells may answer, effects and intervals against other computations, what is said."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_report_tables import cell, frame

from ncvqvae_lite.lab.campaign import load_campaign
from ncvqvae_lite.lab.report import answer, sections
from ncvqvae_lite.lab.report.tests import NAIVE, NC
from ncvqvae_lite.lab.results import load_cells

SETS = load_campaign("headline").datasets
USUAL = dict(fid=4.0, fid_by_class=2.0, is_=1.5, cas=0.8, knn_acc=0.6, svm_acc=0.7)
RATIOS = ("fid", "fid_by_class", "is_")


def table(datasets=SETS, seeds=(1, 2, 3, 5), arms=(NAIVE, *NC), noise=0.02, draw=0, **effects):
    """Made-up cells: NC arms have these effects (logarithms for `RATIOS`) over the naive one, and all have noise."""
    rng, cells = np.random.default_rng(draw), []
    for dataset, seed, arm in product(datasets, seeds, arms):
        shift = {name: effects.get(name, 0) * (arm != NAIVE) + noise * rng.normal() for name in USUAL}
        scores = {name: v * np.exp(shift[name]) if name in RATIOS else v + shift[name] for name, v in USUAL.items()}
        cells.append([row | {"preset": "improved"} for row in cell(dataset, *arm.split("-"), seed, **scores)])
    return frame(*cells)


def found(cells):
    return answer.effects(answer.answer_rows(cells))


# --- effects ---


def test_an_effect_that_is_there_is_found_and_none_is_not_settled():
    effects = found(table(fid_by_class=np.log(0.8), fid=np.log(1.3), knn_acc=0.1, svm_acc=-0.1, cas=0.0))
    assert effects.verdict.to_dict() == {
        "fid": "worsens", "fid_by_class": "improves", "is": "not settled", "cas": "not settled",
        "knn_acc": "improves", "svm_acc": "worsens",
    }  # fmt: skip
    assert np.exp(effects.effect["fid_by_class"]) == pytest.approx(0.8, rel=0.02)
    assert effects.effect["svm_acc"] == pytest.approx(-0.1, abs=0.01)
    assert effects.verdict["is"] == "not settled" and effects.low["is"] < 0 < effects.high["is"]
    assert set(effects.datasets) == {tuple(sorted(SETS))}
    assert (set(effects.arms), set(effects.seeds), set(effects.pairs)) == ({6}, {4}, {8 * 6 * 4})


def test_without_any_effect_nearly_nothing_is_settled():
    verdicts = [found(table(SETS[:5], draw=draw)).verdict.tolist() for draw in range(8)]
    assert np.mean(np.array(verdicts) == "not settled") > 0.9


def test_every_data_set_counts_alike_and_so_does_every_seed_of_it():
    """By hand: two arms; A has seeds 1 and 2, in 2 one arm only; B has seed 1."""
    values = {("A", 1): (0.5, 0.7, 0.8), ("A", 2): (0.5, 0.9, None), ("B", 1): (0.6, 0.5, 0.3)}
    cells = [
        [row | {"preset": "improved"} for row in cell(dataset, *arm.split("-"), seed, fcn="own", cas=v, fid_by_class=1)]
        for (dataset, seed), three in values.items()
        for arm, v in zip((NAIVE, "barlowtwins-warp", "vibcreg-gauss"), three)
        if v is not None
    ]
    effects = found(frame(*cells))
    assert effects.effect["cas"] == pytest.approx((((0.2 + 0.3) / 2 + 0.4) / 2 + (-0.1 - 0.3) / 2) / 2)
    assert effects.by_arm["cas"] == pytest.approx({"barlowtwins-warp": (0.3 - 0.1) / 2, "vibcreg-gauss": 0.0})
    assert (effects.pairs["cas"], effects.seeds["cas"], effects.arms["cas"]) == (5, 2, 2)
    assert effects.pairs["fid"] == 0 and np.isnan(effects.effect["fid"])


def test_fid_and_is_are_compared_as_ratios():
    cells = table(SETS[:1], seeds=(1,), arms=(NAIVE, "vibcreg-warp"))
    ours = cells.pivot(index="metric", columns="method", values="value")
    for name, expected in (("fid", np.log), ("is", np.log), ("fid_by_class", np.log), ("knn_acc", float)):
        difference = expected(ours.loc[name, "vibcreg"]) - expected(ours.loc[name, "regular"])
        assert found(cells).effect[name] == pytest.approx(difference)


# --- the interval ---


def every_draw(means):
    """Means of all n^n draws of n data sets with one seed each."""
    return np.array(list(product(means, repeat=len(means)))).mean(axis=1)


def blocks(values):
    """values (data sets, seeds), NaN for none, as a Series."""
    return pd.DataFrame(values).stack()


def test_the_interval_is_the_expanded_percentile_of_all_draws():
    means = np.random.default_rng(1).normal(size=5)
    tail = stats.norm.cdf(-np.sqrt(5 / 4) * stats.t.ppf(0.975, 4))  # Hesterberg (2015): alpha' / 2
    expected = np.quantile(every_draw(means), [tail, 1 - tail])
    assert answer.interval(blocks(means[:, None]), draws=400_000) == pytest.approx(expected, abs=0.03)


def test_the_spread_is_that_of_data_sets_and_of_seeds_in_them():
    """Variance of a draw: that of data sets over n, and of seeds over n times their number, both with ddof 0."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=(40, 1)) + 2 * rng.normal(size=(40, 5))
    values[:20, 3:] = np.nan
    within = np.mean(np.nanvar(values, axis=1) / np.isfinite(values).sum(axis=1)) / 40
    low, high = answer.interval(blocks(values))
    expanded = 2 * np.sqrt(40 / 39) * stats.t.ppf(0.975, 39)
    assert high - low == pytest.approx(expanded * np.sqrt(np.nanmean(values, axis=1).var() / 40 + within), rel=0.03)
    alone = blocks(np.where(np.arange(5) < 1, values, np.nan))  # one seed each
    assert np.subtract(*answer.interval(alone)) == pytest.approx(-expanded * values[:, 0].std() / np.sqrt(40), rel=0.03)


def test_five_data_sets_hold_the_truth_about_as_often_as_said_and_usual_percentiles_do_not():
    rng, hits, n = np.random.default_rng(3), np.zeros(2), 400
    for _ in range(n):
        means = rng.normal(size=5)
        for i, (low, high) in enumerate(
            (answer.interval(blocks(means[:, None]), draws=2000), np.quantile(every_draw(means), [0.025, 0.975]))
        ):
            hits[i] += low <= 0 <= high
    ours, usual = hits / n
    assert ours > 0.9 > usual


def test_equal_tables_give_equal_intervals():
    one, other = (found(table(draw=7)) for _ in range(2))
    pd.testing.assert_frame_equal(one, other)


# --- which cells count ---


def test_only_cells_of_the_new_preset_on_sets_of_the_archive_count():
    good = table(SETS[:1], seeds=(1,))
    assert set(answer.answer_rows(good).dataset) == {SETS[0]} and len(answer.answer_rows(good)) == 7 * 6
    others = {
        "preset": good.assign(preset="paper"),
        "changed settings": good.assign(ablation="guidance=2.0"),
        "an older recipe": good[good.metric != "fid_by_class"],
        "generated series": good.assign(dataset="TwoPatternsGenerated"),
        "another method": good.assign(method="vicreg", augmentation="warp").drop_duplicates("metric"),
        "nothing": good[:0],
    }
    for what, cells in others.items():
        assert answer.answer_rows(cells).empty, what
        assert not found(cells).pairs.any() and answer.headline(found(cells)).startswith("Not answered yet"), what


def test_arms_are_compared_by_one_feature_net():
    cells = table(SETS[:1], seeds=(1, 2))
    own = table(SETS[:1], seeds=(1,), fid=9.0, draw=1).assign(fcn="own")
    both = pd.concat([own, cells], ignore_index=True)
    pd.testing.assert_frame_equal(found(both), found(cells))
    naive_only = cells[cells.method == "regular"]
    assert not found(pd.concat([own[own.method != "regular"], naive_only])).pairs.any()


# --- what is said ---


def test_the_headline_names_what_improves_worsens_and_is_open():
    said = answer.headline(found(table(fid_by_class=-0.5, cas=-0.1, knn_acc=0.1, svm_acc=0.1)))
    assert said == (
        "With the same prior, class draw and rule for noise in all arms, a non-contrastive loss in the tokenizer "
        "improves FID by class, KNN accuracy and SVM accuracy, worsens CAS and has no settled effect on FID "
        "and inception score."
    )
    everything = answer.headline(found(table(noise=1e-3, **dict.fromkeys(USUAL, 0.1)))).split("tokenizer ")[1]
    assert (
        everything == "improves inception score, CAS, KNN accuracy and SVM accuracy and worsens FID and FID by class."
    )
    nothing = answer.headline(found(table(SETS[:1], knn_acc=0.3))).split("tokenizer ")[1]
    assert nothing.startswith("has so far no settled effect on FID, FID by class, inception score, CAS, KNN")


def sentences(cells):
    return {row.Index: answer.sentence(row) for row in found(cells).itertuples()}


def test_a_sentence_says_how_much_and_on_what_it_rests():
    cells = table(noise=1e-4, fid_by_class=np.log(0.8), knn_acc=0.1)
    said = sentences(cells[~((cells.metric == "cas") & (cells.method == "regular"))])
    rests = "(8 data sets, 6 arms, 4 seeds: 192 pairs)."
    assert said["fid_by_class"] == f"An NC loss improves FID by class: × 0.80, 95 % interval × 0.80 to 0.80 {rests}"
    assert said["knn_acc"] == f"An NC loss improves KNN accuracy: +0.100, 95 % interval +0.100 to +0.100 {rests}"
    assert said["fid"].startswith("What an NC loss does to FID is not settled: × 1.00, 95 % interval × 1.00 to 1.00 (8")
    assert said["cas"] == "What an NC loss does to CAS is not settled: no pair of arms has it."


def test_one_data_set_is_said_to_be_one_whatever_its_effect():
    said = sentences(table(SETS[:1], noise=1e-4, knn_acc=0.3))
    assert said["knn_acc"] == (
        "What an NC loss does to KNN accuracy is not settled: 1 data set only (SonyAIBORobotSurface2), 5 are needed; "
        "there it is +0.300 (1 data set, 6 arms, 4 seeds: 24 pairs)."
    )
    four = found(table(SETS[:4], noise=1e-4, knn_acc=0.3)).loc["knn_acc"]
    assert four.verdict == "not settled" and np.isnan(four.low)
    assert found(table(SETS[:5], noise=1e-4, knn_acc=0.3)).verdict["knn_acc"] == "improves"


def test_pairs_whose_arms_were_given_noise_alike_are_counted():
    given = {NAIVE: 1.0, NC[0]: 1.0, NC[1]: 0.0}
    cells = [
        [row | {"preset": "improved"} for row in cell(dataset, *arm.split("-"), 1, fid_by_class=1.0, noise=value)]
        for dataset in SETS[:2]
        for arm, value in given.items()
    ]
    said = answer.noise(answer.answer_rows(frame(*cells)))
    assert said == "The rule gave pieces of noise to both or to neither in 2 of 4 pairs."
    assert answer.noise(answer.answer_rows(table())) == ""


def test_what_is_missing_of_the_campaign_is_said():
    def missing(cells):
        return answer.missing(answer.answer_rows(cells))

    assert missing(table()) == "All 224 cells of the campaign headline are in this table."
    some = missing(table(SETS[:6], seeds=(1, 7)))
    assert some.startswith("42 of 224 cells of the campaign headline are in this table, none of ShapesAll and UWave")
    assert missing(table()[:0]).startswith("0 of 224 cells of the campaign headline are in this table. For the rest: ")
    assert "none of" not in missing(table(seeds=(1,)))


def test_the_section_is_what_the_effects_are():
    section = sections.first_answer(table(fid_by_class=-0.5, cas=-0.1))
    rows = {row[0]: row[1:] for row in section["table"].rows}
    assert list(rows) == list(answer.ASKED.values())
    effects = found(table(fid_by_class=-0.5, cas=-0.1))
    effect, bounds, arms, n = rows["FID by class"]
    assert effect.value == f"× {np.exp(effects.effect['fid_by_class']):.2f}" and effect.verdict == "improves"
    assert bounds == f"× {np.exp(effects.low['fid_by_class']):.2f} to {np.exp(effects.high['fid_by_class']):.2f}"
    assert n == "8 data sets, 6 arms, 4 seeds: 192 pairs"
    lowest, highest = (pick(effects.by_arm["fid_by_class"].values()) for pick in (min, max))
    assert arms.startswith(f"× {np.exp(lowest):.2f} (") and f" … × {np.exp(highest):.2f} (" in arms
    assert {effect.kind for effect, *_ in rows.values()} == {"better", "worse", ""}
    assert rows["CAS"][0].kind == "worse"
    assert sections.first_answer(table()[:0])["table"] is None


def test_the_table_that_ships_gives_an_answer():
    section = sections.first_answer(load_cells())
    assert section["headline"].endswith(".") and "224 cells of the campaign headline" in section["missing"]
    assert len(section["sentences"]) == 6
