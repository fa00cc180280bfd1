"""Wrong arguments of public functions, by 1,000 seeded cases: each works or is refused in one sentence.

GOOD has, for each function, good arguments that are made anew for each case. A case replaces one of them by a malformed
value (of MALFORMED, or a variation of the good one) and calls. Whatever happens, what was given is as it was, and an
error is one of ours: a class of `errors`, one line, not long.
"""

import random
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import ncvqvae_lite as nc
from ncvqvae_lite.errors import UserError
from ncvqvae_lite.evaluation import (
    KernelFeatures,
    KernelSpace,
    allot,
    class_mix_distance,
    jitter,
    manifold_scores,
    nearest_train,
)  # fmt: skip
from ncvqvae_lite.experiment import run_experiment
from ncvqvae_lite.family import common, contrast, peel, views
from ncvqvae_lite.residuals import ResidualPieces
from ncvqvae_lite.tokenizer import FoldTokenizer
from ncvqvae_lite.training import Branch

CASES, PARTS = 1000, 10
LONGEST = 500  # characters of an error that may name folders and lists of names
SMALL = dict(n_fft=8, width=4, dim=4, n_blocks=1, codebook_size=5)

# --- good arguments ---


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def whole(*shape, below=2):
    return torch.randint(below, shape, generator=torch.Generator().manual_seed(3))


def seeded():
    return torch.Generator().manual_seed(0)


