"""The average of the weights: against a plain loop, seen by evaluations and left at the end, resumed to the bit."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from toy_training import (
    Interrupted,
    assert_equal_to_the_bit,
    flat,
    interrupted_run,
    operations_of,
    toy_engine,
)

from ncvqvae_lite.augmentations import gaussian_noise
from ncvqvae_lite.ssl_losses import Projector, vibcreg
from ncvqvae_lite.tokenizer import Tokenizer
from ncvqvae_lite.training import Branch, tokenizer_engine
from ncvqvae_lite.training_engine import derive_seed


def tokenizer_case(**optim):
    """Stage 1 with buffers of every kind: running statistics, counters, whitening, a codebook with restarts."""
    torch.manual_seed(1)
    branch = Branch(gaussian_noise, Projector(16, 32, whiten=True, groups=4), lambda a, b: 0.1 * vibcreg(a, b).total)
    tokenizer = Tokenizer(33, dim=8, n_blocks=1, codebook_size=6, kmeans_init=True, expire_below=20.0)
    optim = dict(average=0.9, epochs=3, batch_size=16) | optim
    return tokenizer_engine(tokenizer, torch.randn(20, 1, 33), branch, **optim)


CASES = {"toy": lambda **optim: toy_engine(**dict(average=0.9) | optim), "tokenizer": tokenizer_case}
both = pytest.mark.parametrize("case", CASES)


def snapshot(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same(state, expected):
    assert state.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in state.items())


def by_hand(states, decay):
    """Average over the states before the first step and after each of them, in float64."""
    average = {name: value.double().numpy() for name, value in states[0].items()}
    for k, state in enumerate(states[1:], start=1):
        d = min(decay, (1 + k) / (10 + k))
        for name, value in state.items():
            new = value.double().numpy()
            average[name] = d * average[name] + (1 - d) * new if value.is_floating_point() else new
    return average


@both
@pytest.mark.parametrize("decay", [0.3, 0.99])
def test_every_step_by_hand(case, decay):
    engine = CASES[case](average=decay)
    states = [snapshot(engine.module)]
    assert_same(engine.average, states[0])
    assert case == "toy" or {value.dtype for value in states[0].values()} >= {torch.float32, torch.int64}
    for size in engine.sizes * 6:
        engine.step(torch.arange(size))
        states.append(snapshot(engine.module))
    for name, expected in by_hand(states, decay).items():
        np.testing.assert_allclose(engine.average[name].numpy(), expected, rtol=1e-5, atol=1e-6, err_msg=name)


@both
def test_training_itself_does_not_feel_it(case):
    plain, averaged = CASES[case](average=0.0), CASES[case]()
    assert plain.average == {} and not any("average" in path for path in flat(plain.state()))
    for engine in (plain, averaged):
        engine.module.train()
        engine.generator.manual_seed(derive_seed(0, 0))
        for size in engine.sizes * 3:
            engine.step(torch.arange(size))
    assert_same(plain.module.state_dict(), averaged.module.state_dict())
    assert len(operations_of(averaged, averaged.sizes[0])) > len(operations_of(plain, plain.sizes[0]))


@both
def test_evaluations_see_it_and_the_run_ends_with_it(case):
    plain, averaged = CASES[case](average=0.0), CASES[case]()
    own, seen = [snapshot(averaged.module)], []
    step = averaged.step

    def watched(index):
        step(index)
        own.append(snapshot(averaged.module))

    averaged.step = watched
    history = averaged.run(on_epoch=lambda epoch: seen.append(snapshot(averaged.module)))
    assert history == plain.run()  # losses are those of the weights that are trained
    assert_same(own[-1], plain.module.state_dict())
    per_epoch = len(averaged.sizes)
    assert len(seen) == averaged.epochs + 1
    for epoch, state in enumerate(seen):
        for name, expected in by_hand(own[: epoch * per_epoch + 1], 0.9).items():
            np.testing.assert_allclose(state[name].numpy(), expected, rtol=1e-5, atol=1e-6, err_msg=name)
    assert_same(averaged.module.state_dict(), seen[-1])


def test_an_evaluation_that_fails_leaves_the_trained_weights():
    engine = CASES["toy"]()

    def fail(epoch):
        if epoch == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        engine.run(on_epoch=fail)
    plain = CASES["toy"](average=0.0)
    plain._run_epoch(0, look=lambda steps: None)
    assert_same(engine.module.state_dict(), plain.module.state_dict())


@both
@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_a_resumed_run_equals_an_undisturbed_one(case, tmp_path, stop_at):
    undisturbed = CASES[case](epochs=3)
    expected = undisturbed.run(on_epoch=lambda epoch: {"evaluated": 10 * epoch} if epoch % 2 == 0 else None)
    resumed, history, _ = interrupted_run(lambda: CASES[case](epochs=3), tmp_path / "x.checkpoint", stop_at)
    assert history == expected
    assert_equal_to_the_bit(undisturbed, resumed)


@both
def test_a_finished_checkpoint_gives_the_average_again(case, tmp_path):
    first, again = CASES[case](), CASES[case]()
    history = first.run(checkpoint=tmp_path / "x.checkpoint")
    assert again.run(checkpoint=tmp_path / "x.checkpoint") == history
    assert_same(again.module.state_dict(), first.module.state_dict())
    assert_same(again.module.state_dict(), again.average)


@both
def test_it_never_waits_for_the_device(case):
    engine = CASES[case]()
    full, remainder = (operations_of(engine, size) for size in (engine.sizes[0], engine.sizes[-1]))
    assert full == remainder


def test_tied_weights_and_float64_are_averaged_once():
    engine = toy_engine(average=0.9)
    net = copy.deepcopy(engine.module).double()
    assert all(value.dtype == torch.float64 for value in net.state_dict().values())
    tied = nn.ModuleList([net[0], net[0]])
    engine.module, engine.average = tied, {name: torch.zeros_like(value) for name, value in tied.state_dict().items()}
    engine.steps_done += 1
    engine._move_average()
    for name, value in tied.state_dict().items():
        torch.testing.assert_close(engine.average[name], (1 - 2 / 11) * value)
