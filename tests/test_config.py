"""Presets against the tables they come from, folder names against what they must and must not depend on."""

import ast
import functools
import json
import math
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import mse_loss

import ncvqvae_lite
from ncvqvae_lite import config_digest, tokenizer
from ncvqvae_lite.augmentations import AUGMENTATIONS, Augmentation
from ncvqvae_lite.config import PRESETS, ExperimentConfig
from ncvqvae_lite.config_digest import bare_code, code_of, imported_by
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.experiment_stages import resolve
from ncvqvae_lite.names import METHODS, SCORES, Method, Score
from ncvqvae_lite.prior import ORDERS
from ncvqvae_lite.thesis import CONFIGURATIONS
from ncvqvae_lite.training_engine import epochs_for
from ncvqvae_lite.training_optim import SCHEDULES

PACKAGE = Path(ncvqvae_lite.__file__).parent
ARMS = [*CONFIGURATIONS, ("vicreg", "warp")]
every_arm = pytest.mark.parametrize(("method", "augmentation"), ARMS, ids="-".join)
OUT = Path("runs")
FIELDS = [f for f in fields(ExperimentConfig) if "stage" in f.metadata and len(f.metadata["choices"] or "ab") > 1]

# What the reference does and what is better, quirk by quirk: field -> (paper, improved).
QUIRKS = {
    "probe_statistics": ("batch", "running"),  # Q2
    "min_masked": (0, 1),  # Q3
    "masked_only": (False, True),  # Q5
    "t_per_sample": (False, True),  # Q5
    "zero_tail": (True, False),  # Q9
    "distinct_slices": (False, True),  # Q10
    "kmeans_init": (False, True),  # Q11
    "odd_tail": (False, True),  # Q12
    "prior_validation": ("sampled", "argmax"),  # Q13
    "cas_score": ("running", "final"),  # Q16
    "extra_positions": (True, False),  # Q18
}
# What the other generator has of its own: field -> (paper, improved). Where that is 0 or "by n", the rule is tested.
OWN = {
    "geometry": ("grid", "fold"),
    "width": (8, 32),
    "codebook_size": (32, 0),
    "codebook_decay": (0.9, 0.95),
    "spectrum_weight": (0.0, 0.5),
    "epochs": (1000, 0),
    "batch_size": (128, 64),
    "lr": (1e-3, 3e-3),
    "schedule": ("cosine", "warm-up"),
    "projector_width": (4096, 512),  # Q17
    "prior_start": ("codebook", "random"),
    "prior_dim": (64, 128),
    "prior_width": (256, 128),
    "prior_depth": (4, 0),
    "zero_blocks": (False, True),
    "p_unconditional": (0.2, 0.1),
    "prior_epochs": (1000, 0),
    "prior_batch_size": (256, 64),
    "prior_lr": (1e-3, 2e-3),
    "muon_times": (0.0, 10.0),
    "prior_weight_decay": (1e-3, 0.0),
    "prior_schedule": ("cosine", "warm-up"),
    "order": ("confidence", "by n"),
    "decoding_steps": (10, 20),
    "token_temperature": (1.0, 0.0),
    "class_draw": ("none", "train"),
    "noise": ("none", "by rule"),
    "cas_epochs": (1000, 0),
    "fcn_epochs": (1000, 0),
    "fcn_batch_size": (256, 32),
    "fcn_lr": (1e-3, 1e-2),
    "fcn_schedule": ("cosine", "one-cycle"),
}
# Constants that the main runs of the thesis and both presets share.
SHARED = dict(
    n_fft=8, dim=64, n_blocks=4, commitment=1.0, weight_decay=1e-3, aug_recon=0.2, ssl_latents="mixed",
    quantise_view=False, barlow_weight=1.0, barlow_offdiagonal=0.005, vibcreg_weight=0.01, vibcreg_sim=25.0,
    vibcreg_var=25.0, vibcreg_cov=100.0, reproduce_probe_leak=False, prior_heads=2,
    choice_temperature=4.0, guidance=1.0, min_samples=256, fcn_weight_decay=1e-5, precision="fp32",
    prior_precision="fp32", fcn_precision="fp32", sampling_precision="fp32", second_fcn=False,
)  # fmt: skip


def preset(name="paper", method="vibcreg", augmentation="warp", seed=1, **changes):
    return ExperimentConfig.preset(
        name, dataset="ECG5000", method=method, augmentation=augmentation, seed=seed, **changes
    )


