"""The step engine against plain loops, interrupted runs against undisturbed ones, and steps that a CUDA graph holds."""

import copy
import functools
import itertools
import math
import os

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from toy_training import (
    HostSync,
    Interrupted,
    ToyLoss,
    assert_equal_to_the_bit,
    interrupted_run,
    needs_gpu,
    operations_of,
    toy_engine,
)

from ncvqvae_lite import training_engine
from ncvqvae_lite.augmentations import AUGMENTATIONS, slice_and_shuffle, zero_tail
from ncvqvae_lite.errors import BadInput, TrainingDiverged
from ncvqvae_lite.fcn import FCN
from ncvqvae_lite.prior import MaskGIT
from ncvqvae_lite.ssl_losses import Projector, barlow_twins, vibcreg
from ncvqvae_lite.tokenizer import Tokenizer
from ncvqvae_lite.training import Branch, fcn_engine, prior_engine, tokenizer_engine, train_fcn, train_tokenizer
from ncvqvae_lite.training_engine import batch_sizes, derive_seed


def weighted(loss, factor):
    return lambda a, b: factor * loss(a, b).total


def tokenizer_case(loss=None, augment=None, device="cpu", epochs=2, seed=0, precision="fp32", **arguments):
    """Stage 1 on 20 short series in batches of 16 and 4."""
    torch.manual_seed(1)
    branch = None
    if loss:
        projector = Projector(16, 32, whiten=loss is vibcreg, groups=4).to(device)
        branch = Branch(augment, projector, weighted(loss, 0.1))
    tokenizer = Tokenizer(33, dim=8, n_blocks=1, codebook_size=6, **arguments).to(device)
    x = torch.randn(20, 1, 33).to(device)
    return tokenizer_engine(tokenizer, x, branch, epochs=epochs, batch_size=16, seed=seed, precision=precision)


def prior_case(head="untied", device="cpu", epochs=2, seed=0, precision="fp32", **settings):
    torch.manual_seed(1)
    prior = MaskGIT(10, 6, 3, head, extra_positions=True, dim=8, width=16, depth=1, heads=2).to(device)
    logits, classes = torch.randn(20, 10, 6).to(device), torch.randint(0, 3, (20,)).to(device)
    settings |= dict(epochs=epochs, batch_size=16, seed=seed, precision=precision)
    return prior_engine(prior, logits, classes, **settings)


def fcn_case(device="cpu", epochs=2, seed=0, precision="fp32"):
    torch.manual_seed(1)
    x, y = torch.randn(20, 2, 16).to(device), torch.randint(0, 3, (20,)).to(device)
    fcn = FCN(3, channels=2).to(device)
    return fcn_engine(fcn, x, y, epochs=epochs, batch_size=16, seed=seed, precision=precision)


def tailless_warp(x, generator=None):
    return zero_tail(AUGMENTATIONS["warp"](x, generator=generator))


CASES = {
    "naive": tokenizer_case,
    "naive, restarts": functools.partial(tokenizer_case, kmeans_init=True, expire_below=80.0, odd_tail=False),
    "barlowtwins, warp": functools.partial(tokenizer_case, barlow_twins, tailless_warp),
    "vibcreg, warp": functools.partial(tokenizer_case, vibcreg, AUGMENTATIONS["warp"]),
    "barlowtwins, slice": functools.partial(tokenizer_case, barlow_twins, AUGMENTATIONS["slice"]),
    "vibcreg, distinct slice": functools.partial(
        tokenizer_case, vibcreg, functools.partial(slice_and_shuffle, distinct=True)
    ),
    "barlowtwins, gauss": functools.partial(tokenizer_case, barlow_twins, AUGMENTATIONS["gauss"]),
    "vibcreg, gauss": functools.partial(
        tokenizer_case, vibcreg, AUGMENTATIONS["gauss"], kmeans_init=True, expire_below=80.0
    ),
    "prior, kept, tied": functools.partial(prior_case, "tied", polarity="kept", t_per_sample=False, masked_only=False),
    "prior, masked, untied": prior_case,
    "fcn": fcn_case,
}
every_case = pytest.mark.parametrize("case", CASES)


