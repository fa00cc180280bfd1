"""Snakemake as the engine: the graph of jobs, a grid with a forced failure, profiles. Skipped if not installed."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
import yaml
from tiny_campaign import Tiny, wait_for

from ncvqvae_lite.errors import BadInput, NotFound
from ncvqvae_lite.files import write_json
from ncvqvae_lite.lab.campaign import load_campaign
from ncvqvae_lite.lab.campaign import snakemake as campaign_snakemake
from ncvqvae_lite.lab.campaign.engines import Progress, engine_lock, new_session
from ncvqvae_lite.lab.campaign.plan import jobs, plan
from ncvqvae_lite.lab.campaign.snakemake import check_snakemake, profile_folder, snakemake_arguments
from ncvqvae_lite.lab.campaign.state import state_of
from ncvqvae_lite.lab.runner import own_environment

pytest.importorskip("snakemake", reason="Snakemake: install the extra `campaign`")


def graph(name, out, profile=None):
    """Names of the jobs that Snakemake itself would start for a shipped campaign, in its dry run."""
    left = jobs(plan(load_campaign(name), out))
    with engine_lock(out, name) as folder:
        file = new_session(folder, left, out, data=None, threads=1, slots=2, timeout=None)
    arguments = snakemake_arguments(json.loads(file.read_text()), file, True, 4, profile_folder(profile), None)
    command = [sys.executable, "-m", "snakemake", *arguments, "--dry-run"]
    ran = subprocess.run(command, env=own_environment(), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return [line.split()[1].removesuffix(".done") for line in ran.stdout.splitlines() if line.startswith("    output:")]


@pytest.mark.slow
def test_snakemake_sees_every_job_of_the_thesis(tmp_path, monkeypatch):
    monkeypatch.delenv("NCVQVAE_FCN", raising=False)
    monkeypatch.setenv("NCVQVAE_CACHE", str(tmp_path / "cache"))
    names = graph("thesis", tmp_path / "runs")
    assert Counter(name.split("-")[0] for name in names) == {"cell": 364, "fcn": 13}
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_the_slurm_profile_in_a_folder_with_an_odd_name(tmp_path, monkeypatch):
    """Nothing is submitted; Snakemake reads the profile and the plan, and sees the jobs."""
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="the SLURM plugin of Snakemake is not installed")
    monkeypatch.setenv("NCVQVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NCVQVAE_FCN", raising=False)
    names = graph("smoke", tmp_path / "a: b {x} 'c'", "slurm")
    kinds = Counter(name.split("-")[0] for name in names)
    assert kinds == {"cell": 8, "fcn": 1}  # of GunPoint; for the generated set a judge ships


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_a_killed_job_is_tried_again_in_a_folder_with_an_odd_name(tmp_path):
    """The job's process is killed when it begins its work; Snakemake starts it anew."""
    pytest.importorskip("papermill", reason="every cell is an executed notebook: install the extra `notebooks`")
    tiny = Tiny(tmp_path)
    tiny.out = tmp_path / "runs {x} a: b"
    code, out, err = tiny.run("--engine", "snakemake", "--cores", "1", TINY_FAULT="kill-once running.json")
    assert code == 0, out + err
    assert (tmp_path / "executions.killed").exists() and "attempt 2" in out
    assert len(tiny.executions()) == len(tiny.cells()) == 1 and not tiny.failures()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_a_job_that_is_killed_each_time_is_recorded(tmp_path):
    tiny = Tiny(tmp_path)
    code, out, err = tiny.run("--engine", "snakemake", "--cores", "1", TINY_FAULT="kill running.json")
    assert code == 1, out + err
    (failure,) = tiny.failures()
    assert (failure["kind"], failure["attempts"]) == ("killed", 3)
    assert "failed: ended without a word, killed" in out and "0/1 F1" in tiny.status()


@pytest.mark.parametrize(
    ("host", "since", "recorded"),
    [("node7", 5, True), ("node7", -5, False), (platform.node(), 5, False)],
    ids=["of the killed job", "of another engine, from before", "of a process that lives here"],
)
def test_a_job_killed_on_another_host_is_recorded(host, since, recorded, tmp_path, monkeypatch):
    """Its running.json is fresh, but Snakemake has returned; `since`: seconds after the job said that it started."""
    monkeypatch.setenv("NCVQVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NCVQVAE_FCN", raising=False)
    (cell,) = plan(load_campaign("smoke").part(["TwoPatternsGenerated"], ["regular-none"], [1]), tmp_path / "runs")
    session, folder, now = tmp_path / "session", cell.folder, time.time()
    session.mkdir()
    folder.mkdir(parents=True)
    write_json(session / "one.json", {"event": "started", "attempt": 2, "kind": None, "message": "", "time": now})
    write_json(folder / "running.json", {"pid": os.getpid(), "host": host, "since": now + since})
    (session / "snakemake.log").write_text("the last line")
    lines, content = [], {"jobs": {"one": {"label": "a cell", "folder": str(folder)}}}
    progress = Progress(content, lines.append)
    if recorded:
        campaign_snakemake._explain(1, content, session, progress)
        assert progress.failed == ["one"] and "killed" in lines[-1]
        failure = json.loads((folder / "failed.json").read_text())
        assert (failure["kind"], failure["attempts"]) == ("killed", 2)
        assert state_of(cell.cfg, folder, cell.stages)[0] == "failed"
    else:
        with pytest.raises(BadInput, match="the last line"):
            campaign_snakemake._explain(1, content, session, progress)
        assert not (folder / "failed.json").exists()


