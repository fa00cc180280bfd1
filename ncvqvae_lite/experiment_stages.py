"""The stages of one experiment: feature net, tokenizer, prior. Each has a folder, resumes, and is never done twice."""

import contextlib
import copy
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from .augmentations import AUGMENTATIONS, slice_and_shuffle, zero_tail
from .errors import BadInput
from .experiment_folders import claim, discard_checkpoints
from .fcn import FCN, batched
from .files import hold, write_csv, write_json, writing_to
from .metrics import codebook_similarity, knn_accuracy, perplexity, reconstruction_error, svm_accuracy
from .prior import MaskGIT, mask_positions, prior_loss
from .quantizer import sample_categorical
from .ssl_losses import Projector, barlow_twins, vibcreg
from .tokenizer import Tokenizer
from .training import Branch, train_fcn, train_prior, train_tokenizer
from .training_engine import derive_seed, epochs_for

KNN = 5
JUDGED = ("recon_val", "recon_last_batch", "val_perplexity", "val_perplexity_last_batch", "knn_acc", "svm_acc")


@dataclass(frozen=True)
class Session:
    """How a run is carried out; nothing here changes a number on one device.

    progress  (stage, epochs done, epochs, loss terms, steps per second), or None
    """

    out_dir: Path
    device: torch.device
    progress: object = None
    checkpoint_seconds: float = 60.0

    def loop(self, stage, folder, on_epoch=None):
        """Keyword arguments for the step engine's loop."""
        progress = self.progress and functools.partial(self.progress, stage)
        loop = dict(checkpoint=folder / f"{stage}.checkpoint", checkpoint_seconds=self.checkpoint_seconds)
        return loop | dict(on_epoch=on_epoch, progress=progress)


class Scaled(NamedTuple):
    """A data set in units of the train set's scalar standard deviation, on the device."""

    x_train: torch.Tensor
    y_train: torch.Tensor | None
    x_test: torch.Tensor
    y_test: torch.Tensor | None
    mean: float
    std: float


def scale(ds, device):
    """Subtract the scalar mean of the whole train matrix, divide by its scalar population standard deviation."""
    mean, std = ds.x_train.double().mean().item(), ds.x_train.double().std(correction=0).item()
    x_train, x_test = (((x.double() - mean) / std).float().to(device) for x in (ds.x_train, ds.x_test))
    y_train, y_test = (y if y is None else y.to(device) for y in (ds.y_train, ds.y_test))
    return Scaled(x_train, y_train, x_test, y_test, mean, std)


