"""How a network is trained: settings and their errors, learning rates against torch's own, runs of so many steps."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from toy_training import assert_equal_to_the_bit, flat, interrupted_run, toy_engine

from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.fcn import FCN
from ncvqvae_lite.training import fcn_engine, prior_engine, tokenizer_engine, train_fcn
from ncvqvae_lite.training_optim import SCHEDULES, Optim

# --- settings ---


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "expected either epochs or steps, got epochs None and steps None"),
        (dict(epochs=2, steps=3), "expected either epochs or steps, got epochs 2 and steps 3"),
        (dict(epochs=-1), "epochs must be 0 or more, got -1"),
        (dict(steps=-1), "steps must be 0 or more, got -1"),
        (dict(epochs=1, batch_size=0), "batch_size must be 1 or more, got 0"),
        (dict(epochs=1, lr=-0.1), "lr must be 0 or more, and finite, got -0.1"),
        (dict(epochs=1, lr=math.nan), "lr must be 0 or more, and finite, got nan"),
        (dict(epochs=1, weight_decay=math.inf), "weight_decay must be 0 or more, and finite, got inf"),
        (dict(epochs=1, schedule="linear"), "schedule must be one of cosine, one-cycle, warm-up, got 'linear'"),
        (dict(epochs=1, betas=(0.9,)), r"betas must be two numbers in \[0, 1\), got \(0.9,\)"),
        (dict(epochs=1, average=1.0), r"average must be in \[0, 1\), got 1.0"),
        (dict(epochs=1, betas=(0.9, 1.0)), r"betas must be two numbers in \[0, 1\), got \(0.9, 1.0\)"),
    ],
)
def test_bad_settings_are_named(fields, message):
    with pytest.raises(BadInput, match=message):
        Optim(**fields)


def test_steps_and_epochs_take_each_others_place():
    optim = Optim(epochs=10, lr=0.5)
    assert optim.changed() == optim
    assert optim.changed(steps=7) == Optim(steps=7, lr=0.5)
    assert optim.changed(epochs=3, steps=None) == Optim(epochs=3, lr=0.5)
    with pytest.raises(BadInput, match="either epochs or steps"):
        optim.changed(epochs=3, steps=7)
    with pytest.raises(AttributeError):
        optim.lr = 1.0


def test_defaults_of_the_trainings():
    """The thesis' 1,000 epochs at 0.001; batches of 128 in stage 1 and 256 else; weight decay 0.00001 for the FCN."""

    class Anything(nn.Linear):
        def start_codebook(self, x, generator):
            pass

    net, x = Anything(1, 1), torch.randn(3, 1, 8)
    common = dict(epochs=1000, lr=1e-3, schedule="cosine", betas=(0.9, 0.999))
    assert tokenizer_engine(net, x).optim == Optim(**common, batch_size=128, weight_decay=1e-3)
    assert prior_engine(net, x, None).optim == Optim(**common, batch_size=256, weight_decay=1e-3)
    assert fcn_engine(net, x, None).optim == Optim(**common, batch_size=256, weight_decay=1e-5)
    assert fcn_engine(net, x, None, steps=5, lr=0.1).optim == Optim(steps=5, lr=0.1, batch_size=256, weight_decay=1e-5)
    with pytest.raises(TypeError, match="epoch"):
        fcn_engine(net, x, None, epoch=5)


# --- learning rates ---


def test_the_cosine_rounds_as_the_one_line_that_pinned_numbers_were_made_with():
    for total in (1, 7, 240, 28_000):
        steps = torch.arange(total, dtype=torch.float64)
        for lr in (1e-3, 0.05, 1 / 3):
            line = 0.5 * lr * (1 + torch.cos(math.pi * steps / total))
            assert torch.equal(lr * SCHEDULES["cosine"](steps, total), line)


@pytest.mark.parametrize("total", [1, 2, 3, 4, 5, 10, 11, 100, 1001])
def test_one_cycle_is_torchs(total):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.3, total_steps=total, cycle_momentum=False)
    expected = []
    for step in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < total:
            theirs.step()
    found = 0.3 * SCHEDULES["one-cycle"](torch.arange(total, dtype=torch.float64), total)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("total", [10, 50, 400])
