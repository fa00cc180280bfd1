"""The recorded runs of chapter 14, masks and games: see `family.py`.

Trainings without labels are 400 steps of 64 series at a rate of 0.001 unless an item says otherwise: by `learn` (AdamW,
weight decay 0.05), but SimCLR and VICReg by `pretrain` (Adam, no decay). Where patches are hidden the network is a
`PatchNet` of patches of 8 steps (of 3 where a series has 24; of a token, 16, for a tokenizer's vocabulary). Accuracies
are of test series: "probe" is a logistic regression on frozen features of all train series; tuned_k and probe_k have k
labels of each class (tuned_all: all of them, in 10 epochs at 0.001), and so has scratch_k, the same network trained on
labels alone, at 0.001. What item "beit" calls "tuned" is tuned_28.
"""

import tempfile

import torch
from family_data import Item, normalised, splits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F

from ncvqvae_lite import ExperimentConfig, cell_folder, evaluate, load_dataset, load_run, run_experiment, vicreg
from ncvqvae_lite.family import views
from ncvqvae_lite.family.common import (
    ResNet1d,
    accuracy,
    few_labels,
    fine_tune,
    from_scratch,
    linear_probe,
    pretrain,
    with_projector,
)
from ncvqvae_lite.family.contrast import nt_xent
from ncvqvae_lite.family.game import NOISE, Discriminator, Generator, play, spread, two_sample_accuracy
from ncvqvae_lite.family.loop import learn
from ncvqvae_lite.family.masked import (
    MAE,
    BEiT,
    PatchNet,
    PatchTokens,
    TokenizerTokens,
    hidden_steps,
    interpolated,
    patch_mask,
)
from ncvqvae_lite.family.pretexts import FLIPS, ORDERS, Pretext, flips, other_channels, segments, ttt_predict
from ncvqvae_lite.inference import batched
from ncvqvae_lite.tokenizer import Tokenizer
from ncvqvae_lite.training import train_tokenizer

TEST = 1000  # series of a test split that are looked at
STEPS, BATCH, RATE, DECAY = 400, 64, 1e-3, 0.05
FEW, ALL_EPOCHS = 28, 10  # labels of each class; passes over all labels
TWO = "TwoPatternsGenerated"


def source(seed):
    return torch.Generator().manual_seed(seed)


def encoder_of(x, patch=None):
    """A `PatchNet` for series (n, C, L)."""
    length = x.shape[2]
    return PatchNet(length, x.shape[1], patch or (8 if length >= 64 else 3))


def learned(model, loss, x, g, steps=STEPS):
    """The model after `learn`, in eval mode."""
    learn(model, loss, x, steps=steps, batch=min(BATCH, len(x)), lr=RATE, g=g, weight_decay=DECAY)
    return model


def probe(embed, d):
    """A probe of frozen features, and what it gets of the train series that it has seen."""
    return probe_of(batched(embed, d.x_train), batched(embed, d.x_test), d)


def probe_of(train, test, d):
    """The same of features of the train and the test series, (n, D) each."""
    return {
        "probe": (linear_probe(train, d.y_train, test, d.y_test), len(test)),
        "probe_train": (linear_probe(train, d.y_train, train, d.y_train), len(train)),
    }


def tuned(encoder, d, seed, per_class=FEW, **how):
    """Accuracy of an encoder that is fine-tuned."""
    classifier = fine_tune(encoder, d.x_train, d.y_train, per_class=per_class, g=source(seed), **how)
    return accuracy(classifier, d.x_test, d.y_test), len(d.x_test)


# --- masked values ---


