"""`campaign run|status --recorded`: a campaign goes on from a table of results, without the folders of its runs."""

import json
import re
from dataclasses import replace

import pytest
from test_campaign import campaign, finish, light
from tiny_campaign import REAL, ROOT, Tiny

from ncvqvae_lite import cli_campaign
from ncvqvae_lite.cli import main
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.files import write_csv
from ncvqvae_lite.lab import results
from ncvqvae_lite.lab.campaign import costs, load_campaign, status
from ncvqvae_lite.lab.campaign import state as campaign_state
from ncvqvae_lite.lab.campaign.plan import jobs, plan
from ncvqvae_lite.lab.campaign.state import DONE, MISSING, RECORDED, RUNNING

SMOKE = 2 * 2 * 2


@pytest.fixture(autouse=True)
def no_weights_of_the_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("NCVQVAE_FCN", raising=False)
    monkeypatch.setenv("NCVQVAE_CACHE", str(tmp_path / "cache"))


def rows_of(p, **metrics):
    """Rows of a table of results for a planned cell: all that it needs, and what is given; None leaves one out."""
    cfg = p.cfg
    shared = dict.fromkeys(results.COLUMNS, "") | {name: getattr(cfg, name) for name in results.CELL}
    shared |= {"preset": cfg.preset_name, "fcn": "own", "commit": "0123456789ab", "folder": results.place_of(p.folder)}
    values = dict.fromkeys(campaign_state.needed_metrics(cfg, {"fid": 1, "knn_acc": 1}), 0.5) | metrics
    return [shared | {"metric": name, "value": value} for name, value in values.items() if value is not None]


def table_of(tmp_path, *cells):
    """A table with these cells, each a list of rows."""
    write_csv(tmp_path / "cells.csv", [row for rows in cells for row in rows], results.COLUMNS)
    return tmp_path / "cells.csv"


def states(part, tmp_path, table):
    return [p.state for p in plan(part, tmp_path / "runs", results.recorded_metrics(table))]


def test_a_whole_cell_of_the_table_is_over_wherever_its_folder_is(tmp_path):
    two = campaign(seeds=(1, 2))
    elsewhere = plan(two, tmp_path / "another" / "clone")
    table = table_of(tmp_path, rows_of(elsewhere[0]))
    planned = plan(two, tmp_path / "runs", results.recorded_metrics(table))
    assert [p.state for p in planned] == [RECORDED, MISSING]
    assert [(job.kind, job.planned.cfg.seed) for job in jobs(planned)] == [("cell", 2)]
    assert [p.state for p in plan(two, tmp_path / "runs")] == [MISSING, MISSING]


@pytest.mark.parametrize("change", ["settings", "code", "feature net", "seed"])
def test_a_row_of_anything_else_does_not_count(change, tmp_path, monkeypatch):
    one = campaign()
    (p,) = plan(one, tmp_path)
    table = table_of(tmp_path, rows_of(p))
    assert states(one, tmp_path, table) == [RECORDED]
    if change == "settings":
        one = replace(one, settings={"guidance": 1.5})
    elif change == "seed":
        one = replace(one, seeds=(2,))
    elif change == "code":
        monkeypatch.setattr("ncvqvae_lite.config.digest", lambda settings, module: "01234567")
    else:
        weights = tmp_path / "weights" / "ECG5000.safetensors"
        weights.parent.mkdir()
        weights.write_bytes(b"another net")
        monkeypatch.setenv("NCVQVAE_FCN", str(weights.parent))
    assert states(one, tmp_path, table) == [MISSING]


def test_another_commit_with_the_same_code_counts(tmp_path):
    one = campaign()
    (p,) = plan(one, tmp_path)
    table = table_of(tmp_path, [row | {"commit": "ba9876543210"} for row in rows_of(p)])
    assert states(one, tmp_path, table) == [RECORDED]


@pytest.mark.parametrize("lacking", [{"fid": None}, {"fid": float("nan")}, {"cas": None}, {"sample_perplexity": None}])
def test_a_recorded_cell_that_is_not_whole_does_not_count(lacking, tmp_path):
    one = campaign()
    (p,) = plan(one, tmp_path)
    assert states(one, tmp_path, table_of(tmp_path, rows_of(p, **lacking))) == [MISSING]


def test_rows_without_a_folder_are_of_no_cell(tmp_path):
    one = campaign()
    (p,) = plan(one, tmp_path)
    assert states(one, tmp_path, table_of(tmp_path, [row | {"folder": ""} for row in rows_of(p)])) == [MISSING]


def test_what_is_done_here_stays_done_and_what_runs_here_is_not_waited_for(tmp_path):
    two = campaign(seeds=(1, 2))
    done, begun = plan(two, tmp_path / "runs")
    finish(done.folder, done.cfg)
    with campaign_state.alive_in(begun.folder):
        assert [p.state for p in plan(two, tmp_path / "runs")] == [DONE, RUNNING]
        assert states(two, tmp_path, table_of(tmp_path, rows_of(done), rows_of(begun))) == [DONE, RECORDED]


def test_a_stage_that_only_recorded_cells_share_is_no_job(tmp_path):
    priors = campaign(ablations=({"head": "tied"}, {"head": "untied"}))
    planned = plan(priors, tmp_path)
    assert [job.kind for job in jobs(planned)] == ["fcn", "tokenizer", "cell", "cell"]
    recorded = results.recorded_metrics(table_of(tmp_path, rows_of(planned[0])))
    assert [job.kind for job in jobs(plan(priors, tmp_path, recorded))] == ["cell"]


# --- what is said of it ---


