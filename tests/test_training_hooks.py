"""Other optimisers than AdamW, and a second player: against plain loops, resumed to the bit, never waiting."""

import copy
import functools
from typing import NamedTuple

import pytest
import torch
from torch import nn
from toy_training import assert_equal_to_the_bit, flat, interrupted_run, needs_gpu, operations_of, toy_engine

from ncvqvae_lite.errors import BadInput, TrainingDiverged
from ncvqvae_lite.training_engine import StepEngine
from ncvqvae_lite.training_optim import SCHEDULES, Optim, Player, adamw


class Orthogonal(torch.optim.Optimizer):
    """Moves a matrix by `lr` along the orthogonal factor of its momentum, found by Newton's iteration."""

    def __init__(self, parameters, lr, momentum=0.5):
        super().__init__(parameters, dict(lr=lr, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if not self.state[p]:
                    self.state[p]["momentum"] = torch.zeros_like(p)
                momentum = self.state[p]["momentum"].mul_(group["momentum"]).add_(p.grad)
                x = momentum / (momentum.norm() + 1e-12)
                for _ in range(30):
                    x = 1.5 * x - 0.5 * x @ x.T @ x
                p.sub_(group["lr"] * x)


def by_kind(module, lr, optim, capturable):
    """Matrices by `Orthogonal`, the rest by AdamW."""
    parameters = list(module.parameters())
    rest = torch.nn.ParameterList([p for p in parameters if p.ndim < 2])
    return [Orthogonal([p for p in parameters if p.ndim == 2], lr), *adamw(rest, lr, optim, capturable)]


# --- optimisers of other kinds ---

KINDS = functools.partial(toy_engine, settings={"optimizers": by_kind})


def test_each_parameter_is_moved_by_its_optimiser():
    engine = KINDS()
    before = {name: p.detach().clone() for name, p in engine.module.named_parameters()}
    engine.step(torch.arange(5))
    for name, p in engine.module.named_parameters():
        move = (p - before[name]).detach()
        if p.ndim == 2:  # all singular values are the learning rate
            torch.testing.assert_close(torch.linalg.svdvals(move), torch.full((min(p.shape),), 0.05), rtol=1e-3, atol=0)
            assert set(engine.optimizers[0].state[p]) == {"momentum"} and p not in engine.optimizers[1].state
        else:  # the first step of AdamW: the sign of the gradient, and weight decay
            expected = -0.05 * (p.grad.sign() + 0.01 * before[name])
            torch.testing.assert_close(move, expected, rtol=1e-3, atol=1e-6)
            assert "exp_avg" in engine.optimizers[1].state[p] and p not in engine.optimizers[0].state


def sgd(module, lr, optim, capturable):
    return [torch.optim.SGD(module.parameters(), lr=lr, momentum=0.9, weight_decay=optim.weight_decay, fused=True)]


def plain_sgd(module):
    return [torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)]


def plain_by_kind(module):
    weights = [p for p in module.parameters() if p.ndim < 2]
    return [
        Orthogonal([p for p in module.parameters() if p.ndim == 2], 0.1),
        torch.optim.AdamW(weights, lr=0.1, weight_decay=0.01, foreach=False, fused=False),
    ]


@pytest.mark.parametrize(("optimizers", "plain"), [(by_kind, plain_by_kind), (sgd, plain_sgd)])
def test_steps_equal_a_plain_loop(optimizers, plain):
    """Also where weight decay enters the momentum (SGD): making its state must leave no trace in it."""
    engine = toy_engine(settings={"optimizers": optimizers}, lr=0.1)
    net = copy.deepcopy(engine.module)
    engine.run()
    others = plain(net)
    for step, (inputs, targets) in enumerate(engine.batches):
        for optimizer in others:
            optimizer.zero_grad()
            optimizer.param_groups[0]["lr"] = 0.1 * float(SCHEDULES["cosine"](torch.tensor(step).double(), 16))
        ((net(inputs) - targets) ** 2).mean().backward()
        for optimizer in others:
            optimizer.step()
    for found, expected in zip(engine.module.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_making_the_state_moves_nothing():
    engine, untouched = KINDS(), toy_engine()
    for one, other in zip(engine.module.parameters(), untouched.module.parameters(), strict=True):
        assert torch.equal(one, other) and one.grad is None
    assert not any(value.any() for value in flat(engine.state()["moments"]).values())


def forgets_biases(module, lr, optim, capturable):
    return by_kind(module, lr, optim, capturable)[:1]


def moves_matrices_twice(module, lr, optim, capturable):
    return [*by_kind(module, lr, optim, capturable)[:1], *adamw(module, lr, optim, capturable)]


@pytest.mark.parametrize("optimizers", [forgets_biases, moves_matrices_twice])
def test_shares_that_overlap_or_leave_a_gap_are_refused(optimizers):
    with pytest.raises(BadInput, match="optimisers that together hold each parameter of the module once"):
        toy_engine(settings={"optimizers": optimizers})


def test_a_state_that_could_not_be_resumed_is_refused():
    class Counting(torch.optim.SGD):
        def step(self):
            for p in self.param_groups[0]["params"]:
                self.state[p]["calls"] = 1

    with pytest.raises(BadInput, match="the state 'calls' of Counting is 1: make it a tensor"):
        toy_engine(settings={"optimizers": lambda module, *_: [Counting(module.parameters())]})


# --- a second player ---


class MakerLoss(NamedTuple):
    total: torch.Tensor
    spread: torch.Tensor


class CriticLoss(NamedTuple):
    critic: torch.Tensor


class Watch(nn.Module):
    """Hands on what it gets, and keeps count of it in buffers."""

    def __init__(self, dim):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(dim))

    def forward(self, x):
        self.calls += 1
        self.mean.lerp_(x.detach().mean(dim=0), 0.1)
        return x


def game(settings=None, device="cpu", lr=0.02, wrap=lambda loss: loss, **optim):
    """A maker of points from noise, and a critic that tells them from 17 given ones."""
    x = torch.randn(17, 2, generator=torch.Generator().manual_seed(1)).to(device) + 3
    with torch.random.fork_rng():
        torch.manual_seed(2)
        maker = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)).to(device)
        critic = nn.Sequential(nn.Linear(2, 8), Watch(8), nn.Tanh(), nn.Linear(8, 1)).to(device)
    batches = []

    def draw(index, generator):
        batches.append((x[index], torch.randn(len(index), 2, generator=generator, device=device)))
        return batches[-1]

    def maker_loss(real, noise, _):
        made = maker(noise)
        return MakerLoss(-critic(made).mean(), made.var())

    def critic_loss(real, noise, _):
        with torch.no_grad():
            made = maker(noise)
        return CriticLoss(wrap(critic(made).mean() - critic(real).mean()))

    second = Player(critic, critic_loss, CriticLoss._fields, **settings or {})
    optim = Optim(epochs=4, batch_size=5, lr=lr, weight_decay=0.01).changed(**optim)
    settings = dict(terms=MakerLoss._fields, n=17, optim=optim, seed=0, second=second)
    engine = StepEngine(maker, draw, maker_loss, **settings)
    engine.batches, engine.critic = batches, critic
    return engine