@contextlib.contextmanager
def initial_weights(*seed):
    """Draw the initial weights of a network from a seed, without touching the global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(*seed))
        yield


# --- the feature net ---


def fcn_stage(cfg, ds, scaled, session, seed=None):
    """The FCN trained on the train split (thesis: the feature net of FID and IS), made once for all runs.

    returns  FCN in eval mode, its test accuracy
    """
    folder = cfg.fcn_folder(session.out_dir, seed)
    settings = cfg.settings("fcn") | {"dataset": cfg.dataset} | ({} if seed is None else {"fcn_seed": seed})
    with hold(folder, wait=True), writing_to(folder):
        metrics = claim(folder, settings, ds, session.device)
        if metrics is None:
            with initial_weights("fcn", settings["fcn_seed"]):
                fcn = FCN(ds.n_classes, channels=ds.channels).to(session.device)
            epochs = fcn_epochs(cfg, cfg.fcn_epochs, len(scaled.x_train))
            history = train_fcn(
                fcn, scaled.x_train, scaled.y_train, epochs=epochs, batch_size=cfg.fcn_batch_size, lr=cfg.fcn_lr,
                weight_decay=cfg.fcn_weight_decay, precision=cfg.fcn_precision,
                seed=derive_seed(settings["fcn_seed"]), loop=session.loop("fcn", folder),
            )  # fmt: skip
            fcn.eval().save(folder / "fcn.safetensors")
            write_csv(folder / "history.csv", history)
            metrics = {
                "accuracy_train": accuracy(fcn, scaled.x_train, scaled.y_train),
                "accuracy_test": accuracy(fcn, scaled.x_test, scaled.y_test),
            }
            write_json(folder / "metrics.json", metrics)
        discard_checkpoints(folder)
    return FCN.load(folder / "fcn.safetensors").to(session.device), metrics["accuracy_test"]


def fcn_epochs(cfg, epochs, n):
    """Epochs of an FCN on n series: those given, or more for a small set."""
    return epochs_for(n, cfg.fcn_batch_size, epochs, cfg.fcn_min_steps)


def accuracy(fcn, x, y):
    """Share of series x (n, C, L) that the classifier gives their label y (n,)."""
    return (batched(fcn, x).argmax(dim=1) == y).double().mean().item()


# --- stage 1 ---


def tokenizer_stage(cfg, ds, scaled, session):
    """Stage 1: a trained tokenizer, shared by every prior that builds on it; returns it with its metrics."""
    folder = cfg.tokenizer_folder(session.out_dir)
    settings = cfg.tokenizer_settings() | {
        name: getattr(cfg, name) for name in ("dataset", "method", "augmentation", "seed", "preset_name")
    }
    with hold(folder, wait=True), writing_to(folder):
        metrics = claim(folder, settings, ds, session.device)
        if metrics is None:
            with initial_weights("tokenizer", cfg.seed):
                tokenizer = new_tokenizer(cfg, ds).to(session.device)
                branch = None if cfg.method == "regular" else non_contrastive_branch(cfg, session.device)
            epochs = epochs_for(len(scaled.x_train), cfg.batch_size, cfg.epochs, cfg.min_steps)
            judge = functools.partial(judge_tokenizer, cfg, tokenizer, scaled, epochs)
            history = train_tokenizer(
                tokenizer, scaled.x_train, branch, epochs=epochs, batch_size=cfg.batch_size, lr=cfg.lr,
                weight_decay=cfg.weight_decay, precision=cfg.precision, seed=derive_seed("tokenizer", cfg.seed),
                loop=session.loop("tokenizer", folder, judge),
            )  # fmt: skip
            tokenizer.eval().save(folder)
            write_csv(folder / "history.csv", history)
            last = history[-1]
            metrics = {name: last[name] for name in JUDGED if name in last}
            metrics["train_perplexity"] = last["perplexity"]
            similarity = codebook_similarity(tokenizer.quantizer.codebook)
            metrics |= {f"codebook_{k}": v for k, v in similarity._asdict().items() if v == v}  # absent if undefined
            write_json(folder / "metrics.json", metrics)
        discard_checkpoints(folder)
    return Tokenizer.load(folder).to(session.device), metrics


def new_tokenizer(cfg, ds):
    """The untrained tokenizer of a configuration."""
    return Tokenizer(
        ds.length, ds.channels, n_fft=cfg.n_fft, width=cfg.width, dim=cfg.dim, n_blocks=cfg.n_blocks,
        odd_tail=cfg.odd_tail, codebook_size=cfg.codebook_size, decay=cfg.codebook_decay, commitment=cfg.commitment,
        kmeans_init=cfg.kmeans_init, expire_below=cfg.expire_below,
    )  # fmt: skip


def non_contrastive_branch(cfg, device):
    """Augmentation, projector and loss of a configuration."""
    projector = Projector(2 * cfg.dim, cfg.projector_width, whiten=cfg.method == "vibcreg", groups=cfg.whitening_groups)
    options = dict(aug_recon=cfg.aug_recon, ssl_latents=cfg.ssl_latents, quantise_view=cfg.quantise_view)
    return Branch(view_of(cfg), projector.to(device), ssl_loss_of(cfg), options)


def view_of(cfg):
    """The augmentation of a configuration, (x, generator) -> view."""
    augment = AUGMENTATIONS[cfg.augmentation]
    if cfg.augmentation == "slice":
        augment = functools.partial(slice_and_shuffle, distinct=cfg.distinct_slices)
    if cfg.zero_tail:
        return lambda x, generator=None: zero_tail(augment(x, generator=generator))
    return augment


def ssl_loss_of(cfg):
    """The weighted non-contrastive loss of a configuration, (a, b) -> scalar."""
    if cfg.method == "barlowtwins":
        return lambda a, b: cfg.barlow_weight * barlow_twins(a, b, offdiagonal=cfg.barlow_offdiagonal).total
    weights = dict(sim=cfg.vibcreg_sim, var=cfg.vibcreg_var, cov=cfg.vibcreg_cov)
    return lambda a, b: cfg.vibcreg_weight * vibcreg(a, b, **weights).total


def judge_tokenizer(cfg, tokenizer, scaled, epochs, epoch):
    """Reconstruction, token usage and probes on the test split, every `probe_every` epochs and at the end."""
    if epoch % cfg.probe_every and epoch != epochs:
        return None
    recon = reconstruction_error(tokenizer, scaled.x_test, batch_size=cfg.batch_size)
    tokens = batched(tokenizer.encode, scaled.x_test)
    last_batch = tokens.split(cfg.batch_size)[-1]
    values = {
        "recon_val": recon.mean,
        "recon_last_batch": recon.last_batch,
        "val_perplexity": perplexity(tokens, cfg.codebook_size),
        "val_perplexity_last_batch": perplexity(last_batch, cfg.codebook_size),
    }
    if can_probe(scaled):
        train, test = probe_features(cfg, tokenizer, scaled)
        labels = scaled.y_train.cpu(), scaled.y_test.cpu()
        values["knn_acc"] = knn_accuracy(train, labels[0], test, labels[1], k=KNN)
        values["svm_acc"] = svm_accuracy(train, labels[0], test, labels[1])
    return values


def can_probe(scaled):
    return scaled.y_train is not None and len(scaled.x_train) >= KNN


def probe_features(cfg, tokenizer, scaled):
    """Features (n, D) of train and test for the probes, as the configuration's quirk Q2 says.

    "running": eval mode. "batch": as the reference, in train mode: BatchNorm uses each batch's statistics, and the
    codebook moves with train and test series; on a copy, unless the leak itself is to be reproduced.
    """
    if cfg.probe_statistics == "running" and not cfg.reproduce_probe_leak:
        return batched(tokenizer.features, scaled.x_train).cpu(), batched(tokenizer.features, scaled.x_test).cpu()
    probed = tokenizer if cfg.reproduce_probe_leak else copy.deepcopy(tokenizer)
    probed.train()
    generator = torch.Generator(scaled.x_train.device).manual_seed(0)  # of codes that are restarted
    with torch.no_grad():
        splits = [
            torch.cat([probed.features(batch, generator) for batch in x.split(cfg.batch_size)]).cpu()
            for x in (_shuffled(scaled.x_train), scaled.x_test)
        ]
    back = _shuffled(torch.arange(len(splits[0]))).argsort()  # train features in the order of the labels again
    return splits[0][back], splits[1]


def _shuffled(x):
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order.to(x.device)]


# --- stage 2 ---


def prior_stage(cfg, ds, scaled, tokenizer, session, folder):
    """Stage 2: a prior trained on the frozen tokenizer's tokens, in the cell's folder (held by the caller)."""
    if (folder / "prior.safetensors").exists():
        return MaskGIT.load(folder).to(session.device)
    with initial_weights("prior", cfg.seed):
        prior = MaskGIT(
            tokenizer.n_tokens, cfg.codebook_size, ds.n_classes, cfg.head, cfg.extra_positions,
            dim=cfg.prior_dim, width=cfg.prior_width, depth=cfg.prior_depth, heads=cfg.prior_heads,
        ).to(session.device)  # fmt: skip
    if cfg.prior_start == "codebook" and cfg.prior_dim == cfg.dim:
        prior.start_from(tokenizer.quantizer.codebook)
    train = token_logits(tokenizer, scaled.x_train, cfg.token_temperature)
    test = token_logits(tokenizer, scaled.x_test, cfg.token_temperature)
    epochs = epochs_for(len(train), cfg.prior_batch_size, cfg.prior_epochs, cfg.prior_min_steps)

    def judge(epoch):
        if epoch == epochs or epoch % cfg.probe_every == 0:
            return {"validation": prior_validation(cfg, prior, test, scaled.y_test)}
        return None

    history = train_prior(
        prior, train, labels_or_zeros(scaled.y_train, train), polarity=cfg.mask_polarity, t_per_sample=cfg.t_per_sample,
        masked_only=cfg.masked_only, min_masked=cfg.min_masked, p_unconditional=cfg.p_unconditional, epochs=epochs,
        batch_size=cfg.prior_batch_size, lr=cfg.prior_lr, weight_decay=cfg.prior_weight_decay,
        precision=cfg.prior_precision, seed=derive_seed("prior", cfg.seed), loop=session.loop("prior", folder, judge),
    )  # fmt: skip
    write_csv(folder / "history.csv", history)
    prior.eval().save(folder)
    return prior


def token_logits(tokenizer, x, temperature):
    """-||z - e_k||^2 / temperature of every token of series x: (n, N, K), from the tokenizer in eval mode."""
    return batched(tokenizer.token_logits, x) / temperature


def prior_validation(cfg, prior, logits, y):
    """Loss of the prior on the test split, classes given; tokens sampled as in training, or by argmax (Q13)."""
    generator = torch.Generator(logits.device).manual_seed(0)
    classes, total = labels_or_zeros(y, logits), 0.0
    with torch.no_grad():
        for rows, labels in zip(logits.split(cfg.prior_batch_size), classes.split(cfg.prior_batch_size), strict=True):
            tokens = sample_categorical(rows, generator) if cfg.prior_validation == "sampled" else rows.argmax(dim=-1)
            masking = (cfg.mask_polarity, cfg.t_per_sample, cfg.min_masked, generator, rows.device)
            is_masked = mask_positions(*tokens.shape, *masking)
            total += prior_loss(prior, tokens, labels, is_masked, cfg.masked_only).item() * len(tokens)
    return total / len(logits)


def labels_or_zeros(y, like):
    """Labels, or class 0 for every series where there are none (a prior without classes knows only that one)."""
    return torch.zeros(len(like), dtype=torch.int64, device=like.device) if y is None else y


def check_trainable(cfg, ds):
    """Raise BadInput for what cannot work, before any work starts."""
    if cfg.n_fft // 2 >= ds.length:
        raise BadInput(f"n_fft {cfg.n_fft} needs series longer than {cfg.n_fft // 2} steps, {ds.name} has {ds.length}")
    with torch.device("meta"):
        new_tokenizer(cfg, ds)