def one(make, *arguments, **named):
    """A network, drawn from its own seed."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return make(*arguments, **named)


def tokenizer(kind=nc.Tokenizer):
    return one(kind, 20, **SMALL)


def prior():
    return one(nc.MaskGIT, 4, 5, 3, dim=4, width=8, depth=1, heads=1)


def fcn():
    return one(nc.FCN, 2, channels=1)


def quantizer():
    return one(nc.VectorQuantizer, 5, 4)


SERIES = nc.from_arrays(normal(12, 16), whole(12), normal(8, 16), whole(8))
QUICK = nc.ExperimentConfig.preset("quick", dataset="mine")
ONE_STEP = dict(steps=1, batch_size=4, seed=0, precision="fp32", loop=dict(checkpoint_seconds=1.0))
ABSENT = Path("absent")  # a folder or file that is not there: loading from it is refused, at best by its name


def branch():
    return Branch(lambda x, generator=None: x + 1, one(nc.Projector, 8, 4), lambda a, b: nc.vicreg(a, b).total)


# name -> () -> (function, named arguments). Only these are replaced, never what a method belongs to.
GOOD = {
    "load_dataset": lambda: (nc.load_dataset, dict(name="Nowhere", root=ABSENT)),
    "from_arrays": lambda: (
        nc.from_arrays,
        dict(x_train=normal(6, 16), y_train=whole(6), x_test=normal(4, 16), y_test=whole(4), name="mine"),
    ),
    "two_patterns": lambda: (nc.two_patterns, dict(n_train=4, n_test=2, length=32, seed=0)),
    "cbf": lambda: (nc.cbf, dict(n_train=4, n_test=2, length=32, seed=0)),
    "synthetic_control": lambda: (nc.synthetic_control, dict(n_train=8, n_test=2, length=32, seed=0)),
    "gestures": lambda: (nc.gestures, dict(n_train=8, n_test=2, length=20, seed=0)),
    "stft": lambda: (nc.stft, dict(x=normal(2, 1, 20), n_fft=8)),
    "istft": lambda: (nc.istft, dict(u=normal(2, 2, 5, 11), length=20, n_fft=8)),
    "VectorQuantizer": lambda: (
        nc.VectorQuantizer,
        dict(codebook_size=5, dim=4, decay=0.9, commitment=1.0, kmeans_init=False, expire_below=0.0, smoothing=1e-5),
    ),
    "quantizer": lambda: (quantizer(), dict(z=normal(2, 4, 1, 3))),
    "quantizer.encode": lambda: (
        quantizer().encode,
        dict(z=normal(2, 4, 1, 3), temperature=1.0, generator=seeded()),
    ),
    "quantizer.decode": lambda: (quantizer().decode, dict(indices=whole(2, 1, 3))),
    "quantizer.initialise": lambda: (quantizer().initialise, dict(z=normal(2, 4, 1, 3))),
    "barlow_twins": lambda: (nc.barlow_twins, dict(a=normal(4, 3), b=normal(4, 3), offdiagonal=0.005)),
    "vicreg": lambda: (nc.vicreg, dict(a=normal(4, 3), b=normal(4, 3), sim=25.0, var=25.0, cov=1.0)),
    "vibcreg": lambda: (nc.vibcreg, dict(a=normal(4, 3), b=normal(4, 3), sim=25.0, var=25.0, cov=100.0)),
    "simclr": lambda: (nc.simclr, dict(a=normal(4, 3), b=normal(4, 3), tau=0.2)),
    "nt_xent": lambda: (nc.nt_xent, dict(a=normal(4, 3), b=normal(4, 3), tau=0.2)),
    "Projector": lambda: (nc.Projector, dict(in_features=4, width=8, whiten=True, groups=2)),
    "projector": lambda: (lambda a, b: one(nc.Projector, 4, 8)(a, b), dict(a=normal(3, 4), b=normal(3, 4))),
    "IterNorm": lambda: (
        nc.IterNorm,
        dict(num_features=4, num_groups=2, iterations=3, eps=1e-5, momentum=0.1, affine=True),
    ),
    "iternorm": lambda: (nc.IterNorm(4, 2), dict(x=normal(3, 4))),
    "window_warp": lambda: (
        nc.window_warp,
        dict(x=normal(2, 1, 20), ratio=0.4, scale=(0.9, 2.0), generator=seeded()),
    ),
    "amplitude_resize": lambda: (nc.amplitude_resize, dict(x=normal(2, 1, 20), std=0.2, generator=seeded())),
    "slice_and_shuffle": lambda: (
        nc.slice_and_shuffle,
        dict(x=normal(2, 1, 20), n_segments=4, distinct=True, generator=seeded()),
    ),
    "gaussian_noise": lambda: (nc.gaussian_noise, dict(x=normal(2, 1, 20), std=0.05, generator=seeded())),
    "AUGMENTATIONS": lambda: (nc.AUGMENTATIONS["warp"], dict(x=normal(2, 1, 20), generator=seeded())),
    "Encoder": lambda: (nc.Encoder, dict(channels=1, dim=4, halvings=1, n_blocks=1, rows=3)),
    "encoder": lambda: (one(nc.Encoder, 1, 4, 1, 1), dict(u=normal(2, 2, 5, 6))),
    "Decoder": lambda: (nc.Decoder, dict(channels=1, dim=4, halvings=1, n_blocks=1, frames=6, rows=3)),
    "decoder": lambda: (one(nc.Decoder, 1, 4, 1, 1, 6), dict(z=normal(2, 4, 5, 3))),
    "Tokenizer": lambda: (nc.Tokenizer, dict(length=20, channels=1, odd_tail=True, kmeans_init=False, **SMALL)),
    "encode": lambda: (tokenizer().encode, dict(x=normal(3, 1, 20), temperature=0.0, generator=seeded())),
    "encode folded": lambda: (tokenizer(FoldTokenizer).encode, dict(x=normal(3, 1, 20))),
    "decode": lambda: (tokenizer().decode, dict(tokens=whole(2, 25, below=5))),
    "features": lambda: (tokenizer().features, dict(x=normal(3, 1, 20))),
    "token_logits": lambda: (tokenizer().token_logits, dict(x=normal(3, 1, 20))),
    "reconstruction_loss": lambda: (tokenizer().reconstruction_loss, dict(x=normal(3, 1, 20))),
    "Tokenizer.load": lambda: (nc.Tokenizer.load, dict(folder=ABSENT)),
    "Tokenizer.save": lambda: (tokenizer().save, dict(folder=ABSENT)),
    "MaskGIT": lambda: (
        nc.MaskGIT,
        dict(n_tokens=4, codebook_size=5, n_classes=3, head="tied", extra_positions=True, dim=4, width=8, depth=1)
        | dict(heads=1, zero_blocks=False),
    ),
    "prior": lambda: (prior(), dict(tokens=whole(2, 4, below=6), classes=whole(2))),
    "prior.start_from": lambda: (prior().start_from, dict(codebook=normal(5, 4))),
    "sample": lambda: (
        prior().sample,
        dict(n=3, class_index=1, steps=2, choice_temperature=4.0, guidance=1.5, generator=seeded(), order="random")
        | dict(batch_size=2),
    ),
    "sample of classes": lambda: (prior().sample, dict(n=3, class_index=whole(3))),
    "MaskGIT.load": lambda: (nc.MaskGIT.load, dict(folder=ABSENT)),
    "MaskGIT.save": lambda: (prior().save, dict(folder=ABSENT)),
    "FCN": lambda: (nc.FCN, dict(n_classes=2, channels=1, dilation=(1, 1, 1))),
    "fcn": lambda: (fcn(), dict(x=normal(3, 1, 20))),
    "fcn.features": lambda: (fcn().features, dict(x=normal(3, 1, 20))),
    "probabilities": lambda: (fcn().probabilities, dict(x=normal(3, 1, 20))),
    "FCN.load": lambda: (nc.FCN.load, dict(file=ABSENT)),
    "FCN.save": lambda: (fcn().save, dict(file=ABSENT)),
    "reconstruction_error": lambda: (
        nc.reconstruction_error,
        dict(tokenizer=tokenizer(), x=normal(3, 1, 20), batch_size=2),
    ),
    "knn_accuracy": lambda: (
        nc.knn_accuracy,
        dict(z_train=normal(8, 3), y_train=whole(8), z_test=normal(4, 3), y_test=whole(4), k=3),
    ),
    "svm_accuracy": lambda: (
        nc.svm_accuracy,
        dict(z_train=normal(8, 3), y_train=whole(8), z_test=normal(4, 3), y_test=whole(4)),
    ),
    "frechet_distance": lambda: (nc.frechet_distance, dict(features_a=normal(4, 3), features_b=normal(5, 3))),
    "inception_score": lambda: (
        nc.inception_score,
        dict(probabilities=normal(6, 3).softmax(dim=1), n_splits=2, seed=0),
    ),
    "token_usage": lambda: (nc.token_usage, dict(tokens=whole(2, 4), codebook_size=5)),
    "perplexity": lambda: (nc.perplexity, dict(tokens=whole(2, 4), codebook_size=5)),
    "train_tokenizer": lambda: (
        nc.train_tokenizer,
        dict(tokenizer=tokenizer(), x=normal(6, 1, 20), branch=branch(), spectrum_weight=0.5, **ONE_STEP),
    ),
    "train_prior": lambda: (
        nc.train_prior,
        dict(prior=prior(), token_logits=normal(6, 4, 5), classes=whole(6), polarity="kept", t_per_sample=True)
        | dict(min_masked=1, masked_only=True, p_unconditional=0.2, muon_times=10.0, schedule="cosine", **ONE_STEP),
    ),
    "train_fcn": lambda: (
        nc.train_fcn,
        dict(fcn=fcn(), x=normal(6, 1, 16), y=whole(6), lr=1e-3, weight_decay=0.0, average=0.5, **ONE_STEP),
    ),
    "ExperimentConfig": lambda: (
        nc.ExperimentConfig,
        dict(dataset="mine", method="vibcreg", augmentation="warp", seed=1, preset_name="paper", epochs=3, lr=1e-3)
        | dict(kmeans_init=False, geometry="grid", n_fft=8, codebook_size=32, order="random", batch_size=8),
    ),
    "preset": lambda: (
        nc.ExperimentConfig.preset,
        dict(name="quick", dataset="mine", method="barlowtwins", augmentation="warp", seed=1, dim=8),
    ),
    "cell_folder": lambda: (nc.cell_folder, dict(cfg=QUICK, out_dir="runs", fcn_weights=ABSENT)),
    "run_experiment": lambda: (
        run_experiment,  # with series of another name than the configuration's: refused at best
        dict(cfg=nc.ExperimentConfig.preset("quick", dataset="other"), ds=SERIES, out_dir="runs", fcn_weights=None)
        | dict(device="cpu", checkpoint_seconds=1.0),
    ),
    "load_run": lambda: (nc.load_run, dict(folder=ABSENT)),
    "classification_accuracy_score": lambda: (
        nc.classification_accuracy_score,
        dict(x=normal(6, 1, 16), y=whole(6), x_test=normal(4, 1, 16), y_test=whole(4), n_classes=2, epochs=1)
        | dict(evaluated=1, seed=0, batch_size=4),
    ),
    "compare": lambda: (
        nc.compare,
        dict(metrics={"fid": 1.0}, dataset="ECG5000", method="regular", augmentation="none", own_fcn=True),
    ),
    "evaluate": lambda: (
        nc.evaluate,
        dict(real=normal(8, 1, 10), synthetic=normal(9, 1, 10), real_labels=whole(8), synthetic_labels=whole(9))
        | dict(train=normal(6, 1, 10), train_labels=whole(6), fcn=None, seed=0),
    ),
    "KernelFeatures": lambda: (KernelFeatures, dict(channels=1, length=20, n_kernels=3, seed=0)),
    "KernelSpace": lambda: (KernelSpace, dict(x_train=normal(6, 1, 20), n_kernels=3, seed=0)),
    "manifold_scores": lambda: (
        manifold_scores,
        dict(real=normal(8, 2), generated=normal(7, 2), at_most=7, seed=0),
    ),
    "nearest_train": lambda: (
        nearest_train,
        dict(generated=normal(3, 1, 8), test=normal(3, 1, 8), train=normal(4, 1, 8), n_bootstrap=5, seed=0),
    ),
    "class_mix_distance": lambda: (class_mix_distance, dict(real_labels=whole(5), generated_labels=whole(4))),
    "jitter": lambda: (jitter, dict(x_train=normal(4, 1, 8), n=3, generator=seeded(), noise=0.05)),
    "allot": lambda: (allot, dict(counts=[3, 2], n=4)),
    "pieces.draw": lambda: (
        ResidualPieces(2, 1, 20, 1, 4, 5).draw,
        dict(tokens=whole(3, 4, below=5), generator=seeded()),
    ),
    "ResNet1d": lambda: (common.ResNet1d, dict(channels=1)),
    "resnet": lambda: (one(common.ResNet1d, 1).eval(), dict(x=normal(3, 1, 20))),
    "pretrain": lambda: (
        common.pretrain,
        dict(net=one(common.ResNet1d, 1), views=views.simclr_views, loss=nc.nt_xent, x=normal(6, 1, 20), steps=1)
        | dict(batch=4, lr=1e-3, g=seeded()),
    ),
    "few_labels": lambda: (common.few_labels, dict(y=whole(12), per_class=2, g=seeded())),
    "fine_tune": lambda: (
        common.fine_tune,
        dict(net=one(common.ResNet1d, 1), x=normal(12, 1, 20), y=whole(12), per_class=2, g=seeded(), epochs=1, lr=1e-4)
        | dict(head_lr=1e-3, batch=4),
    ),
    "linear_probe": lambda: (
        common.linear_probe,
        dict(f_tr=normal(8, 3), y_tr=whole(8), f_te=normal(4, 3), y_te=whole(4), standardise=False),
    ),
    "knn_probe": lambda: (
        common.knn_probe,
        dict(f_tr=normal(8, 3), y_tr=whole(8), f_te=normal(4, 3), y_te=whole(4), k=3),
    ),
    "precision_at": lambda: (common.precision_at, dict(f=normal(8, 3), y=whole(8), k=3)),
    "density_score": lambda: (common.density_score, dict(reference=normal(8, 3), x=normal(4, 3), k=2)),
    "rank_auc": lambda: (common.rank_auc, dict(normal=normal(5), anomalous=normal(4))),
    "effective_rank": lambda: (common.effective_rank, dict(z=normal(8, 3))),
    "uniformity": lambda: (common.uniformity, dict(z=normal(8, 3), t=2.0)),
    "VIEWS": lambda: (views.VIEWS["time_warp"], dict(x=normal(2, 1, 20), g=seeded(), speed=(0.8, 1.2))),
    "blockout": lambda: (views.blockout, dict(x=normal(2, 1, 20), g=seeded(), share=0.1)),
    "drop_values": lambda: (views.drop_values, dict(x=normal(2, 1, 20), share=0.2, g=seeded())),
    "fill_missing": lambda: (views.fill_missing, dict(x=normal(2, 1, 20))),
    "interpolate_missing": lambda: (views.interpolate_missing, dict(x=normal(2, 1, 20))),
    "noisy_labels": lambda: (views.noisy_labels, dict(y=whole(12), share=0.2, g=seeded())),
    "info_nce": lambda: (contrast.info_nce, dict(logits=normal(4, 4))),
    "debiased": lambda: (contrast.debiased, dict(a=normal(4, 3), b=normal(4, 3), tau=0.2, prior=0.1)),
    "hard_negatives": lambda: (contrast.hard_negatives, dict(a=normal(4, 3), b=normal(4, 3), tau=0.2, beta=1.0)),
    "mixup_loss": lambda: (
        contrast.mixup_loss,
        dict(mixed=normal(4, 3), z=normal(4, 3), other=whole(4, below=4), share=normal(4).sigmoid(), tau=0.2),
    ),
    "neighbour_pairs": lambda: (peel.neighbour_pairs, dict(f=normal(8, 3), k=3, replace=0.5, g=seeded())),
    "purity": lambda: (peel.purity, dict(index=whole(8, 3, below=8), y=whole(8))),
    "eigenmaps": lambda: (peel.eigenmaps, dict(x=normal(8, 1, 4), k=3, dim=2)),
    "free_table": lambda: (peel.free_table, dict(pairs=whole(9, 2, below=8), dim=3, g=seeded(), steps=1, lr=0.1)),
    "auto_decoder": lambda: (peel.auto_decoder, dict(x=normal(4, 1, 20), g=seeded(), dim=3, steps=1, lr=0.1)),
    "dissect": lambda: (peel.dissect, dict(f=normal(8, 3), concepts=whole(8))),
}  # fmt: skip
NOT_CALLED = {"TimeSeriesDataset", "THESIS_DATASETS", "__version__"}  # a record and two constants

# --- malformed values ---

MALFORMED = [
    None, True, np.True_, 0, -1, 1, 3, 1e3, 1.9, -0.5, 10**12, 10**30, -(10**12), float("nan"), float("inf"), 1j,
    np.int64(3), np.int8(-3), np.float32(0.5), np.float64("nan"), "", "3", "gpu", "cuda", "mps", "a" * 300, "nul\0byte",
    b"bytes", [], (), {}, {"a": 1}, {1, 2}, [1, [2, 3]], [None], ["a", "b"], (0.5, "x"), object(), len, int, Path("."),
    np.random.default_rng(0), torch.Generator().manual_seed(1), torch.device("cpu"), torch.float32,
]  # fmt: skip


def arrays_like(good):
    """Tensors and arrays of the wrong kind; of a good one's numbers, where there is one."""
    x = good if isinstance(good, torch.Tensor) else torch.ones(2, 1, 20)
    floating = x.is_floating_point()
    return [
        x.numpy(), x.double(), x.half(), x.int(), x.bool(), x.numpy().astype(object), x.tolist(), x.numpy()[::-1],
        x.numpy().astype(">f8"), x.to(torch.complex64), x.to("meta"), x.to_sparse(), x[:0], x[:1], x[None], x[0],
        x[..., :-1], x[..., None], x.flatten(), x * float("nan") if floating else x - 1, 1e30 * x.double(),
        x * float("inf") if floating else x + 100, x.numpy().astype(str), x.numpy().astype("float16"),
        torch.tensor(1), np.array(1.5), np.array(None), torch.zeros(2, 3, 4, 5, 6), x.mT if x.ndim > 1 else x,
        np.ma.masked_array(x.numpy(), mask=np.ones(x.shape, bool)), np.zeros((2, 1, 20), dtype=[("a", float)]),
        x.clone().requires_grad_() if floating else x.char(),
    ]  # fmt: skip