def folders(cfg):
    """(FCN's folder, tokenizer's folder, cell's folder)."""
    return cfg.fcn_folder(OUT), cfg.tokenizer_folder(OUT), cfg.cell_folder(OUT)


# --- presets ---


@every_arm
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_for_every_arm(name, method, augmentation):
    cfg = preset(name, method, augmentation, seed=5)
    assert (cfg.dataset, cfg.method, cfg.augmentation, cfg.seed) == ("ECG5000", method, augmentation, 5)
    assert cfg.preset_name == name


@every_arm
def test_paper_and_improved_values(method, augmentation):
    paper, improved = (preset(name, method, augmentation) for name in ("paper", "improved"))
    for name, values in (QUIRKS | OWN).items():
        assert (getattr(paper, name), getattr(improved, name)) == values, name
    for name, value in SHARED.items():
        assert getattr(paper, name) == getattr(improved, name) == value, name
    groups = [cfg.projector_width // cfg.whitening_groups for cfg in (paper, improved)]
    assert groups == [64, 16]  # features that are whitened together
    assert paper.expire_below == 0 < improved.expire_below  # Q11
    assert (improved.mask_polarity, improved.head) == ("masked", "untied")  # Q3, Q4
    assert (paper.mask_polarity, paper.head) == (("kept", "tied") if method == "regular" else ("masked", "untied"))


def test_the_default_record_is_the_paper_preset_of_the_naive_arm():
    assert ExperimentConfig("ECG5000") == preset("paper", "regular", "none")


@every_arm
def test_quick_walks_the_same_paths_as_improved(method, augmentation):
    """Every switch and choice is that of `improved`; only amounts, and the precision, differ."""
    quick, improved = (preset(name, method, augmentation) for name in ("quick", "improved"))
    differing = [f for f in FIELDS if getattr(quick, f.name) != getattr(improved, f.name)]
    amounts = [f for f in differing if f.type in (int, float)]
    assert {f.name for f in differing} - {f.name for f in amounts} <= {"precision", "prior_precision", "fcn_precision"}
    for f in amounts:  # what is off stays off, save for the least number of steps
        has_own = getattr(improved, f.name) > 0 or f.metadata["by_n"] or f.name.endswith("min_steps")
        assert getattr(quick, f.name) > 0 and has_own, f.name
    for series in (20, 200, 2000):  # fewer steps
        of = resolve(improved, SimpleNamespace(x_train=range(series)))
        for stage in ("", "prior_"):
            names = [f"{stage}{name}" for name in ("batch_size", "epochs", "min_steps")]
            steps = [
                epochs_for(series, *(getattr(cfg, name) for name in names)) * math.ceil(series / 64)
                for cfg in (quick, of)
            ]
            assert steps[0] < steps[1] or series == 20


# --- what is left to the number of series ---


def resolved(n, **changes):
    return resolve(preset("improved", **changes), SimpleNamespace(x_train=range(n)))


def test_sizes_and_steps_by_the_number_of_series():
    tiny, small, large = resolved(27), resolved(200), resolved(1000)
    assert [cfg.codebook_size for cfg in (tiny, small, large)] == [64, 64, 128]
    assert [cfg.prior_depth for cfg in (tiny, small, large)] == [2, 3, 3]
    assert [cfg.order for cfg in (tiny, small, large)] == ["random", "confidence", "confidence"]
    assert tiny.epochs == 600 and tiny.prior_epochs == 500  # one batch an epoch
    assert small.epochs == 600 // 4 and large.epochs == 800 // 16  # as many whole epochs as the steps allow
    assert tiny.cas_epochs == large.cas_epochs == 800 // 32  # of 1,000 series at least
    assert resolved(8926).cas_epochs == 2 and resolved(100_000).epochs == 1
    assert not any(f.metadata["by_n"] and getattr(tiny, f.name) in (0, "by n") for f in FIELDS)


def test_what_is_given_is_not_left_to_the_number_of_series():
    assert resolved(1000, codebook_size=32, order="random", epochs=7).changes().keys() >= {"codebook_size", "order"}
    cfg = resolved(1000, codebook_size=32, order="random", epochs=7)
    assert (cfg.codebook_size, cfg.order, cfg.epochs) == (32, "random", 7)
    paper = preset("paper")
    assert resolve(paper, SimpleNamespace(x_train=range(27))) == paper and paper.rules() == {}


def test_a_folder_carries_the_rule_and_not_what_it_gives(monkeypatch):
    cfg = preset("improved")
    before = folders(cfg)
    given = replace(cfg, codebook_size=128)
    assert folders(given)[1:] != before[1:] and folders(given)[0] == before[0]
    (depth,) = [f for f in FIELDS if f.name == "prior_depth"]
    monkeypatch.setattr(depth, "metadata", {**depth.metadata, "by_n": ((1, 2), (100, 5))})
    assert [one != other for one, other in zip(before, folders(cfg), strict=True)] == [False, False, True]


def test_changes_replace_single_fields():
    assert preset("quick", epochs=7, lr=1) == replace(preset("quick"), epochs=7, lr=1)
    with pytest.raises(AttributeError):
        preset().epochs = 3  # frozen


# --- mistakes ---


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: preset("papr"), r"unknown preset 'papr' \(did you mean paper\?\): choose one of improved, paper, q"),
        (lambda: preset(method="barlow_twins"), r"unknown method 'barlow_twins' \(did you mean barlowtwins\?\)"),
        (lambda: preset(augmentation="warps"), r"unknown augmentation 'warps' \(did you mean warp\?\)"),
        (lambda: preset(epoch=3), r"unknown setting 'epoch' \(did you mean epochs"),
        (lambda: preset(preset_name="paper"), "unknown setting 'preset_name'"),
        (lambda: preset(qqq=3), r"unknown setting 'qqq'$"),
        (lambda: preset(head="tide"), r"unknown head 'tide' \(did you mean tied"),
        (lambda: preset(precision="fp16"), "unknown precision 'fp16'"),
        (lambda: preset(mask_polarity="mask"), r"unknown mask_polarity 'mask' \(did you mean masked\?\)"),
        (lambda: preset(method="regular"), "'regular' with the augmentation 'warp'.*use 'none'"),
        (lambda: preset(augmentation="none"), "'vibcreg' without an augmentation.*warp, slice, gauss"),
        (lambda: preset(epochs="10"), "epochs must be an integer, got '10'"),
        (lambda: preset(epochs=1.5), "epochs must be an integer, got 1.5"),
        (lambda: preset(epochs=True), "epochs must be an integer, got True"),
        (lambda: preset(lr="fast"), "lr must be a number, got 'fast'"),
        (lambda: preset(lr=True), "lr must be a number, got True"),
        (lambda: preset(cas=1), "cas must be true or false, got 1"),
        (lambda: preset(seed="1"), "seed must be an integer, got '1'"),
        (lambda: preset(seed=None), "seed must be an integer, got None"),
        (lambda: ExperimentConfig(5), "dataset must be a text, got 5"),
        (lambda: preset(epochs=-1), "epochs must be 1 or more, or 0: by the number of train series, got -1"),
        (lambda: preset(batch_size=0), "batch_size must be 1 or more, got 0"),
        (lambda: preset(lr=0.0), "lr must be positive and finite, got 0.0"),
        (lambda: preset(lr=float("nan")), "lr must be positive and finite, got nan"),
        (lambda: preset(prior_lr=float("inf")), "prior_lr must be positive and finite, got inf"),
        (lambda: preset(weight_decay=-0.1), "weight_decay must be 0 or more, and finite, got -0.1"),
        (lambda: preset(min_steps=-1), "min_steps must be 0 or more"),
        (lambda: preset(codebook_size=1), "codebook_size must be 2 or more, or 0: by the number of train series, got"),
        (lambda: preset(order="by_n"), r"unknown order 'by_n' \(did you mean by n\?\)"),
        (lambda: preset(codebook_decay=1.0), "codebook_decay must be at least 0 and below 1, got 1.0"),
        (lambda: preset(p_unconditional=-0.2), "p_unconditional must be at least 0 and below 1, got -0.2"),
        (lambda: preset(n_fft=6), "n_fft must be a multiple of 4.*got 6"),
        (lambda: preset(projector_width=100), "projector_width 100 does not split into 64 groups"),
        (lambda: preset("quick", projector_width=100), "projector_width 100 does not split"),
    ],
)
def test_mistakes_are_named(build, message):
    with pytest.raises(BadInput, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_a_rate_of_zero_is_refused_where_tiny_numbers_count_as_zero():
    """Training flushes denormals for the whole process; 0 is no learning rate there either."""
    torch.set_flush_denormal(True)
    try:
        with pytest.raises(BadInput, match="lr must be positive"):
            preset(lr=0.0)
    finally:
        torch.set_flush_denormal(False)


# --- folders ---


def test_shape_of_the_folders():
    fcn, tokenizer, cell = folders(preset(seed=3))
    assert fcn.parts[:3] == ("runs", "fcn", "ECG5000") and len(fcn.parts) == 4
    assert tokenizer.parts[:4] == ("runs", "tokenizers", "ECG5000", "vibcreg-warp")
    assert cell.parts[:4] == ("runs", "cells", "ECG5000", "vibcreg-warp")
    assert tokenizer.parts[5:] == cell.parts[5:] == ("seed3",)
    for digest in (fcn.parts[3], tokenizer.parts[4], cell.parts[4]):
        assert len(digest) == 8 and set(digest) <= set("0123456789abcdef")
    assert tokenizer.parts[4] != cell.parts[4]


def other_value(cfg, field):
    """Another valid value of a field."""
    value, choices = getattr(cfg, field.name), field.metadata["choices"]
    if choices:
        return next(choice for choice in choices if choice != value)
    if field.type is bool:
        return not value
    if field.type is float:
        return value / 2 if value else 0.5
    return 2 * value if value else 1


@pytest.mark.parametrize("field", FIELDS, ids=lambda f: f.name)
def test_a_field_renames_the_folders_of_its_stage_and_of_what_builds_on_it(field):
    methods = {"barlow": "barlowtwins", "vicreg": "vicreg", "simclr": "simclr"}
    before = preset(method=methods.get(field.name.partition("_")[0], "vibcreg"), augmentation="slice")
    after = replace(before, **{field.name: other_value(before, field)})
    changed = [one != other for one, other in zip(folders(before), folders(after), strict=True)]
    expected = {"fcn": [True, False, True], "tokenizer": [False, True, True], "cell": [False, False, True]}
    assert changed == expected[field.metadata["stage"]]


def test_fields_of_the_branch_do_not_rename_a_tokenizer_without_one():
    regular = preset(method="regular", augmentation="none")
    branch = "aug_ ssl_ barlow vibcreg vicreg simclr projector whitening distinct zero_tail quantise_view".split()
    for field in FIELDS:
        changed = replace(regular, **{field.name: other_value(regular, field)})
        if field.name.startswith(tuple(branch)):
            assert folders(changed) == folders(regular), field.name
        elif field.metadata["stage"] == "tokenizer":
            assert folders(changed)[1] != folders(regular)[1], field.name


def test_what_a_run_does_not_read_does_not_rename_it():
    unread = [
        (preset(augmentation="warp"), dict(distinct_slices=True)),
        (preset(method="barlowtwins"), dict(vibcreg_cov=1.0, whitening_groups=32)),
        (preset(method="vibcreg"), dict(barlow_offdiagonal=1.0)),
        (preset(cas=False), dict(cas_epochs=3, cas_score="final")),
    ]
    for cfg, changes in unread:
        assert folders(replace(cfg, **changes)) == folders(cfg), changes
    given = preset(cas=False)  # FCN weights given, and no other FCN trained
    assert replace(given, fcn_epochs=3).cell_folder(OUT, "abc") == given.cell_folder(OUT, "abc")


def test_what_is_shared():
    base = preset()
    for change in (dict(head="tied"), dict(mask_polarity="kept"), dict(prior_epochs=5), dict(cas=False)):
        other = replace(base, **change)
        assert other.tokenizer_folder(OUT) == base.tokenizer_folder(OUT)
        assert other.cell_folder(OUT) != base.cell_folder(OUT)
    assert preset(seed=2).fcn_folder(OUT) == preset("paper", "regular", "none").fcn_folder(OUT) == base.fcn_folder(OUT)
    assert preset(seed=2).tokenizer_folder(OUT) != base.tokenizer_folder(OUT)
    assert base.fcn_folder(OUT, seed=1) != base.fcn_folder(OUT) == base.fcn_folder(OUT, seed=0)
    assert base.cell_folder(OUT, "abc") != base.cell_folder(OUT)
    assert replace(base, preset_name="quick").cell_folder(OUT) == base.cell_folder(OUT)  # a name is not a setting


def test_one_number_has_one_folder_however_it_is_written():
    assert folders(preset(guidance=1)) == folders(preset(guidance=1.0))


def test_presets_do_not_share_a_cell():
    for method, augmentation in ARMS:
        assert len({preset(name, method, augmentation).cell_folder(OUT) for name in PRESETS}) == len(PRESETS)


def test_schedules_have_the_same_names_where_they_are_chosen_and_where_they_are_computed():
    chosen = {f.name: f.metadata["choices"] for f in FIELDS if f.name.endswith("schedule")}
    assert chosen == dict.fromkeys(("schedule", "prior_schedule", "fcn_schedule"), tuple(SCHEDULES))
    (order,) = [f.metadata["choices"] for f in FIELDS if f.name == "order"]
    (geometry,) = [f.metadata["choices"] for f in FIELDS if f.name == "geometry"]
    assert order == (*ORDERS, "by n") and geometry == tuple(tokenizer.TOKENIZERS)


# --- methods as records ---


def test_vicreg_is_a_method_by_its_record():
    cfg = preset("paper", "vicreg", "warp")
    assert (cfg.vicreg_weight, cfg.vicreg_sim, cfg.vicreg_var, cfg.vicreg_cov) == (0.01, 25.0, 25.0, 1.0)
    assert cfg.loss_weights() == (0.01, {"sim": 25.0, "var": 25.0, "cov": 1.0})
    assert (cfg.mask_polarity, cfg.head) == ("masked", "untied")  # the prior of the thesis' NC arms
    one, other = (preset("paper", "vicreg", "warp", vicreg_cov=weight) for weight in (1.0, 2.0))
    assert one.tokenizer_folder(OUT) != other.tokenizer_folder(OUT) and one.cell_folder(OUT) != other.cell_folder(OUT)
    assert replace(one, whitening_groups=32, vibcreg_cov=1.0).tokenizer_folder(OUT) == one.tokenizer_folder(OUT)


@pytest.fixture
def later_method(monkeypatch):
    """A method that was registered after the settings were made."""
    record = Method("Later", "#000000", lambda a, b, pull=1.0: pull * (a - b).abs().mean(), {"pull": 2.0}, scale=0.5)
    monkeypatch.setitem(METHODS, "later", record)
    return record


def test_a_method_that_is_registered_later_has_its_weights_from_its_record(later_method, monkeypatch):
    cfg = preset("paper", "later", "warp")
    assert cfg.loss_weights() == (0.5, {"pull": 2.0})
    before = cfg.tokenizer_folder(OUT)
    monkeypatch.setitem(METHODS, "later", replace(later_method, weights={"pull": 3.0}))
    assert cfg.tokenizer_folder(OUT) != before
    monkeypatch.setitem(METHODS, "later", replace(later_method, loss=lambda a, b, pull: pull * (a - b).square().mean()))
    assert cfg.tokenizer_folder(OUT) != before
    monkeypatch.setitem(METHODS, "later", replace(later_method, whiten=True))
    assert cfg.tokenizer_folder(OUT) != before
    monkeypatch.setitem(METHODS, "later", replace(later_method, label="Another", colour="#111111"))
    assert cfg.tokenizer_folder(OUT) == before


def test_an_augmentation_that_is_registered_later_is_known(monkeypatch):
    with pytest.raises(BadInput, match="unknown augmentation 'flip'"):
        preset(augmentation="flip")
    monkeypatch.setitem(AUGMENTATIONS, "flip", Augmentation(lambda x, generator=None: -x, "flip", "#000000"))
    before = preset(augmentation="flip").tokenizer_folder(OUT)
    changed = Augmentation(lambda x, generator=None: -2 * x, "flip", "#000000")
    monkeypatch.setitem(AUGMENTATIONS, "flip", changed)
    assert preset(augmentation="flip").tokenizer_folder(OUT) != before


def scaled_by(weight):
    def loss(a, b):
        return weight * (a - b)

    return loss


def calls_square(a, b):
    return square(a) - b


def square(a):
    return a * a


LARGE = torch.zeros(5000)
# Pairs of functions that compute different things, and look alike in one way or another.
UNLIKE = {
    "lambdas over several lines": (
        lambda a, b: (a - b).abs().mean(),
        lambda a, b: (a - b).square().mean(),
    ),
    "closures": (scaled_by(1.0), scaled_by(2.0)),
    "partials": (functools.partial(square, a=1), functools.partial(square, a=2)),
    "partials of arrays": (
        functools.partial(square, LARGE),
        functools.partial(square, LARGE + (torch.arange(5000) == 2500)),
    ),
    "partials of functions": (functools.partial(square, scaled_by(1.0)), functools.partial(square, scaled_by(2.0))),
    "defaults": (lambda a, b=1: a, lambda a, b=2: a),
    "inner functions": (lambda a: map(lambda x: x + 1, a), lambda a: map(lambda x: x + 2, a)),
    "names of the package": ("ssl_losses.vicreg", "ssl_losses.vibcreg"),
}


@pytest.mark.parametrize("pair", UNLIKE)
def test_two_registered_functions_are_told_apart(pair):
    one, other = map(code_of, UNLIKE[pair])
    assert json.dumps(one) != json.dumps(other)
    assert json.dumps(code_of(UNLIKE[pair][0])) == json.dumps(one) and " at 0x" not in json.dumps(one)


def test_what_a_registered_function_calls_counts(monkeypatch):
    before = code_of(calls_square)
    monkeypatch.setitem(globals(), "square", lambda a: a**3)
    assert code_of(calls_square) != before


def is_even(n):
    return n == 0 or is_odd(n - 1)


def is_odd(n):
    return n != 0 and is_even(n - 1)


def test_functions_that_call_each_other_and_those_of_libraries_have_a_code():
    assert "is_even" in json.dumps(code_of(is_odd))
    assert "mse_loss" in json.dumps(code_of(lambda a, b: mse_loss(a, b)))


def test_texts_in_a_registered_function_are_texts():
    def documented(a, b):
        return a - b

    documented.__code__ = documented.__code__.replace(co_consts=("a long text " * 100, "data", "no/module.here"))
    assert json.dumps(code_of(documented)).count("a long text") == 100


def test_an_object_that_hides_its_content_is_refused():
    with pytest.raises(BadInput, match=r"object of Linear.*register a function"):
        code_of(torch.nn.Linear(2, 2))


def test_the_same_function_has_the_same_code_in_another_process():
    script = (
        "import json; from ncvqvae_lite.config_digest import code_of as c; f = lambda a: [lambda x: x + 1, {1, 'b'}]; "
    )
    command = [sys.executable, "-c", f"{script}print(json.dumps([c(f), c('prior.MaskGIT')]))"]
    found = {
        subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent).stdout for _ in "ab"
    }
    assert len(found) == 1 and " at 0x" not in found.pop()


