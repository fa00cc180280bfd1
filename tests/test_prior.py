"""The prior against a numpy transformer, exact expectations of its masks, and spies on its decoding."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from scipy import special
from torch.nn import functional as F

from ncvqvae_lite.errors import BadInput, NotFound
from ncvqvae_lite.prior import Attention, MaskGIT, RMSNorm, mask_positions, prior_loss
from ncvqvae_lite.training import train_prior

# Data set, tokens N, classes, parameters with the tied head and with the untied one (counted on the reference's).
THESIS = [
    ("FordA", 75, 2, 1_119_211, 1_118_816),
    ("ElectricDevices", 60, 7, 1_114_236, 1_114_336),
    ("StarLightCurves", 40, 3, 1_106_920, 1_107_680),
    ("Wafer", 45, 2, 1_108_621, 1_109_216),
    ("ECG5000", 40, 5, 1_107_048, 1_107_808),
    ("TwoPatterns", 40, 4, 1_106_984, 1_107_744),
    ("UWaveGestureLibraryAll", 70, 8, 1_117_830, 1_117_600),
    ("FordB", 75, 2, 1_119_211, 1_118_816),
    ("ShapesAll", 40, 60, 1_110_568, 1_111_328),
    ("SonyAIBORobotSurface1", 45, 2, 1_108_621, 1_109_216),
    ("SonyAIBORobotSurface2", 40, 2, 1_106_856, 1_107_616),
    ("Symbols", 60, 6, 1_114_172, 1_114_272),
    ("Mallat", 40, 8, 1_107_240, 1_108_000),
]
TINY = dict(dim=8, width=16, depth=1, heads=1)
N, K, MASK = 10, 5, 5


def tiny_prior(head="untied", n_classes=3, n_tokens=N, **arguments):
    """A small prior whose biases and gains are not at their trivial start values."""
    prior = MaskGIT(n_tokens, K, n_classes, head, **(TINY | arguments))
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return prior


class Scripted(MaskGIT):
    """A prior whose logits come from a function (tokens, classes) -> (B, N, K), and which records what it was shown."""

    def __init__(self, logits, n_tokens, codebook_size=K, n_classes=2):
        super().__init__(n_tokens, codebook_size, n_classes, **TINY)
        self.logits, self.shown = logits, []

    def forward(self, tokens, classes):
        self.shown.append((tokens.clone(), classes.clone()))
        return self.logits(tokens, classes)


def random_logits(tokens, classes):
    return torch.randn(*tokens.shape, K)


# --- the network ---


@pytest.mark.parametrize(("name", "n_tokens", "n_classes", "tied", "untied"), THESIS, ids=[row[0] for row in THESIS])
def test_parameters_of_the_thirteen_data_sets(name, n_tokens, n_classes, tied, untied):
    for head, expected in (("tied", tied), ("untied", untied)):
        with torch.device("meta"):
            prior = MaskGIT(n_tokens, 32, n_classes, head, extra_positions=True)
        assert sum(p.numel() for p in prior.parameters()) == expected, head


def test_rms_norm_is_the_vector_over_its_length():
    norm, x = RMSNorm(6), torch.randn(4, 3, 6)
    norm.gain.data = torch.randn(6)
    expected = x / x.norm(dim=-1, keepdim=True) * math.sqrt(6) * norm.gain
    torch.testing.assert_close(norm(x), expected, atol=1e-5, rtol=1e-5)


def loop_attention(x, qkv, out, heads):
    """x (N, width), one head and one query at a time, in float64; qkv (3 heads d, width): all q, all k, all v."""
    d = len(qkv) // (3 * heads)
    columns = []
    for head in range(heads):
        q, k, v = (x @ qkv[(part * heads + head) * d : (part * heads + head + 1) * d].T for part in range(3))
        mixed = []
        for query in q:
            scores = np.array([query @ key for key in k]) / math.sqrt(d)
            mixed.append(special.softmax(scores) @ v)
        columns.append(np.stack(mixed))
    return np.concatenate(columns, axis=1) @ out.T


def test_attention_against_loops():
    attention, x = Attention(12, heads=3, head_width=4), torch.randn(2, 5, 12)
    qkv, out = attention.qkv.weight.detach().double().numpy(), attention.out.weight.detach().double().numpy()
    expected = np.stack([loop_attention(row, qkv, out, heads=3) for row in x.double().numpy()])
    np.testing.assert_allclose(attention(x).detach().numpy(), expected, atol=1e-5)


def numpy_prior(prior, tokens, label):
    """The whole network for one series, in float64: tokens (N,) with K for [MASK], label -> logits (N, K)."""
    w = {name: value.double().numpy() for name, value in prior.state_dict().items()}

    def layer_norm(h, name):
        centred = h - h.mean(axis=-1, keepdims=True)
        unit = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return unit * w[name + ".weight"] + w[name + ".bias"]

    def rms_norm(h, name):
        return h / np.linalg.norm(h, axis=-1, keepdims=True) * math.sqrt(h.shape[-1]) * w[name + ".gain"]

    def gelu(h):
        return h * (1 + special.erf(h / math.sqrt(2))) / 2

    embedded = np.stack([w["table"][token] + w["positions"][i] for i, token in enumerate(tokens)])
    h = np.concatenate([w["classes"][[label]], layer_norm(embedded, "embedding_norm")])  # class first
    h = h @ w["to_width.weight"].T
    if "extra_positions" in w:
        h = h + w["extra_positions"] / math.sqrt(h.shape[-1])
    for i, block in enumerate(prior.blocks):
        name = f"blocks.{i}"
        qkv, out = w[f"{name}.attention.qkv.weight"], w[f"{name}.attention.out.weight"]
        h = h + loop_attention(rms_norm(h, f"{name}.norm1"), qkv, out, block.attention.heads)
        inner = rms_norm(h, f"{name}.norm2") @ w[f"{name}.feed_forward.0.weight"].T + w[f"{name}.feed_forward.0.bias"]
        h = h + gelu(inner) @ w[f"{name}.feed_forward.2.weight"].T + w[f"{name}.feed_forward.2.bias"]
    h = rms_norm(h, "final_norm") @ w["to_dim.weight"].T
    h = layer_norm(gelu(h @ w["pre_head.0.weight"].T + w["pre_head.0.bias"]), "pre_head.2")[1:]
    if "head.bias" in w:
        return (h @ w["table"].T + w["head.bias"])[:, :-1]
    return h @ w["head.linear.weight"].T + w["head.linear.bias"]


@pytest.mark.parametrize("extra_positions", [False, True])
@pytest.mark.parametrize("head", ["tied", "untied"])
def test_whole_network_against_numpy(head, extra_positions):
    prior = tiny_prior(head, extra_positions=extra_positions, depth=2, heads=2)
    tokens, classes = torch.randint(0, K + 1, (4, N)), torch.tensor([0, 1, 2, 3])  # 3: no class
    expected = np.stack([numpy_prior(prior, row.numpy(), int(c)) for row, c in zip(tokens, classes)])
    np.testing.assert_allclose(prior(tokens, classes).detach().numpy(), expected, atol=1e-4)


def test_embeddings_as_wide_as_the_blocks_meet_nothing_between():
    prior = MaskGIT(N, K, 3, dim=16, width=16, depth=2, heads=2)
    names = {name.split(".")[0] for name, _ in prior.named_parameters()}
    assert names == {"table", "classes", "positions", "blocks", "final_norm", "head"}
    tokens, classes = torch.randint(0, K + 1, (4, N)), torch.tensor([0, 1, 2, 3])
    h = torch.cat([prior.classes[classes][:, None], prior.table[tokens] + prior.positions[:N]], dim=1)
    expected = prior.final_norm(prior.blocks(h))[:, 1:] @ prior.head.linear.weight.T + prior.head.linear.bias
    torch.testing.assert_close(prior(tokens, classes), expected)


def test_zero_blocks_start_as_the_identity_and_learn():
    prior = MaskGIT(N, K, 3, dim=16, width=16, depth=2, heads=2, zero_blocks=True)
    h = torch.randn(3, N + 1, 16)
    assert torch.equal(prior.blocks(h), h)
    prior_loss(prior, torch.randint(0, K, (4, N)), torch.zeros(4, dtype=torch.int64), torch.rand(4, N) < 0.5).backward()
    for block in prior.blocks:
        assert block.attention.out.weight.grad.abs().sum() > 0 and block.feed_forward[-1].weight.grad.abs().sum() > 0


def test_order_of_the_tokens_matters():
    prior, tokens = tiny_prior(), torch.randint(0, K, (3, N))
    order, classes = torch.randperm(N), torch.zeros(3, dtype=torch.int64)
    moved = prior(tokens[:, order], classes)
    assert (moved - prior(tokens, classes)[:, order]).abs().max() > 0.1
    without_positions = copy.deepcopy(prior)
    without_positions.positions.data.zero_()
    moved = without_positions(tokens[:, order], classes)
    torch.testing.assert_close(moved, without_positions(tokens, classes)[:, order], atol=1e-4, rtol=1e-4)


def test_start_from_a_codebook():
    prior, codebook = tiny_prior(), torch.randn(K, 8)
    mask = prior.table[-1].clone()
    prior.start_from(codebook)
    assert torch.equal(prior.table[:-1], codebook) and torch.equal(prior.table[-1], mask)
    prior_loss(prior, torch.randint(0, K, (4, N)), torch.zeros(4, dtype=torch.int64), torch.rand(4, N) < 0.5).backward()
    assert (prior.table.grad[:-1].abs().sum(dim=1) > 0).any() and prior.table.grad[-1].abs().sum() > 0
    codebook.zero_()
    assert prior.table[:-1].abs().sum() > 0  # a copy


@pytest.mark.parametrize("head", ["tied", "untied"])
def test_save_and_load_are_exact(tmp_path, head):
    prior = tiny_prior(head, extra_positions=True)
    prior.save(tmp_path)
    loaded = MaskGIT.load(tmp_path)
    assert not loaded.training and loaded.arguments == prior.arguments
    for name, value in prior.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    tokens, classes = torch.randint(0, K + 1, (4, N)), torch.tensor([0, 1, 2, 3])
    assert torch.equal(loaded(tokens, classes), prior(tokens, classes))


def test_what_cannot_be_loaded_or_built(tmp_path):
    with pytest.raises(NotFound, match="no prior.safetensors"):
        MaskGIT.load(tmp_path)
    (tmp_path / "prior.safetensors").write_bytes(b"half a file")
    with pytest.raises(BadInput, match="is not a saved MaskGIT"):
        MaskGIT.load(tmp_path)
    with pytest.raises(BadInput, match="unknown head 'tide': choose one of tied, untied"):
        MaskGIT(N, K, head="tide")


# --- masks ---


def expected_share(n_tokens, polarity):
    """E[masked share] with n = floor(cos(pi t / 2) N), t ~ U(0, 1), by the midpoint rule."""
    t = (np.arange(1_000_000) + 0.5) / 1_000_000
    count = np.floor(np.cos(np.pi / 2 * t) * n_tokens)
    masked = n_tokens - count if polarity == "kept" else np.maximum(count, 1)
    return masked.mean() / n_tokens


@pytest.mark.parametrize(("polarity", "limit"), [("kept", 1 - 2 / math.pi), ("masked", 2 / math.pi)])
@pytest.mark.parametrize("n_tokens", [5, 40])
def test_mean_masked_share(polarity, limit, n_tokens, generator):
    is_masked = mask_positions(30_000, n_tokens, polarity, generator=generator)
    assert is_masked.shape == (30_000, n_tokens) and is_masked.dtype == torch.bool
    expected = expected_share(n_tokens, polarity)
    assert is_masked.double().mean().item() == pytest.approx(expected, abs=0.008)  # 4 standard errors
    assert expected_share(4000, polarity) == pytest.approx(limit, abs=1e-3)  # 0.36 and 0.64


def test_masked_share_above_ninety_percent(generator):
    """Share of draws with more than 90 % masked: 6 % where the cosine is kept, 29 % where it is masked."""
    for polarity, expected in (("kept", 2 / math.pi * math.asin(0.1)), ("masked", 2 / math.pi * math.acos(181 / 200))):
        count = mask_positions(8_000, 200, polarity, generator=generator).sum(dim=1)
        assert (count > 180).double().mean().item() == pytest.approx(expected, abs=0.02)  # 4 standard errors


@pytest.mark.parametrize("at_least", [0, 1, 2])
def test_least_number_of_masked_tokens(at_least, generator):
    """floor(5 cos) is below 1 where cos is below 1/5, and so on; such draws hide `at_least` tokens instead."""
    count = mask_positions(20_000, 5, "masked", at_least=at_least, generator=generator).sum(dim=1)
    assert count.min() == at_least and count.max() <= 5
    rare = 1 - 2 / math.pi * math.acos((at_least + 1) / 5)  # P(cos < (at_least + 1) / 5)
    assert (count == at_least).double().mean().item() == pytest.approx(rare, abs=0.015)


@pytest.mark.parametrize("polarity", ["kept", "masked"])
def test_one_share_per_batch_or_per_sample(polarity, generator):
    per_batch = [mask_positions(50, 40, polarity, False, generator=generator).sum(dim=1) for _ in range(20)]
    assert all(len(counts.unique()) == 1 for counts in per_batch)
    assert len(torch.cat(per_batch).unique()) > 5
    assert not torch.equal(
        *mask_positions(2, 40, "masked", False, generator=torch.Generator().manual_seed(1))
    )  # own positions
    assert len(mask_positions(200, 40, polarity, True, generator=generator).sum(dim=1).unique()) > 15


def test_masked_positions_are_uniform(generator):
    is_masked = mask_positions(40_000, 8, "masked", generator=generator).double()
    torch.testing.assert_close(is_masked.mean(dim=0), is_masked.mean().expand(8), atol=0.01, rtol=0)
    half = is_masked[is_masked.sum(dim=1) == 4]  # each pair is masked together in 4/8 * 3/7 of these
    together = (half.T @ half / len(half))[~torch.eye(8, dtype=torch.bool)]
    torch.testing.assert_close(together, torch.full_like(together, 3 / 14), atol=0.035, rtol=0)


def test_unknown_polarity():
    with pytest.raises(BadInput, match="unknown mask polarity 'hidden'"):
        mask_positions(2, 3, "hidden")


# --- the loss ---


@pytest.fixture
def batch(generator):
    """Tokens (6, N), classes (6,) and a mask (6, N) with 1 to N hidden tokens in a row."""
    hidden = torch.tensor([1, 2, 3, 5, 9, 10])[:, None]
    is_masked = torch.rand(6, N, generator=generator).argsort(dim=1) < hidden
    return torch.randint(0, K, (6, N), generator=generator), torch.randint(0, 4, (6,), generator=generator), is_masked


@pytest.mark.parametrize("masked_only", [True, False])
@pytest.mark.parametrize("head", ["tied", "untied"])
def test_loss_against_loops(batch, head, masked_only):
    tokens, classes, is_masked = batch
    prior, rows = tiny_prior(head), []
    for b in range(len(tokens)):
        shown = [MASK if is_masked[b, i] else int(tokens[b, i]) for i in range(N)]
        log_p = special.log_softmax(numpy_prior(prior, shown, int(classes[b])), axis=1)
        chosen = [i for i in range(N) if is_masked[b, i] or not masked_only]
        rows.append(np.mean([-log_p[i, tokens[b, i]] for i in chosen]))
    assert prior_loss(prior, tokens, classes, is_masked, masked_only).item() == pytest.approx(np.mean(rows), rel=1e-4)


def test_hidden_tokens_do_not_reach_the_network(batch):
    tokens, classes, is_masked = batch
    prior, calls = tiny_prior(), []
    prior.register_forward_hook(lambda module, arguments, logits: calls.append((*arguments, logits)))
    losses = [prior_loss(prior, tokens, classes, is_masked)]
    losses.append(prior_loss(prior, torch.where(is_masked, (tokens + 1) % K, tokens), classes, is_masked))
    assert all(torch.equal(one, other) for one, other in zip(*calls, strict=True))
    assert losses[0] != losses[1]  # they do reach the loss


def test_targets_of_visible_tokens_count_only_without_masked_only(batch):
    tokens, classes, is_masked = batch
    targets = torch.where(is_masked, tokens, (tokens + 1) % K)  # other targets wherever the token is visible
    for masked_only in (True, False):
        prior = tiny_prior()
        prior_loss(prior, tokens, classes, is_masked, masked_only).backward()
        gradient = prior.to_width.weight.grad.clone()
        prior.zero_grad()
        losses = F.cross_entropy(prior(tokens.masked_fill(is_masked, MASK), classes).flatten(0, 1), targets.flatten(),
                                 reduction="none").view_as(tokens)  # fmt: skip
        if masked_only:
            torch.stack([row[hidden].mean() for row, hidden in zip(losses, is_masked)]).mean().backward()
            torch.testing.assert_close(prior.to_width.weight.grad, gradient, atol=1e-6, rtol=1e-4)
        else:
            losses.mean().backward()
            assert (prior.to_width.weight.grad - gradient).abs().max() > 1e-3


# --- decoding ---


@pytest.mark.parametrize(("n_tokens", "steps"), [(10, 10), (10, 1), (5, 20), (7, 3), (1, 4), (40, 8)])
def test_every_token_is_filled(n_tokens, steps):
    prior = tiny_prior(n_tokens=n_tokens)
    tokens = prior.sample(9, class_index=1, steps=steps, generator=torch.Generator().manual_seed(3), batch_size=4)
    assert tokens.shape == (9, n_tokens) and tokens.dtype == torch.int64
    assert tokens.min() >= 0 and tokens.max() < K


def test_number_of_masked_tokens_by_hand():
    """N = 40, T = 10: floor(40 cos 9°), floor(40 cos 18°), ..., from a table of cosines."""
    prior = Scripted(random_logits, n_tokens=40)
    prior.sample(6)
    counts = [(tokens == MASK).sum(dim=1).unique().tolist() for tokens, _ in prior.shown]
    assert counts == [[40], [39], [38], [35], [32], [28], [23], [18], [12], [6]]


@pytest.mark.parametrize(("n_tokens", "steps"), [(9, 3), (8, 3), (5, 20), (75, 10), (12, 6)])
def test_number_of_masked_tokens_at_each_step(n_tokens, steps):
    prior = Scripted(random_logits, n_tokens)
    prior.sample(6, steps=steps)
    cosines = np.cos(np.pi * np.arange(steps) / (2 * steps))
    expected = [math.floor(round(n_tokens * c, 9)) for c in cosines]  # 8 cos 60° is 4, not 4 plus a rounding error
    for k in range(1, steps):  # every step reveals a token at least
        expected[k] = min(expected[k], expected[k - 1] - 1)
    expected = [count for count in expected if count > 0]
    assert [(tokens == MASK).sum(dim=1).tolist() for tokens, _ in prior.shown] == [[count] * 6 for count in expected]


def test_decided_tokens_stay():
    prior = Scripted(random_logits, n_tokens=30)
    result = prior.sample(20, steps=7)
    seen = [tokens for tokens, _ in prior.shown] + [result]
    for before, after in itertools.pairwise(seen):
        decided = before != MASK
        assert torch.equal(after[decided], before[decided])


def test_the_most_confident_tokens_are_decided_first():
    """Without noise, position i with confidence 1 - 0.0001 i is decided before i + 1."""
    p = 1 - 1e-4 * torch.arange(20)
    logits = torch.log(torch.stack([p, *[(1 - p + 1e-9) / (K - 1)] * (K - 1)], dim=-1))
    prior = Scripted(lambda tokens, classes: logits.expand(len(tokens), -1, -1), n_tokens=20)
    prior.sample(100, steps=4, choice_temperature=0.0)
    for (tokens, _), n_masked in zip(prior.shown[1:], (18, 14, 7), strict=True):
        in_order = ((tokens == MASK) == (torch.arange(20) >= 20 - n_masked)).all(dim=1)
        assert in_order.double().mean() > 0.9  # all but the few rows in which an unlikely token was drawn


def test_random_order_does_not_look_at_the_confidence():
    """Every position is as likely as any to be decided in the first step, whatever the prior is sure of."""
    sure = torch.zeros(20, K)
    sure[:10, 0] = 20.0  # of the first half
    prior = Scripted(lambda tokens, classes: sure.expand(len(tokens), -1, -1), n_tokens=20)
    prior.sample(4000, steps=4, order="random", generator=torch.Generator().manual_seed(0), batch_size=4000)
    decided = (prior.shown[1][0] != MASK).double().mean(dim=0)  # by position, 2 of 20 after the first step
    assert (decided.sum() - 2).abs() < 1e-9 and (decided - 0.1).abs().max() < 5 * math.sqrt(0.1 * 0.9 / 4000)
    for (before, _), (after, _) in itertools.pairwise(prior.shown):
        assert torch.equal(after[before != MASK], before[before != MASK])


def test_random_order_with_exact_conditionals_draws_from_the_chain():
    """Tokens of a two-state Markov chain, one a step by the true conditionals: the samples are the chain's."""
    stay, n_tokens = 0.9, 6

    def conditionals(tokens, classes):
        forward = [torch.full((len(tokens), 2), 0.5)]
        move = torch.tensor([[stay, 1 - stay], [1 - stay, stay]])
        seen = [torch.where(tokens[:, i, None] == 2, 1.0, F.one_hot(tokens[:, i].clamp(max=1), 2)) for i in range(6)]
        for i in range(1, n_tokens):
            forward.append((forward[-1] * seen[i - 1]) @ move)
        backward = [torch.ones(len(tokens), 2)]
        for i in range(n_tokens - 1, 0, -1):
            backward.insert(0, (backward[0] * seen[i]) @ move)
        return torch.log(torch.stack([f * b for f, b in zip(forward, backward, strict=True)], dim=1))

    prior = Scripted(conditionals, n_tokens, codebook_size=2)
    tokens = prior.sample(4000, steps=n_tokens, order="random", generator=torch.Generator().manual_seed(1))
    switches = (tokens[:, 1:] != tokens[:, :-1]).double().mean().item()
    assert switches == pytest.approx(1 - stay, abs=4 * math.sqrt(0.09 / 20000))
    by_confidence = prior.sample(4000, steps=n_tokens, generator=torch.Generator().manual_seed(1))
    assert (by_confidence[:, 1:] != by_confidence[:, :-1]).double().mean() < 1 - stay - 0.01  # surest first: biased