def test_warm_up_is_two_schedules_of_torch(total):
    """A line to the largest rate in a tenth of the steps, then half a cosine down to nothing."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
    rise = total // 10
    line = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / rise, 1.0, max(1, rise - 1))
    wave = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total - rise)
    theirs = torch.optim.lr_scheduler.SequentialLR(optimizer, [line, wave], [rise])
    expected = []
    for _ in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    found = SCHEDULES["warm-up"](torch.arange(total, dtype=torch.float64), total)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("total", [1, 2, 5, 15])
def test_warm_up_of_few_steps(total):
    found = SCHEDULES["warm-up"](torch.arange(total, dtype=torch.float64), total)
    peak = int(found.argmax())
    assert found[peak] == 1 and peak <= total / 10 and (found > 0).all()
    assert (found[peak:].diff() <= 0).all()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_steps_follow_the_schedule(schedule):
    engine, rates = toy_engine(epochs=3, lr=0.03, schedule=schedule), []
    for _ in range(12):
        engine.step(torch.arange(5))
        rates.append(engine.lr.item())
    expected = 0.03 * SCHEDULES[schedule](torch.arange(12, dtype=torch.float64), 12)
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_betas_reach_the_optimiser():
    engine = toy_engine(betas=(0.5, 0.75), epochs=1)
    engine.step(torch.arange(5))
    moments = engine.optimizers[0].state[engine.module[0].weight]
    gradient = engine.module[0].weight.grad
    torch.testing.assert_close(moments["exp_avg"], 0.5 * gradient)
    torch.testing.assert_close(moments["exp_avg_sq"], 0.25 * gradient**2)


# --- so many steps ---


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 5, 11])
def test_exactly_so_many_steps(steps):
    """Four batches an epoch (5, 5, 5, 2): the last epoch is cut short, and its means are over what it has seen."""
    terms = []
    engine = toy_engine(steps=steps, wrap_loss=lambda values: (terms.append([v.item() for v in values]), values)[1])
    reports = []
    history = engine.run(progress=lambda *report: reports.append(report))
    assert [len(inputs) for inputs, _ in engine.batches] == [5, 5, 5, 2, 5, 5, 5, 2, 5, 5, 5][:steps]
    assert len(history) == math.ceil(steps / 4) and engine.steps_done.item() == steps
    for epoch, row in enumerate(history):
        seen = slice(4 * epoch, min(4 * epoch + 4, steps))
        means = np.average(terms[seen], axis=0, weights=[len(inputs) for inputs, _ in engine.batches[seen]])
        np.testing.assert_allclose([row["total"], row["size"]], means, rtol=1e-5)
    assert [report[:2] for report in reports[-1:]] == [(len(history), len(history))] * bool(steps)


def test_whole_epochs_are_the_same_as_their_steps():
    by_epochs, by_steps = toy_engine(epochs=3), toy_engine(steps=12)
    assert by_epochs.run() == by_steps.run()
    assert_equal_to_the_bit(by_epochs, by_steps)


@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_resuming_a_run_of_so_many_steps(tmp_path, stop_at):
    undisturbed = toy_engine(steps=10)
    expected = undisturbed.run(on_epoch=lambda epoch: {"evaluated": 10 * epoch} if epoch % 2 == 0 else None)
    resumed, history, _ = interrupted_run(lambda: toy_engine(steps=10), tmp_path / "toy.checkpoint", stop_at)
    assert history == expected
    assert_equal_to_the_bit(undisturbed, resumed)


def test_the_trainings_take_steps():
    x, y = torch.randn(12, 1, 16), torch.arange(12) % 2
    assert len(train_fcn(FCN(2), x, y, steps=5, batch_size=6)) == 3


# --- state ---


def test_all_state_is_there_before_the_first_step():
    """Its names and shapes are those after a step, and the moments are at their start."""

    def shapes(engine):
        return {path: value.shape for path, value in flat(engine.state()).items()}

    engine = toy_engine()
    before = shapes(engine)
    assert not any(value.any() for value in flat(engine.state()["moments"]).values())
    engine.step(torch.arange(5))
    assert shapes(engine) == before