# --- batches, learning rate, optimiser ---


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [(8, 4, [4, 4]), (10, 4, [4, 4, 2]), (9, 4, [4, 5]), (5, 4, [5]), (4, 4, [4]), (3, 4, [3]), (1, 4, [1]),
     (2, 1, [1, 1]), (3601, 128, [128] * 28 + [17]), (257, 128, [128, 129])],
)  # fmt: skip
def test_batch_sizes(n, batch_size, sizes):
    assert batch_sizes(n, batch_size) == sizes and sum(sizes) == n


def test_derived_seeds():
    seeds = {derive_seed(*parts) for parts in [("a", 1), ("a", 2), ("b", 1), ("a1",), ("a", 1, 0), ("a", "1")]}
    assert len(seeds) == 6 and all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed("a", 1) == derive_seed("a", 1)


def test_each_epoch_uses_every_series_once():
    engine = toy_engine(noise=0.0)
    engine.run()
    assert [len(batch) for batch, _ in engine.batches] == [5, 5, 5, 2] * 4
    epochs = [torch.cat([batch for batch, _ in engine.batches[i : i + 4]]) for i in range(0, 16, 4)]
    assert all(torch.equal(epoch.sort(dim=0).values, epochs[0].sort(dim=0).values) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])  # in another order


def test_learning_rate_is_one_cosine_over_all_steps():
    engine = toy_engine(epochs=5, lr=0.03)
    rates = []
    for _ in range(5):
        for size in engine.sizes:
            engine.step(torch.arange(size))
            rates.append(engine.lr.item())
    np.testing.assert_allclose(rates, [0.015 * (1 + math.cos(math.pi * s / 20)) for s in range(20)], rtol=1e-6)


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_steps_equal_a_plain_adamw_loop(micro_batch):
    engine = toy_engine(settings={"micro_batch": micro_batch})
    plain = copy.deepcopy(engine.module)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=0.05, weight_decay=0.01, foreach=False, fused=False)
    history = engine.run()
    losses = []
    for step, (inputs, targets) in enumerate(engine.batches):
        optimizer.param_groups[0]["lr"] = 0.025 * (1 + math.cos(math.pi * step / len(engine.batches)))
        loss = ((plain(inputs) - targets) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item() * len(inputs))
    for found, expected in zip(engine.module.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)
    means = np.reshape(losses, (4, 4)).sum(axis=1) / 17  # over series, not over batches
    np.testing.assert_allclose([row["total"] for row in history], means, rtol=1e-4)


