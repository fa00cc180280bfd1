"""One experiment as a frozen record: every constant of the paper, every choice the reference made or might have made.

Importing this module loads neither torch nor data, so that hundreds of run folders can be named in a moment.
Qn numbers a quirk of the reference implementation; the comment beside it says what it is.
"""

import dataclasses
import math
import sys
from dataclasses import dataclass, fields

from .arguments import LARGEST, check_name, nearest, path, plain, shown
from .config_digest import code_of, digest
from .errors import BadInput
from .names import METHODS, SCORES

PRESETS = ("quick", "paper", "improved")
THESIS_AUGMENTATIONS = ("none", "warp", "slice", "gauss")

SCHEDULES = ("cosine", "one-cycle", "warm-up")

# The stage that reads a field. Its folder is named by fields and code, its own and those of the stages before it.
FCN, TOKENIZER, CELL = "fcn", "tokenizer", "cell"
MODULES = {FCN: "experiment_fcn", TOKENIZER: "experiment_tokenizer", CELL: "experiment_cell"}

BY_N = "by n"  # a text setting left to the number of train series (a number: 0)

# What a number may be: from, below, in words.
COUNT = (1, math.inf, "1 or more")
POSITIVE = (1e-300, math.inf, "positive and finite")
NOT_NEGATIVE = (0, math.inf, "0 or more, and finite")
FRACTION = (0, 1, "at least 0 and below 1")


def _has_views(cfg):
    return METHODS[cfg.method].loss is not None


def _trains(method):
    return lambda cfg: cfg.method == method


def _whitens(cfg):
    return METHODS[cfg.method].whiten


def _slices(cfg):
    return cfg.augmentation not in ("none", "warp", "gauss")


def _has_cas(cfg):
    return cfg.cas


def _field(stage, paper, limits=None, *, choices=None, read=None, by_n=(), **presets):
    """A setting.

    stage     that reads it
    paper     its default: the value of the preset `paper`
    limits    what a number may be, or None; choices of a text
    read      (cfg) -> whether this configuration reads it at all; None: always. What is not read names no folder
    by_n      what 0, or the text "by n", stands for: ((from so many train series on, value), ...). For epochs the
              value is a number of steps. `experiment_stages.resolve` looks it up; a folder's name carries the rule
    presets   values of the other presets where they differ: nc= (paper, NC arms), improved=, quick= (else improved's)
    """
    about = {"stage": stage, "limits": limits, "choices": choices, "read": read, "by_n": by_n, "presets": presets}
    return dataclasses.field(default=paper, metadata=about)


def _loss_settings():
    """(name, type, field) of every weight of every method's loss: PREFIX_weight, which multiplies it, and its own."""
    for name, method in METHODS.items():
        weights = {"weight": method.scale, **method.weights} if method.loss else {}
        for weight, value in weights.items():
            limits = POSITIVE if weight in method.above_0 else NOT_NEGATIVE
            yield f"{method.prefix or name}_{weight}", float, _field(TOKENIZER, value, limits, read=_trains(name))


# The weights of the losses are made from METHODS: barlow_weight, barlow_offdiagonal, vibcreg_weight, vibcreg_sim, ...
LossSettings = dataclasses.make_dataclass("LossSettings", list(_loss_settings()), frozen=True, kw_only=True)


