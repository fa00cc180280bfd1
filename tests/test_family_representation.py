"""An encoder as an estimator: scikit-learn's own checks, features that tell classes, a file that gives it back."""

import dataclasses
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from ncvqvae_lite import data_arrays, synthetic_control
from ncvqvae_lite.errors import BadInput, NotFound, WeakEvidence
from ncvqvae_lite.family import representation
from ncvqvae_lite.family.representation import SYSTEMS, Representation

A_TABLE = "gives a table of fewer than 16 columns, which is no set of series"
KEPT = {  # checks that fail even on series
    "check_n_features_in_after_fitting": "wants the message without the number of channels",
    "check_dtype_object": "wants a TypeError for a dict among the values; what a user can mend is BadInput here",
}
ROUNDED = "check_methods_subset_invariance"  # asks for 1e-7 of float32 features; below it is 1e-5
STEPS = {"ts2vec": 25}


def failed(estimator):
    """name of each check of scikit-learn's that fails -> what it raised."""
    found = check_estimator(estimator, on_fail=None, on_skip=None)
    assert len(found) > 40
    return {check["check_name"]: str(check["exception"]) for check in found if check["status"] == "failed"}


@pytest.fixture(scope="module")
def control():
    """(x (120, 60), y, x of 240 others, y) as numpy."""
    ds = synthetic_control(120, 240, seed=0)
    return tuple(np.asarray(part) for part in (ds.x_train[:, 0], ds.y_train, ds.x_test[:, 0], ds.y_test))


@pytest.mark.parametrize("method", SYSTEMS)
def test_scikit_learns_checks_fail_only_where_they_give_tables(method):
    for name, told in failed(Representation(method, steps=1)).items():
        short = "while a minimum of 16 is required" in told
        assert short or name in KEPT or name == "check_positive_only_tag_during_fit", (A_TABLE, name, told)


@pytest.mark.slow
@pytest.mark.parametrize("method", SYSTEMS)
def test_scikit_learns_checks_pass_where_narrow_tables_are_taken(method, monkeypatch):
    """The networks see each narrow table 16 times side by side: what is left is the protocol itself."""
    system = SYSTEMS[method]

    def wide(x):
        return x.repeat(1, 1, 16) if x.shape[2] < 16 else x

    monkeypatch.setitem(
        SYSTEMS,
        method,
        dataclasses.replace(
            system,
            make=lambda channels, length: system.make(channels, 16 * length if length < 16 else length),
            train=lambda net, x, **how: system.train(net, x=wide(x), **how),
            features=lambda net, x: system.features(net, wide(x)),
        ),
    )
    for module in (representation, data_arrays):
        monkeypatch.setattr(module, "MIN_STEPS", 1)
    found = failed(Representation(method, steps=1)).keys()
    assert found - {ROUNDED} == KEPT.keys()


@pytest.mark.parametrize("method", SYSTEMS)
def test_features_tell_classes_and_come_back_from_a_file(method, control, tmp_path):
    x, y, x_test, y_test = control
    learned = Representation(method, steps=STEPS.get(method, 60), seed=1).fit(x)
    assert (
        learned.losses_.shape == (STEPS.get(method, 60),) and learned.losses_[-10:].mean() < learned.losses_[:10].mean()
    )
    features = learned.transform(x_test)
    assert (
        features.dtype == np.float32 and len(features) == 240 and (learned.channels_, learned.n_features_in_) == (1, 60)
    )
    probe = make_pipeline(StandardScaler(), LogisticRegression()).fit(learned.transform(x), y)
    assert probe.score(features, y_test) > 0.8  # six classes
    learned.save(tmp_path / "kept")
    again = Representation.load(tmp_path / "kept")
    assert again.get_params() == learned.get_params()
    np.testing.assert_array_equal(again.transform(x_test), features)


def test_it_stands_in_a_pipeline_and_equal_seeds_give_equal_features(control):
    x, y, x_test, _ = control
    line = make_pipeline(Representation(steps=3), StandardScaler(), LogisticRegression()).fit(x, y)
    assert set(line.predict(x_test)) <= set(y)
    one = Representation(steps=3)
    np.testing.assert_array_equal(one.fit_transform(x), clone(one).fit(x[:, None]).transform(x[:, None]))
    assert not np.array_equal(one.transform(x), Representation(steps=3, seed=1).fit_transform(x))


@pytest.mark.parametrize("shape", [(2, 1, 16), (5, 3, 16), (6, 2, 41)])
@pytest.mark.parametrize("method", SYSTEMS)
def test_short_series_of_several_channels(method, shape):
    x = np.random.default_rng(0).normal(size=shape)
    features = Representation(method, steps=2).fit_transform(x)
    assert len(features) == shape[0] and features.ndim == 2 and np.isfinite(features).all()