@pytest.mark.parametrize("micro_batch", [1, 2, 4, 5])
def test_micro_batches_add_up_to_the_same_gradient(micro_batch):
    gradients = []
    for size in (micro_batch, None):
        engine = toy_engine(settings={"micro_batch": size})
        engine.optimizers[0].step = lambda: None
        engine.step(torch.arange(5))
        gradients.append([p.grad.clone() for p in engine.module.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_history_holds_the_mean_terms_of_each_epoch():
    terms = []

    def record(values):
        terms.append([v.item() for v in values])
        return values

    engine = toy_engine(wrap_loss=record)
    history = engine.run(on_epoch=lambda epoch: {"extra": epoch**2} if epoch != 2 else None)
    assert [row["epoch"] for row in history] == [0, 1, 2, 3, 4]
    assert history[0] == {"epoch": 0, "extra": 0}
    assert [row.get("extra") for row in history] == [0, 1, None, 9, 16]
    means = np.average(np.reshape(terms, (4, 4, 2)), axis=1, weights=[5, 5, 5, 2])
    np.testing.assert_allclose([[row["total"], row["size"]] for row in history[1:]], means, rtol=1e-5)


def test_order_of_events():
    events, engine = [], toy_engine(epochs=2)
    step = engine.step
    engine.step = lambda index: (events.append(engine.module.training), step(index))

    def on_epoch(epoch):
        events.append(epoch)
        engine.module.eval()

    engine.run(on_epoch=on_epoch)
    assert events == [0, *[True] * 4, 1, *[True] * 4, 2]  # every step in train mode, whatever on_epoch leaves behind


def test_progress_reports_the_last_epoch():
    reports = []
    history = toy_engine().run(progress=lambda *report: reports.append(report))
    epoch, epochs, terms, rate = reports[-1]
    assert (epoch, epochs) == (4, 4) and rate > 0
    assert terms == {name: history[-1][name] for name in ("total", "size")}


def ticking(monkeypatch, seconds):
    """Let the engine's clock move on by so many seconds at every look."""
    now = itertools.count(step=seconds)
    monkeypatch.setattr(training_engine.time, "monotonic", lambda: next(now))


def test_progress_within_an_epoch(monkeypatch):
    ticking(monkeypatch, 2)
    reports = []
    history = toy_engine(noise=0.0).run(progress=lambda *report: reports.append(report))
    assert [done for done, *_ in reports] == [k / 4 for k in range(1, 17)]
    for done, epochs, terms, rate in reports:
        assert epochs == 4 and rate == 1 / 2
        if done == int(done):
            assert isinstance(done, int) and terms == {name: history[int(done) - 1][name] for name in terms}
    x = toy_engine(noise=0.0)
    x._run_epoch(0, look=lambda steps: None)
    first = x.batches[0][0].square().mean().item()
    assert reports[0][2]["size"] == pytest.approx(first)  # of the series so far


def test_the_clock_alone_is_looked_at_between_steps(monkeypatch):
    """No value of the device is asked for where nothing is due."""
    ticking(monkeypatch, 0)
    engine = toy_engine()
    monkeypatch.setattr(engine, "_raise_if_diverged", lambda checkpoint: asked.append(int(engine.steps_done)))
    asked, reports = [], []
    engine.run(progress=lambda *report: reports.append(report))
    assert asked == [16] and len(reports) == 1


@pytest.mark.parametrize("case", ["toy", "naive, restarts", "vibcreg, gauss", "prior, kept, tied", "fcn"])
@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_run_cut_off_within_an_epoch_ends_with_the_same_numbers(tmp_path, case, stop_after):
    """Epochs of 2 steps, or 4 of the toy: cut off after an odd one, where a checkpoint has just been written."""
    build = toy_engine if case == "toy" else functools.partial(CASES[case], epochs=3)
    undisturbed, checkpoint, steps = build(), tmp_path / "x.checkpoint", []
    expected = undisturbed.run()

    def cut_off(done, *_):
        steps.append(done)
        if len(steps) > stop_after:
            raise Interrupted

    with pytest.raises(Interrupted):
        build().run(checkpoint=checkpoint, checkpoint_seconds=0, progress=cut_off)
    assert steps[-2] % 1  # the checkpoint that was written lies within an epoch
    resumed = build()
    assert resumed.run(checkpoint=checkpoint) == expected
    assert_equal_to_the_bit(undisturbed, resumed)


def test_what_on_epoch_changes_stays():
    plain, changed = toy_engine(), toy_engine()
    plain.run()

    def change(epoch):
        if epoch == 2:
            with torch.no_grad():
                changed.module[0].weight.add_(1.0)

    changed.run(on_epoch=change)
    assert (changed.module[0].weight - plain.module[0].weight).abs().max() > 0.1


# --- seeds, interruptions, divergence ---


@pytest.mark.parametrize("case", ["vibcreg, gauss", "prior, masked, untied", "fcn"])
def test_equal_seeds_give_equal_numbers(case):
    engines = [CASES[case](seed=seed) for seed in (3, 3, 4)]
    histories = [engine.run() for engine in engines]
    assert_equal_to_the_bit(engines[0], engines[1])
    assert histories[0] == histories[1] and histories[0] != histories[2]


@pytest.mark.parametrize("stop_at", [0, 1, 2, 3, 4])
def test_a_resumed_run_equals_an_undisturbed_one(tmp_path, stop_at):
    undisturbed = toy_engine()
    expected = undisturbed.run(on_epoch=lambda epoch: {"evaluated": 10 * epoch} if epoch % 2 == 0 else None)
    resumed, history, called = interrupted_run(toy_engine, tmp_path / "toy.checkpoint", stop_at)
    assert_equal_to_the_bit(undisturbed, resumed)
    assert history == expected
    assert called == list(range(stop_at, 5))  # finished epochs are not redone


@pytest.mark.parametrize("case", ["naive, restarts", "vibcreg, gauss", "barlowtwins, warp", "prior, kept, tied", "fcn"])
def test_resuming_the_real_trainings(tmp_path, case):
    build = functools.partial(CASES[case], epochs=3)
    undisturbed = build()
    expected = undisturbed.run(on_epoch=lambda epoch: {"evaluated": 10 * epoch} if epoch % 2 == 0 else None)
    resumed, history, _ = interrupted_run(build, tmp_path / "x.checkpoint", stop_at=2)
    assert_equal_to_the_bit(undisturbed, resumed)
    assert history == expected


def test_a_finished_checkpoint_trains_nothing(tmp_path):
    checkpoint = tmp_path / "toy.checkpoint"
    history = toy_engine().run(checkpoint=checkpoint)
    engine = toy_engine()
    assert engine.run(checkpoint=checkpoint) == history
    assert engine.batches == []


def test_a_half_written_checkpoint_is_never_read(tmp_path, monkeypatch):
    """Killed between writing and renaming the second checkpoint: the first one counts."""
    checkpoint, replaced = tmp_path / "toy.checkpoint", []
    replace = os.replace

    def cut_off(*names):
        replaced.append(names)
        if len(replaced) == 2:
            raise Interrupted
        replace(*names)

    monkeypatch.setattr(os, "replace", cut_off)
    with pytest.raises(Interrupted):
        toy_engine().run(checkpoint=checkpoint, checkpoint_seconds=0)
    monkeypatch.undo()
    half = checkpoint.read_bytes()[:100]
    (tmp_path / f"{checkpoint.name}.{os.getpid()}.partial").write_bytes(half)  # what a kill leaves behind
    resumed, undisturbed = toy_engine(), toy_engine()
    assert resumed.run(checkpoint=checkpoint) == undisturbed.run()
    assert len(resumed.batches) == 16 - 1  # the first one is of the first step
    assert_equal_to_the_bit(undisturbed, resumed)


def test_a_damaged_checkpoint_is_named(tmp_path):
    checkpoint = tmp_path / "toy.checkpoint"
    checkpoint.write_bytes(b"nothing that torch could read")
    with pytest.raises(BadInput, match="toy.checkpoint cannot be read: delete it"):
        toy_engine().run(checkpoint=checkpoint)


@pytest.mark.parametrize("other", ["epochs", "width", "names"])
def test_a_checkpoint_of_another_training_is_refused(tmp_path, other):
    checkpoint = tmp_path / "toy.checkpoint"
    toy_engine().run(checkpoint=checkpoint)
    engine = toy_engine(epochs=5 if other == "epochs" else 4)
    if other == "width":
        engine.module[0] = torch.nn.Linear(3, 9)
    if other == "names":
        engine.module.register_buffer("mean", torch.zeros(3))
    difference = "only one of the two has 0.mean" if other == "names" else "a tensor of shape .* instead of .*"
    with pytest.raises(BadInput, match=rf"toy.checkpoint is of another training \({difference}\): delete it"):
        engine.run(checkpoint=checkpoint)


def diverging_engine(bad_step=7):
    engine = toy_engine()
    draw = engine.draw

    def draw_nan(index, rng):
        inputs, targets = draw(index, rng)
        return inputs + (torch.nan if len(engine.batches) - 1 == bad_step else 0.0), targets

    engine.draw = draw_nan
    return engine


def test_divergence_names_the_step_and_keeps_the_good_checkpoint(tmp_path):
    checkpoint = tmp_path / "toy.checkpoint"
    with pytest.raises(TrainingDiverged, match=r"step 7 of 16.*The last good checkpoint is kept"):
        diverging_engine().run(checkpoint=checkpoint, checkpoint_seconds=0)
    undisturbed, resumed = toy_engine(), toy_engine()
    expected = undisturbed.run()
    assert resumed.run(checkpoint=checkpoint) == expected
    assert len(resumed.batches) == 16 - 7  # seven steps were good
    assert_equal_to_the_bit(undisturbed, resumed)


def test_divergence_without_a_checkpoint(tmp_path):
    for checkpoint in (None, tmp_path / "toy.checkpoint"):  # the first checkpoint would have come after a minute
        with pytest.raises(TrainingDiverged, match=r"step 7 of 16") as caught:
            diverging_engine().run(checkpoint=checkpoint)
        assert "checkpoint is kept" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_last_step_that_breaks_the_weights_is_caught():
    """The loss is finite to the end, but the gradient of its last step is not: d sqrt(u) / du at u = 0."""
    calls = []

    def break_last(terms):
        calls.append(terms)
        return terms if len(calls) < 16 else ToyLoss(terms.total + (0 * terms.total).sqrt(), terms.size)

    with pytest.raises(TrainingDiverged, match="of 16"):
        toy_engine(wrap_loss=break_last).run()


def test_scores_of_broken_weights_do_not_hide_the_cause():
    """NaN weights make the scores fail first; the error still names the step."""

    def judge(epoch):
        if epoch == 2:
            raise BadInput("features hold NaN")

    with pytest.raises(TrainingDiverged, match="step 7 of 16"):
        diverging_engine().run(on_epoch=judge)
    with pytest.raises(BadInput, match="features hold NaN"):
        toy_engine().run(on_epoch=judge)


def test_infinite_losses_are_caught_too():
    engine = toy_engine(wrap_loss=lambda terms: ToyLoss(terms.total / 0, terms.size))
    with pytest.raises(TrainingDiverged, match="step 0 of 16"):
        engine.run()


# --- precision ---


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_of_the_products(precision, dtype):
    engine, dtypes = toy_engine(settings={"precision": precision}), set()
    engine.module[0].register_forward_hook(lambda module, arguments, output: dtypes.add(output.dtype))
    history = engine.run()
    assert dtypes == {dtype}
    assert {p.dtype for p in engine.module.parameters()} == {torch.float32}
    assert history[-1]["total"] < history[0]["total"]


@pytest.mark.parametrize("case", ["naive, restarts", "vibcreg, gauss", "prior, masked, untied", "fcn"])
def test_bf16_stays_close_to_fp32(case):
    first = [CASES[case](precision=precision, epochs=1).run()[0]["total"] for precision in ("fp32", "bf16")]
    assert first[0] != first[1] and first[1] == pytest.approx(first[0], rel=0.05)


# --- the three trainings ---


def test_draws_of_the_prior_training():
    """Tokens follow softmax(token_logits), a fifth of the classes is dropped, masks are as asked for."""
    logits = torch.log(torch.tensor([0.1, 0.2, 0.7])).expand(500, 8, 3)
    prior = MaskGIT(8, 3, 4, dim=8, width=8, depth=1, heads=1)
    engine = prior_engine(prior, logits, torch.arange(500) % 4, t_per_sample=False, p_unconditional=0.2)
    index, generator = torch.randperm(500), torch.Generator().manual_seed(0)
    tokens, conditions, is_masked = engine.draw(index, generator)
    shares = torch.bincount(tokens.flatten(), minlength=3) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.2, 0.7]), atol=0.03, rtol=0)
    dropped = conditions == 4
    assert 0.13 < dropped.double().mean() < 0.27
    assert torch.equal(conditions[~dropped], (index % 4)[~dropped])
    assert len(is_masked.sum(dim=1).unique()) == 1
    again = engine.draw(index, generator)[0]
    assert not torch.equal(again, tokens)  # drawn afresh
    least = prior_engine(prior, logits, torch.arange(500) % 4, min_masked=3).draw(index, generator)[2]
    assert least.sum(dim=1).min() == 3 and len(least.sum(dim=1).unique()) > 3


