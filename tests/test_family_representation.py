"""An encoder as an estimator: scikit-learn's own checks, features that tell classes, a file that gives it back."""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from ncvqvae_lite import synthetic_control
from ncvqvae_lite.errors import BadInput, NotFound
from ncvqvae_lite.family import representation
from ncvqvae_lite.family.representation import SYSTEMS, Representation

A_TABLE = "gives a table of fewer than 16 columns, which is no set of series"
KEPT = {  # checks that fail even on series
    "check_n_features_in_after_fitting": "the tables were made wider",
    "check_n_features_in": "the tables were made wider",
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
def test_scikit_learns_checks_pass_where_tables_are_as_wide_as_series(method, monkeypatch):
    """Each table that a check gives is repeated side by side: what is left is the protocol itself."""
    check = representation.check_array

    def wide(x, ensure_min_features, **how):
        x = check(x, **how)
        return np.tile(x, 16) if x.ndim == 2 and 1 < x.shape[1] < 16 else check(x, ensure_min_features=16, **how)

    monkeypatch.setattr(representation, "check_array", wide)
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
    with pytest.raises(NotFound, match="no representation.safetensors"):
        Representation.load(tmp_path)