class Points(nn.Module):
    """A `PatchNet` that sees every step, hidden ones as 0, and a linear layer that tells the values of each patch.

    It differs from `MAE` in more than the mask: 0 is a usual value, so that nothing tells what is hidden; no patch is
    left out; and a linear layer stands in the place of the decoder.
    """

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, encoder.channels * encoder.patch)

    def fill(self, x, is_hidden):
        """Series (B, C, L), of which steps is_hidden (B, L) are told."""
        seen = x.masked_fill(is_hidden[:, None], 0)
        made = self.head(self.encoder.encode(self.encoder.embed(seen)))  # (B, P, C patch)
        made = made.unflatten(2, (self.encoder.channels, self.encoder.patch)).transpose(1, 2).flatten(2)
        return torch.where(is_hidden[:, None], made[..., : self.encoder.length], x)

    def masked_loss(self, share):
        """As of `MAE`: mean squared error of hidden steps."""

        def loss(x, g):
            is_hidden = patch_mask(len(x), x.shape[2], share, g)
            made = self.fill(x, is_hidden).transpose(1, 2)[is_hidden]
            return F.mse_loss(made, x.transpose(1, 2)[is_hidden])

        return loss


def masked(dataset, setting, seed):
    """MAE, or `Points`: errors of hidden steps beside interpolation and mean; probe, tuning. untrained: a probe."""
    d, g = splits(dataset, TEST), source(seed)
    if setting == "untrained":
        return probe(encoder_of(d.x_train).eval(), d)
    kind, share = setting.split()[0], float(setting.split()[1])
    model = (Points if kind == "points" else MAE)(encoder_of(d.x_train))
    learned(model, model.masked_loss(share), d.x_train, g)
    net, n, length = model.encoder, len(d.x_test), d.x_test.shape[2]
    is_hidden = patch_mask(n, length if kind == "points" else net.n_patches, share, g)
    steps = is_hidden if kind == "points" else hidden_steps(is_hidden, net.patch, length)
    with torch.no_grad():
        made = {"mse": model.fill(d.x_test, is_hidden), "mse_interpolated": interpolated(d.x_test, steps)}
    made["mse_mean"] = d.x_train.mean(dim=0, keepdim=True).expand_as(d.x_test)
    found = {name: (_error(series, d.x_test, steps), n) for name, series in made.items()}
    return found | probe(net, d) | {f"tuned_{FEW}": tuned(net, d, seed, _most(d.y_train))}


def _error(made, x, is_hidden):
    return (made - x).square().transpose(1, 2)[is_hidden].mean().item()


def _most(y):
    """FEW labels of each class, or as many as the smallest class has."""
    return min(FEW, int(torch.bincount(y).min()))


# --- masked tokens ---


def vocabulary(kind, x, g):
    """Encoder and tokens: of its patches by k-means, or of a tokenizer that learns the series in 12 passes."""
    if kind == "k-means":
        encoder = encoder_of(x)
        return encoder, PatchTokens(encoder, x, 64, g=g)
    tokenizer = Tokenizer(x.shape[2], n_blocks=2, codebook_size=32, kmeans_init=True, expire_below=1.0)
    train_tokenizer(tokenizer, x, epochs=12, batch_size=BATCH, seed=g.initial_seed())
    tokens = TokenizerTokens(tokenizer.eval())
    return encoder_of(x, tokens.patch), tokens


def told(dataset, setting, seed):
    """BEiT: the share of hidden tokens that is told, beside the commonest token; probe and fine-tuning."""
    d, g = splits(dataset, TEST), source(seed)
    kind, share = setting.split()[0], float(setting.split()[1])
    model = BEiT(*vocabulary(kind, d.x_train, g))
    learned(model, model.masked_loss(share), d.x_train, g)
    is_hidden = patch_mask(len(d.x_test), model.encoder.n_patches, share, g)
    with torch.no_grad():
        logits, tokens = model(d.x_test, is_hidden)[is_hidden], model.tokens(d.x_test)[is_hidden]
        commonest = model.tokens(d.x_train).mode(dim=0).values.expand(len(d.x_test), -1, -1)[is_hidden]
    found = {
        "tokens": ((logits.argmax(dim=2) == tokens).double().mean().item(), tokens.numel()),
        "tokens_commonest": ((commonest == tokens).double().mean().item(), tokens.numel()),
        "cross_entropy": (F.cross_entropy(logits.flatten(0, 1), tokens.flatten()).item(), tokens.numel()),
    }
    return found | probe(model.encoder, d) | {"tuned": tuned(model.encoder, d, seed)}


