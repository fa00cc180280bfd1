"""The encoder, the loop and learning from few labels: what they compute, what they leave untouched and refuse."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from toy_family import made, seeded

from ncvqvae_lite import gestures, vicreg
from ncvqvae_lite.errors import BadInput, TrainingDiverged
from ncvqvae_lite.family.common import (
    ResNet1d,
    accuracy,
    few_labels,
    fine_tune,
    from_scratch,
    knn_probe,
    linear_probe,
    pretrain,
    with_projector,
)
from ncvqvae_lite.family.contrast import nt_xent
from ncvqvae_lite.family.views import simclr_views
from ncvqvae_lite.inference import batched


def weights(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


X = torch.randn(20, 1, 40, generator=seeded(9))
Y = torch.arange(20) % 3


# --- the encoder ---


@pytest.mark.parametrize(("channels", "length"), [(1, 128), (3, 100), (6, 24), (1, 1)])
def test_features_of_any_length(channels, length):
    net = ResNet1d(channels)
    assert net.eval()(torch.randn(2, channels, length)).shape == (2, 64)
    assert 55_000 < sum(p.numel() for p in net.parameters()) < 60_000


def test_the_encoder_is_the_one_that_is_described():
    """The forward pass again, of plain functions and the network's own numbers, in eval mode."""
    net = made(ResNet1d, 2)
    net(torch.randn(8, 2, 30, generator=seeded()))  # batch norms are no identities any more
    net.eval()
    w = net.state_dict()

    def norm(h, name):
        mean, var, scale, shift = (w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return (h - mean[:, None]) / (var[:, None] + 1e-5).sqrt() * scale[:, None] + shift[:, None]

    x = torch.randn(3, 2, 30, generator=seeded(1))
    h = norm(F.conv1d(x, w["stem.0.weight"], stride=2, padding=3), "stem.1").relu()
    for block, stride in enumerate((1, 2, 2)):
        at = f"blocks.{block}"
        f = norm(F.conv1d(h, w[f"{at}.f.0.weight"], stride=stride, padding=1), f"{at}.f.1").relu()
        f = norm(F.conv1d(f, w[f"{at}.f.3.weight"], padding=1), f"{at}.f.4")
        h = (f + F.conv1d(h, w[f"{at}.skip.weight"], stride=stride)).relu()
    torch.testing.assert_close(net(x), h.mean(dim=2))


def test_a_projector_goes_behind_the_encoder():
    net = with_projector(made(ResNet1d, 1), 64, 256, 256, 32)
    assert [type(layer).__name__ for layer in net.projector] == (
        "Linear BatchNorm1d ReLU Linear BatchNorm1d ReLU Linear".split()
    )
    assert net(X).shape == (20, 32) and net.encoder(X).shape == (20, 64)
    torch.testing.assert_close(net.eval()(X), net.projector(net.encoder(X)))
    with pytest.raises(BadInput, match="the widths of h and of z at least"):
        with_projector(ResNet1d(1), 64)


# --- the loop ---


def linear_net():
    return made(lambda: nn.Sequential(nn.Flatten(), nn.Linear(40, 3)))


def test_the_loop_is_adam_on_pieces_of_a_shuffled_order():
    """The same, written out, with the same draws."""

    def views(x, g):
        return x + torch.rand(x.shape, generator=g), 2 * x

    net, again, g = linear_net(), linear_net(), seeded(5)
    history = pretrain(net, views, nt_xent, X, steps=5, batch=8, lr=0.01, g=seeded(5))
    moments = {p: [torch.zeros_like(p), torch.zeros_like(p)] for p in again.parameters()}
    for step in range(5):
        if step % 2 == 0:  # 20 series are two batches of 8
            order = torch.randperm(20, generator=g)
        a, b = views(X[order[8 * (step % 2) :][:8]], g)
        value = nt_xent(again(a), again(b))
        assert history[step] == pytest.approx(value.item(), rel=1e-5)
        for p, gradient in zip(again.parameters(), torch.autograd.grad(value, list(again.parameters())), strict=True):
            m, v = moments[p]
            m.mul_(0.9).add_(0.1 * gradient)
            v.mul_(0.999).add_(0.001 * gradient**2)
            change = m / (1 - 0.9 ** (step + 1)) / ((v / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
            p.data -= 0.01 * change
    for one, other in zip(net.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_equal_generators_give_equal_networks_and_nothing_else_moves():
    x, state = X.clone(), torch.random.get_rng_state()
    nets = [with_projector(made(ResNet1d, 1), 64, 8) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    torch.random.set_rng_state(state)
    histories = [pretrain(net, simclr_views, nt_xent, X, steps=3, batch=10, lr=1e-3, g=seeded()) for net in nets]
    assert histories[0] == histories[1] and len(histories[0]) == 3
    assert equal(nets[0].state_dict(), nets[1].state_dict()) and not nets[0].training
    assert torch.equal(X, x) and torch.equal(torch.random.get_rng_state(), state)
    other = pretrain(made(linear_net), simclr_views, nt_xent, X, steps=3, batch=10, lr=1e-3, g=seeded(1))
    assert other != histories[0]


def test_a_module_as_the_loss_is_trained_along_and_a_slow_network_follows():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, a, b):
            return nt_xent(a * self.weight, b)

    class Slow:
        followed = 0

        def __call__(self, b):
            return torch.ones(len(b), 3)

        def follow(self, net):
            self.followed += 1

    loss, slow = Scaled(), Slow()
    pretrain(linear_net(), lambda x, g: (x, x), loss, X, steps=3, batch=4, lr=0.1, g=seeded(), slow=slow)
    assert slow.followed == 3 and not torch.equal(loss.weight, torch.ones(3))


def test_rows_may_be_numbers_or_columns_of_a_table():
    table = nn.Embedding(20, 4)
    before = table.weight.clone()
    pretrain(table, lambda i, g: (i, i.flip(0)), nt_xent, torch.arange(20), steps=2, batch=20, lr=0.1, g=seeded())
    assert not torch.equal(table.weight, before)
    pretrain(nn.Linear(5, 4), lambda x, g: (x, -x), nt_xent, torch.randn(9, 5), steps=1, batch=9, lr=0.1, g=seeded())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(batch=1), "batch must be from 2 to the number of series, 20, got 1"),
        (dict(batch=21), "batch must be from 2 to the number of series, 20, got 21"),
        (dict(x=X.masked_fill(X > 2, math.nan)), "NaN or infinite values"),
        (dict(x=torch.ones(3, 0)), r"expected series \(n, C, L\)"),
        (dict(steps=-1), "steps must be"),
        (dict(lr=-0.1), "lr must be 0 or more"),
        (dict(loss=vicreg), "a loss must return one number as a tensor, got VICReg"),
        (dict(g=3), "generator must be None or a torch.Generator"),
        (dict(net=len), "net must be a network"),
        (dict(views=3), "views must be a function, got 3"),
    ],
)
def test_other_arguments_of_the_loop_are_refused(changes, words):
    arguments = dict(net=linear_net(), views=lambda x, g: (x, x), loss=nt_xent, x=X, steps=1, batch=4, lr=1e-3, g=None)
    with pytest.raises(BadInput, match=words):
        pretrain(**arguments | changes)


def test_a_loss_that_is_no_number_stops_the_loop():
    with pytest.raises(TrainingDiverged, match="the loss is nan at step 0"):
        pretrain(linear_net(), lambda x, g: (x, x / 0 * 0), nt_xent, X, steps=1, batch=4, lr=1e-3, g=seeded())


def test_what_is_learned_tells_gestures_apart():
    """SimCLR on gestures: a probe of its features is better than that of the untrained encoder."""
    ds = gestures(160, 160)
    net = with_projector(made(ResNet1d, 3), 64, 64)
    before = [batched(net.encoder, x) for x in (ds.x_train, ds.x_test)]
    history = pretrain(net, simclr_views, nt_xent, ds.x_train, steps=40, batch=40, lr=2e-3, g=seeded())
    after = [batched(net.encoder, x) for x in (ds.x_train, ds.x_test)]
    assert sum(history[-5:]) < 0.8 * sum(history[:5])
    scores = [knn_probe(train, ds.y_train, test, ds.y_test) for train, test in (before, after)]
    assert scores[1] > 0.9 and scores[1] > scores[0]


# --- few labels ---


def test_few_labels_are_drawn_per_class():
    y = torch.tensor([0] * 5 + [1] * 9 + [2] * 3)
    rows = few_labels(y, 3, seeded())
    assert y[rows].tolist() == [0] * 3 + [1] * 3 + [2] * 3 and len(set(rows.tolist())) == 9
    assert torch.equal(rows, few_labels(y, 3, seeded())) and not torch.equal(rows, few_labels(y, 3, seeded(1)))
    assert torch.equal(few_labels(y, None, seeded()), torch.arange(17))
    drawn = torch.stack([torch.bincount(few_labels(y, 1, seeded(s)), minlength=17) for s in range(500)]).sum(dim=0)
    assert drawn[:5].min() > 60 and drawn[5:14].min() > 25 and drawn[14:].min() > 120
    with pytest.raises(BadInput, match="class 2 has 3 series, fewer than per_class=4"):
        few_labels(y, 4, seeded())


def test_fine_tuning_leaves_the_encoder_and_its_statistics_alone():
    net = made(ResNet1d, 1)
    net(X)
    before, x = weights(net), X.clone()
    tuned = fine_tune(net, X, Y, per_class=3, g=seeded(), epochs=2)
    assert equal(net.state_dict(), before) and torch.equal(X, x) and net.training
    assert tuned(X).shape == (20, 3) and not tuned.training
    moved = {name for name, value in tuned.encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name, _ in net.named_parameters()}  # all weights, no running statistics
    again = fine_tune(net, X, Y, per_class=3, g=seeded(), epochs=2)
    assert equal(tuned.state_dict(), again.state_dict())


def test_without_a_step_for_the_encoder_fine_tuning_is_a_logistic_regression():
    """With lr 0 the head alone is fitted: to the loss that a convex optimiser finds."""
    net = nn.Flatten()
    head = nn.Sequential(net, nn.Linear(40, 40))
    x = X[..., :40].double().float()
    nn.init.eye_(head[1].weight)
    nn.init.zeros_(head[1].bias)
    noisy = torch.randint(3, (20,), generator=seeded(3))
    tuned = fine_tune(head, x[..., :40], noisy, per_class=None, g=seeded(), lr=0.0, head_lr=0.05, epochs=300)
    assert torch.equal(tuned.encoder[1].weight, head[1].weight)
    assert accuracy(tuned, x, noisy) == 1 == linear_probe(x, noisy, x, noisy)  # 40 columns separate 20 rows


def test_from_scratch_trains_statistics_too():
    net = made(ResNet1d, 1)
    before = weights(net)
    trained = from_scratch(net, X, Y, per_class=3, g=seeded(), epochs=2)
    assert equal(net.state_dict(), before) and not trained.training
    assert not torch.equal(trained.encoder.stem[1].running_mean, before["stem.1.running_mean"])


def test_both_learn_classes():
    ds = gestures(120, 80)
    scratch = from_scratch(made(ResNet1d, 3), ds.x_train, ds.y_train, per_class=5, g=seeded(), epochs=30, lr=5e-3)
    predicted = batched(scratch, ds.x_test).argmax(dim=1)
    assert accuracy(scratch, ds.x_test, ds.y_test) == (predicted == ds.y_test).double().mean().item() > 0.7
    tuned = fine_tune(scratch.encoder, ds.x_train, ds.y_train, per_class=5, g=seeded(), epochs=20, head_lr=0.01)
    assert accuracy(tuned, ds.x_test, ds.y_test) > 0.7


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (X, Y[:19], r"labels of shape \(20,\), got \(19,\)"),
        (X, Y - 1, "labels run from -1 to 1"),
        (X, Y + 0.5, "labels must be whole numbers"),
        (X.masked_fill(X > 2, math.nan), Y, "NaN or infinite"),
        (X.expand(-1, 2, -1), Y, r"expected series of shape \(B, 1, L\)"),
    ],
)
def test_other_series_and_labels_are_refused(x, y, words):
    net = copy.deepcopy(made(ResNet1d, 1))
    for train in (fine_tune, from_scratch):
        with pytest.raises(BadInput, match=words):
            train(net, x, y, per_class=2, g=seeded())
