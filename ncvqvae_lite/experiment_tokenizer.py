"""Stage 1 of an experiment: a tokenizer, trained with or without a non-contrastive branch, probed while it learns."""

import copy
import functools

import torch

from .augmentations import AUGMENTATIONS, zero_tail
from .experiment_stages import initial_weights, optim_settings, resolve, stage
from .files import write_csv
from .inference import batched
from .metrics import codebook_similarity, knn_accuracy, perplexity, reconstruction_error, svm_accuracy
from .names import METHODS, SCORES, function_of
from .ssl_losses import Projector
from .tokenizer import TOKENIZERS, load_tokenizer
from .training_engine import derive_seed
from .training_tokenizer import Branch, train_tokenizer

KNN = 5
PROBE_SERIES = 5000  # train series of the probes, at most: an SVM takes worse than the square of their number
JUDGED = ("recon_val", "recon_last_batch", "val_perplexity", "val_perplexity_last_batch", "knn_acc", "svm_acc")


def tokenizer_stage(cfg, ds, scaled, session):
    """A trained tokenizer, shared by every prior that builds on it; returns it with its metrics."""
    folder = cfg.tokenizer_folder(session.out_dir)
    cfg = resolve(cfg, ds)
    cell = {name: getattr(cfg, name) for name in ("dataset", "method", "augmentation", "seed", "preset_name")}

    def make():
        with initial_weights("tokenizer", cfg.seed):
            tokenizer = new_tokenizer(cfg, ds).to(session.device)
            branch = None if METHODS[cfg.method].loss is None else branch_of(cfg, session.device)
        optim = optim_settings(cfg, len(scaled.x_train))
        judge = functools.partial(judge_tokenizer, cfg, tokenizer, scaled, optim["epochs"])
        how = dict(precision=cfg.precision, seed=derive_seed("tokenizer", cfg.seed))
        how |= dict(spectrum_weight=cfg.spectrum_weight)
        loop = session.loop("tokenizer", folder, judge)
        history = train_tokenizer(tokenizer, scaled.x_train, branch, **how, **optim, loop=loop)
        tokenizer.eval().save(folder)
        write_csv(folder / "history.csv", history)
        last = history[-1]
        metrics = {name: last[name] for name in JUDGED if name in last}
        metrics["train_perplexity"] = last["perplexity"]
        if "svm_acc" in last and len(scaled.x_train) > PROBE_SERIES:
            metrics["probe_series"] = float(PROBE_SERIES)
        similarity = codebook_similarity(tokenizer.codebook)
        return metrics | {f"codebook_{k}": v for k, v in similarity._asdict().items() if v == v}  # absent if undefined

    metrics = stage(folder, cfg.settings("tokenizer") | cell, ds, session, make)
    return load_tokenizer(folder).to(session.device), metrics


def new_tokenizer(cfg, ds):
    """The untrained tokenizer of a configuration."""
    settings = dict(n_fft=cfg.n_fft, width=cfg.width, dim=cfg.dim, n_blocks=cfg.n_blocks, odd_tail=cfg.odd_tail)
    quantizer = dict(codebook_size=cfg.codebook_size, decay=cfg.codebook_decay, commitment=cfg.commitment)
    quantizer |= dict(kmeans_init=cfg.kmeans_init, expire_below=cfg.expire_below)
    return TOKENIZERS[cfg.geometry](ds.length, ds.channels, **settings, **quantizer)


# --- the non-contrastive branch ---


def branch_of(cfg, device):
    """Augmentation, projector and loss of a configuration."""
    whiten = METHODS[cfg.method].whiten
    projector = Projector(2 * cfg.dim, cfg.projector_width, whiten=whiten, groups=cfg.whitening_groups)
    options = dict(aug_recon=cfg.aug_recon, ssl_latents=cfg.ssl_latents, quantise_view=cfg.quantise_view)
    return Branch(view_of(cfg), projector.to(device), ssl_loss_of(cfg), options)


def view_of(cfg):
    """The augmentation of a configuration, (x, generator) -> view."""
    augmentation = AUGMENTATIONS[cfg.augmentation]
    settings = {argument: getattr(cfg, setting) for argument, setting in augmentation.settings.items()}
    augment = functools.partial(augmentation, **settings)
    if cfg.zero_tail:
        return lambda x, generator=None: zero_tail(augment(x, generator=generator))
    return augment


def ssl_loss_of(cfg):
    """The weighted non-contrastive loss of a configuration, (a, b) -> scalar."""
    loss, (scale, weights) = function_of(METHODS[cfg.method].loss), cfg.loss_weights()
    return lambda a, b: scale * loss(a, b, **weights).total  # pyright: ignore[reportOptionalCall]  # a method with views has a loss


# --- probes ---


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
    if scaled.y_train is not None and len(scaled.x_train) >= SCORES["knn_acc"].train:
        probed = probe_series(scaled)
        train, test = probe_features(cfg, tokenizer, probed)
        labels = probed.y_train.cpu(), probed.y_test.cpu()
        values["knn_acc"] = knn_accuracy(train, labels[0], test, labels[1], k=KNN)
        values["svm_acc"] = svm_accuracy(train, labels[0], test, labels[1])
    return values


def probe_series(scaled):
    """The data set with PROBE_SERIES of its train series, always the same ones, where it has more."""
    if len(scaled.x_train) <= PROBE_SERIES:
        return scaled
    rows = torch.randperm(len(scaled.x_train), generator=torch.Generator().manual_seed(0))[:PROBE_SERIES]
    rows = rows.to(scaled.x_train.device)
    return scaled._replace(x_train=scaled.x_train[rows], y_train=scaled.y_train[rows])


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
            torch.cat([probed.mean_codes(batch, generator) for batch in x.split(cfg.batch_size)]).cpu()
            for x in (_shuffled(scaled.x_train), scaled.x_test)
        ]
    back = _shuffled(torch.arange(len(splits[0]))).argsort()  # train features in the order of the labels again
    return splits[0][back], splits[1]


def _shuffled(x):
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order.to(x.device)]