@dataclass(frozen=True)
class ExperimentConfig(LossSettings):
    """One cell of the thesis' tables. Defaults are the `paper` preset of the naive arm."""

    dataset: str
    method: str = "regular"
    augmentation: str = "none"
    seed: int = 1  # the reference used 1, 2, 3, 5
    preset_name: str = "paper"  # the preset that this record started from; recorded, not hashed

    # Stage 1: the tokenizer (Mathisen 2024; arXiv 2408.16613)
    geometry: str = _field(  # the kind of tokenizer, of tokenizer.TOKENIZERS: tokens for rows and frames, or for frames
        TOKENIZER, "grid", choices=("grid", "fold"), improved="fold"
    )
    n_fft: int = _field(TOKENIZER, 8, (4, math.inf, "4 or more"))
    width: int = _field(TOKENIZER, 8, COUNT, improved=32)  # latent frames; 8..15 of long series (Q22), or 32..63
    dim: int = _field(TOKENIZER, 64, COUNT)
    n_blocks: int = _field(TOKENIZER, 4, COUNT)
    codebook_size: int = _field(TOKENIZER, 32, (2, math.inf, "2 or more"), by_n=((1, 64), (400, 128)), improved=0)
    codebook_decay: float = _field(TOKENIZER, 0.9, FRACTION, improved=0.95)
    commitment: float = _field(TOKENIZER, 1.0, NOT_NEGATIVE)
    kmeans_init: bool = _field(TOKENIZER, False, improved=True)  # Q11: N(0, 1); improved: k-means of the first latents
    expire_below: float = _field(TOKENIZER, 0.0, NOT_NEGATIVE, improved=1.0)  # Q11: dead codes stay so; hits a step
    odd_tail: bool = _field(TOKENIZER, False, improved=True)  # Q12: the last sample of an odd length is lost
    spectrum_weight: float = _field(TOKENIZER, 0.0, NOT_NEGATIVE, improved=0.5)  # of rows of equal weight, in the loss
    epochs: int = _field(TOKENIZER, 1000, COUNT, by_n=((1, 600), (400, 800)), improved=0, quick=1)
    min_steps: int = _field(TOKENIZER, 0, NOT_NEGATIVE, quick=400)  # small sets train more epochs, to so many steps
    batch_size: int = _field(TOKENIZER, 128, COUNT, improved=64)
    lr: float = _field(TOKENIZER, 1e-3, POSITIVE, improved=3e-3)
    weight_decay: float = _field(TOKENIZER, 1e-3, NOT_NEGATIVE)
    schedule: str = _field(TOKENIZER, "cosine", choices=SCHEDULES, improved="warm-up")  # of the learning rate
    average: float = _field(TOKENIZER, 0.0, FRACTION)  # decay of the average of weights that is kept; 0: the last ones
    precision: str = _field(TOKENIZER, "fp32", choices=("fp32", "bf16"))  # of the networks' products, in training only

    # Stage 1: the non-contrastive branch
    aug_recon: float = _field(TOKENIZER, 0.2, NOT_NEGATIVE, read=_has_views)  # Q6: .1 in the published configuration
    ssl_latents: str = _field(  # Q7: z_q(x) meets z(x')
        TOKENIZER, "mixed", choices=("mixed", "quantised", "continuous"), read=_has_views
    )
    quantise_view: bool = _field(TOKENIZER, False, read=_has_views)  # Q8: the view is decoded without the quantizer
    zero_tail: bool = _field(TOKENIZER, True, improved=False, read=_has_views)  # Q9: views end in L mod 8 zeros
    distinct_slices: bool = _field(TOKENIZER, False, improved=True, read=_slices)  # Q10: empty ones, unchanged order
    projector_width: int = _field(TOKENIZER, 4096, COUNT, improved=512, quick=256, read=_has_views)  # Q17
    whitening_groups: int = _field(TOKENIZER, 64, COUNT, improved=32, quick=16, read=_whitens)  # Q17: of 64; else of 16

    # Stage 1: probes
    probe_every: int = _field(TOKENIZER, 100, COUNT, quick=15)  # epochs; before the first and after the last too
    probe_statistics: str = _field(  # Q2: train mode; improved: eval mode
        TOKENIZER, "batch", choices=("batch", "running"), improved="running"
    )
    reproduce_probe_leak: bool = _field(TOKENIZER, False)  # Q2: every probe's test series move codebook and BatchNorm

    # Stage 2: the prior
    mask_polarity: str = _field(CELL, "kept", choices=("kept", "masked"), nc="masked", improved="masked")  # Q3
    head: str = _field(CELL, "tied", choices=("tied", "untied"), nc="untied", improved="untied")  # Q4
    prior_start: str = _field(  # Q4: token embeddings; the codebook only where prior_dim is dim (notebook 06)
        CELL, "codebook", choices=("codebook", "random"), improved="random"
    )
    min_masked: int = _field(CELL, 0, NOT_NEGATIVE, improved=1)  # Q3: with "masked", a batch may hide nothing
    masked_only: bool = _field(CELL, False, improved=True)  # Q5: loss over visible tokens too
    t_per_sample: bool = _field(CELL, False, improved=True)  # Q5: one mask share for a batch, or for each sample
    extra_positions: bool = _field(CELL, True, improved=False)  # Q18: a second table of positions
    # Temperature of the token draw in stage 2; 0: so that tokens are as sure as `experiment_prior.SURE`
    token_temperature: float = _field(CELL, 1.0, NOT_NEGATIVE, improved=0.0)
    prior_validation: str = _field(CELL, "sampled", choices=("sampled", "argmax"), improved="argmax")  # Q13
    prior_dim: int = _field(CELL, 64, COUNT, improved=128)  # of the embeddings; improved: no bottleneck
    prior_width: int = _field(CELL, 256, COUNT, improved=128)
    prior_depth: int = _field(CELL, 4, COUNT, by_n=((1, 2), (100, 3)), improved=0)
    prior_heads: int = _field(CELL, 2, COUNT)
    zero_blocks: bool = _field(CELL, False, improved=True)  # every block of the prior starts as the identity
    p_unconditional: float = _field(CELL, 0.2, FRACTION, improved=0.1)
    prior_epochs: int = _field(CELL, 1000, COUNT, by_n=((1, 500), (100, 800)), improved=0, quick=1)
    prior_min_steps: int = _field(CELL, 0, NOT_NEGATIVE, quick=500)
    prior_batch_size: int = _field(CELL, 256, COUNT, improved=64)
    prior_lr: float = _field(CELL, 1e-3, POSITIVE, improved=2e-3)
    muon_times: float = _field(CELL, 0.0, NOT_NEGATIVE, improved=10.0)  # Muon's rate for matrices / prior_lr; 0: none
    prior_weight_decay: float = _field(CELL, 1e-3, NOT_NEGATIVE, improved=0.0)
    prior_schedule: str = _field(CELL, "cosine", choices=SCHEDULES, improved="warm-up")
    prior_average: float = _field(CELL, 0.0, FRACTION)
    prior_precision: str = _field(CELL, "fp32", choices=("fp32", "bf16"))

    # Sampling and evaluation
    decoding_steps: int = _field(CELL, 10, COUNT, improved=20)  # at most one for each token
    order: str = _field(  # of decoding; a random one copies less of small sets
        CELL, "confidence", choices=("confidence", "random", BY_N), by_n=((1, "random"), (100, "confidence")),
        improved=BY_N,
    )  # fmt: skip
    choice_temperature: float = _field(CELL, 4.0, NOT_NEGATIVE)
    guidance: float = _field(CELL, 1.0, NOT_NEGATIVE)
    class_draw: str = _field(  # of samples for which no class is asked: none, or one by the shares of train
        CELL, "none", choices=("none", "train"), improved="train"
    )
    # Pieces of train series that tokens do not hold, added to samples: never, always, or where it helps
    noise: str = _field(CELL, "none", choices=("none", "pieces", "by rule"), improved="by rule")
    sampling_precision: str = _field(CELL, "fp32", choices=("fp32", "bf16"))
    min_samples: int = _field(CELL, 256, COUNT)
    cas: bool = _field(CELL, True)  # compute the classification accuracy score (trains an FCN)
    cas_epochs: int = _field(CELL, 1000, COUNT, by_n=((1, 800),), improved=0, quick=8, read=_has_cas)
    cas_score: str = _field(CELL, "running", choices=("running", "final"), improved="final", read=_has_cas)  # Q16
    second_fcn: bool = _field(CELL, False)  # Q24: FID on a second, independently trained FCN too
    fcn_epochs: int = _field(FCN, 1000, COUNT, by_n=((1, 250),), improved=0, quick=8)
    fcn_min_steps: int = _field(FCN, 0, NOT_NEGATIVE, quick=150)  # of the feature nets and the classifier behind CAS
    fcn_batch_size: int = _field(FCN, 256, COUNT, improved=32)
    fcn_lr: float = _field(FCN, 1e-3, POSITIVE, improved=1e-2)
    fcn_schedule: str = _field(FCN, "cosine", choices=SCHEDULES, improved="one-cycle")
    fcn_weight_decay: float = _field(FCN, 1e-5, NOT_NEGATIVE)
    fcn_precision: str = _field(FCN, "fp32", choices=("fp32", "bf16"))
    fcn_seed: int = _field(FCN, 0)  # one FCN serves all seeds of a data set

    def __post_init__(self):
        for f in fields(self):
            object.__setattr__(self, f.name, plain(getattr(self, f.name)))
        check_name("method", self.method, METHODS)
        named = isinstance(self.augmentation, str) and self.augmentation in THESIS_AUGMENTATIONS
        if not named:  # others are known where torch is loaded
            check_name("augmentation", self.augmentation, augmentation_names())
        check_name("preset", self.preset_name, PRESETS)
        if not _has_views(self) and self.augmentation != "none":
            raise BadInput(
                f"{self.method!r} with the augmentation {self.augmentation!r}: it has no second view: use 'none'"
            )
        if _has_views(self) and self.augmentation == "none":
            raise BadInput(f"{self.method!r} without an augmentation: choose one of warp, slice, gauss")
        for f in fields(self):
            value, choices = getattr(self, f.name), f.metadata.get("choices")
            if choices:
                check_name(f.name, value, choices)
            if f.type is float and type(value) is int and abs(value) < LARGEST:
                object.__setattr__(self, f.name, float(value))  # 1 and 1.0 name one folder
            elif not isinstance(value, f.type) or isinstance(value, bool) != (f.type is bool):  # pyright: ignore[reportArgumentType]  # f.type is a class
                raise BadInput(f"{f.name} must be {_article(f.type)}, got {shown(value)}")
            low, high, in_words = f.metadata.get("limits") or (-math.inf, math.inf, "")
            by_rule = f.metadata.get("by_n") and value in (0, BY_N)
            if in_words and not low <= value < high and not by_rule:  # pyright: ignore[reportOperatorIssue]  # a number; NaN fails too
                or_rule = ", or 0: by the number of train series" if f.metadata["by_n"] else ""
                raise BadInput(f"{f.name} must be {in_words}{or_rule}, got {value}")
            if f.type is int and abs(value) > 2**63:  # pyright: ignore[reportArgumentType]
                raise BadInput(f"{f.name} must be below 2^63, got {shown(value)}")
        if _has_views(self) and self.batch_size == 1:
            raise BadInput(f"batch_size 1 with {self.method!r}: its loss compares series of a batch: use 2 or more")
        if self.n_fft % 4:
            raise BadInput(f"n_fft must be a multiple of 4 (the hop is a quarter of it), got {self.n_fft}")
        if self.projector_width % self.whitening_groups:
            raise BadInput(f"projector_width {self.projector_width} does not split into {self.whitening_groups} groups")

    @classmethod
    def preset(cls, name, *, dataset, method="regular", augmentation="none", seed=1, **changes):
        """The preset `quick`, `paper` or `improved` for one cell; `changes` replaces single fields by name."""
        check_name("preset", name, PRESETS)
        check_name("method", method, METHODS)
        known = {f.name for f in fields(cls)} - {"preset_name"}
        for unknown in set(changes) - known:
            raise BadInput(f"unknown setting {unknown!r}{nearest(unknown, known)}")
        layers = {"quick": ("improved", "quick"), "improved": ("improved",), "paper": ("nc",)}[name]
        if name == "paper" and METHODS[method].loss is None:
            layers = ()
        given = {f.name: f.metadata.get("presets", {}) for f in fields(cls)}
        values = {field: of[layer] for layer in layers for field, of in given.items() if layer in of}
        cell = dict(dataset=dataset, method=method, augmentation=augmentation, seed=seed, preset_name=name)
        return cls(**cell, **values | changes)

    def changes(self):
        """The fields that differ from what the preset has for this cell, by name."""
        cell = {name: getattr(self, name) for name in ("dataset", "method", "augmentation", "seed")}
        plain = vars(self.preset(self.preset_name, **cell))
        return {name: value for name, value in vars(self).items() if value != plain[name]}

    def settings(self, stage):
        """The fields that `stage` reads itself, as a dict; data set, method, augmentation and seed are in its path."""
        of_stage = [f for f in fields(self) if f.metadata.get("stage") == stage]
        read = [f for f in of_stage if f.metadata["read"] is None or f.metadata["read"](self)]
        return {f.name: getattr(self, f.name) for f in read}

    def rules(self, stage=None):
        """The settings that are left to the number of train series: name -> ((from so many on, value), ...)."""
        open_ = [f for f in fields(self) if f.metadata.get("by_n") and getattr(self, f.name) in (0, BY_N)]
        return {f.name: f.metadata["by_n"] for f in open_ if stage in (None, f.metadata["stage"])}

    def loss_weights(self):
        """(scale, {argument: weight}) of the method's loss: from the settings, or from the record of a later method."""
        method = METHODS[self.method]
        prefix = method.prefix or self.method
        weights = {name: getattr(self, f"{prefix}_{name}", default) for name, default in method.weights.items()}
        return getattr(self, f"{prefix}_weight", method.scale), weights

    # --- where a stage's results live ---

    def fcn_folder(self, out_dir, seed=None):
        """Folder of the FCN trained with these settings (and another seed, for the second feature net)."""
        settings = self.settings(FCN) | ({} if seed is None else {"fcn_seed": seed})
        return path(out_dir, "out_dir") / "fcn" / self.dataset / digest([settings, self.rules(FCN)], MODULES[FCN])

    def tokenizer_folder(self, out_dir):
        """Folder of the tokenizer: shared by every prior that is trained on it."""
        return self._folder(out_dir, "tokenizers", digest(self._what_makes_tokens(), MODULES[TOKENIZER]))

    def cell_folder(self, out_dir, fcn_hash="own"):
        """Folder of the whole cell; `fcn_hash` tells apart which feature net FID and IS used."""
        trains_fcn = self.cas or self.second_fcn or fcn_hash == "own"
        computed = {name: score for name, score in SCORES.items() if score.compute}
        scores = {name: [s.needs, s.test, s.train, code_of(s.compute)] for name, s in computed.items()}
        fcn = [self.settings(FCN), self.rules(FCN)] if trains_fcn else []
        stages = [self._what_makes_tokens(), self.settings(CELL), self.rules(CELL), fcn]
        return self._folder(out_dir, "cells", digest([*stages, fcn_hash, scores], MODULES[CELL]))

    def _what_makes_tokens(self):
        """Everything besides the package's code that decides what a tokenizer becomes."""
        method = METHODS[self.method]
        registered = [self.loss_weights(), code_of(method.loss), method.whiten]
        registered += [[SCORES[probe].needs, SCORES[probe].train] for probe in ("knn_acc", "svm_acc")]
        shipped = self.augmentation in THESIS_AUGMENTATIONS
        if not shipped or f"{__package__}.augmentations" in sys.modules:
            from .augmentations import AUGMENTATIONS, SHIPPED

            view = AUGMENTATIONS.get(self.augmentation)
            if view is not SHIPPED.get(self.augmentation):
                registered.append([code_of(view.fn), dict(view.settings)])  # pyright: ignore[reportOptionalMemberAccess]  # `__post_init__` knows the name
        return [self.settings(TOKENIZER), self.rules(TOKENIZER), registered]

    def _folder(self, out_dir, kind, digest8):
        return (
            path(out_dir, "out_dir")
            / kind
            / self.dataset
            / f"{self.method}-{self.augmentation}"
            / digest8
            / f"seed{self.seed}"
        )


def augmentation_names():
    """Every registered augmentation, and "none"; loads torch."""
    from .augmentations import AUGMENTATIONS

    return ("none", *AUGMENTATIONS)


def _article(kind):
    return {"int": "an integer", "float": "a number", "bool": "true or false", "str": "a text"}[kind.__name__]