def test_views_are_drawn_from_the_batch():
    seen = []

    def view(batch, generator=None):
        seen.append((batch, generator))
        return batch + 1

    engine = tokenizer_case(barlow_twins, view)
    batch, augmented = engine.draw(torch.tensor([3, 1]), engine.generator)
    assert batch.shape == (2, 1, 33) and torch.equal(augmented, batch + 1)
    assert seen[0][0] is batch and seen[0][1] is engine.generator


def test_kmeans_start_lies_among_the_latents():
    tokenizer = Tokenizer(32, dim=4, n_blocks=1, codebook_size=4, kmeans_init=True)
    x = 100 * torch.randn(24, 1, 32)
    with torch.no_grad():
        tokenizer.quantizer.codebook.fill_(1e6)
    tokenizer_engine(tokenizer, x, batch_size=16)
    assert not tokenizer.quantizer.needs_init
    z = tokenizer.train().latents(x)
    assert tokenizer.quantizer.codebook.abs().max() < 2 * z.abs().max()


def test_fcn_learns_a_separable_set():
    y = torch.arange(40) % 2
    x = torch.randn(40, 1, 24) + 3.0 * y[:, None, None]
    fcn = FCN(2)
    history = train_fcn(fcn, x, y, epochs=8, batch_size=16, seed=0)
    assert history[-1]["total"] < 0.5 * history[0]["total"]
    assert (fcn.eval()(x).argmax(dim=1) == y).double().mean() > 0.95


