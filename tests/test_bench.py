"""The benchmark: its baseline computes what we compute, its counts and clocks are right, and a small run works."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ncvqvae_lite.augmentations import AUGMENTATIONS, amplitude_resize, slice_and_shuffle, window_warp, zero_tail
from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.prior import MaskGIT
from ncvqvae_lite.ssl_losses import barlow_twins, vibcreg
from ncvqvae_lite.tokenizer import Tokenizer

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import bench  # noqa: E402
import bench_baseline  # noqa: E402
import bench_steps  # noqa: E402

TINY = bench_steps.Size(8, 8, 32, 64, 0.0, 2, {"projector_width": 64})


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def assert_same_gradients(ours, baseline):
    """Each parameter's gradient agrees to 1e-3 of its largest entry, or of the largest of all where it vanishes."""
    pairs = list(zip(ours.named_parameters(), baseline.named_parameters(), strict=True))
    largest = max(p.grad.abs().max() for (_, p), _ in pairs)
    for (name, p), (other, q) in pairs:
        assert name == other
        tolerance = 1e-3 * p.grad.abs().max() + 1e-5 * largest
        assert (p.grad - q.grad).abs().max() <= tolerance, name


# --- the baseline computes the same ---


@pytest.mark.parametrize("channels", [1, 2])
def test_warp_loop_equals_ours_with_the_same_draws(channels):
    x = torch.randn(20, channels, 97)
    ours = window_warp(x, generator=seeded(3))
    draws = seeded(3)  # start and factor in the order in which ours draws them
    start = torch.randint(97 - round(0.4 * 97), (20, 1), generator=draws)
    factor = torch.empty(20, 1).uniform_(0.9, 2.0, generator=draws)
    loop = [bench_baseline.warp_series(s.numpy(), int(a), float(f), 1.0) for s, a, f in zip(x, start, factor)]
    np.testing.assert_allclose(ours.numpy(), np.stack(loop), atol=2e-4)


def test_amplitude_of_the_warp_loop_equals_ours():
    x = torch.randn(5, 1, 40)
    factor = 1 + 0.2 * torch.randn(5, 1, 1, generator=seeded(1))
    ours = amplitude_resize(x, generator=seeded(1))
    loop = [bench_baseline.warp_series(s.numpy(), 3, 1.0, float(f)) for s, f in zip(x, factor)]
    np.testing.assert_allclose(ours.numpy(), np.stack(loop), atol=1e-5)


def test_slice_loop_equals_ours_with_the_same_draws():
    x = torch.randn(50, 2, 31)
    ours = slice_and_shuffle(x, generator=seeded(5))
    draws = seeded(5)
    cuts = torch.randint(31, (50, 3), generator=draws)
    order = torch.rand(50, 4, generator=draws).argsort(dim=1)
    loop = [bench_baseline.slice_series(s.numpy(), c.numpy(), o.tolist()) for s, c, o in zip(x, cuts, order)]
    np.testing.assert_array_equal(ours.numpy(), np.stack(loop))


@pytest.mark.parametrize("name", ["warp", "slice", "gauss"])
def test_loop_draws_from_the_same_distribution_as_ours(name):
    x = torch.sin(torch.arange(45) / 5).repeat(3000, 1, 1)
    ours = zero_tail(AUGMENTATIONS[name](x, generator=seeded()))
    loop = bench_baseline.view_in_loop(x, name, np.random.default_rng(0))
    assert loop.shape == x.shape and loop.dtype == x.dtype
    assert (loop[..., 40:] == 0).all() and (loop[..., :40] != 0).any()
    for statistic in (torch.mean, torch.std):  # per step, over 3000 views: five standard errors
        a, b = statistic(ours, dim=0), statistic(loop, dim=0)
        assert (a - b).abs().max() < 5 * x.std() * (2 / 3000) ** 0.5


@pytest.mark.parametrize("batch, dim", [(12, 40), (40, 12)])
def test_matrix_losses_equal_ours(batch, dim):
    a, b = (torch.randn(batch, dim, dtype=torch.float64) for _ in range(2))
    torch.testing.assert_close(bench_baseline.barlow_twins_matrix(a, b, 0.01), barlow_twins(a, b, 0.01).total)
    torch.testing.assert_close(bench_baseline.vibcreg_matrix(a, b, 3, 5, 7), vibcreg(a, b, 3, 5, 7).total)