def test_no_path_stands_in_the_settings_for_snakemake(tmp_path):
    file = tmp_path / "a: b {x}" / "plan.json"
    arguments = snakemake_arguments({"gpus": 2, "slots": 3}, file, False, 4, None, None)
    assert arguments[arguments.index("--config") + 1] == "plan=plan.json"
    assert arguments[arguments.index("--directory") + 1] == str(file.parent)
    assert "gpu_slots=6" in arguments


@pytest.mark.slow
def test_a_grid_with_a_forced_failure_then_exactly_the_missing_jobs(tmp_path):
    """2 x 2 x 2 cells, two at a time; one fails, the others go on; the second command runs that one alone."""
    pytest.importorskip("papermill", reason="every cell is an executed notebook: install the extra `notebooks`")
    configurations = ("regular-none", "vibcreg-gauss")
    tiny = Tiny(tmp_path, datasets=("TinyA", "TinyB"), configurations=configurations, seeds=(1, 2))
    with_snakemake = ("--engine", "snakemake", "--cores", "2", "--keep-going")
    code, out, err = tiny.run(*with_snakemake, TINY_MISTAKE="TinyB regular 1")
    assert code == 1, out + err
    assert "8 cells, 7 done, 0 running, 1 failed, 0 missing" in out
    assert "failed: TinyB regular-none seed 1: this cell is to fail: take the mistake away" in out
    assert len(tiny.executions()) == 8  # Snakemake has tried the failed one three times, but it ran only once
    (failure,) = tiny.failures()
    assert failure["kind"] == "user error" and failure["attempts"] == 1
    before = tiny.results()
    status = tiny.status().splitlines()
    assert ["TinyA", "2/2", "2/2"] in map(str.split, status)
    assert ["TinyB", "1/2", "F1", "2/2"] in map(str.split, status)

    code, out, err = tiny.run(*with_snakemake)
    assert code == 0, out + err
    assert "1 job, engine snakemake" in out and "8 cells, 8 done" in out
    assert tiny.executions()[8:] == ["TinyB regular-none 1"]
    after = tiny.results()
    assert {path: after[path] for path in before} == before and not tiny.failures()

    code, out, err = tiny.run(*with_snakemake)
    assert code == 0 and " job" not in out and len(tiny.executions()) == 9


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["snakemake", "inline"])
def test_ctrl_c_ends_engine_and_jobs_and_is_no_failure(engine, tmp_path):
    tiny = Tiny(tmp_path)
    process = tiny.start("--engine", engine, TINY_SLEEP="3000")
    wait_for(lambda: tiny.executions() and list(tiny.out.rglob("config.json")))
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "error: interrupted: run the same command again to continue at the last checkpoint"
    assert not tiny.failures() and "0 running, 0 failed, 1 missing (1 of them begun)" in tiny.status()


def test_without_snakemake_one_sentence_names_the_other_engine(monkeypatch):
    monkeypatch.setattr(campaign_snakemake, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"ncvqvae-lite\[campaign\].*--engine inline"):
        check_snakemake()


def test_an_old_plugin_is_refused_where_it_lacks_the_option(monkeypatch):
    monkeypatch.setattr(campaign_snakemake, "find_spec", lambda name: True)
    monkeypatch.setattr(campaign_snakemake, "version", lambda name: "1.4.0")
    check_snakemake("slurm")
    with pytest.raises(BadInput, match=r"snakemake-executor-plugin-slurm 2 or newer, here is 1\.4\.0"):
        check_snakemake("slurm", "squeue")
    monkeypatch.setattr(campaign_snakemake, "version", lambda name: "2.6.1")
    check_snakemake("slurm", "squeue")


def test_profiles_are_found_by_name_and_by_path(tmp_path):
    shipped = profile_folder("slurm")
    assert yaml.safe_load((shipped / "config.yaml").read_text())["executor"] == "slurm"
    (tmp_path / "config.yaml").write_text("executor: slurm\n")
    assert profile_folder(str(tmp_path)) == tmp_path.resolve()
    assert profile_folder(None) is None
    with pytest.raises(NotFound, match="no profile slrm.*slurm"):
        profile_folder("slrm")
