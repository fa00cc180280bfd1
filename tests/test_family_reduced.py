"""TS-TCC, TF-C, CLOCS and ExpCLR: their views beside loops, their losses beside their formulas, that they learn."""

import math

import numpy as np
import pytest
import torch
from toy_family import made, seeded

from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.family.common import ResNet1d, pretrain
from ncvqvae_lite.family.contrast import nt_xent
from ncvqvae_lite.family.expert import Given, expclr, expert_features, expert_views
from ncvqvae_lite.family.reduced import (
    TSTCC,
    StepFeatures,
    TimeFrequency,
    beside_spectrum,
    channel_pair,
    halves,
    spectrum,
    tfc,
    tfc_code,
    tfc_terms,
    tfc_views,
    tstcc_views,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


# --- TS-TCC ---


def test_weak_views_are_scaled_and_strong_ones_are_cut_into_pieces():
    x = torch.arange(1.0, 31).expand(400, 2, 30).clone()
    weak, strong = tstcc_views(x, seeded(), jitter=0)
    scale = weak / x
    torch.testing.assert_close(scale, scale[..., :1].expand_as(x))
    assert scale[..., 0].mean().item() == pytest.approx(2, abs=0.2)
    assert scale[..., 0].std().item() == pytest.approx(1.1, abs=0.15)
    assert torch.equal(strong.sort(dim=2).values, x) and torch.equal(strong[:, 0], strong[:, 1])
    breaks = (strong[:, 0].diff(dim=1) != 1).sum(dim=1)
    assert set(breaks.tolist()) == set(range(8))  # 1 to 8 pieces, in whatever order
    noisy = tstcc_views(x, seeded())[1] - strong
    assert noisy.std().item() == pytest.approx(0.8, abs=0.02)


def test_temporal_loss_is_that_of_loops():
    loss, c, z = made(lambda: TSTCC(8, g=seeded())).double(), normal(5, 8), normal(5, 3, 8, seed=1)
    expected = 0.0
    for k, head in enumerate(loss.heads):
        for i in range(5):
            scores = [(head(c[i]) @ z[j, k]).item() for j in range(5)]
            expected += (math.log(sum(map(math.exp, scores))) - scores[i]) / 15
    assert loss.temporal(c, z).item() == pytest.approx(expected)
    torch.testing.assert_close(loss.temporal(0 * c, 0 * z), torch.tensor(math.log(5)).double(), atol=0.1, rtol=0)


def test_the_past_alone_is_read_and_the_step_is_the_generators():
    loss, z_a, z_b = made(lambda: TSTCC(8, g=seeded())).double().eval(), normal(5, 10, 8), normal(5, 10, 8, seed=1)
    for seed in range(10):
        t = int(torch.randint(7, (), generator=seeded(seed)))
        loss.g = seeded(seed)
        value = loss(z_a, z_b)
        c_a, c_b = loss.read(z_a[:, : t + 1]), loss.read(z_b[:, : t + 1])
        temporal = loss.temporal(c_a, z_b[:, t + 1 : t + 4]) + loss.temporal(c_b, z_a[:, t + 1 : t + 4])
        contextual = nt_xent(loss.project(c_a), loss.project(c_b))
        torch.testing.assert_close(value, temporal + 0.7 * contextual)


def waves(n=64, length=64):
    """Sines of random phase and frequency with noise: what comes next is told by what came before."""
    draw = torch.rand(2, n, 1, 1, generator=seeded(9))
    time = torch.arange(length) / length
    return torch.sin(2 * math.pi * ((2 + 6 * draw[0]) * time + draw[1])) + 0.1 * normal(n, 1, length).float()


def test_tstcc_learns_what_comes_next_unless_targets_are_shuffled():
    """Below log B for the true steps; for those of another series each it cannot be."""
    x, after = waves(), []
    for shuffled in (False, True):
        net, loss = made(lambda: StepFeatures(ResNet1d())), made(lambda: TSTCC(weight=0, g=seeded()))

        def shuffle(z_a, z_b, loss=loss):
            return loss(z_a, z_b[torch.randperm(len(z_b), generator=loss.g)])

        wrapped = Wrapped(loss, shuffle) if shuffled else loss
        history = pretrain(net, lambda x, g: (x, x), wrapped, x, steps=40, batch=16, lr=1e-3, g=seeded())
        after.append(np.mean(history[-10:]) / 2)
    assert after[0] < 0.85 * math.log(16) < 0.97 * math.log(16) < after[1]


class Wrapped(torch.nn.Module):
    def __init__(self, loss, call):
        super().__init__()
        self.loss, self.call = loss, call

    def forward(self, z_a, z_b):
        return self.call(z_a, z_b)


def test_step_features_are_averaged_by_the_encoder():
    net, x = made(lambda: StepFeatures(ResNet1d())).eval(), waves(4)
    assert net(x).shape == (4, 8, 64)
    torch.testing.assert_close(net(x).mean(dim=1), net.encoder(x))


# --- TF-C ---


def test_the_spectrum_of_a_sine_is_a_line_at_its_frequency():
    time = torch.arange(64.0) / 64
    x = torch.stack([torch.sin(2 * math.pi * 8 * time), torch.ones(64)])[None]
    size = spectrum(x)
    assert size.shape == x.shape
    assert size[0, 0].argmax() == 16  # of 33 bins on 64 steps
    assert size[0, 1].argmax() == 0
    expected = np.interp(np.arange(64) * 32 / 63, np.arange(33), abs(np.fft.rfft(x[0, 0].numpy())) / 8)
    np.testing.assert_allclose(size[0, 0], expected, atol=1e-5)
    torch.testing.assert_close(beside_spectrum(x), torch.cat([x, size], dim=1))


def test_views_of_the_spectrum():
    x = normal(40, 2, 100)
    clean, changed = tfc_views(x, seeded())
    own = spectrum(x)
    torch.testing.assert_close(clean, torch.cat([x, own], dim=1))
    assert (changed[:, :2] - x).std().item() == pytest.approx(0.5, abs=0.02)
    changed = changed[:, 2:]
    lost, same = changed == 0, changed == own
    assert lost.double().mean().item() == pytest.approx(0.09, abs=0.01)  # a tenth, of which a tenth gets more
    assert same.double().mean().item() == pytest.approx(0.81, abs=0.02)
    assert (changed >= 0).all() and (changed - own <= 0.1 * own.amax(dim=2, keepdim=True)).all()


def test_tfc_paper_and_code():
    a, b = normal(6, 8), normal(6, 8, seed=1)
    t, f, tb, fb = a[:, :4], a[:, 4:], b[:, :4], b[:, 4:]
    both = nt_xent(t, f)
    consistency = 3 + 3 * both - nt_xent(t, fb) - nt_xent(tb, f) - nt_xent(tb, fb)
    torch.testing.assert_close(tuple(tfc_terms(a, b)), (nt_xent(t, tb), nt_xent(f, fb), both, consistency))
    torch.testing.assert_close(tfc(a, b, weight=0.3), 0.3 * (nt_xent(t, tb) + nt_xent(f, fb)) + 0.7 * consistency)
    torch.testing.assert_close(tfc_code(a, b), 0.2 * (nt_xent(t, tb) + nt_xent(f, fb)) + both)


def test_tfc_trains_both_encoders():
    net, x = made(TimeFrequency), waves(32)
    before = [p.detach().clone() for p in net.parameters()]
    history = pretrain(net, tfc_views, tfc_code, x, steps=10, batch=16, lr=1e-3, g=seeded())
    assert history[-1] < history[0]
    assert all((now != old).any() for now, old in zip(net.parameters(), before))
    view = beside_spectrum(x)
    encoders = [net.nets[0].encoder(x), net.nets[1].encoder(spectrum(x))]
    torch.testing.assert_close(net.features(view), torch.cat(encoders, dim=1))
    assert net(view).shape == (32, 128)


# --- CLOCS ---


def test_halves_and_channels():
    x = normal(50, 3, 7)
    first, second = halves(x)
    assert torch.equal(first, x[..., :3]) and torch.equal(second, x[..., 3:6])
    one, other = channel_pair(x, seeded())
    seen = set()
    for i in range(50):
        i_one, i_other = (
            [c for c in range(3) if torch.equal(view[i, 0], x[i, c])] for view in (one, other)
        )  # fmt: skip
        assert len(i_one) == len(i_other) == 1 and i_one != i_other
        seen.add((*i_one, *i_other))
    assert len(seen) == 6


# --- ExpCLR ---


def test_expert_features():
    x = normal(12, 2, 16)
    x[:, 1] += torch.sin(2 * math.pi * 3 * torch.arange(16) / 16) * 5
    rows = []
    for series in x.numpy():
        columns = [[] for _ in range(8)]
        for v in series:
            power = abs(np.fft.rfft(v - v.mean())) ** 2
            values = [
                np.mean([abs(v[t] - v[t - 1]) for t in range(1, 16)]), power.argmax(), power.max() / power.sum(),
                sum((v[t] < 0) != (v[t - 1] < 0) for t in range(1, 16)),
                v[:8].std(), v[8:].std(), v.argmax(), v.argmin(),
            ]  # fmt: skip
            for column, value in zip(columns, values):
                column.append(value)
        rows.append(np.concatenate(columns))
    expected = np.array(rows, dtype=float)
    spread = expected.std(axis=0)
    expected = np.where(spread > 0, (expected - expected.mean(axis=0)) / np.where(spread > 0, spread, 1), 0)
    np.testing.assert_allclose(expert_features(x), expected, atol=1e-9)
    assert (expected[:, 3] == 0).all()  # the frequency of the second channel is always 3
    assert not expert_features(torch.ones(3, 1, 8)).any()


@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_expclr(tau):
    h, f = normal(5, 3), normal(5, 8, seed=1)
    apart = [[np.linalg.norm(f[i] - f[j]) for j in range(5)] for i in range(5)]
    largest, terms = np.max(apart), []
    for i in range(5):
        for j in range(i):
            similar = 1 - apart[i][j] / largest
            terms.append(((1 - similar) * 2.0 - np.linalg.norm(h[i] - h[j])) ** 2)
    expected = tau * math.log(np.mean(np.exp(np.array(terms) / tau)))
    assert expclr(h, f, delta=2.0, tau=tau).item() == pytest.approx(expected)
    assert expclr(h, f, delta=2.0, tau=1e6).item() == pytest.approx(np.mean(terms), rel=1e-4)
    assert expclr(h, f, delta=2.0, tau=1e-4).item() == pytest.approx(max(terms), rel=1e-2)


def test_expclr_of_equal_rows_has_a_gradient_and_it_learns():
    same = torch.ones(4, 3, requires_grad=True)
    value = expclr(same, torch.ones(4, 8))
    value.backward()
    assert value.item() == 0 and same.grad.isfinite().all()
    net, x = made(ResNet1d), waves()
    f, rows = expert_features(x), torch.arange(64)
    history = pretrain(
        net, expert_views(x, f), expclr, rows, steps=40, batch=32, lr=1e-3, g=seeded(), slow=Given()
    )  # fmt: skip
    assert np.mean(history[-5:]) < 0.5 * np.mean(history[:5])


# --- refused ---

A, X = normal(4, 6), normal(4, 1, 24)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: TSTCC(8, g=None)(normal(4, 3, 8), normal(4, 3, 8)), "3 encoded steps, expected more than the 3"),
        (lambda: TSTCC(8, tau=0, g=None), "tau must be above 0"),
        (lambda: TSTCC(8, g=None).temporal(torch.ones(1, 8), torch.ones(1, 3, 8)), "N at least 2"),
        (lambda: tstcc_views(X.fill_(math.nan), None), "fill gaps first"),
        (lambda: tfc_terms(A[:1], A[:1]), "at least 2 series, got 1"),
        (lambda: tfc(A, A, tau=0), "tau must be above 0"),
        (lambda: tfc(A, A, weight=2), "weight must be in 0..1"),
        (lambda: TimeFrequency()(torch.ones(3, 1, 24)), r"\(B, 2C, L\)"),
        (lambda: halves(torch.ones(3, 1, 1)), "has no halves"),
        (lambda: channel_pair(torch.ones(3, 1, 8), None), "at least 2 channels, got 1"),
        (lambda: expert_features(torch.ones(3, 1, 3)), "at least 4 steps, got 3"),
        (lambda: expert_views(A, A[:2]), "4 series and features of 2"),
        (lambda: expclr(A[:1], A[:1]), "at least 2 series, got 1"),
        (lambda: expclr(A, A[:2]), "of the same series"),
        (lambda: expclr(A, A, tau=0), "tau must be above 0"),
        (lambda: expclr(A, A * math.nan), "NaN or infinite values"),
    ],
)
def test_refused_in_one_sentence(call, words):
    with pytest.raises(BadInput, match=words) as error:
        call()
    assert "\n" not in str(error.value)