@pytest.mark.parametrize("latents", ["mixed", "continuous"])
@pytest.mark.parametrize("method", ["regular", "barlowtwins", "vibcreg"])
def test_stage_1_loss_and_gradients_equal_ours(method, latents):
    """With "mixed" latents the maximum over the grid is taken of code vectors, where equal codes differ by rounding
    alone: which of them gets the gradient is chance. So the encoder's gradient is compared for "continuous" latents.
    """
    torch.manual_seed(1)  # with seed 0 a ReLU's input is 0 to rounding: processors disagree on the slope there
    tokenizer, x = Tokenizer(64), torch.randn(24, 1, 64)
    branch, plain_branch = None, {}
    if method != "regular":
        cfg = ExperimentConfig.preset(
            "paper", dataset="TwoPatternsGenerated", method=method, augmentation="gauss", projector_width=256,
            ssl_latents=latents,
        )  # fmt: skip
        branch = bench_steps.branch_of(cfg, "cpu")
        projector = copy.deepcopy(branch.projector)
        plain_branch = dict(projector=projector, ssl_loss=bench_steps.plain_ssl_loss(cfg), **branch.options)
    plain = bench_baseline.plain_copy(bench_baseline.PlainTokenizer, tokenizer)
    engine = bench_steps.tokenizer_engine(tokenizer, x, branch, batch_size=24)
    batch = engine.draw(torch.arange(24), seeded())
    ours = engine.loss(*batch, engine.generator).total
    baseline = bench_baseline.stage_1_loss(plain, **plain_branch)(*batch)
    torch.testing.assert_close(ours, baseline, rtol=1e-4, atol=1e-5)
    ours.backward(), baseline.backward()
    assert_same_gradients(tokenizer.decoder, plain.decoder)
    if method == "regular" or latents == "continuous":
        assert_same_gradients(tokenizer.encoder, plain.encoder)
    if method != "regular":
        assert_same_gradients(branch.projector, projector)
    torch.testing.assert_close(tokenizer.quantizer.codebook, plain.quantizer.codebook, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("head", ["tied", "untied"])
@pytest.mark.parametrize("preset", ["paper", "improved"])
def test_stage_2_loss_and_gradients_equal_ours(head, preset):
    cfg = ExperimentConfig.preset(preset, dataset="TwoPatternsGenerated", head=head, p_unconditional=0.2)
    prior = MaskGIT(10, 8, 3, head=head, extra_positions=cfg.extra_positions, dim=16, width=32, depth=2)
    plain = bench_baseline.plain_copy(bench_baseline.PlainMaskGIT, prior)
    logits, classes = torch.randn(70, 10, 8), torch.randint(3, (70,))  # three micro-batches
    settings = dict(polarity=cfg.mask_polarity, t_per_sample=cfg.t_per_sample, masked_only=cfg.masked_only)
    settings["min_masked"] = cfg.min_masked
    engine = bench_steps.prior_engine(prior, logits, classes, **settings, batch_size=70)
    batch = engine.draw(torch.arange(70), seeded())
    for ours, theirs in zip(batch, bench_baseline.prior_batch(plain, logits, classes, cfg, seeded()), strict=True):
        assert torch.equal(ours, theirs)
    ours = engine.loss(*batch, engine.generator).total
    baseline = bench_baseline.stage_2_loss(plain, cfg.masked_only)(*batch)
    torch.testing.assert_close(ours, baseline, rtol=1e-5, atol=1e-6)
    ours.backward(), baseline.backward()
    assert_same_gradients_where_used(prior, plain)


def assert_same_gradients_where_used(ours, baseline):
    """As `assert_same_gradients`; a parameter that neither uses has no gradient in either."""
    for p, q in zip(ours.parameters(), baseline.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is None:
            p.grad, q.grad = torch.zeros_like(p), torch.zeros_like(q)
    assert_same_gradients(ours, baseline)


def test_baseline_sampling_draws_the_same_tokens_with_twice_the_passes(monkeypatch):
    prior = MaskGIT(12, 8, 3, dim=16, width=32, depth=1).eval()
    plain = bench_baseline.plain_copy(bench_baseline.PlainMaskGIT, prior).eval()
    passes = {MaskGIT: 0, bench_baseline.PlainMaskGIT: 0}
    for kind in passes:
        forward = kind.forward

        def counted(self, *inputs, forward=forward, kind=kind):
            passes[kind] += 1
            return forward(self, *inputs)

        monkeypatch.setattr(kind, "forward", counted)
    ours, baseline = (p.sample(6, 1, steps=4, generator=seeded()) for p in (prior, plain))
    assert torch.equal(ours, baseline)
    assert passes == {MaskGIT: 4, bench_baseline.PlainMaskGIT: 8}


def test_plain_training_is_adamw_with_a_cosine():
    w = torch.nn.Linear(1, 1, bias=False)
    w.weight.data.fill_(2.0)
    training = bench_baseline.PlainTraining(
        w, lambda: (torch.ones(1, 1),), lambda x: w(x).sum(), lr=0.1, weight_decay=0.5, total_steps=2
    )
    training.step()  # decay 2 * (1 - 0.1 * 0.5), then a first Adam step of size lr
    assert w.weight.item() == pytest.approx(2 * 0.95 - 0.1, abs=1e-5)
    training.step()  # the learning rate is halved half way down the cosine
    assert w.weight.item() == pytest.approx(1.8 * 0.975 - 0.05, abs=1e-5)


# --- what is measured, and how ---


@pytest.mark.parametrize("task", dict.fromkeys(task for task, _ in bench.groups()))
def test_every_contestant_runs(task):
    variants = [v for name, group in bench.groups() if name == task for v in group]
    for variant, ours in [(v, True) for v in variants] + [(variants[0], False)]:
        c = bench_steps.contestant(task, variant, ours, TINY, "cpu")
        c.run()
        cfg = bench_steps._config(variant, TINY)
        formats = {"stage 1": cfg.precision, "stage 2": cfg.prior_precision, "FCN": cfg.fcn_precision}
        assert c.precision == (formats.get(task.rpartition(" ")[0], "fp32") if ours else "fp32")
        assert c.series == 8 and (ours is False or variant != "paper bf16" or c.precision == "bf16")


def test_arithmetic_of_known_computations():
    a, b = torch.randn(3, 5), torch.randn(5, 7)
    assert bench_steps._gflop(lambda: a @ b) == pytest.approx(2 * 3 * 5 * 7 / 1e9)
    step = bench_steps.contestant("stage 1 regular", "paper", True, TINY._replace(length=128), "cpu")
    # forward and twice that backward: 3 x (25 + 25) MFLOP a series at L 128, counted by hand from the layers
    assert bench_steps._gflop(step.eager) == pytest.approx(8 * 0.152, rel=0.04)


def test_time_of_a_call_is_averaged_over_enough_calls():
    calls = []
    seconds = bench_steps.timed(lambda: calls.append(1), lambda: 0.5 * len(calls), "cpu", at_least=1.2)
    assert len(calls) == 3 and seconds == pytest.approx(0.5)


def test_quartiles():
    assert bench_steps._quartiles([5, 1, 2, 4, 3]) == [3, 2, 4]


def test_race_reports_ratio_of_neighbouring_runs(monkeypatch):
    durations = iter([1.0, 1.0, *([2.0, 6.0] * 2)])  # warm-up of both, then ours and the baseline in turn
    monkeypatch.setattr(bench_steps, "timed", lambda *_: next(durations))
    (row,) = bench_steps.race("augment gauss", ("paper",), TINY, 1, "cpu")
    assert row["ms"][0] == 2000 and row["baseline_ms"][0] == 6000 and row["speed_up"] == [3, 3, 3]
    assert row["rounds"] == 2 and row["series_per_second"] == pytest.approx(4) and row["gflop"] == 0


def test_table_is_aligned_and_says_what_was_measured():
    row = dict(
        task="stage 2 tied", variant="paper", precision="fp32", ms=[200.0, 190.0, 230.0], series_per_second=1280.0,
        gflop=10.0, mb=700.4, baseline_ms=[500.0, 480.0, 520.0], baseline_mb=900.0, speed_up=[2.5, 2.2, 2.71],
    )  # fmt: skip
    cells = bench.table_row(row, rate=100.0)
    assert len(cells) == len(bench.COLUMNS)
    assert cells[3:10] == ["200", "(190..230)", "1280", "10.0", "50", "50%", "700"]
    assert cells[10:] == ["500", "(480..520)", "900", "2.50", "(2.20..2.71)"]
    assert bench.table_row(row | {"gflop": 0.0}, 100.0)[6:9] == ["-", "-", "-"]
    lines = bench.format_table([["what", "b", "c", "ms"], ["x", "yy", "z", "12345"]]).splitlines()
    assert lines == ["what  b   c     ms", "x     yy  z  12345"]


def test_clock_is_cpu_time_for_one_thread_on_a_cpu_only():
    assert bench_steps.clock(1, "cpu").__name__ == "process_time"
    assert bench_steps.clock(2, "cpu").__name__ == bench_steps.clock(1, "cuda").__name__ == "perf_counter"


@pytest.mark.parametrize("wrong", [["--threads", "0"], ["--only", "stage 9"], ["--device", "cuda"]])
def test_wrong_arguments_are_refused(wrong, capsys):
    if wrong[0] == "--device" and torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(SystemExit) as stop:
        bench.main(wrong)
    assert stop.value.code == 2 and wrong[1] in capsys.readouterr().err


def test_what_a_format_could_reach_is_that_of_the_fastest_products():
    assert bench.fastest({"fp32": 100.0, "bf16": 20.0}, "bf16") == 100.0  # no bf16 instructions
    assert bench.fastest({"fp32": 100.0, "bf16": 180.0}, "bf16") == 180.0
    assert bench.fastest({"fp32": 100.0, "bf16": 180.0}, "fp32") == 100.0


@pytest.mark.slow
def test_a_small_run_prints_a_table_and_writes_json(tmp_path):
    """As a script, called from elsewhere: its processes must find the functions that they are to run."""
    options = ["--quick", "--device", "cpu", "--only", "FCN", "--json", str(tmp_path / "bench.json")]
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS.parent)}  # the package need not be installed
    ran = subprocess.run(
        [sys.executable, BENCHMARKS / "bench.py", *options],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "matrix products" in ran.stdout and ran.stdout.count("FCN step") == 2
    assert "understate the gain" in ran.stdout
    result = json.loads((tmp_path / "bench.json").read_text())
    assert [row["variant"] for row in result["rows"]] == ["paper", "paper bf16"]
    for row in result["rows"]:
        assert row["ms"][0] > 0 and row["gflop"] > 1 and 50 < row["mb"] < 5000 and row["baseline_mb"] > 50
        share = row["gflop"] / row["ms"][0] * 1e3 / bench.fastest(result["rates"], row["precision"])
        assert 0 < share < 1.3