@pytest.mark.parametrize("method", SYSTEMS)
def test_a_series_alone_has_the_features_that_it_has_among_others(method, control):
    learned = Representation(method, steps=2).fit(control[0][:20])
    alone = np.concatenate([learned.transform(control[2][i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(alone, learned.transform(control[2])[:5], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", [name for name, system in SYSTEMS.items() if system.gaps])
def test_missing_values_are_taken_where_the_method_can(method, control):
    x, y, x_test, y_test = control
    rng = np.random.default_rng(0)
    gaps, gaps_test = (np.where(rng.random(part.shape) < 0.2, np.nan, part) for part in (x, x_test))
    learned = Representation(method, steps=STEPS[method]).fit(gaps)
    probe = make_pipeline(StandardScaler(), LogisticRegression()).fit(learned.transform(gaps), y)
    assert probe.score(learned.transform(gaps_test), y_test) > 0.7
    gaps[3] = np.nan
    with pytest.raises(BadInput, match="no value at all in series 3"):
        learned.transform(gaps)


def with_gaps(kept, shape=(20, 2, 50)):
    """Series in whose first `kept` steps both channels have values, and after it one of the two in turn."""
    x = np.random.default_rng(0).normal(size=shape)
    x[:, 0, kept::2] = np.nan
    x[:, 1, kept + 1 :: 2] = np.nan
    return x


def test_series_without_a_step_known_in_every_channel_are_refused():
    full = with_gaps(50)
    one = full.copy()
    one[3, 1] = np.nan
    learned = Representation("ts2vec", steps=1).fit(full)
    for call in (Representation("ts2vec", steps=1).fit, learned.transform):
        for x, which in ((with_gaps(0), "20 of 20 series"), (one, r"1 of 20 series \(rows 3,")):
            with pytest.raises(BadInput, match=f"X has no step with values in every channel, in {which}.*: fill gaps"):
                call(x)
    assert learned.transform(with_gaps(10)).std(axis=0).max() > 1e-3


def test_few_known_steps_are_warned_of_with_their_share():
    learned = Representation("ts2vec", steps=1)
    for call in (learned.fit, learned.transform):
        with pytest.warns(WeakEvidence, match=r"only 8\.0% of the steps of X have values in every channel"):
            call(with_gaps(4))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            call(with_gaps(5))


@pytest.mark.parametrize("method", SYSTEMS)
def test_a_channel_that_is_constant_in_train_does_not_blow_up(method):
    """Mean and scale are those of scikit-learn's scaler; a small change of the channel is a small one of features."""
    x = np.random.default_rng(0).normal(3, 2, size=(30, 5, 24))
    x[:, 1], x[:, 2], x[:, 3] = 0, 0.1, 1e6 + 0.1
    x[:, 4] *= 1e-9
    learned = Representation(method, steps=2).fit(x)
    scaler = StandardScaler().fit(x.transpose(0, 2, 1).reshape(-1, 5))
    np.testing.assert_allclose(learned.learned_.std[:, 0], scaler.scale_)
    assert learned.learned_.std[1:4, 0].tolist() == [1, 1, 1]
    other = x.copy()
    other[:, 1, 7], other[:, 2] = 0.01, 0.101
    scaled = scaler.transform(other.transpose(0, 2, 1).reshape(-1, 5)).reshape(30, 24, 5).transpose(0, 2, 1)
    np.testing.assert_allclose(learned.learned_.scaled(other), scaled, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(learned.transform(other), learned.transform(x), atol=0.1)


def test_what_a_search_chose_among_numpy_numbers_is_saved(control, tmp_path):
    x, y = control[0][:40], control[1][:40]
    line = make_pipeline(Representation(batch=np.int32(8)), LogisticRegression())
    values = {"steps": np.array([2, 3]), "seed": np.array([5]), "lr": np.array([0.001, 0.002]), "method": ["mae"]}
    search = GridSearchCV(line, {f"representation__{name}": tried for name, tried in values.items()}, cv=2).fit(x, y)
    best = search.best_estimator_[0]
    changed = clone(best).set_params(lr=np.float64(0.01), batch=None, steps=np.int64(2)).fit(x)
    for learned in (best, changed):
        learned.save(tmp_path)
        again = Representation.load(tmp_path)
        assert again.get_params() == learned.get_params()
        assert {type(value) for value in again.get_params().values()} <= {str, int, float, type(None)}
        np.testing.assert_array_equal(again.transform(x), learned.transform(x))


@pytest.mark.parametrize("method", SYSTEMS)
def test_features_have_names_and_come_as_tables(method, control):
    x = control[0][:8]
    learned = Representation(method, steps=1).fit(x)
    names = [f"representation{i}" for i in range(learned.transform(x).shape[1])]
    assert learned.get_feature_names_out().tolist() == names
    line = make_pipeline(clone(learned), StandardScaler()).set_output(transform="pandas")
    for series in (x, np.stack([x, -x], axis=1)):
        table = line.fit_transform(series)
        assert isinstance(table, pd.DataFrame) and table.columns.tolist() == names
    with pytest.raises(NotFittedError):
        clone(learned).get_feature_names_out()


def test_columns_in_another_order_are_refused_after_a_file_too(control, tmp_path):
    x = pd.DataFrame(control[0][:8], columns=[f"t{i}" for i in range(60)], index=list("abcdefgh"))
    learned = Representation(steps=1).set_output(transform="pandas").fit(x)
    assert learned.transform(x).index.tolist() == list("abcdefgh")
    learned.save(tmp_path)
    for estimator in (learned, Representation.load(tmp_path)):
        assert estimator.feature_names_in_.tolist() == x.columns.tolist()
        np.testing.assert_array_equal(estimator.transform(x), learned.transform(x))
        with pytest.raises(BadInput, match="must be in the same order as they were in fit"):
            estimator.transform(x[x.columns[::-1]])
    assert not hasattr(learned.fit(x.to_numpy()), "feature_names_in_")


def test_the_page_for_users_runs_as_it_stands_there(control, tmp_path, monkeypatch):
    page = (Path(representation.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n((?:(?!```).)*family\.representation.*?)```", page, flags=re.S)
    monkeypatch.chdir(tmp_path)
    np.save("my_series.npy", control[0])
    np.save("my_labels.npy", control[1])
    names = {}
    exec(code.replace('"simclr")', '"simclr", steps=40)'), names)
    assert names["probe"].score(names["learned"].transform(control[2]), control[3]) > 0.7


def test_neither_offset_nor_scale_of_the_units_matter(control):
    x = control[0].astype(np.float64)
    features = [Representation(steps=3).fit_transform(units) for units in (x, 1e6 + 8 * x)]
    np.testing.assert_allclose(*features, atol=1e-4)


@pytest.mark.parametrize(
    "change, x, message",
    [
        ({"method": "simclear"}, np.zeros((4, 20)), "unknown method 'simclear': choose one of simclr"),
        ({"steps": 0}, np.zeros((4, 20)), "steps must be a whole number of 1 or more"),
        ({"batch": 1}, np.zeros((4, 20)), "batch is 1, expected 2 or more"),
        ({"lr": -1}, np.zeros((4, 20)), "lr must be above 0"),
        ({}, np.zeros((1, 20)), "minimum of 2 is required"),
        ({}, np.zeros((4, 8)), "minimum of 16 is required"),
        ({}, np.zeros((4, 20, 8)), "series of 8 steps, expected at least 16"),
        ({}, np.full((4, 20), np.nan), "Input contains NaN"),
        ({}, [["a"] * 20] * 4, "could not convert string to float"),
        ({"seed": None}, np.zeros((4, 20)), "got None: write seed=0"),
        ({}, None, "X is None, expected .*: pass some series"),
        ({}, [[0.0] * 20, [1.0] * 18], r"X holds unequal lengths \(18 to 20 steps\).*: cut, resample or convert"),
        ({}, np.where(np.eye(20), np.inf, 0.0), r"Input contains infinity .* in 20 of 20 series .*: fill or drop them"),
        ({}, np.zeros((4, 8)), "series of 8 steps, expected at least 16: resample them"),
        ({}, np.zeros(20), r"^[^\[]* shape \(20,\), .*: reshape it. Reshape your data by x\[None\]"),
        ({}, np.full((4, 20), 1j), r"^Complex data not supported: X holds values of type complex128, .*: convert them"),
        ({}, pd.DataFrame(np.zeros((4, 20))).assign(day=pd.Timestamp(0)), "X holds no plain numbers .*: cut, resample"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(change, x, message):
    with pytest.raises(BadInput, match=message):
        Representation(**change).fit(x)


def test_other_series_than_those_learned_from_are_refused(control, tmp_path):
    x = control[0]
    learned = Representation(steps=1).fit(x)
    with pytest.raises(BadInput, match=r"X has 50 features, of 1 channel\(s\), but Representation is expecting 60"):
        learned.transform(x[:, :50])
    with pytest.raises(BadInput, match=r"of 2 channel\(s\)"):
        learned.transform(np.stack([x, x], axis=1))
    with pytest.raises(NotFittedError):
        Representation().transform(x)
    with pytest.raises(NotFound, match="no representation.safetensors in .* that Representation.save wrote"):
        Representation.load(tmp_path)


@pytest.mark.parametrize("method, fails", [("simclr", True), ("ts2vec", False)])
def test_masked_values_are_missing(method, fails):
    hidden = np.random.default_rng(0).normal(size=(8, 20))
    mask = np.arange(20) == np.arange(8)[:, None]
    hidden[mask] = 1e6
    gaps = np.where(mask, np.nan, hidden)
    for masked in (np.ma.masked_array(hidden, mask), list(np.ma.masked_array(hidden, mask))):
        if fails:
            with pytest.raises(
                BadInput, match=r"Input contains NaN: .* in 8 of 8 series .*interpolate_missing.* ts2vec$"
            ):
                Representation(method, steps=1).fit(masked)
        else:
            one, other = (Representation(method, steps=2).fit(x) for x in (masked, gaps))
            np.testing.assert_array_equal(one.transform(masked), other.transform(gaps))


def test_tensors_of_any_kind_are_series():
    x = torch.randn(6, 20, generator=torch.Generator().manual_seed(0)).bfloat16()
    features = Representation(steps=1).fit_transform(x.float().numpy())
    for tensors in (x, x.float().requires_grad_(), list(x.float().requires_grad_())):
        np.testing.assert_array_equal(Representation(steps=1).fit_transform(tensors), features)


def test_values_beyond_what_can_be_computed_with_are_refused():
    x = np.random.default_rng(0).normal(size=(8, 20))
    learned, far = Representation(steps=1).fit(x), x.copy()
    far[3, 5], far[6, 1] = 1e39, np.finfo(float).max / 2
    with pytest.raises(
        BadInput, match=r"in 1 of 8 series \(rows 6, .*, the first at step 1, .*: drop these series, or"
    ):
        learned.transform(far)
    far[6, 1] = 0
    with pytest.raises(
        BadInput, match=r"size 1\.\d+e\+39 standard deviations of train in 1 of 8 series \(rows 3, .* step 5"
    ):
        learned.transform(far)
    far[3, 5] = 1e160
    with pytest.raises(
        BadInput, match=r"X has values of size 1e\+160 in 1 of 8 series \(rows 3, .*mark the values as mis"
    ):
        Representation(steps=1).fit(far)


def test_a_refused_fit_changes_nothing(control):
    x = pd.DataFrame(control[0][:8], columns=[f"t{i}" for i in range(60)])
    learned = Representation(steps=1).fit(x)
    before = dict(vars(learned))
    for other in (x.add_prefix("u").iloc[:, :12], x.add_prefix("u").assign(u0=np.inf), x.iloc[:1].to_numpy()):
        with pytest.raises(BadInput):
            learned.fit(other)
    assert vars(learned).keys() == before.keys() and all(vars(learned)[name] is before[name] for name in before)


def test_what_looks_like_something_else_than_series_is_warned_of():
    x = np.random.default_rng(0).normal(size=(12, 20))
    x[:, 0] = np.arange(12) % 3
    gaps = np.round(np.random.default_rng(0).normal(0, 9, size=(12, 20)))
    gaps[np.arange(1, 20) % 12, np.arange(1, 20)] = np.nan  # a gap in all columns of whole numbers but the first
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Representation("ts2vec", steps=1).fit(gaps)
    for doubtful, told in (
        (x, "the first step of X looks like a column of labels"),
        (np.zeros((3, 40, 17)) + np.arange(17), "X has 40 channels of 17 steps: if that is (n, L, C), swap"),
        (pd.DataFrame(x).rename(columns=str).rename(columns={"0": "label"}), "a table with a column 'label'"),
    ):
        with pytest.warns(WeakEvidence, match=re.escape(told)) as warned:
            Representation(steps=1).fit(doubtful)
        assert warned[0].filename == __file__


@pytest.mark.parametrize("method", SYSTEMS)
def test_settings_of_torch_change_no_feature(method, control, tmp_path):
    x = control[0][:8]
    learned = Representation(method, steps=2).fit(x)
    features = learned.transform(x)
    learned.save(tmp_path)
    torch.set_default_dtype(torch.float64)
    try:
        for estimator in (Representation(method, steps=2).fit(x), learned, Representation.load(tmp_path)):
            np.testing.assert_array_equal(estimator.transform(x), features)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    for within in (torch.no_grad, torch.inference_mode):
        with within():
            np.testing.assert_array_equal(Representation(method, steps=2).fit_transform(x), features)