def test_two_players_equal_a_plain_loop():
    """The maker moves first, then the critic, who sees what the maker makes by then; neither moves the other."""
    engine = game()
    maker, critic = copy.deepcopy(engine.module).train(), copy.deepcopy(engine.critic).train()
    history = engine.run()
    assert list(history[0]) == ["epoch", "total", "spread", "critic"]
    settings = dict(lr=0.02, weight_decay=0.01, foreach=False, fused=False)
    first, second = (torch.optim.AdamW(net.parameters(), **settings) for net in (maker, critic))
    losses = []
    for step, (real, noise) in enumerate(engine.batches):
        for optimizer in (first, second):
            optimizer.param_groups[0]["lr"] = 0.02 * float(SCHEDULES["cosine"](torch.tensor(step).double(), 16))
        first.zero_grad()
        (-critic(maker(noise)).mean()).backward()
        first.step()
        second.zero_grad()  # of what the maker's loss left there
        loss = critic(maker(noise).detach()).mean() - critic(real).mean()
        loss.backward()
        second.step()
        losses.append(loss.item() * len(real))
    for ours, theirs in ((engine.module, maker), (engine.critic, critic)):
        for (name, found), expected in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-3, msg=name)
    assert sum(losses[4:8]) / 17 == pytest.approx(history[1]["critic"], rel=1e-3, abs=1e-5)