def malformed(good, rng):
    """One value that may be wrong where `good` is right."""
    if isinstance(good, torch.Tensor | np.ndarray):
        return rng.choice(arrays_like(good) * 2 + MALFORMED + arrays_like(None))
    return rng.choice(MALFORMED * 2 + arrays_like(None))


# --- the cases ---


def frozen(value):
    """What a value holds, so that a change of it shows."""
    if isinstance(value, torch.Tensor):
        plain = value.layout == torch.strided and not value.is_meta
        return str(value.dtype), tuple(value.shape), value.detach().clone().numpy().tobytes() if plain else None
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes() if value.dtype != object else repr(value)
    if isinstance(value, torch.nn.Module):
        return [part.training for part in value.modules()]
    if isinstance(value, list | tuple | dict):
        return repr(value)
    return type(value)


def complaint(name, function, arguments):
    """What is wrong with how a call ended, or ""."""
    before = {key: frozen(value) for key, value in arguments.items() if key not in ("generator", "g")}
    try:
        function(**arguments)
    except UserError as error:
        text = str(error)
        if "\n" in text or not 10 < len(text) <= LONGEST:
            return f"not one sentence: {text!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    changed = [key for key, value in before.items() if frozen(arguments[key]) != value and not trained(name, key)]
    return f"changed {', '.join(changed)}" if changed else ""