def test_train_functions_pass_the_loop_on(tmp_path):
    x, seen = torch.randn(6, 1, 16), []
    tokenizer = Tokenizer(16, dim=4, n_blocks=1, codebook_size=4)
    loop = dict(checkpoint=tmp_path / "t.checkpoint", on_epoch=seen.append)
    assert len(train_tokenizer(tokenizer, x, epochs=2, loop=loop)) == 2
    assert seen == [0, 1, 2] and (tmp_path / "t.checkpoint").exists()


# --- what a CUDA graph can hold ---


@every_case
def test_a_step_never_waits_for_the_device(case):
    """... and runs the same operations whatever the batch size: no Python loop over the series."""
    engine = CASES[case]()
    assert engine.sizes == [16, 4]
    full, remainder = (operations_of(engine, size) for size in engine.sizes)
    assert len(full) > 50 and full == remainder


@pytest.mark.parametrize(
    "sync",
    [
        lambda t: t.sum().item(), lambda t: float(t.sum()), lambda t: t if t.sum() > 0 else -t, lambda t: t.tolist(),
        lambda t: t.detach().numpy(), lambda t: t.cpu(), lambda t: t[t > 0], lambda t: t.nonzero(),
        lambda t: t.masked_select(t > 0), lambda t: t.unique(), lambda t: t + torch.tensor([1.0]),
        lambda t: t.detach().clone().index_put_((t > 0,), torch.zeros(())), lambda t: torch.equal(t, t),
    ],
)  # fmt: skip
def test_the_watch_sees_what_waits(sync):
    """A single forbidden call inside the loss is caught, and nothing is without it."""
    assert operations_of(toy_engine(), 5)
    engine = toy_engine(wrap_loss=lambda terms: (sync(terms.total[None]), terms)[1])
    with pytest.raises(HostSync):
        operations_of(engine, 5)


