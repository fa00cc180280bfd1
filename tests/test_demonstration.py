"""The demonstration: its closing table, its verdict, its figure, and the two processes behind it."""

import itertools
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ncvqvae_lite import cli_demonstrate, demonstration, tables
from ncvqvae_lite.cli import main
from ncvqvae_lite.cli_demonstrate import Demonstrate, run_arms
from ncvqvae_lite.data import load_dataset
from ncvqvae_lite.files import data_file, read_csv, write_json
from ncvqvae_lite.thesis import thesis_mean

GOOD = {
    "recon_val": 0.21, "knn_acc": 0.6, "svm_acc": 0.7, "fid": 4.0, "fid_train_test": 0.2, "is": 4.1, "is_real": 5.8,
    "class_accuracy": 0.97, "fcn_accuracy": 0.997, "cas": 0.98, "is_by_class": 5.4, "fid_by_class": 2.5,
    "coverage": 0.9, "coverage_test_halves": 0.99, "nearest_train": 0.45,
}  # fmt: skip
BAD = {"class_accuracy": 0.95, "cas": 0.9669, "is_by_class": 5.219}  # each fails by a little
FAR = {"fid_by_class": 3.001}


# --- the table ---


def test_the_closing_table_has_a_row_for_each_score_and_no_thesis():
    metrics = {"naive": GOOD, "non_contrastive": GOOD | {"knn_acc": 0.8}}
    rows = demonstration.closing_rows(metrics, demonstration.DATASET)
    assert all(tuple(row) == demonstration.COLUMNS for row in rows)
    found = {row["metric"]: row for row in rows}
    assert list(found) == [name for name in demonstration.ROWS if name not in ("fid", "is")]  # only beside the thesis'
    assert list(found["knn_acc"].values()) == ["knn_acc", 0.6, 0.8, None, None]
    real = {name: found[name]["real"] for name in ("cas", "is_by_class", "fid_by_class", "coverage", "nearest_train")}
    assert real == {"cas": 0.997, "is_by_class": 5.8, "fid_by_class": 0.2, "coverage": 0.99, "nearest_train": 0.5}
    assert not any(row["thesis"] for row in rows)
    lines = tables.closing_table(rows).splitlines()
    assert lines[0].split() == ["metric", "naive", "non-contrastive", "real", "good", "is"]
    assert lines[1].split() == ["reconstruction", "error", "0.21", "0.21", "-", "lower"]
    assert len(lines) == len(rows) + 1


def test_the_thesis_stands_beside_what_it_measured_likewise():
    arms = {"naive": ("regular", "none"), "non_contrastive": ("barlowtwins", "warp")}
    both = dict.fromkeys(arms, GOOD)
    means = [thesis_mean("TwoPatterns", *arm) for arm in arms.values()]

    def column(**how):
        rows = demonstration.closing_rows(both, "TwoPatterns", arms, **how)
        return {row["metric"]: row["thesis"] for row in rows if row["thesis"]}

    assert column()["knn_acc"] == f"{means[0]['knn_acc']:g} / {means[1]['knn_acc']:g}"
    assert set(column()) == {"knn_acc", "svm_acc", "cas"}  # with another feature net neither FID nor IS
    assert set(column(own_fcn=False)) == {"knn_acc", "svm_acc", "cas", "fid", "is"}
    one = demonstration.closing_rows({"naive": GOOD}, "TwoPatterns", {"naive": ("regular", "none")}, own_fcn=False)
    assert {row["metric"]: row["thesis"] for row in one}["fid"] == f"{means[0]['fid']:g}"
    generated = demonstration.closing_rows({"naive": GOOD}, "TwoPatternsGenerated", {"naive": ("regular", "none")})
    assert not any(row["thesis"] for row in generated)  # other series of the same recipe
    assert "thesis" in tables.closing_table(one).splitlines()[0]
    assert "non-contrastive" not in tables.closing_table(one)