def test_a_shipped_augmentation_that_is_replaced_has_other_folders(monkeypatch):
    before = preset(augmentation="warp").tokenizer_folder(OUT)
    monkeypatch.setitem(AUGMENTATIONS, "warp", AUGMENTATIONS["gauss"])
    replaced = preset(augmentation="warp").tokenizer_folder(OUT)
    settings = replace(AUGMENTATIONS["gauss"], settings={"std": "aug_recon"})
    monkeypatch.setitem(AUGMENTATIONS, "warp", settings)
    assert len({before, replaced, preset(augmentation="warp").tokenizer_folder(OUT)}) == 3


def test_what_a_score_needs_and_computes_names_cells_and_its_label_does_not(monkeypatch):
    before = folders(preset())
    monkeypatch.setitem(SCORES, "fid", replace(SCORES["fid"], label="distance"))
    monkeypatch.setitem(SCORES, "later", Score("later"))  # nothing is computed
    assert folders(preset()) == before
    monkeypatch.setitem(SCORES, "fid", replace(SCORES["fid"], test=1000))
    assert [one != other for one, other in zip(before, folders(preset()), strict=True)] == [False, False, True]
    monkeypatch.setitem(SCORES, "knn_acc", replace(SCORES["knn_acc"], train=50))
    assert [one != other for one, other in zip(before, folders(preset()), strict=True)] == [False, True, True]