def test_an_average_is_of_the_first_player():
    engine = game(average=0.5)
    own = copy.deepcopy(engine.critic.state_dict())
    engine.run()
    assert engine.average.keys() == engine.module.state_dict().keys()
    assert engine.critic.state_dict().keys() == own.keys() and not torch.equal(engine.critic[0].weight, own["0.weight"])


def test_a_second_player_that_diverges_is_caught():
    with pytest.raises(TrainingDiverged, match="step 0 of 16"):
        game(wrap=lambda loss: loss / 0).run()


def test_terms_need_names_of_their_own():
    maker = game()
    second = Player(maker.critic, None, ("total",))
    with pytest.raises(BadInput, match="a name of its own for each term of the losses, got total, spread, total"):
        StepEngine(
            maker.module, None, None, terms=MakerLoss._fields, n=17, optim=Optim(epochs=1), seed=0, second=second
        )


# --- what holds for all of them ---

HOOKS = {
    "averaged": functools.partial(toy_engine, average=0.9),
    "orthogonal": KINDS,
    "orthogonal, averaged": functools.partial(KINDS, average=0.9),
    "two players": game,
    "two players, averaged, critic by orthogonal": functools.partial(
        game, settings={"optimizers": by_kind}, average=0.9
    ),
}
every_hook = pytest.mark.parametrize("hook", HOOKS)


@every_hook
@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_resumed_run_equals_an_undisturbed_one(hook, tmp_path, stop_at):
    undisturbed = HOOKS[hook]()
    expected = undisturbed.run(on_epoch=lambda epoch: {"evaluated": 10 * epoch} if epoch % 2 == 0 else None)
    resumed, history, _ = interrupted_run(HOOKS[hook], tmp_path / "x.checkpoint", stop_at)
    assert history == expected
    assert_equal_to_the_bit(undisturbed, resumed)


@every_hook
def test_a_step_never_waits_for_the_device(hook):
    engine = HOOKS[hook]()
    full, remainder = (operations_of(engine, size) for size in (5, 2))
    assert len(full) > 30 and full == remainder


@pytest.mark.gpu
@needs_gpu
@every_hook
def test_whole_runs_on_a_gpu(hook, tmp_path):
    """Captured runs, undisturbed and resumed, tell the same story as an eager one, and end with the same weights."""
    build = functools.partial(HOOKS[hook], device="cuda")
    eager = build()
    eager.capture, eager._run_step = (lambda: None), eager.step
    expected = [row["total"] for row in eager.run()]
    undisturbed = build()
    assert [row["total"] for row in undisturbed.run()] == pytest.approx(expected, rel=0.02, abs=1e-3)
    resumed, history, _ = interrupted_run(build, tmp_path / "x.checkpoint", stop_at=2)
    assert [row["total"] for row in history if "total" in row] == pytest.approx(expected, rel=0.02, abs=1e-3)
    for engine in (undisturbed, resumed):
        for found, like in zip(engine.module.parameters(), eager.module.parameters(), strict=True):
            torch.testing.assert_close(found, like, rtol=0.02, atol=2e-3)