def test_status_and_the_dry_run_tell_recorded_cells_from_those_done_here(tmp_path, capsys):
    smoke = load_campaign("smoke")
    planned = plan(smoke, tmp_path / "runs")
    finish(planned[0].folder, planned[0].cfg)
    table = table_of(tmp_path, rows_of(planned[1]), rows_of(planned[2]))
    here = ["smoke", "--out", str(tmp_path / "runs"), "--recorded", str(table)]
    assert main(["campaign", "status", *here]) == 0
    out = capsys.readouterr().out
    assert f"{SMOKE} cells, 1 done, 2 recorded, 0 running, 0 failed, 5 missing" in out
    assert ["TwoPatternsGenerated", "2/2", "T1", "1/2", "T1"] in [line.split() for line in out.splitlines()]
    assert "T of the done ones are in the table of results only" in out
    assert main(["campaign", "run", *here, "--dry-run"]) == 0
    *listed, totals, sentence = capsys.readouterr().out.splitlines()
    assert listed == [f"{planned[0].label}: notebook only", *(f"{p.label}: missing" for p in planned[3:])]
    assert "2 recorded" in totals and sentence.startswith("5 cells would run")
    assert main(["campaign", "status", *here[:3]]) == 0
    assert "T of the done ones" not in capsys.readouterr().out


def test_the_table_of_the_checkout_is_the_default_and_loads_nothing_heavy(tmp_path):
    _, lines = light("campaign", "status", "headline", "--out", tmp_path, "--recorded")
    assert any("224 cells" in line for line in lines)
    assert cli_campaign.results_table() == ROOT / "data" / "results" / "cells.csv"
    places = set(results.recorded_metrics(cli_campaign.results_table())) - {""}
    assert places and all(re.fullmatch(r"cells/\w+/\w+-\w+/[0-9a-f]{8}/seed\d+", place) for place in places)


def test_the_time_left_is_that_of_recorded_cells_too(tmp_path):
    two = campaign(seeds=(1, 2, 3), settings={"cas": False})
    planned = plan(two, tmp_path)
    spent = {"seconds_tokenizer": 40.0, "seconds_prior": 100.0, "seconds_evaluation": 20.0}
    recorded = results.recorded_metrics(table_of(tmp_path, rows_of(planned[0], **spent)))
    left = costs.estimate(plan(two, tmp_path, recorded))
    assert (left.cells, left.seconds) == (2, pytest.approx(2 * 160))
    assert "measured on 1 finished cells here or in the table" in str(left)


def test_a_campaign_that_is_all_recorded_has_nothing_left(tmp_path):
    two = campaign(seeds=(1, 2))
    table = table_of(tmp_path, *map(rows_of, plan(two, tmp_path)))
    planned = plan(two, tmp_path, results.recorded_metrics(table))
    assert jobs(planned) == [] and str(costs.estimate(planned)) == "nothing left"
    assert "2 cells, 0 done, 2 recorded, 0 running, 0 failed, 0 missing" in status.describe(planned)


MISTAKES = {
    "no table": (["--recorded", "none.csv"], ["no table at none.csv"]),
    "another table": (["--recorded", "other.csv"], ["other columns"]),
    "a value that is none": (["--recorded", "text.csv"], ["text.csv", "fid of", "'abc'", "expected a number"]),
    "a folder of series that is none": (["--data", "nowhere"], ["no folder of series at nowhere", "--data"]),
    "a file for a folder": (["--data", "other.csv"], ["no folder of series at other.csv"]),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_sentence_also_in_a_dry_run(case, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text("a,b\n")
    (p,) = plan(campaign(), tmp_path)
    table_of(tmp_path, rows_of(p, fid="abc")).rename("text.csv")
    options, words = MISTAKES[case]
    for dry in (["--dry-run"], []):
        assert main(["campaign", "run", "smoke", *options, *dry]) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ") and err.count("\n") == 1 and all(word in err for word in words), err
    assert not (tmp_path / "runs").exists()


def test_outside_a_checkout_the_table_must_be_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cli_campaign, "__file__", str(tmp_path / "package" / "cli_campaign.py"))
    assert cli_campaign.results_table(tmp_path) == tmp_path
    with pytest.raises(BadInput, match="name the table of results"):
        cli_campaign.results_table()


# --- from one clone to the next ---


@pytest.mark.slow
def test_a_second_clone_goes_on_where_the_table_ends_and_its_export_keeps_the_first_rows(tmp_path, monkeypatch, capsys):
    pytest.importorskip("papermill", reason="every cell is an executed notebook: install the extra `notebooks`")
    tiny, table = Tiny(tmp_path, REAL, seeds=(1, 2)), tmp_path / "cells.csv"
    for name, value in tiny.environment().items():
        monkeypatch.setenv(name, value)
    for clone, seeds, done in (("first", ["--seeds", "1"], 1), ("second", ["--recorded", str(table)], 2)):
        tiny.out = tmp_path / clone
        code, out, err = tiny.run(*seeds)
        assert code == 0, out + err
        assert len(tiny.executions()) == done and [cell.name for cell in tiny.cells()] == [f"seed{done}"]
        for config in tiny.out.rglob("config.json"):  # as if the code were committed, which it need not be in a test
            config.write_text(json.dumps(json.loads(config.read_text()) | {"commit": "0123456789ab"}))
        assert main(["campaign", "export", str(tiny.file), "--out", str(tiny.out), "--table", str(table)]) == 0
        assert f"1 of 2 cells exported to {table}" in capsys.readouterr().out
    assert {row["seed"] for row in results.read_rows(table)} == {"1", "2"}
    tiny.out = tmp_path / "third"
    code, out, err = tiny.run("--recorded", str(table))
    assert code == 0 and "2 cells, 0 done, 2 recorded" in out and len(tiny.executions()) == 2 and not tiny.out.exists()