def test_scores_that_a_run_lacks_have_no_row():
    rows = demonstration.closing_rows({"naive": {"recon_val": 0.2, "nearest_train": 0.4}}, "Mine")
    assert [row["metric"] for row in rows] == ["recon_val", "nearest_train"]


def test_classes_of_the_demonstration_have_words_and_others_their_names():
    ds = load_dataset(demonstration.DATASET)
    words = demonstration.class_words(ds.name, ds.class_names)
    assert len(words) == ds.n_classes
    late = ds.x_test[..., 40:].mean(dim=2) - ds.x_test[..., :20].mean(dim=2)  # (n, 1)
    rise = {word: late[ds.y_test == label].mean().item() for label, word in enumerate(words)}
    assert rise["increasing trend"] > 1.5 and rise["upward shift"] > 1.5
    assert rise["decreasing trend"] < -1.5 and rise["downward shift"] < -1.5
    assert abs(rise["normal"]) < 0.2 and abs(rise["cyclic"]) < 0.2
    assert demonstration.class_words("Mine", ("a", "b")) == ("class a", "class b")


# --- the verdict ---


@pytest.mark.parametrize("name", BAD)
def test_each_score_of_the_rule_can_fail(name):
    assert demonstration.failings(GOOD) == ()
    (words,) = demonstration.failings(GOOD | {name: BAD[name]})
    assert (
        words
        == {
            "class_accuracy": "95.0% of the class asked for",
            "cas": "CAS 0.967, judge 0.997",
            "is_by_class": "IS 5.22 of 5.8",
        }[name]
    )


def test_every_verdict_can_be_reached():
    samples = {
        (True, True): "Samples of both arms are of the class",
        (True, False): "Samples of the naive arm alone are",
        (False, True): "Samples of the non-contrastive arm alone are",
        (False, False): "Samples of neither arm are",
    }
    tokens = {
        (0.7, 0.8): "better than naive ones",
        (0.7, 0.7): "better by KNN alone than naive ones",
        (0.6, 0.8): "better by SVM alone than naive ones",
        (0.6, 0.7): "no better than naive ones",
    }
    for (good, begins), (probes, ends) in itertools.product(samples.items(), tokens.items()):
        naive, other = (GOOD if passes else GOOD | BAD for passes in good)
        sentence = demonstration.verdict(naive, other | dict(zip(("knn_acc", "svm_acc"), probes)))
        assert sentence.startswith(begins) and ends in sentence and ". " not in sentence
        assert ("IS 5.22 of 5.8" in sentence) == (not all(good))
        fids = ", ".join(
            f"{arm} {found['fid_by_class']:.3g}" for arm, found in (("naive", naive), ("non-contrastive", other))
        )
        assert f", with an FID by class of at most 3 ({fids}, real 0.2); non-contrastive tokens" in sentence
        sentence = demonstration.verdict(naive | FAR, other)
        assert ", but FID still tells them apart (by class: naive 3, real 0.2); non-" in sentence
    sentence = demonstration.verdict(GOOD | FAR, GOOD | FAR)
    assert "(by class: naive 3, non-contrastive 3, real 0.2)" in sentence
    assert all(text in demonstration.RULE for text in ("95%", "0.03", "0.9", "more than 3"))


# --- the command, with what it finds finished ---


@pytest.fixture
def no_process(monkeypatch):
    def start(*_, **__):
        pytest.fail("a process was started")

    monkeypatch.setattr(cli_demonstrate.subprocess, "Popen", start)


def finish(out, columns=tuple(demonstration.ARMS), **changes):
    """Write what a finished cell of these arms holds, as far as the demonstration reads it."""
    ds = load_dataset(demonstration.DATASET)
    for column, cfg in Demonstrate(out=out).cells().items():
        folder = cli_demonstrate.folder_of(cfg, out)
        if column in columns:
            folder.mkdir(parents=True, exist_ok=True)
            np.savez(folder / "samples.npz", **{"x_by_class": ds.x_test[:60].numpy(), "class": ds.y_test[:60].numpy()})
            write_json(folder / "metrics.json", GOOD | changes)