def test_an_unknown_order():
    with pytest.raises(BadInput, match="unknown order 'halton': choose one of confidence, random"):
        tiny_prior().sample(2, order="halton")


def test_gumbel_noise_on_the_confidence():
    """Two positions, two steps: the less certain one is hidden first with probability sigmoid(log(p1 / p0) / tau),

    because the difference of two Gumbel variables is logistic; tau = choice_temperature (1 - 1/2) in the first step.
    More steps than positions change nothing.
    """
    logits = torch.stack([torch.zeros(K), torch.tensor([60.0] + [0.0] * (K - 1))])  # p0 = 1/K, p1 = 1
    prior = Scripted(lambda tokens, classes: logits.expand(len(tokens), -1, -1), n_tokens=2)
    for temperature in (1.0, 4.0):
        prior.shown.clear()
        generator = torch.Generator().manual_seed(0)
        prior.sample(20_000, steps=3, choice_temperature=temperature, generator=generator, batch_size=20_000)
        hidden = (prior.shown[1][0][:, 0] == MASK).double().mean().item()
        assert hidden == pytest.approx(special.expit(math.log(K) / (temperature / 2)), abs=0.012)


def test_tokens_are_drawn_from_the_softmax():
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5])
    prior = Scripted(lambda tokens, classes: logits.expand(*tokens.shape, K), n_tokens=3)
    tokens = prior.sample(20_000, steps=1, generator=torch.Generator().manual_seed(0))
    shares = torch.stack([(tokens == k).double().mean(dim=0) for k in range(K)], dim=1)  # (3, K)
    torch.testing.assert_close(shares, torch.softmax(logits.double(), 0).expand(3, K), atol=0.015, rtol=0)