def trained(name, key):
    return name.startswith(("train_", "pretrain")) and key in ("tokenizer", "prior", "fcn", "net")


def cases():
    """(function's name, argument, value), the same in every run; each argument of each function comes in turn."""
    rng = random.Random(12)
    slots = [(name, key) for name, make in GOOD.items() for key in make()[1]]
    for number in range(CASES):
        if number % len(slots) == 0:
            rng.shuffle(slots)
        name, key = slots[number % len(slots)]
        yield name, key, malformed(GOOD[name]()[1][key], rng)


@pytest.fixture(scope="module")
def all_cases():
    return list(cases())


@pytest.mark.parametrize("part", range(PARTS))
def test_wrong_arguments_work_or_are_refused_in_one_sentence(all_cases, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    complaints = []
    for name, key, value in all_cases[part::PARTS]:
        function, arguments = GOOD[name]()
        with warnings.catch_warnings(), torch.random.fork_rng():
            warnings.simplefilter("ignore")
            found = complaint(name, function, arguments | {key: value})
        if found:
            complaints.append(f"{name}({key}={str(value)[:60]!r} of {type(value).__name__}) -> {found}")
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("name", GOOD)
def test_good_arguments_work(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, arguments = GOOD[name]()
    if (ABSENT in arguments.values() and not name.endswith("save")) or name == "run_experiment":
        with pytest.raises(UserError):
            function(**arguments)
    else:
        assert not complaint(name, function, arguments)


def test_every_public_name_is_called():
    called = {getattr(make()[0], "__qualname__", type(make()[0]).__name__).split(".")[0] for make in GOOD.values()}
    assert {name for name in nc.__all__ if name not in called} <= NOT_CALLED | {"AUGMENTATIONS"}


def test_cases_are_the_same_in_every_run():
    counts = Counter((name, key) for name, key, _ in cases())
    assert len(counts) == sum(len(make()[1]) for make in GOOD.values()) and sum(counts.values()) == CASES
    assert [case[:2] for case in cases()] == [case[:2] for case in cases()]