def test_a_finished_demonstration_ends_in_table_figure_and_verdict(tmp_path, capsys, no_process):
    finish(tmp_path)
    assert main(["demonstrate", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    rows = demonstration.closing_rows(dict.fromkeys(demonstration.ARMS, GOOD), demonstration.DATASET)
    assert tables.closing_table(rows) in printed
    assert f"Verdict: {demonstration.verdict(GOOD, GOOD)}" in printed and demonstration.RULE in printed
    assert f"Series by class: {tmp_path / 'replicate.png'}" in printed and "thesis: no column" in printed
    assert not {"worse", "Published", "comparable"} & set(printed.replace(":", " ").split())
    assert (tmp_path / "replicate.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    table = read_csv(tmp_path / "replicate.csv")
    assert tuple(table[0]) == demonstration.COLUMNS
    assert table == [demonstration.as_text(row) for row in rows]
    assert tables.closing_table(table) == tables.closing_table(rows)


def test_what_is_finished_is_not_repeated(tmp_path, monkeypatch):
    finish(tmp_path, columns=["naive"])
    asked = []
    monkeypatch.setattr(cli_demonstrate, "run_arms", lambda commands: asked.append(commands) or 5)
    assert main(["demonstrate", "--out", str(tmp_path), "--seed", "1"]) == 5
    ((column, command),) = asked[0].items()
    assert column == "non_contrastive" and command[command.index("--method") + 1] == "barlowtwins"
    assert "--notebook" not in command
    assert set(command[command.index("--set") + 1 :]) == {f"{k}={v}" for k, v in demonstration.SETTINGS.items()}
    assert main(["demonstrate", "--out", str(tmp_path), "--seed", "2", "--notebook", "--set", "epochs=3"]) == 5
    assert list(asked[1]) == list(demonstration.ARMS)
    own = dict(demonstration.SETTINGS, epochs=3)
    for command in asked[1].values():
        assert "--notebook" in command
        given = dict(text.split("=") for text in command[command.index("--set") + 1 :])
        assert given == {name: str(value) for name, value in own.items()}


def test_mistakes_are_one_line_before_anything_starts(tmp_path, capsys, no_process):
    for more in (["--set", "epoch=3"], ["--seed", "x"], ["--set", "epochs=-1"]):
        assert main(["demonstrate", "--out", str(tmp_path), *more]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1


# --- the processes ---


def process(code):
    """A command that runs Python code; `say` writes a line to stderr."""
    begin = "import os, sys, time\nsay = lambda text: print(text, file=sys.stderr, flush=True)\n"
    return [sys.executable, "-c", begin + code]


def test_an_error_of_an_arm_is_one_line_with_its_code_and_ends_the_other(capsys):
    began = time.monotonic()
    commands = {"naive": process("time.sleep(60)")}
    commands |= {"non_contrastive": process("say('error: the disk is full'); sys.exit(3)")}
    assert run_arms(commands) == 3
    assert capsys.readouterr().err == "error: the non-contrastive arm: the disk is full (exit code 3)\n"
    assert time.monotonic() - began < 30


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_arm_that_is_killed_says_so(capsys):
    assert run_arms({"naive": process("os.kill(os.getpid(), 9)")}) == 137
    assert "error: the naive arm: the lines above say why (killed by signal 9)" in capsys.readouterr().err


def test_progress_is_one_line_for_both_and_warnings_are_passed_on(capsys, monkeypatch):
    monkeypatch.setattr(cli_demonstrate, "EVERY", 0.3)
    said = "say('tokenizer 10.0/40 epochs, loss 0.4, 10 steps/s, 9 s left'); say('warning: weak'); time.sleep(1.5)"
    silence = "say('          at work, 10 s since the last report of a training')"
    slow = f"say('tokenizer 10.0/40 epochs, 9 s left'); {silence}; time.sleep(1.5)"
    resting = f"say('prior 40/40 epochs, 0 s left'); {silence}; time.sleep(1.5)"
    assert run_arms({"naive": process(said), "non_contrastive": process(resting)}) == 0
    lines = capsys.readouterr().err.splitlines()
    assert "naive: warning: weak" in lines
    assert any(line.endswith("s  naive: tokenizer 25% | non-contrastive: sampling, scoring") for line in lines)
    assert not any("loss" in line for line in lines)
    assert run_arms({"naive": process(slow)}) == 0
    assert any(line.endswith("s  naive: tokenizer 25%") for line in capsys.readouterr().err.splitlines())


def test_arms_take_turns_on_one_core_and_compute_on_one_thread(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cli_demonstrate, "usable_cores", lambda: 1)
    log = f"log = open({str(tmp_path / 'log')!r}, 'a', buffering=1)\n"
    code = "log.write(f\"begin {os.environ['OMP_NUM_THREADS']}\\n\"); time.sleep(2); log.write('end\\n')"
    commands = {name: process(log + code) for name in demonstration.ARMS}
    assert run_arms(commands) == 0
    assert (tmp_path / "log").read_text().split() == ["begin", "1", "end"] * 2
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(cli_demonstrate, "usable_cores", lambda: 4)
    assert run_arms(commands) == 0
    told = (tmp_path / "log").read_text().split()[6:]
    assert sorted(told) == ["2", "2", "begin", "begin", "end", "end"] and told[0] == told[2] == "begin"
    monkeypatch.setattr(cli_demonstrate, "usable_cores", lambda: 3)  # one thread would have no core of its own
    assert run_arms(commands) == 0
    assert (tmp_path / "log").read_text().split()[12:] == ["begin", "2", "end"] * 2


@pytest.mark.parametrize(("asked", "threads"), [("", 1), ("3", 3), ("4,2", 4), ("0", 1), ("many", 1)])
def test_threads_of_an_arm_are_those_that_the_environment_asks_for(asked, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert cli_demonstrate.threads_of_an_arm() == threads


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demonstration_stops_its_processes(sent, code, tmp_path, capsys, monkeypatch):
    pids = tmp_path / "pids"
    command = process(f"open({str(pids)!r}, 'a').write(str(os.getpid()) + ' '); time.sleep(60)")
    monkeypatch.setattr(Demonstrate, "_command", lambda self, cfg: command)

    def sleep(seconds):
        if pids.exists() and len(pids.read_text().split()) == 2:
            signal.raise_signal(sent)
        time.sleep(seconds)

    monkeypatch.setattr(cli_demonstrate, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    with pytest.raises(SystemExit) as ended:
        sys.exit(main(["demonstrate", "--out", str(tmp_path)]))
    assert ended.value.code == code
    assert ("run the same command again to continue" in capsys.readouterr().err) == (code == 130)
    for pid in map(int, pids.read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


# --- what was recorded ---


def test_the_recorded_table_is_one_of_the_demonstration():
    rows = read_csv(data_file("results/replicate.csv"))
    assert tuple(rows[0]) == demonstration.COLUMNS
    assert [row["metric"] for row in rows] == [name for name in demonstration.ROWS if name not in ("fid", "is")]
    assert all(float(row[column]) >= 0 for row in rows for column in demonstration.ARMS)
    assert tables.recorded_demonstration() == tables.closing_table(rows)
    values = {row["metric"]: {name: float(text) for name, text in list(row.items())[1:] if text} for row in rows}
    for arm in demonstration.ARMS:
        assert values["class_accuracy"][arm] > demonstration.CLASS_LEAST
        assert values["cas"][arm] >= values["cas"]["real"] - demonstration.CAS_LACK
        assert values["is_by_class"][arm] >= demonstration.IS_SHARE * values["is_by_class"]["real"]
    for probe in ("knn_acc", "svm_acc"):
        assert values[probe]["non_contrastive"] > values[probe]["naive"]
    picture = Path(data_file("results/replicate.csv")).with_name("demonstration.png")
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and picture.stat().st_size < 200_000
