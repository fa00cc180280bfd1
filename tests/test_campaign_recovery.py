"""Campaigns under kills, full disks and rivals: nothing finished is lost or redone, nothing half done counts."""

import contextlib
import errno
import io
import os
import signal
from pathlib import Path

import filelock
import pytest
from tiny_campaign import REAL, SHAM, Tiny, wait_for

from ncvqvae_lite.cli import main
from ncvqvae_lite.lab.campaign import load_campaign

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="kills and groups of processes are POSIX")]
pytest.importorskip("papermill", reason="every cell is an executed notebook: install the extra `notebooks`")


def in_process(tiny, monkeypatch, *options):
    """(code, stderr) of an inline engine in this process, where nothing gets as far as a job."""
    for name, value in tiny.environment().items():
        monkeypatch.setenv(name, value)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(["campaign", "run", str(tiny.file), "--out", str(tiny.out), "--engine", "inline", *options])
    return code, err.getvalue()


def finished_and_untouched(tiny, before):
    """Assert that everything that was finished before is there as it was, and that all is finished now."""
    after = tiny.results()
    assert {path: after[path] for path in before} == before
    assert not tiny.failures() and not list(tiny.out.rglob("running.json")) and not list(tiny.out.rglob("*.checkpoint"))


def test_a_killed_worker_is_tried_again_and_continues(tmp_path):
    """The process that trains dies after the tokenizer; the second attempt does not train it again."""
    tiny = Tiny(tmp_path, REAL)
    code, out, err = tiny.run(TINY_FAULT="kill-once prior.safetensors")
    assert code == 0, out + err
    assert "stopped after" in out and "kernel died" in out and "attempt 2" in out and "done in" in out
    assert tiny.executions() == ["TinyA regular-none 1"] * 2
    assert len(tiny.cells()) == 1
    (tokenizer,) = tiny.out.glob("tokenizers/**/tokenizer.safetensors")
    assert tokenizer.stat().st_mtime < (tmp_path / "executions.killed").stat().st_mtime  # as the first attempt left it
    finished_and_untouched(tiny, {})


def test_a_full_disk_is_a_failure_that_waits_for_space(tmp_path):
    """Not tried again by the same engine; afterwards only what was not finished is done."""
    tiny = Tiny(tmp_path, REAL)
    code, out, err = tiny.run(TINY_FAULT="full samples.npz")
    assert code == 1 and "attempt 2" not in out
    (failure,) = tiny.failures()
    assert failure["kind"] == "user error" and "the disk is full: free some space" in failure["message"]
    assert not tiny.cells() and "0/1 F1" in tiny.status()
    before = tiny.results()
    assert {path.split("/")[-1] for path in before} >= {"tokenizer.safetensors", "prior.safetensors"}
    code, out, err = tiny.run()
    assert code == 0, out + err
    finished_and_untouched(tiny, before)


def test_a_corrupted_checkpoint_is_named_and_nothing_counts_as_done(tmp_path):
    tiny = Tiny(tmp_path, REAL, seeds=(1, 2))
    first, _ = load_campaign(tiny.file).cells()
    checkpoint = first.cfg.tokenizer_folder(tiny.out) / "tokenizer.checkpoint"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"PK\x03\x04 and then nothing")
    code, out, _ = tiny.run("--keep-going")
    assert code == 1 and "attempt 2" not in out
    assert f"{checkpoint} cannot be read: delete it to start this stage again" in out
    assert "1/2 F1" in tiny.status() and f"failed: {first.label}: {checkpoint} cannot be read" in tiny.status()
    assert [cell.name for cell in tiny.cells()] == ["seed2"]
    before = tiny.results()
    checkpoint.unlink()
    code, out, err = tiny.run()
    assert code == 0, out + err
    assert tiny.executions() == ["TinyA regular-none 1", "TinyA regular-none 2", "TinyA regular-none 1"]
    finished_and_untouched(tiny, before)


def test_a_killed_engine_with_its_jobs(tmp_path):
    """The first cell is kept, the second, begun, is done by the next engine."""
    second_sleeps = SHAM.replace("time.sleep(", "time.sleep((seed == 2) * ")
    tiny = Tiny(tmp_path, second_sleeps, seeds=(1, 2))
    engine = tiny.start(TINY_SLEEP="600")
    wait_for(lambda: len(tiny.executions()) == 2 and len(list(tiny.out.glob("cells/*/*/*/*/config.json"))) == 2)
    assert "running for" in tiny.status()
    os.killpg(engine.pid, signal.SIGKILL)  # engine and jobs; a kernel, in a group of its own, ends without its job
    engine.communicate()
    assert [cell.name for cell in tiny.cells()] == ["seed1"]
    status = tiny.status()
    assert "1/2 B1" in status and "1 done, 0 running, 0 failed, 1 missing (1 of them begun)" in status
    before = tiny.results()
    code, out, err = tiny.run()
    assert code == 0, out + err
    assert tiny.executions() == [f"TinyA regular-none {seed}" for seed in (1, 2, 2)]
    finished_and_untouched(tiny, before)