@pytest.mark.gpu
@needs_gpu
@every_case
def test_captured_steps_equal_eager_steps(case):
    """Both batch sizes, two epochs: the losses agree step by step, and so does the way the parameters went.

    The direction is compared, not single weights: of those that batch norm makes irrelevant the gradient is rounding.
    """
    captured, eager = CASES[case](device="cuda"), CASES[case](device="cuda")
    start = torch.cat([p.detach().flatten().clone() for p in captured.module.parameters()])
    captured.capture()
    assert set(captured.graphs) == {16, 4}
    eager._run_step = eager.step
    for epoch in range(2):
        for engine in (captured, eager):
            engine.generator.manual_seed(derive_seed(0, epoch))
        order = torch.randperm(20, device="cuda", generator=torch.Generator("cuda").manual_seed(epoch))
        for index in order.split([16, 4]):
            captured._run_step(index)
            eager._run_step(index)
            torch.testing.assert_close(captured.sums, eager.sums, rtol=2e-3, atol=1e-4)
            assert captured.lr.item() == eager.lr.item() > 0
    assert captured.steps_done.item() == eager.steps_done.item() == 4
    moves = [torch.cat([p.detach().flatten() for p in e.module.parameters()]) - start for e in (captured, eager)]
    assert F.cosine_similarity(*moves, dim=0) > 0.95
    assert moves[0].norm() == pytest.approx(moves[1].norm().item(), rel=0.05)


@pytest.mark.gpu
@needs_gpu
@every_case
def test_whole_runs_on_a_gpu(case, tmp_path):
    """Captured runs, undisturbed and resumed, tell the same story as an eager one."""
    build = functools.partial(CASES[case], device="cuda", epochs=3)
    eager = build()
    eager.capture, eager._run_step = (lambda: None), eager.step
    expected = [row["total"] for row in eager.run()]
    undisturbed = [row["total"] for row in build().run()]
    _, history, _ = interrupted_run(build, tmp_path / "x.checkpoint", stop_at=2)
    resumed = [row["total"] for row in history if "total" in row]
    np.testing.assert_allclose(undisturbed, expected, rtol=0.02)
    np.testing.assert_allclose(resumed, undisturbed, rtol=0.02)


def test_restarted_codes_come_from_the_runs_generator():
    """With codes that are restarted all the time, the global random state changes nothing (Q11, improved)."""
    results = []
    for global_seed in (1, 2):
        torch.manual_seed(0)
        tokenizer = Tokenizer(32, dim=8, n_blocks=1, codebook_size=16, expire_below=1e6)
        x = torch.randn(24, 1, 32)
        torch.manual_seed(global_seed)
        history = train_tokenizer(tokenizer, x, epochs=3, batch_size=8, seed=5)
        results.append((history, tokenizer.quantizer.codebook.clone()))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])
