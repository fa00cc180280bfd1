"""Campaign files, plans, states, estimates, jobs and devices: everything but engines at work."""

import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_campaign import SETTINGS

from ncvqvae_lite import fcn, fcn_weights
from ncvqvae_lite.augmentations import AUGMENTATIONS
from ncvqvae_lite.cli import main
from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.data import THESIS_DATASETS, two_patterns
from ncvqvae_lite.errors import BadInput, NotFound, RunFolderError, RunFolderHeld, TrainingDiverged
from ncvqvae_lite.experiment import run_experiment
from ncvqvae_lite.files import write_json
from ncvqvae_lite.lab import results, runner
from ncvqvae_lite.lab.campaign import (
    Campaign,
    check_configuration,
    costs,
    devices,
    engines,
    job,
    load_campaign,
    shipped,
)
from ncvqvae_lite.lab.campaign import state as campaign_state
from ncvqvae_lite.lab.campaign.plan import jobs, plan
from ncvqvae_lite.lab.campaign.state import BEGUN, DONE, FAILED, MISSING, RUNNING
from ncvqvae_lite.lab.campaign.status import describe, grid
from ncvqvae_lite.names import METHODS, Method
from ncvqvae_lite.thesis import CONFIGURATIONS

ROOT = Path(__file__).resolve().parents[1]
FOUR_PRIORS = tuple({"mask_polarity": m, "head": h} for m in ("kept", "masked") for h in ("tied", "untied"))


@pytest.fixture(autouse=True)
def no_weights_of_the_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("NCVQVAE_FCN", raising=False)
    monkeypatch.setenv("NCVQVAE_CACHE", str(tmp_path / "cache"))


def campaign(datasets=("ECG5000",), configurations=("regular-none",), seeds=(1,), settings=None, ablations=()):
    return Campaign("mine", "", "paper", datasets, configurations, seeds, settings or {}, ablations)


# --- campaign files ---


def test_the_shipped_campaigns_have_the_cells_that_they_are_to_have():
    counts = {name: len(load_campaign(name).cells()) for name in shipped()}
    grid = {"thesis": 13 * 7 * 4, "improved": 13 * 7 * 4, "headline": 8 * 7 * 4}
    assert counts == grid | {"matched-prior": 13 * 3 * 4 * 4, "contrastive": 3 * 2 * 4, "smoke": 2 * 2 * 2}
    for name in ("thesis", "improved"):
        cells = {(c.cfg.dataset, c.cfg.method, c.cfg.augmentation, c.cfg.seed) for c in load_campaign(name).cells()}
        assert cells == {(d, *pair, seed) for d in THESIS_DATASETS for pair in CONFIGURATIONS for seed in (1, 2, 3, 5)}
    presets = {name: {cell.cfg.preset_name for cell in load_campaign(name).cells()} for name in shipped()}
    expected = {"thesis": "paper", "matched-prior": "paper", "smoke": "quick"}
    expected |= dict.fromkeys(("headline", "contrastive", "improved"), "improved")
    assert presets == {name: {preset} for name, preset in expected.items()}


def test_the_headline_is_the_preset_as_it_is_on_eight_sets_of_improved():
    headline = load_campaign("headline")
    assert headline.datasets == (
        *("SonyAIBORobotSurface2", "SonyAIBORobotSurface1", "Symbols", "TwoPatterns", "ECG5000"),
        *("Wafer", "ShapesAll", "UWaveGestureLibraryAll"),
    )
    assert not headline.settings and not headline.ablations
    pairs = [tuple(name.split("-")) for name in headline.configurations]
    assert pairs == list(CONFIGURATIONS) and headline.seeds == (1, 2, 3, 5)
    shared = [{cell.cfg.cell_folder("") for cell in load_campaign(name).cells()} for name in ("headline", "improved")]
    assert len(shared[0]) == 224 and shared[0] < shared[1]
    assert all(cell.cfg.cas for cell in headline.cells())


def test_the_arms_of_contrastive_have_company_in_the_headline():
    """Its cells differ from those of `headline` in the loss, and in CAS, which no other score looks at."""
    headline, more = load_campaign("headline"), load_campaign("contrastive")
    assert {*more.datasets} < {*headline.datasets} and more.seeds == headline.seeds
    assert not {*more.configurations} & {*headline.configurations}
    company = headline.part(more.datasets, ("vibcreg-warp",), settings={"cas": False}).cells()
    bare = [{dataclasses.replace(cell.cfg, method="vibcreg") for cell in cells} for cells in (company, more.cells())]
    assert bare[0] == bare[1] and len(bare[0]) == 3 * 4