# --- pretexts ---

REST = "untrained, without a channel"
NORMALISED, NORMALISED_REST = "untrained, normalised", f"{REST}, normalised"
TASKS = {"flips": (flips, FLIPS), "segments": (segments, len(ORDERS))}


def pretext(dataset, setting, seed):
    """200 steps of a `ResNet1d` on a task with known answers: is it told, and what are the features worth?"""
    d, g = splits(dataset, TEST), source(seed)
    channels, length = d.x_train.shape[1:]
    rest = d._replace(x_train=d.x_train[:, 1:], x_test=d.x_test[:, 1:])
    if setting in ("untrained", NORMALISED, REST, NORMALISED_REST):
        read = d if setting in ("untrained", NORMALISED) else rest
        net = ResNet1d(read.x_train.shape[1]).eval()
        return probe(normalised(net, net, read.x_train) if "normalised" in setting else net, read)
    if setting == "other channel":
        model = Pretext(ResNet1d(channels - 1), other_channels(0), length)
        learned(model, model.loss, d.x_train, g, steps=200)
        seen, answer = other_channels(0)(d.x_test)
        error = F.mse_loss(batched(model, seen), answer).item()
        mean = F.mse_loss(d.x_train[:, 0].mean(dim=0).expand_as(answer), answer).item()
        return probe(model.encoder, rest) | {"mse": (error, len(answer)), "mse_mean": (mean, len(answer))}
    task, answers = TASKS[setting]
    model = Pretext(ResNet1d(channels), task, answers)
    learned(model, model.loss, d.x_train, g, steps=200)
    return probe(model.encoder, d) | {
        "task": (model.accuracy(d.x_test, g=g), len(d.x_test)),
        "task_train": (model.accuracy(d.x_train, g=g), len(d.x_train)),
    }


# --- test-time training ---


def jitter(x, *, g):
    """Plus normal noise of deviation 0.5."""
    return x + 0.5 * torch.randn(x.shape, generator=g)


SHIFTS = {  # what happens to test series
    "clean": lambda x, *, g: x,
    "noise": jitter,
    "drift": lambda x, *, g: views.drift(x, g=g, height=2**0.5),  # of deviation 1
    "blockout": lambda x, *, g: views.blockout(x, g=g, share=0.2),
}


def test_time(dataset, setting, seed):
    """A probe of clean features on shifted series, without and with 10 steps of the same task on each batch of 32."""
    d, g = splits(dataset, 500), source(seed)
    if setting == "mae":
        model = MAE(encoder_of(d.x_train))
        loss = model.masked_loss()
    else:
        model = Pretext(ResNet1d(d.x_train.shape[1]), flips, FLIPS)
        loss = model.loss
    learned(model, loss, d.x_train, g)
    border = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000))
    border.fit(batched(model.encoder, d.x_train).numpy(), d.y_train)

    def predict(x):
        features = model.encoder(x).nan_to_num(posinf=0, neginf=0)  # 0 where the steps have diverged
        return torch.from_numpy(border.predict(features.numpy()))

    found, n = {}, len(d.x_test)
    for name, shift in SHIFTS.items():
        x = shift(d.x_test, g=g)
        for how, given in (("plain", dict(steps=0)), ("ttt_0.001", dict(lr=0.001)), ("ttt_0.01", dict(lr=0.01))):
            right = ttt_predict(model, loss, predict, x, g=g, **given) == d.y_test
            found[f"{name}_{how}"] = (right.double().mean().item(), n)
    return found


# --- games ---