def test_guidance():
    """At s = 1 one pass a step; otherwise two, and the logits are null + s (conditional - null)."""
    conditional, null = torch.tensor([1.0, 0.0, 0.5, 0.0, -1.0]), torch.tensor([0.0, 1.0, 0.0, 0.5, 0.0])

    def logits(tokens, classes):
        return torch.where(classes[:, None, None] == 2, null, conditional).expand(*tokens.shape, K)

    prior = Scripted(logits, n_tokens=1)
    for guidance, passes in ((1.0, 1), (2.0, 2), (0.0, 2)):  # one token is revealed by one step
        prior.shown.clear()
        prior.sample(8, class_index=1, steps=3, guidance=guidance)
        assert len(prior.shown) == passes
        seen = [classes.unique().tolist() for _, classes in prior.shown]
        assert seen == ([[1]] if guidance == 1.0 else [[1], [2]])
        tokens = prior.sample(
            20_000, 1, steps=1, guidance=guidance, generator=torch.Generator().manual_seed(0), batch_size=20_000
        )
        shares = torch.bincount(tokens[:, 0], minlength=K) / 20_000
        expected = torch.softmax(null + guidance * (conditional - null), dim=0)
        torch.testing.assert_close(shares, expected, atol=0.015, rtol=0)


def test_equal_seeds_give_equal_samples():
    prior = tiny_prior()
    one, same, other = (prior.sample(16, generator=torch.Generator().manual_seed(s)) for s in (4, 4, 5))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_classes_are_passed_on():
    prior, wanted = Scripted(random_logits, n_tokens=4), torch.tensor([0, 1, 1, 0, 1])
    for class_index, expected in ((None, [2] * 5), (1, [1] * 5), (wanted, wanted.tolist())):
        prior.shown.clear()
        prior.sample(5, class_index, steps=2, batch_size=2)
        assert [classes.tolist() for _, classes in prior.shown[::2]] == [expected[:2], expected[2:4], expected[4:]]