def test_matched_priors_share_tokenizers_and_default_cells_with_the_thesis(tmp_path):
    thesis, matched = load_campaign("thesis"), load_campaign("matched-prior")
    tokenizers = [{cell.cfg.tokenizer_folder("") for cell in c.cells()} for c in (thesis, matched)]
    assert len(tokenizers[1]) == 13 * 3 * 4 and tokenizers[1] < tokenizers[0]
    cells = [{cell.cfg.cell_folder("") for cell in c.cells()} for c in (thesis, matched.part(settings={"cas": True}))]
    assert len(cells[0] & cells[1]) == 13 * 3 * 4  # the prior that the reference gave each arm
    priors = Counter((cell.cfg.method, cell.cfg.mask_polarity, cell.cfg.head) for cell in matched.cells())
    assert set(priors.values()) == {13 * 4} and len(priors) == 3 * 4
    assert not any(cell.cfg.cas for cell in matched.cells())


def test_all_configurations_of_one_seed_come_before_the_next_seed():
    cells = [(c.cfg.dataset, c.cfg.seed, c.cfg.method) for c in load_campaign("smoke").cells()]
    assert cells[:4] == [("TwoPatternsGenerated", s, m) for s in (1, 2) for m in ("regular", "vibcreg")]


GOOD = 'preset = "quick"\ndatasets = ["A"]\nconfigurations = ["regular-none"]\nseeds = [1]\n'
VICREG = GOOD.replace("regular-none", "vicreg-warp")
BAD_FILES = {
    "no TOML": ("preset = quick", ["is no TOML", "line 1"]),
    "unknown key": (GOOD + "sedes = [1]", ["unknown key 'sedes'", "did you mean seeds"]),
    "missing key": (GOOD.replace("seeds = [1]\n", ""), ["lacks seeds", "preset, datasets"]),
    "text for a list": (GOOD.replace('["A"]', '"A"'), ["datasets must be a list", "'A'"]),
    "empty list": (GOOD.replace('["A"]', "[]"), ["datasets is empty"]),
    "seed as text": (GOOD.replace("[1]", '["1"]'), ["seeds must hold whole numbers", "'1'"]),
    "seed as truth": (GOOD.replace("[1]", "[true]"), ["seeds must hold whole numbers", "True"]),
    "a path as data set": (GOOD.replace('"A"', '"../A"'), ["'../A' is no name"]),
    "configuration": (GOOD.replace("regular-none", "regular-gauss"), ["unknown configuration", "regular-none"]),
    "half a configuration": (GOOD.replace("regular-none", "regular-non"), ["did you mean regular-none?"]),
    "method": (GOOD.replace("regular-none", "vicregg-warp"), ["'vicregg-warp'", "did you mean vicreg-warp"]),
    "augmentation": (GOOD.replace("regular-none", "vicreg-wrap"), ["'vicreg-wrap'", "did you mean vicreg-warp"]),
    "preset": (GOOD.replace("quick", "papper"), ["unknown preset 'papper'", "did you mean paper"]),
    "setting": (GOOD + "[settings]\nepoch = 3", ["unknown setting 'epoch'", "did you mean epochs"]),
    "setting's value": (GOOD + "[settings]\nepochs = -1", ["epochs must be 1 or more"]),
    "setting's type": (GOOD + '[settings]\nepochs = "3"', ["epochs must be an integer", "'3'"]),
    "axis as a setting": (GOOD + "[settings]\nseed = 3", ["seed is no setting"]),
    "ablations as a table": (GOOD + "[ablations]\nepochs = 3", ["ablations must be a list"]),
    "ablations of numbers": (GOOD + "ablations = [1]", ["[[ablations]]"]),
    "ablation": (GOOD + '[[ablations]]\nhead = "tide"', ["unknown head 'tide'", "tied"]),
    "a seed twice": (GOOD.replace("[1]", "[1, 1]"), ["A regular-none seed 1 is the same run", "list each once"]),
    "an ablation twice": (  # masked_only is what quick has already
        GOOD + '[[ablations]]\nhead = "untied"\n[[ablations]]\nhead = "untied"\nmasked_only = true',
        ["head=untied masked_only=true is the same run"],
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_mistakes_in_a_campaign_file_are_one_sentence_before_any_work(case, tmp_path, capsys):
    content, words = BAD_FILES[case]
    file = tmp_path / "mine.toml"
    file.write_text(content)
    for action in ("run", "status", "export"):
        assert main(["campaign", action, str(file), "--out", str(tmp_path / "runs")]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and str(file) in err
        for word in words:
            assert word in err, err
    assert not (tmp_path / "runs").exists()


def test_every_registered_method_and_augmentation_makes_a_configuration(monkeypatch):
    for name in [*map("-".join, CONFIGURATIONS), "vicreg-warp", "vicreg-slice", "vicreg-gauss", "simclr-warp"]:
        check_configuration(name)
    monkeypatch.setitem(METHODS, "mine", Method("Mine", "#000000", lambda a, b: None))
    monkeypatch.setitem(AUGMENTATIONS, "flip", lambda x, generator=None: x.flip(-1))
    for name in ("mine-warp", "mine-flip", "barlowtwins-flip"):
        check_configuration(name)
    for name in ("mine-none", "regular-flip", "mine", "mine-flap", ""):
        with pytest.raises(BadInput, match=f"unknown configuration '{name}'"):
            check_configuration(name)


def test_a_campaign_of_another_method_than_those_of_the_thesis(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(VICREG)
    (cell,) = load_campaign(file).cells()
    assert (cell.cfg.method, cell.cfg.augmentation) == ("vicreg", "warp")


COMMAND_LINES = {
    "unknown action": (["campaign", "start", "smoke"], ["campaign start", "campaign run", "campaign status"]),
    "no name": (["campaign", "run"], ["NAME_OR_FILE"]),
    "unknown name": (["campaign", "run", "theses"], ["no campaign theses", "did you mean thesis", "smoke"]),
    "unknown data set": (
        ["campaign", "run", "smoke", "--datasets", "GunPoints"],
        ["GunPoints", "did you mean GunPoint"],
    ),
    "unknown seed": (["campaign", "status", "thesis", "--seeds", "4"], ["has no seed 4", "1, 2, 3, 5"]),
    "unknown configuration": (["campaign", "run", "smoke", "--configurations", "regular"], ["regular-none"]),
    "unknown setting": (["campaign", "run", "smoke", "--set", "epoch=3"], ["'epoch'", "did you mean epochs"]),
    "an ablation's setting": (["campaign", "run", "matched-prior", "--set", "head=tied"], ["head", "ablations"]),
    "a setting as an option": (["campaign", "run", "smoke", "--epochs", "3"], ["--set epochs="]),
    "engine": (["campaign", "run", "smoke", "--engine", "slurm"], ["--engine", "inline"]),
    "no cores": (["campaign", "run", "smoke", "--cores", "0"], ["--cores must be positive", "0"]),
    "profile": (["campaign", "run", "smoke", "--profile", "slurm", "--engine", "inline"], ["--profile", "snakemake"]),
    "option of another action": (["campaign", "status", "smoke", "--dry-run"], ["--dry-run", "campaign status --help"]),
    "nothing to export": (["campaign", "export", "smoke", "--out", "nowhere"], ["no cell", "nowhere"]),
}


@pytest.mark.parametrize("case", COMMAND_LINES)
def test_mistakes_on_the_command_line(case, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, words = COMMAND_LINES[case]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1
    for word in words:
        assert word in err, err
    assert not list(tmp_path.iterdir())


def test_the_help_names_the_three_commands(capsys):
    assert main(["campaign"]) == 0
    out = capsys.readouterr().out
    assert all(f"campaign {action}" in out for action in ("run", "status", "export")) and "doctor" not in out


# --- the plan, without torch ---


def light(*command):
    """(seconds, stdout) of a command in a process of its own, which must not load anything heavy."""
    heavy = {"torch", "snakemake", "papermill", "aeon", "matplotlib", "pandas", "numpy"}
    code = f"import sys; from ncvqvae_lite.cli import main; main({list(map(str, command))})"
    begin = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}; print(*sorted({heavy} & set(sys.modules)))"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    *lines, loaded = ran.stdout.splitlines()
    assert (ran.returncode, loaded) == (0, ""), ran.stderr + loaded
    return time.monotonic() - begin, lines


def test_a_dry_run_of_the_thesis_lists_364_cells_and_writes_nothing(tmp_path):
    _, (*cells, totals, sentence) = light("campaign", "run", "thesis", "--dry-run", "--out", tmp_path / "runs")
    assert len(cells) == 364 == len(set(cells)) and all(line.endswith(": missing") for line in cells)
    assert cells[0] == "SonyAIBORobotSurface1 regular-none seed 1: missing"
    assert "364 cells, 0 done, 0 running, 0 failed, 364 missing" in totals
    assert sentence.startswith("364 cells would run")
    assert not (tmp_path / "runs").exists()


def test_status_of_364_cells_takes_less_than_three_seconds(tmp_path):
    """A third of them done, and seconds.json to estimate from."""
    for cell in load_campaign("thesis").cells()[::3]:
        finish(cell.cfg.cell_folder(tmp_path), cell.cfg)
    seconds, lines = min(light("campaign", "status", "thesis", "--out", tmp_path) for _ in range(3))
    assert "364 cells, 122 done, 0 running, 0 failed, 242 missing" in lines
    assert any(line.startswith("time left: about") for line in lines)
    assert seconds < 3


def finish(folder, cfg, **seconds):
    """The files of a finished cell."""
    folder.mkdir(parents=True, exist_ok=True)
    needed = campaign_state.needed_metrics(cfg, {})
    (folder / "metrics.json").write_text(json.dumps(dict.fromkeys(needed, 0.5)))
    (folder / "seconds.json").write_text(
        json.dumps(seconds or {"tokenizer": 40, "prior": 70, "evaluation": 20, "cas": 80})
    )


def test_small_files_that_a_crash_left_unreadable_stop_nothing(tmp_path, monkeypatch):
    cells = load_campaign("thesis").part(["Symbols"], ["regular-none"]).cells()
    folders = [cell.cfg.cell_folder(tmp_path) for cell in cells]
    for folder in folders:
        folder.mkdir(parents=True)
    (folders[0] / "running.json").touch()
    (folders[1] / "failed.json").write_text('{"kind": "k')
    finish(folders[2], cells[2].cfg)
    for name in ("failed.json", "notebook.json", "seconds.json", "notebook.ipynb"):
        (folders[2] / name).write_text('{"')
    planned = plan(load_campaign("thesis").part(["Symbols"], ["regular-none"]), tmp_path)
    assert [p.state for p in planned] == [MISSING, MISSING, DONE, MISSING] and planned[2].lacks_notebook
    assert "1 done, 0 running, 0 failed, 3 missing" in "\n".join(describe(planned))
    plan_file = session(tmp_path, {"one": one_cell(tmp_path)})
    (plan_file.parent / "one.json").touch()
    monkeypatch.setattr(job, "make", lambda *_: None)
    monkeypatch.setattr(job, "THREADS", ())
    assert job.main([str(plan_file), "one"]) == 0 and "done" in (plan_file.parent / "one.json").read_text()


def test_a_stage_that_failed_before_is_no_failure_while_it_is_done_anew(tmp_path, monkeypatch):
    task = one_cell(tmp_path) | {"stages": [str(tmp_path / "tokenizer"), str(tmp_path / "none")]}
    fail_in(tmp_path / "tokenizer")
    seen = []
    monkeypatch.setattr(job, "execute", lambda *_: seen.append((tmp_path / "tokenizer" / "failed.json").exists()))
    monkeypatch.setattr(campaign_state, "check_metrics", lambda *_: None)
    monkeypatch.setattr(job, "THREADS", ())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert job.main([str(session(tmp_path, {"one": task})), "one"]) == 0
    assert seen == [False]


def test_a_done_cell_whose_notebook_failed_is_told(tmp_path, capsys):
    part = load_campaign("thesis").part(["Symbols"], ["regular-none"], [1])
    (cell,) = part.cells()
    folder = plan(part, tmp_path)[0].folder
    finish(folder, cell.cfg)
    campaign_state.write_failure(folder, "error in the code", "cell 4 raised", attempts=1, log="x.log")
    assert main(["campaign", "status", "thesis", "--datasets", "Symbols", "--configurations", "regular-none",
                 "--seeds", "1", "--out", str(tmp_path)]) == 0  # fmt: skip
    assert "cell 4 raised" in capsys.readouterr().out


def test_a_stage_that_two_missing_cells_share_is_a_job_before_them(tmp_path):
    four = campaign(ablations=FOUR_PRIORS)
    planned = plan(four, tmp_path)
    feature_net, tokenizer, *cells = jobs(planned)
    assert (feature_net.kind, tokenizer.kind) == ("fcn", "tokenizer")
    assert [cell.kind for cell in cells] == ["cell"] * 4
    assert all(cell.needs == (feature_net.name, tokenizer.name) for cell in cells)
    assert {p.stages["tokenizer"] for p in planned} == {tokenizer.folder}
    assert len({job.name for job in jobs(planned)}) == 6

    tokenizer.folder.mkdir(parents=True)
    write_json(tokenizer.folder / "metrics.json", {})
    assert [job.kind for job in jobs(plan(four, tmp_path))] == ["fcn", *["cell"] * 4]
    for p in planned[:3]:
        finish(p.folder, p.cfg)
    assert [job.needs for job in jobs(plan(four, tmp_path))][-1] == ()  # one is left, and makes what it needs itself


def test_weights_make_another_folder_and_need_no_feature_net(tmp_path, monkeypatch):
    own = plan(campaign(seeds=(1, 2)), tmp_path)
    weights = tmp_path / "weights" / "ECG5000.safetensors"
    weights.parent.mkdir()
    fcn.FCN(5).save(weights)
    monkeypatch.setenv("NCVQVAE_FCN", str(weights.parent))
    theirs = plan(campaign(seeds=(1, 2)), tmp_path)
    assert [job.kind for job in jobs(own)] == ["fcn", "cell", "cell"]
    assert [job.kind for job in jobs(theirs)] == ["cell", "cell"]
    assert theirs[0].folder == theirs[0].cfg.cell_folder(tmp_path, fcn_weights.file_hash(weights)) != own[0].folder
    assert theirs[0].stages["tokenizer"] == own[0].stages["tokenizer"]


def test_a_done_cell_without_its_notebook_is_a_job_that_needs_nothing(tmp_path):
    (p,) = plan(campaign(), tmp_path)
    finish(p.folder, p.cfg)
    (p,) = plan(campaign(), tmp_path)
    assert p.state == DONE and p.lacks_notebook
    assert [(job.kind, job.needs) for job in jobs([p])] == [("cell", ())]
    (p.folder / "notebook.ipynb").touch()
    write_json(p.folder / "notebook.json", {"code": runner.code_digest("08_replicate")})
    assert not p.lacks_notebook and jobs([p]) == []


def test_the_digest_of_a_notebook_is_that_of_its_code(tmp_path):
    source = '# ---\n# header\n# ---\n\n# %% [markdown]\n# Prose\n\n# %% tags=["parameters"]\nn = 1\n\n# %%\nprint(n)\n'
    edits = {"prose": ("Prose", "More prose"), "header": ("header", "other"), "code": ("print(n)", "print(n + 1)")}
    digests = {}
    for name, (old, new) in {"none": ("", ""), **edits}.items():
        file = tmp_path / f"{name}.py"
        file.write_text(source.replace(old, new))
        digests[name] = runner.code_digest(file)
    assert digests["none"] == digests["prose"] == digests["header"] != digests["code"]


# --- states ---


def state(tmp_path, change):
    """State of a cell in whose folder `change` did something."""
    cfg = ExperimentConfig.preset("paper", dataset="ECG5000")
    folder = cfg.cell_folder(tmp_path)
    folder.mkdir(parents=True)
    tokenizer = cfg.tokenizer_folder(tmp_path)
    tokenizer.mkdir(parents=True)
    change(folder, tokenizer, cfg)
    return campaign_state.state_of(cfg, folder, {"tokenizer": tokenizer})


def fail_in(folder):
    campaign_state.write_failure(folder, "diverged", "the loss is NaN", attempts=1, log="a.log")


def mark(folder, **changes):
    write_json(folder / "running.json", {"pid": os.getpid(), "host": platform.node(), "since": 0.0} | changes)


def silent(folder):
    mark(folder)
    os.utime(folder / "running.json", (time.time() - 1000,) * 2)


def ended_pid():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


STATES = {
    "nothing": (lambda folder, tokenizer, cfg: None, MISSING),
    "results": (lambda folder, tokenizer, cfg: finish(folder, cfg), DONE),
    "results after a failure": (lambda folder, tokenizer, cfg: (fail_in(folder), finish(folder, cfg)), DONE),
    "settings": (lambda folder, tokenizer, cfg: write_json(folder / "config.json", {}), BEGUN),
    "a tokenizer": (lambda folder, tokenizer, cfg: write_json(tokenizer / "config.json", {}), BEGUN),
    "a living process": (lambda folder, tokenizer, cfg: mark(folder), RUNNING),
    "a living process after a failure": (lambda folder, tokenizer, cfg: (fail_in(folder), mark(folder)), RUNNING),
    "a process elsewhere": (lambda folder, tokenizer, cfg: mark(folder, host="another", pid=1), RUNNING),
    "a process without a sign of life": (lambda folder, tokenizer, cfg: silent(folder), MISSING),
    "a process that ended": (lambda folder, tokenizer, cfg: mark(folder, pid=ended_pid()), MISSING),
    "a failure": (lambda folder, tokenizer, cfg: fail_in(folder), FAILED),
    "a failure of what it needs": (lambda folder, tokenizer, cfg: fail_in(tokenizer), FAILED),
    "a failure of what was mended": (
        lambda folder, tokenizer, cfg: (fail_in(tokenizer), write_json(tokenizer / "metrics.json", {})),
        MISSING,
    ),
}


@pytest.mark.parametrize("case", STATES)
def test_states(case, tmp_path):
    change, expected = STATES[case]
    found, why = state(tmp_path, change)
    assert found == expected
    assert why == ("the loss is NaN" if expected == FAILED or case == "results after a failure" else "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "no table of numbers"),
        ('{"fid": NaN}', "fid is nan"),
        ('{"fid": "1"}', "fid is '1'"),
        (
            json.dumps(dict.fromkeys(campaign_state.ALWAYS | {"knn_acc", "svm_acc", "is", "is_std", "cas"}, 0.5)),
            "lacks fid",
        ),
        (json.dumps(dict.fromkeys(campaign_state.ALWAYS | campaign_state.WITH_LABELS, 0.5)), "lacks cas"),
    ],
)
def test_results_that_are_not_whole_do_not_count(tmp_path, text, words):
    found, why = state(tmp_path, lambda folder, tokenizer, cfg: (folder / "metrics.json").write_text(text))
    assert found == FAILED and words in why and "delete" in why


def test_metrics_that_a_data_set_cannot_have_are_not_asked_for():
    cfg = ExperimentConfig.preset("paper", dataset="mine", second_fcn=True)
    assert campaign_state.needed_metrics(cfg, {}) == campaign_state.ALWAYS  # no labels
    assert campaign_state.needed_metrics(cfg, {"knn_acc": 1}) == campaign_state.ALWAYS | {
        "knn_acc",
        "cas",
    }  # few series
    assert {"fid", "fid_second", "cas"} <= campaign_state.needed_metrics(cfg, {"fid": 1})


def test_the_grid_counts_states(tmp_path):
    seeds = campaign(datasets=("ECG5000", "Wafer"), configurations=("regular-none", "vibcreg-gauss"), seeds=(1, 2, 3))
    planned = plan(seeds, tmp_path)
    finish(planned[0].folder, planned[0].cfg)
    planned[2].folder.mkdir(parents=True)
    mark(planned[2].folder)
    planned[4].folder.mkdir(parents=True)
    fail_in(planned[4].folder)
    planned = plan(seeds, tmp_path)
    lines = [line.split() for line in grid(planned)]
    assert lines == [["regular-none", "vibcreg-gauss"], ["ECG5000", "1/3", "R1", "F1", "0/3"], ["Wafer", "0/3", "0/3"]]
    report = "\n".join(describe(planned))
    assert "12 cells, 1 done, 1 running, 1 failed, 9 missing" in report
    assert "ECG5000 regular-none seed 2" in report and "failed: ECG5000 regular-none seed 3: the loss is NaN" in report
    assert "1 finished cell without an up-to-date notebook" in report


# --- time left ---


def test_time_left_from_equal_cells_and_from_counted_work(tmp_path):
    """ECG5000: 0.077 PFLOP naive, 0.15 prior, 0.55 CAS; Wafer: 0.17, 0.34, 0.73 (data/reference_cost.csv)."""
    both = campaign(datasets=("ECG5000", "Wafer"), seeds=(1, 2, 3))
    planned = plan(both, tmp_path)
    finish(planned[0].folder, planned[0].cfg, tokenizer=77.0, prior=140.0, evaluation=10.0, cas=1100.0)
    finish(planned[1].folder, planned[1].cfg, tokenizer=77.0, prior=140.0, evaluation=10.0, cas=1100.0)
    left = costs.estimate(plan(both, tmp_path))
    wafer = 77 * 0.17 / 0.077 + 150 * 0.34 / 0.15 + 1100 * 0.73 / 0.55
    assert left.seconds == pytest.approx(77 + 150 + 1100 + 3 * wafer)
    assert (left.cells, left.unknown) == (4, 0) and "measured on 2 finished cells here" in str(left)


def test_a_shared_tokenizer_counts_once_and_a_finished_one_not_at_all(tmp_path):
    four = campaign(settings={"cas": False}, ablations=FOUR_PRIORS, seeds=(1, 2))
    planned = plan(four, tmp_path)
    for p in planned[:4]:
        finish(p.folder, p.cfg, tokenizer=0.1, prior=100.0)
    planned[0].stages["tokenizer"].mkdir(parents=True)
    write_json(planned[0].stages["tokenizer"] / "metrics.json", {})
    write_json(planned[0].stages["tokenizer"] / "seconds.json", {"tokenizer": 70.0})
    assert costs.estimate(plan(four, tmp_path)).seconds == pytest.approx(70 + 4 * 100)
    planned[4].stages["tokenizer"].mkdir(parents=True)
    write_json(planned[4].stages["tokenizer"] / "metrics.json", {})
    assert costs.estimate(plan(four, tmp_path)).seconds == pytest.approx(4 * 100)


def test_without_finished_cells_the_recorded_ones_tell_the_speed(tmp_path, monkeypatch):
    cell = {"dataset": "ECG5000", "method": "regular", "augmentation": "none", "seed": "1", "preset": "paper"}
    rows = [
        cell | {"device": device, "ablation": "cas=False", "metric": metric, "value": seconds}
        for device, seconds in (("cpu", "1135"), ("NVIDIA", "1"))
        for metric in ("fid", "seconds_tokenizer", "seconds_prior")
    ]  # fmt: skip
    monkeypatch.setattr(costs, "read_rows", lambda: rows)
    left = costs.estimate(plan(campaign(datasets=("Wafer", "Other"), settings={"cas": False}), tmp_path))
    assert left.seconds == pytest.approx(2270 / (0.077 + 0.15) * (0.17 + 0.34))
    assert (left.cells, left.unknown) == (1, 1)
    assert "speed of 1 recorded cells" in str(left) and "unknown for 1 more" in str(left)


@pytest.mark.parametrize(("method", "stage_1"), [("regular", 0.077), ("barlowtwins", 0.41), ("mine", 0.41)])
def test_work_of_a_method_with_a_loss_between_views_is_that_of_the_nc_arms(method, stage_1, monkeypatch):
    monkeypatch.setitem(METHODS, "mine", Method("Mine", "#000000", lambda a, b: None))
    cfg = SimpleNamespace(dataset="ECG5000", method=method, geometry="grid", epochs=1000, prior_epochs=1000, cas=False)
    assert costs.work(cfg)["tokenizer"] == stage_1


def test_work_scales_with_epochs_and_names_the_generated_set():
    cfg = ExperimentConfig.preset(
        "paper", dataset="TwoPatternsGenerated", method="vibcreg", augmentation="warp", epochs=100
    )
    assert costs.work(cfg) == pytest.approx({"tokenizer": 0.081, "prior": 0.30, "cas": 0.47})
    assert costs.work(ExperimentConfig.preset("paper", dataset="Other")) == {}


# --- one job ---


def session(tmp_path, tasks, **changes):
    """The file of a plan."""
    folder = tmp_path / "session"
    folder.mkdir(exist_ok=True)
    shared = {"session": "session", "out": str(tmp_path), "data": None, "threads": 1, "slots": 1, "gpus": 0}
    shared |= {"slurm_job": None}
    shared |= {"timeout": None, "retries": 2, "mem_mb": 1, "python": sys.executable}
    write_json(folder / "plan.json", shared | {"jobs": tasks} | changes)
    return folder / "plan.json"


def one_cell(tmp_path, kind="cell"):
    cfg = ExperimentConfig.preset("quick", dataset="TwoPatternsGenerated", **SETTINGS)
    return {"kind": kind, "label": "a cell", "folder": str(tmp_path / "cell"), "needs": [], "cfg": vars(cfg),
            "weights": None, "stages": []}  # fmt: skip


ENDS = {
    "user error": (BadInput("too short"), 2, "user error", False),
    "full disk": (RunFolderError("the disk is full"), 2, "user error", False),
    "diverged": (TrainingDiverged("NaN at step 3"), 3, "diverged", False),
    "memory": (MemoryError("no room"), 4, "out of memory", True),
    "memory of torch": (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 4, "out of memory", True),
    "a bug": (KeyError("x"), 5, "error in the code", False),
    "a bug in the notebook": (runner.NotebookFailed("cell 3 raised"), 5, "error in the code", False),
    "dead kernel": (runner.KernelDied("the kernel died"), 137, "killed", True),
}


@pytest.mark.parametrize("case", ENDS)
def test_how_a_job_ends_and_whether_it_is_tried_again(case, tmp_path, monkeypatch, capfd):
    error, code, kind, again = ENDS[case]
    attempts = []

    def make(*_):
        attempts.append(1)
        raise error

    monkeypatch.setattr(job, "make", make)
    monkeypatch.setattr(job, "THREADS", ())
    plan_file = session(tmp_path, {"one": one_cell(tmp_path)}, timeout=60)
    for _ in range(3):
        assert job.main([str(plan_file), "one"]) == code
    assert len(attempts) == (3 if again else 1)
    failure = json.loads((tmp_path / "cell" / "failed.json").read_text())
    assert (failure["kind"], failure["attempts"]) == (kind, len(attempts))
    assert failure["log"].endswith("one.log") and failure["message"]
    assert ("Traceback" in capfd.readouterr().err) == (case == "a bug")
    assert not (tmp_path / "session" / "one.done").exists()

    monkeypatch.setattr(job, "make", lambda *_: None)
    (tmp_path / "session" / "one.json").unlink()  # a new session gives a new chance
    assert job.main([str(plan_file), "one"]) == 0
    assert not (tmp_path / "cell" / "failed.json").exists() and (tmp_path / "session" / "one.done").exists()


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (RunFolderHeld("this text does not matter"), 2),
        (RunFolderError("a disk that is held by another process: words are not what counts"), 1),
    ],
)
def test_only_a_cell_that_a_quicker_command_holds_is_waited_for(error, attempts, tmp_path, monkeypatch):
    errors, seen = [error], []

    def replicate_notebook(*_, **__):
        seen.append(1)
        if errors:
            raise errors.pop()
        return "the notebook"

    monkeypatch.setattr(job, "replicate_notebook", replicate_notebook)
    task = one_cell(tmp_path)
    run = partial(job.execute, None, {"out": str(tmp_path), "data": None}, task, tmp_path / "cell")
    if attempts == 2:
        assert run() == "the notebook"
    else:
        with pytest.raises(RunFolderError, match="a disk"):
            run()
    assert len(seen) == attempts


def run_inline(tmp_path, monkeypatch, *codes, keep_going=True):
    """(progress, lines) of an engine whose jobs one, two, and three, which needs one, end with these exit codes."""
    ends, lines = iter(codes), []
    monkeypatch.setattr(engines, "_process", lambda *_: next(ends))
    monkeypatch.setattr(engines, "duration", lambda seconds: "0 s")
    tasks = {
        name: one_cell(tmp_path) | {"label": name, "folder": str(tmp_path / name)} for name in ("one", "two", "three")
    }
    tasks["three"]["needs"] = ["one"]
    plan_file = session(tmp_path, tasks)
    progress = engines.Progress(json.loads(plan_file.read_text()), lines.append)
    engines.run_inline(plan_file, progress, keep_going)
    assert list(ends) == []
    return progress, lines


def test_the_inline_engine_tries_a_killed_job_three_times(tmp_path, monkeypatch):
    progress, lines = run_inline(tmp_path, monkeypatch, -9, -9, -9, 0)
    assert progress.failed == ["one"] and progress.ended == {"one", "two"}  # the third needs the first
    killed = f"killed by signal 9: see {tmp_path / 'session' / 'one'}.log"
    assert lines[:2] == ["[0 of 3] one: started", f"[0 of 3] one: stopped after 0 s: {killed}"]
    assert lines[2] == "[0 of 3] one: attempt 2" and lines[5] == f"[1 of 3] one: failed: {killed}"
    assert json.loads((tmp_path / "one" / "failed.json").read_text())["kind"] == "killed"


def test_the_inline_engine_goes_on_after_a_kill_and_stops_at_a_failure(tmp_path, monkeypatch):
    progress, _ = run_inline(tmp_path, monkeypatch, -9, 0, 0, 0)
    assert progress.failed == [] and len(progress.ended) == 3
    progress, _ = run_inline(tmp_path, monkeypatch, 5, keep_going=False)
    assert progress.failed == ["one"] and progress.ended == {"one"}


@pytest.mark.slow
def test_shared_stages_are_what_the_cell_would_have_made(tmp_path, monkeypatch):
    """Feature net and tokenizer of jobs of their own, to the byte."""
    monkeypatch.setattr(job, "THREADS", ())
    small = two_patterns(40, 20, 32)
    monkeypatch.setattr("ncvqvae_lite.data.load_dataset", lambda *_: small)
    task = one_cell(tmp_path)
    cfg = ExperimentConfig(**task["cfg"])
    run_experiment(cfg, small, tmp_path / "whole", device="cpu")
    out = tmp_path / "shared"
    stages = {"fcn": (cfg.fcn_folder(out), "fcn.safetensors")}
    stages["tokenizer"] = (cfg.tokenizer_folder(out), "tokenizer.safetensors")
    tasks = {kind: task | {"kind": kind, "folder": str(folder)} for kind, (folder, _) in stages.items()}
    plan_file = session(tmp_path, tasks, out=str(out))
    for kind, (folder, weights) in stages.items():
        assert job.main([str(plan_file), kind]) == 0
        expected = tmp_path / "whole" / folder.relative_to(out)
        assert (folder / weights).read_bytes() == (expected / weights).read_bytes()
        assert (folder / "metrics.json").read_text() == (expected / "metrics.json").read_text()
    assert (cfg.tokenizer_folder(out) / "seconds.json").exists()


# --- devices ---


def test_visible_gpus(monkeypatch):
    for value, gpus in {"": [], "-1": [], "0,2": ["0", "2"], "GPU-a1": ["GPU-a1"]}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert devices.visible_gpus() == gpus
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    listing = "GPU 0: NVIDIA H200 (UUID: GPU-1)\nGPU 1: NVIDIA H200 (UUID: GPU-2)\n"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, listing, ""))
    assert devices.visible_gpus() == ["0", "1"]

    def absent(*_, **__):
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(subprocess, "run", absent)
    assert devices.visible_gpus() == []