def test_a_loss_in_another_room_of_the_package_is_followed(edited, monkeypatch):
    monkeypatch.setitem(METHODS, "vibcreg", replace(METHODS["vibcreg"], loss="thesis.compare"))
    assert edited("thesis", lambda source: source + "\nADDED = 1\n") == {"tokenizer", "cell"}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from .evaluation import nearest_train", {"evaluation", "evaluation.copies", "evaluation.arrays"}),
        ("from . import evaluation", {"evaluation", "evaluation.copies", "evaluation.arrays"}),
        ("from .evaluation.copies import nearest_train", {"evaluation.copies", "evaluation.arrays"}),
    ],
)
def test_the_modules_of_a_folder_are_followed(edited, monkeypatch, line, found):
    read = config_digest._source
    monkeypatch.setattr(config_digest, "_source", lambda room: line if room == "experiment_cas" else read(room))
    assert imported_by("experiment_cas") >= found | {"experiment_cas"}
    assert ("evaluation.kernels" in imported_by("experiment_cas")) == ("evaluation" in found)  # `__init__` imports it
    assert edited("evaluation.arrays", lambda source: source + "\nADDED = 1\n") == {"cell"}


# --- what the digest reads ---

SOURCE = '''"""Module."""

import os  # why
from a import b, c


class A:
    """Docstring
    of two lines."""

    size: int = 3

    def f(self, x: float, *rest: int) -> float:
        """One line."""
        text = "# no comment"  # a comment
        if x < 0:
            raise ValueError(f"x is {x}: make it positive")  # or not
        print("f", x)
        return x + 1, text


def g():
    \'\'\'Another quote.\'\'\'
    return [A(
        "not a docstring")]
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# why", "# because"), ("  # a comment", ""), ('"""Module."""', '"""Other\nmodule."""'), ("of two", "of many"),
        ("    \'\'\'Another quote.\'\'\'\n", ""), ("        return x", "\n        # here\n        return x"),
        ('"""One line."""', '"""One,\n\n        two, # three lines."""'),
        ("import os  # why\nfrom a import b, c", "from a import (\n    c,\n    b,\n)\nimport os"),
        ("import os", "import os\nfrom .shapes import Float"), ("import os", "from ..shapes import Int\nimport os"),
        ("x: float, *rest: int", "x, *rest"), (" -> float:", ":"), ("-> float", "-> Float[Tensor,\n        'B C']"),
        ("size: int", "size: float"), ("return [A(\n        ", "return [A("),
        ('f"x is {x}: make it positive"', '\n            f"{x!r} was given"  # two lines\n            "so",\n        '),
        ('ValueError(f"x is {x}: make it positive")', 'ValueError(str(KeyError(f"{x}")))'),
        ('print("f", x)', 'print(f"{x} in f", flush=True)'),
    ],
)  # fmt: skip
def test_prose_does_not_change_the_digest(old, new):
    assert old in SOURCE
    assert bare_code(SOURCE.replace(old, new)) == bare_code(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x + 1", "x + 2"), ("# no comment", "# a comment"), ("import os", "import sys"), ("not a doc", "no doc"),
        ("import os", "import os\nfrom .shape import Float"), ("class A", "class B"),
        ("        return x + 1, text\n", ""), ("        return x", "    return x"),
        ("b, c", "b as c, c"), ("size: int = 3", "size: int = 4"), ("x < 0", "x < 1"), ("ValueError", "KeyError"),
        ("float, *rest", "float = 3, *rest"), ("*rest", "*others"), ("raise ValueError", "ValueError"),
    ],
)  # fmt: skip
def test_code_changes_the_digest(old, new):
    assert old in SOURCE
    assert bare_code(SOURCE.replace(old, new)) != bare_code(SOURCE)


@pytest.mark.parametrize("room", sorted(imported_by("experiment_cell")))
def test_every_number_and_every_name_of_a_room_counts(room):
    """A room without its docstrings and comments has the same code; with any constant changed it has other code."""
    source = config_digest._source(room)
    assert bare_code(ast.unparse(ast.parse(source))) == bare_code(source)
    lines, tree = source.splitlines(), ast.parse(source)
    in_texts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Raise) for part in ast.walk(node)}
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in in_texts]
    for node in [node for node in constants if type(node.value) in (int, float)][:20]:
        line = lines[node.lineno - 1].encode()
        changed = line[: node.col_offset] + b"77777" + line[node.end_col_offset :]
        edited = [*lines[: node.lineno - 1], changed.decode(), *lines[node.lineno :]]
        assert bare_code("\n".join(edited)) != bare_code(source), lines[node.lineno - 1]


# --- whose folders a room renames ---

STAGES = {"fcn": "experiment_fcn", "tokenizer": "experiment_tokenizer", "cell": "experiment_cell"}
ALL_STAGES = ("numerics", "inference", "training_engine", "training_optim", "training_checkpoint", "experiment_stages")
FEATURE_NETS = ("fcn", "training_fcn", "experiment_fcn")
TOKENIZERS = (
    *("timefreq", "quantizer", "ssl_losses", "augmentations", "tokenizer", "metrics", "training_tokenizer"),
    "experiment_tokenizer",
)
CELLS = (
    *("prior", "residuals", "training_muon", "training_prior", "experiment_prior", "experiment_noise"),
    *("experiment_samples", "experiment_evaluation", "experiment_cas", "experiment_cell"),
    *("evaluation.arrays", "evaluation.baselines", "evaluation.class_mix", "evaluation.copies", "evaluation.kernels"),
    "evaluation.manifold",
)
RENAMES = {room: {"fcn", "tokenizer", "cell"} for room in ALL_STAGES} | {room: {"fcn", "cell"} for room in FEATURE_NETS}
RENAMES |= {room: {"tokenizer", "cell"} for room in TOKENIZERS} | {room: {"cell"} for room in CELLS}
NO_NUMBERS = (
    *("experiment", "experiment_parts", "experiment_run", "experiment_card"),
    *("experiment_budget", "experiment_counts", "experiment_machine"),
    *("files", "errors", "names", "shapes", "config", "data", "thesis", "plots", "nb"),
    *sorted(config_digest.ARGUMENTS),
)


@pytest.fixture
def edited(monkeypatch):
    """`edited(room, edit)` -> the stages whose folders an edit of a room's source renames."""
    sources, read = {}, config_digest._source
    monkeypatch.setattr(config_digest, "_source", lambda name: sources.get(name) or read(name))

    def renamed(room, edit):
        cfg, found = preset(), []
        for source in (None, edit(read(room))):
            sources[room] = source
            config_digest.source_digest.cache_clear()
            found.append(folders(cfg))
        return {name for name, one, other in zip(STAGES, *found, strict=True) if one != other}

    yield renamed
    config_digest.source_digest.cache_clear()


@pytest.mark.parametrize("room", RENAMES)
def test_code_of_a_room_renames_what_it_makes_and_what_builds_on_it(room, edited):
    assert edited(room, lambda source: source + "\nADDED = 1\n") == RENAMES[room]


@pytest.mark.parametrize("room", [*RENAMES, *NO_NUMBERS])
def test_words_of_a_room_rename_nothing(room, edited):
    """Every text of an error that stands on one line, and the docstring, are other ones; there is one comment more."""

    def reword(source):
        lines = source.splitlines(keepends=True)
        for node in ast.walk(ast.parse(source)):
            call = getattr(node, "exc", None)
            if isinstance(node, ast.Raise) and isinstance(call, ast.Call) and call.lineno == call.end_lineno:
                line = lines[call.lineno - 1].encode()
                other = line[: call.func.end_col_offset] + b'("other words")' + line[call.end_col_offset :]
                lines[call.lineno - 1] = other.decode()
        text = "".join(lines)
        return '"""Another docstring."""\n# and a comment\n' + text[text.index('"""', 3) + 3 :]

    assert edited(room, reword) == set()


@pytest.mark.parametrize("room", NO_NUMBERS)
def test_rooms_that_compute_no_number_of_a_stage_rename_nothing(room, edited):
    assert edited(room, lambda source: source + "\nADDED = 1\n") == set()


def test_a_constant_of_a_probe_renames_tokenizers_and_cells(edited):
    assert edited("metrics", lambda source: source.replace("C=1.0", "C=2.0")) == {"tokenizer", "cell"}


def test_every_room_that_a_stage_imports_has_its_place():
    assert {room for module in STAGES.values() for room in imported_by(module)} == set(RENAMES)


NAME_ALL = """
import json, sys
from ncvqvae_lite.config import ExperimentConfig
arms = json.loads(sys.argv[1])
folders = {
    str(ExperimentConfig.preset("paper", dataset=f"set{d}", method=m, augmentation=a, seed=s).cell_folder("runs"))
    for d in range(13) for m, a in arms for s in (1, 2, 3, 5)
}
heavy = [name for name in ("torch", "numpy", "pandas", "sklearn", "aeon") if name in sys.modules]
print(json.dumps([len(folders), heavy]))
"""


def test_naming_all_cells_is_light():
    """13 sets, 7 arms, 4 seeds: no heavy import, and under 3 seconds of processor time from start to end."""
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-c", f"{NAME_ALL}\nimport time; print(time.process_time())", json.dumps(CONFIGURATIONS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    counts, seconds = done.stdout.splitlines()
    assert json.loads(counts) == [364, []]
    assert float(seconds) < 3