def test_wrong_arguments_of_sample():
    prior = tiny_prior(n_classes=3)
    for class_index in (-1, 3, torch.tensor([0, 3])):
        with pytest.raises(BadInput, match=r"class_index must be in 0\.\.2.*knows 3 classes"):
            prior.sample(2, class_index)
    with pytest.raises(BadInput, match="class_index must be a number, got 'up'"):
        prior.sample(2, "up")
    with pytest.raises(BadInput, match="knows 0 classes"):
        tiny_prior(n_classes=0).sample(2, 0)
    for n, steps in ((0, 10), (2, 0)):
        with pytest.raises(BadInput, match="at least one sample and one decoding step"):
            prior.sample(n, steps=steps)


def test_a_wrong_number_of_classes():
    with pytest.raises(BadInput, match="3"):
        tiny_prior(n_classes=3).sample(5, torch.tensor([0, 1, 2]))  # three classes for five samples


def test_unlabelled_prior_samples():
    assert tiny_prior(n_classes=0).sample(3).max() < K


# --- learning ---


@pytest.mark.parametrize("head", ["tied", "untied"])
def test_a_prior_learns_which_class_has_which_tokens(head):
    """Class 0 is all 1, class 1 all 3: conditional samples follow, unconditional ones are one or the other."""
    classes = torch.arange(32) % 2
    tokens = torch.tensor([1, 3])[classes][:, None].expand(32, 6)
    logits = 50.0 * F.one_hot(tokens, K)
    prior = MaskGIT(6, K, 2, head, **TINY)
    history = train_prior(prior, logits, classes, epochs=150, batch_size=32, lr=1e-2, seed=0)
    assert history[-1]["total"] < 0.1 * history[0]["total"]
    prior.eval()
    generator = torch.Generator().manual_seed(0)
    wanted = torch.arange(60) % 2
    sampled = prior.sample(60, wanted, generator=generator)
    assert (sampled == torch.tensor([1, 3])[wanted][:, None]).double().mean() > 0.97
    free = prior.sample(60, generator=generator)
    assert ((free == 1) | (free == 3)).double().mean() > 0.95
    assert ((free == free[:, :1]).all(dim=1)).double().mean() > 0.9  # no mixture within a series