def test_slots_fill_gpus_evenly_and_are_given_back(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    taken = []
    for _ in range(4):
        slot = devices.gpu_slot(tmp_path, 2)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
        taken.append((slot, slot.__enter__()))
        assert os.environ["CUDA_VISIBLE_DEVICES"] == taken[-1][1]
    assert [gpu for _, gpu in taken] == ["3", "5", "3", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr(time, "sleep", lambda _: taken[1][0].__exit__(None, None, None))  # one ends while we wait
    with devices.gpu_slot(tmp_path, 2) as gpu:
        assert gpu == "5"


def test_without_a_gpu_and_with_a_given_one_nothing_is_changed(tmp_path, monkeypatch):
    for visible, given in (("", False), ("1", True)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        with devices.gpu_slot(tmp_path / "locks", 1, given) as gpu:
            assert gpu is None and os.environ["CUDA_VISIBLE_DEVICES"] == visible
    assert not (tmp_path / "locks").exists()


@pytest.mark.parametrize(("of_engine", "of_job", "gpu"), [(None, None, "4"), ("7", "7", "4"), ("7", "8", "4,6")])
def test_jobs_inside_an_allocation_share_its_gpus(of_engine, of_job, gpu, tmp_path, monkeypatch):
    """Only a job that was submitted, and so has a SLURM job of its own, keeps all that SLURM gave it."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if of_job:
        monkeypatch.setenv("SLURM_JOB_ID", of_job)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.setattr(job, "THREADS", ())
    seen = []
    monkeypatch.setattr(job, "execute", lambda *_: seen.append(os.environ["CUDA_VISIBLE_DEVICES"]))
    monkeypatch.setattr(campaign_state, "check_metrics", lambda *_: None)
    assert job.main([str(session(tmp_path, {"one": one_cell(tmp_path)}, slurm_job=of_engine)), "one"]) == 0
    assert seen == [gpu]


# --- export ---


def test_export_takes_the_finished_cells(tmp_path, monkeypatch, capsys):
    planned = plan(load_campaign("smoke"), tmp_path)
    for p in planned[:3]:
        finish(p.folder, p.cfg)
    taken = []

    def export(folders, table):
        taken.append((folders, table))
        return len(folders)

    monkeypatch.setattr(results, "export", export)
    table = tmp_path / "cells.csv"
    assert main(["campaign", "export", "smoke", "--out", str(tmp_path), "--table", str(table)]) == 0
    assert taken == [([p.folder for p in planned[:3]], table)]
    assert f"3 of 8 cells exported to {table}" in capsys.readouterr().out


def test_a_campaign_is_found_by_name_and_by_path(tmp_path):
    with pytest.raises(NotFound, match="one of contrastive, headline, improved, matched-prior, smoke, thesis"):
        load_campaign(tmp_path / "none.toml")
    file = tmp_path / "mine.toml"
    file.write_text(GOOD)
    assert load_campaign(str(file)).name == "mine" and load_campaign("smoke").name == "smoke"