def test_a_job_that_outlives_its_engine_is_not_done_twice(tmp_path):
    tiny = Tiny(tmp_path)
    engine = tiny.start(TINY_SLEEP="8")
    wait_for(tiny.executions)
    engine.kill()
    engine.communicate()
    code, out, err = tiny.run()
    assert code == 0, out + err
    assert len(tiny.executions()) == 1 and len(tiny.cells()) == 1


def test_two_campaigns_with_a_common_cell_do_it_once(tmp_path):
    tiny = Tiny(tmp_path)
    other = tmp_path / "other.toml"
    other.write_text(tiny.file.read_text())
    first = tiny.start(TINY_SLEEP="5")
    tiny.file = other
    second = tiny.start(TINY_SLEEP="5")
    for engine in (first, second):
        out, err = engine.communicate(timeout=600)
        assert engine.returncode == 0, out + err
        assert "1 cell, 1 done" in out
    assert len(tiny.executions()) == 1
    finished_and_untouched(tiny, {})


def test_a_second_engine_is_refused_in_one_sentence(tmp_path, monkeypatch):
    tiny = Tiny(tmp_path)
    lock = tiny.out / "campaigns" / "tiny" / "engine.lock"
    lock.parent.mkdir(parents=True)
    with filelock.FileLock(lock):
        code, err = in_process(tiny, monkeypatch)
    assert code == 2 and err.count("\n") == 1
    assert f"another engine runs campaign tiny in {tiny.out}" in err and "campaign status" in err
    assert [path.name for path in lock.parent.iterdir()] == ["engine.lock"]


@pytest.mark.parametrize(("code", "words"), [(errno.EROFS, "read-only"), (errno.ENOSPC, "the disk is full")])
def test_a_run_folder_that_cannot_be_written(tmp_path, monkeypatch, code, words):
    """Found before any job starts; what is there is still told."""
    tiny = Tiny(tmp_path)

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", fail)
    ended, err = in_process(tiny, monkeypatch)
    assert ended == 2 and err.count("\n") == 1
    assert f"cannot write to {tiny.out}" in err and words in err
    assert not tiny.out.exists() and "0/1" in tiny.status()


def test_a_job_that_takes_too_long_is_stopped_and_leaves_nothing_running(tmp_path):
    tiny = Tiny(tmp_path)
    code, out, _ = tiny.run("--hours-per-job", str(4 / 3600), TINY_SLEEP="3000")  # longer than `run` waits
    assert code == 1
    assert "attempt 3" in out and "attempt 4" not in out
    (failure,) = tiny.failures()
    assert (failure["kind"], failure["attempts"]) == ("timeout", 3)
    assert not list(tiny.out.rglob("running.json"))
    wait_for(lambda: not _processes_in(tiny.folder), seconds=60)


def _processes_in(folder):
    """Processes whose environment names the folder (Linux; elsewhere none are seen)."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"TINY_NOTEBOOK={folder}".encode() in file.read_bytes():
                found.append(file.parent.name)
    return found


def test_an_edit_of_prose_runs_nothing_and_an_edit_of_code_only_the_notebook(tmp_path):
    tiny = Tiny(tmp_path)
    assert tiny.run()[0] == 0
    before = tiny.results()
    tiny.notebook.write_text(tiny.notebook.read_text().replace("# Prose", "# Other prose"))
    code, out, _ = tiny.run()
    assert code == 0 and " job" not in out and len(tiny.executions()) == 1
    tiny.notebook.write_text(tiny.notebook.read_text() + "\nprint('more')\n")
    (cell,) = tiny.cells()
    code, out, _ = tiny.run()
    assert code == 0 and len(tiny.executions()) == 2
    assert "more" in (cell / "notebook.ipynb").read_text()
    finished_and_untouched(tiny, before)
    (cell / "notebook.ipynb").unlink()
    assert tiny.run()[0] == 0 and len(tiny.executions()) == 3
    finished_and_untouched(tiny, before)