class FlatGenerator(Generator):
    """As the report on gestures prints it: linear layers, and a tanh that cannot leave -1..1."""

    def __init__(self, length, channels=1):
        nn.Module.__init__(self)
        self.shape = channels, length
        self.start = nn.Linear(NOISE, 128)
        self.layers = nn.Sequential(nn.ReLU(), nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, channels * length))

    def forward(self, z):
        return self.layers(self.start(z)).tanh().unflatten(1, self.shape)


class FlatDiscriminator(Discriminator):
    """The report's: linear layers."""

    def __init__(self, length, channels=1):
        super().__init__(length, channels)
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(channels * length, 256), nn.LeakyReLU(0.2), nn.Linear(256, 128), nn.LeakyReLU(0.2)
        )
        self.real, self.flip = nn.Linear(128, 1), nn.Linear(128, FLIPS)


PLAYERS = {  # -> generator, discriminator, weights of the flips
    "ss-gan": (Generator, Discriminator, {}),
    "gan": (Generator, Discriminator, dict(alpha=0, beta=0)),
    "linear ss-gan": (FlatGenerator, FlatDiscriminator, {}),
}
SCORED = 400  # series that `evaluate` looks at


def game(dataset, setting, seed):
    """600 steps of a game, or a tokenizer with its prior: samples scored, and what the discriminator has learned.

    In "gan" the discriminator's head for flips is not trained: its "flips" are a guess.
    """
    d, g = splits(dataset, TEST), source(seed)
    length, n = d.x_test.shape[2], len(d.x_test)
    if setting == "tokenizer":
        return sample_scores(d, tokenizer_samples(dataset, n, seed))
    make, tell, weights = PLAYERS[setting]
    padded = d._replace(**{name: to_eighths(getattr(d, name)) for name in ("x_train", "x_test")})
    generator, discriminator = (kind(padded.x_train.shape[2], d.x_train.shape[1]) for kind in (make, tell))
    history = play(generator, discriminator, padded.x_train, g=g, **weights)
    seen, which = flips(padded.x_test, g)
    with torch.no_grad():
        is_told = discriminator(seen)[1].argmax(dim=1) == which
    found = {"flips": (is_told.double().mean().item(), n), "maker_flip": (history[-1]["maker_flip"], BATCH)}
    found |= probe(discriminator.features, padded)
    found["beyond_1_real"] = ((d.x_test.abs() > 1).double().mean().item(), d.x_test.numel())
    return found | sample_scores(d, generator.sample(n, g=g)[..., :length])


def to_eighths(x):
    """Series (n, C, L), their last step repeated up to a multiple of 8."""
    return F.pad(x, (0, -x.shape[2] % 8), mode="replicate")


def sample_scores(d, made):
    """Two-sample accuracy and spread, share beyond 1, and the scores of `evaluate` that need no labels."""
    n = len(made)
    found = {
        "two_sample": (two_sample_accuracy(d.x_test, made), n),
        "spread": (spread(d.x_test, made), n),
        "beyond_1": ((made.abs() > 1).double().mean().item(), made.numel()),
    }
    scores = evaluate(d.x_test[:SCORED], made[:SCORED], train=d.x_train)
    for name, entry in scores.items():
        found[f"evaluate_{name}"] = (entry["value"], SCORED)
        found[f"evaluate_{name}_real"] = (entry["real"], SCORED)
    return found


def tokenizer_samples(dataset, n, seed):
    """n series of the package's quick recipe: a naive tokenizer, its prior, and their residuals; scaled as `splits`."""
    ds = load_dataset(dataset)
    cfg = ExperimentConfig.preset("quick", dataset=dataset, method="regular", augmentation="none", seed=seed, cas=False)
    with tempfile.TemporaryDirectory() as folder:
        run_experiment(cfg, ds, folder, device="cpu")
        made = load_run(cell_folder(cfg, folder)).sample(n, seed=seed)
    return ((made - ds.x_train.mean()) / ds.x_train.std(correction=0)).float()


# --- one encoder, many teachers ---


def of_views(encoder, loss, widths, d, g):
    """The encoder after `pretrain` on SimCLR's views."""
    net = with_projector(encoder, *widths)
    pretrain(net, views.simclr_views, loss, d.x_train, steps=STEPS, batch=BATCH, lr=RATE, g=g)
    return net.encoder


def of_mask(encoder, d, g):
    model = MAE(encoder)
    return learned(model, model.masked_loss(), d.x_train, g).encoder


def of_tokens(encoder, d, g):
    model = BEiT(encoder, PatchTokens(encoder, d.x_train, 64, g=g))
    return learned(model, model.masked_loss(), d.x_train, g).encoder


def of_task(task, answers):
    def teach(encoder, d, g):
        model = Pretext(encoder, task, answers)
        return learned(model, model.loss, d.x_train, g).encoder

    return teach


TEACHERS = {
    "simclr": lambda encoder, d, g: of_views(encoder, nt_xent, (64, 128, 64), d, g),
    "vicreg": lambda encoder, d, g: of_views(encoder, lambda a, b: vicreg(a, b).total, (64, 256, 256, 256), d, g),
    "mae": of_mask,
    "beit": of_tokens,
    "flips": of_task(flips, FLIPS),
    "segments": of_task(segments, len(ORDERS)),
}


def pattern(dataset, setting, seed):
    """One `PatchNet`, whatever teaches it: probe and fine-tuning with 3, 28 and all labels of each class.

    Teachers differ in their loops, too: `of_views` trains by Adam, the others by AdamW with weight decay. "untrained"
    learns from labels alone, from scratch; "untrained, tuned" is fine-tuned like a network that has had a teacher.
    """
    d, g = splits(dataset, TEST), source(seed)
    encoder, n = encoder_of(d.x_train), len(d.x_test)
    if setting == "untrained":
        made = {k: from_scratch(encoder, d.x_train, d.y_train, per_class=k, g=source(seed)) for k in (3, FEW)}
        how = dict(per_class=None, epochs=ALL_EPOCHS, g=source(seed))
        made["all"] = from_scratch(encoder, d.x_train, d.y_train, **how)
        found = {f"scratch_{k}": (accuracy(net, d.x_test, d.y_test), n) for k, net in made.items()}
    else:
        if setting != "untrained, tuned":
            encoder = TEACHERS[setting](encoder, d, g).eval()
        found = {f"tuned_{k}": tuned(encoder, d, seed, k) for k in (3, FEW)}
        found["tuned_all"] = tuned(encoder, d, seed, None, epochs=ALL_EPOCHS, lr=RATE)
    train, test = batched(encoder, d.x_train), batched(encoder, d.x_test)
    for k in (3, FEW):
        rows = few_labels(d.y_train, k, source(seed))
        found[f"probe_{k}"] = (linear_probe(train[rows], d.y_train[rows], test, d.y_test), n)
    return found | probe_of(train, test, d)


SHARES = ("patches 0.25", "patches 0.5", "patches 0.75", "patches 0.9", "points 0.25", "points 0.75")
ITALY = "ItalyPowerDemand"
ITEMS = {
    "pretexts": Item(pretext, (ITALY, TWO, "ECG200"), ("untrained", NORMALISED, *TASKS)),
    "channels": Item(
        pretext, ("BasicMotions",), ("untrained", NORMALISED, REST, NORMALISED_REST, "other channel", *TASKS)
    ),
    "mae": Item(masked, (TWO,), SHARES),
    "game": Item(game, (ITALY,), (*PLAYERS, "tokenizer")),
    "pattern": Item(pattern, (TWO,), ("untrained", "untrained, tuned", *TEACHERS)),
    "ttt": Item(test_time, (ITALY, TWO), ("mae", "flips")),
    "beit": Item(told, (TWO,), ("k-means 0.25", "k-means 0.4", "tokenizer 0.4")),
    "game of a control": Item(game, (TWO,), ("ss-gan", "gan")),
    "mae of heart beats": Item(masked, ("ECG200",), ("untrained", *SHARES)),
}
