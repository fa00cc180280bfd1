"""One experiment as a frozen record: every constant of the paper, every choice the reference made or might have made.

Importing this module loads neither torch nor data, so that hundreds of run folders can be named in a moment.
Qn numbers a quirk of the reference implementation; the comment beside it says what it is.
"""

import ast
import dataclasses
import difflib
import hashlib
import io
import json
import math
import tokenize
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

from .errors import BadInput

METHODS = ("regular", "barlowtwins", "vibcreg")
AUGMENTATION_NAMES = ("none", "warp", "slice", "gauss")
PRESETS = ("quick", "paper", "improved")

# Who reads a field: a stage's folder is named by its own fields and those of the stages that it builds on.
FCN, TOKENIZER, CELL = "fcn", "tokenizer", "cell"


def _field(stage, default, choices=None):
    return dataclasses.field(default=default, metadata={"stage": stage, "choices": choices})


@dataclass(frozen=True)
class ExperimentConfig:
    """One cell of the thesis' tables. Defaults are the `paper` preset of the naive arm; comments give `improved`."""

    dataset: str
    method: str = "regular"
    augmentation: str = "none"
    seed: int = 1  # the reference used 1, 2, 3, 5
    preset_name: str = "paper"  # the preset that this record started from; recorded, not hashed

    # Stage 1: the tokenizer (Mathisen 2024; arXiv 2408.16613)
    n_fft: int = _field(TOKENIZER, 8)
    width: int = _field(TOKENIZER, 8)  # latent frames aimed at; really 8..15 (Q22)
    dim: int = _field(TOKENIZER, 64)
    n_blocks: int = _field(TOKENIZER, 4)
    codebook_size: int = _field(TOKENIZER, 32)
    codebook_decay: float = _field(TOKENIZER, 0.9)
    commitment: float = _field(TOKENIZER, 1.0)
    kmeans_init: bool = _field(TOKENIZER, False)  # Q11: codebook starts from N(0, 1); improved: from k-means
    expire_below: float = _field(TOKENIZER, 0.0)  # Q11: dead codes stay dead; improved: restart below 1 hit a step
    odd_tail: bool = _field(TOKENIZER, False)  # Q12: the last sample of an odd length is lost; improved: kept
    epochs: int = _field(TOKENIZER, 1000)
    min_steps: int = _field(TOKENIZER, 0)  # small sets train more epochs, until there are so many steps; quick: 240
    batch_size: int = _field(TOKENIZER, 128)
    lr: float = _field(TOKENIZER, 1e-3)
    weight_decay: float = _field(TOKENIZER, 1e-3)
    precision: str = _field(TOKENIZER, "fp32", ("fp32", "bf16"))  # of the networks' products, in training only

    # Stage 1: the non-contrastive branch
    aug_recon: float = _field(TOKENIZER, 0.2)  # Q6: 0.2 in the main runs, 0.1 in the published configuration file
    ssl_latents: str = _field(TOKENIZER, "mixed", ("mixed", "quantised", "continuous"))  # Q7: z_q(x) meets z(x')
    quantise_view: bool = _field(TOKENIZER, False)  # Q8: the view is decoded without the quantizer
    zero_tail: bool = _field(TOKENIZER, True)  # Q9: views end in L mod 8 zeros; improved: they do not
    distinct_slices: bool = _field(TOKENIZER, False)  # Q10: empty slices, unchanged order possible; improved: not
    projector_width: int = _field(TOKENIZER, 4096)  # Q17; improved: 1024
    whitening_groups: int = _field(TOKENIZER, 64)  # Q17: groups of 64 features; improved: of 16
    barlow_weight: float = _field(TOKENIZER, 1.0)
    barlow_offdiagonal: float = _field(TOKENIZER, 0.005)
    vibcreg_weight: float = _field(TOKENIZER, 0.01)
    vibcreg_sim: float = _field(TOKENIZER, 25.0)
    vibcreg_var: float = _field(TOKENIZER, 25.0)
    vibcreg_cov: float = _field(TOKENIZER, 100.0)

    # Stage 1: probes
    probe_every: int = _field(TOKENIZER, 100)  # epochs; before the first and after the last too
    probe_statistics: str = _field(TOKENIZER, "batch", ("batch", "running"))  # Q2: train mode; improved: eval mode
    reproduce_probe_leak: bool = _field(TOKENIZER, False)  # Q2: every probe's test series move codebook and BatchNorm

    # Stage 2: the prior
    mask_polarity: str = _field(CELL, "kept", ("kept", "masked"))  # Q3: "masked" in the NC arms; improved: always
    head: str = _field(CELL, "tied", ("tied", "untied"))  # Q4: "untied" in the NC arms; improved: always
    prior_start: str = _field(CELL, "codebook", ("codebook", "random"))  # Q4: of the token embeddings (notebook 06)
    min_masked: int = _field(CELL, 0)  # Q3: with "masked", a batch may hide nothing; improved: at least one token
    masked_only: bool = _field(CELL, False)  # Q5: loss over visible tokens too; improved: masked ones only
    t_per_sample: bool = _field(CELL, False)  # Q5: one mask share for a batch; improved: for each sample
    extra_positions: bool = _field(CELL, True)  # Q18: a second table of positions; improved: one
    token_temperature: float = _field(CELL, 1.0)  # of the stochastic quantisation in stage 2
    prior_validation: str = _field(CELL, "sampled", ("sampled", "argmax"))  # Q13; improved: argmax
    prior_dim: int = _field(CELL, 64)
    prior_width: int = _field(CELL, 256)
    prior_depth: int = _field(CELL, 4)
    prior_heads: int = _field(CELL, 2)
    p_unconditional: float = _field(CELL, 0.2)
    prior_epochs: int = _field(CELL, 1000)
    prior_min_steps: int = _field(CELL, 0)  # quick: 360
    prior_batch_size: int = _field(CELL, 256)
    prior_lr: float = _field(CELL, 1e-3)
    prior_weight_decay: float = _field(CELL, 1e-3)
    prior_precision: str = _field(CELL, "fp32", ("fp32", "bf16"))

    # Sampling and evaluation
    decoding_steps: int = _field(CELL, 10)
    choice_temperature: float = _field(CELL, 4.0)
    guidance: float = _field(CELL, 1.0)
    min_samples: int = _field(CELL, 256)
    cas: bool = _field(CELL, True)  # compute the classification accuracy score (trains an FCN)
    cas_epochs: int = _field(CELL, 1000)
    cas_score: str = _field(CELL, "running", ("running", "final"))  # Q16: running mean; improved: final
    second_fcn: bool = _field(CELL, False)  # Q24: improved: FID on a second, independently trained FCN too
    fcn_epochs: int = _field(FCN, 1000)
    fcn_min_steps: int = _field(FCN, 0)  # of the feature nets and of the classifier behind CAS; quick: 32
    fcn_batch_size: int = _field(FCN, 256)
    fcn_lr: float = _field(FCN, 1e-3)
    fcn_weight_decay: float = _field(FCN, 1e-5)
    fcn_precision: str = _field(FCN, "fp32", ("fp32", "bf16"))
    fcn_seed: int = _field(FCN, 0)  # one FCN serves all seeds of a data set

    def __post_init__(self):
        check_name("method", self.method, METHODS)
        check_name("augmentation", self.augmentation, AUGMENTATION_NAMES)
        check_name("preset", self.preset_name, PRESETS)
        if (self.method == "regular") != (self.augmentation == "none"):
            found, wanted = (
                (f"'regular' with the augmentation {self.augmentation!r}", "it has no second view: use 'none'")
                if self.method == "regular"
                else (f"{self.method!r} without an augmentation", "choose one of warp, slice, gauss")
            )
            raise BadInput(f"{found}: {wanted}")
        for f in fields(self):
            value, choices = getattr(self, f.name), f.metadata.get("choices")
            if choices:
                check_name(f.name, value, choices)
            if f.type is float and type(value) is int:
                object.__setattr__(self, f.name, float(value))  # 1 and 1.0 name one folder
            elif not isinstance(value, f.type) or isinstance(value, bool) != (f.type is bool):
                raise BadInput(f"{f.name} must be {_article(f.type)}, got {value!r}")
        for name, (low, high, in_words) in _RANGES.items():
            if not low <= getattr(self, name) < high:  # NaN fails too
                raise BadInput(f"{name} must be {in_words}, got {getattr(self, name)}")
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
        values = {"mask_polarity": "kept", "head": "tied"} if method == "regular" else _NC_PRIOR
        if name != "paper":
            values = _IMPROVED | (_QUICK if name == "quick" else {})
        cell = dict(dataset=dataset, method=method, augmentation=augmentation, seed=seed, preset_name=name)
        return cls(**cell, **values | changes)

    def settings(self, stage):
        """The fields that `stage` reads itself, as a dict; data set, method, augmentation and seed are in its path."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.metadata.get("stage") == stage}

    def tokenizer_settings(self):
        """Stage 1's fields without those that this method and augmentation do not read."""
        unread = set(_BRANCH) if self.method == "regular" else set()
        if self.method != "barlowtwins":
            unread |= {"barlow_weight", "barlow_offdiagonal"}
        if self.method != "vibcreg":
            unread |= {"whitening_groups", "vibcreg_weight", "vibcreg_sim", "vibcreg_var", "vibcreg_cov"}
        if self.augmentation != "slice":
            unread.add("distinct_slices")
        return {name: value for name, value in self.settings(TOKENIZER).items() if name not in unread}

    # --- where a stage's results live ---

    def fcn_folder(self, out_dir, seed=None):
        """Folder of the FCN trained with these settings (and another seed, for the second feature net)."""
        settings = self.settings(FCN) | ({} if seed is None else {"fcn_seed": seed})
        return Path(out_dir) / "fcn" / self.dataset / digest(settings)

    def tokenizer_folder(self, out_dir):
        """Folder of the tokenizer: shared by every prior that is trained on it."""
        return self._folder(out_dir, "tokenizers", digest(self.tokenizer_settings()))

    def cell_folder(self, out_dir, fcn_hash="own"):
        """Folder of the whole cell; `fcn_hash` tells apart which feature net FID and IS used."""
        unread = set() if self.cas else {"cas_epochs", "cas_score"}
        cell = {name: value for name, value in self.settings(CELL).items() if name not in unread}
        trains_fcn = self.cas or self.second_fcn or fcn_hash == "own"
        stages = [self.tokenizer_settings(), cell, self.settings(FCN) if trains_fcn else {}, fcn_hash]
        return self._folder(out_dir, "cells", digest(stages))

    def _folder(self, out_dir, kind, digest8):
        return Path(out_dir) / kind / self.dataset / f"{self.method}-{self.augmentation}" / digest8 / f"seed{self.seed}"


_NC_PRIOR = {"mask_polarity": "masked", "head": "untied"}
_IMPROVED = _NC_PRIOR | {
    "kmeans_init": True, "expire_below": 1.0, "odd_tail": True, "zero_tail": False, "distinct_slices": True,
    "projector_width": 1024, "probe_statistics": "running", "min_masked": 1, "masked_only": True, "t_per_sample": True,
    "extra_positions": False, "prior_validation": "argmax", "cas_score": "final", "second_fcn": True,
}  # fmt: skip
_QUICK = {
    "epochs": 30, "prior_epochs": 45, "fcn_epochs": 8, "cas_epochs": 8, "probe_every": 15,
    "min_steps": 240, "prior_batch_size": 128, "prior_min_steps": 360, "prior_width": 128, "prior_depth": 3,
    "fcn_min_steps": 32, "projector_width": 256, "whitening_groups": 16,
}  # fmt: skip
_BRANCH = {
    "aug_recon", "ssl_latents", "quantise_view", "zero_tail", "distinct_slices", "projector_width", "whitening_groups",
    "barlow_weight", "barlow_offdiagonal", "vibcreg_weight", "vibcreg_sim", "vibcreg_var", "vibcreg_cov",
}  # fmt: skip
_RANGES = (
    dict.fromkeys(
        ("width", "dim", "n_blocks", "epochs", "batch_size", "projector_width", "whitening_groups", "probe_every",
         "prior_dim", "prior_width", "prior_depth", "prior_heads", "prior_epochs", "prior_batch_size", "decoding_steps",
         "min_samples", "cas_epochs", "fcn_epochs", "fcn_batch_size"),
        (1, math.inf, "1 or more"),
    )
    | dict.fromkeys(("lr", "token_temperature", "prior_lr", "fcn_lr"), (1e-300, math.inf, "positive and finite"))
    | dict.fromkeys(
        ("commitment", "expire_below", "min_steps", "min_masked", "weight_decay", "aug_recon", "barlow_weight",
         "barlow_offdiagonal", "vibcreg_weight", "vibcreg_sim", "vibcreg_var", "vibcreg_cov", "prior_min_steps",
         "prior_weight_decay", "choice_temperature", "guidance", "fcn_min_steps", "fcn_weight_decay"),
        (0, math.inf, "0 or more, and finite"),
    )
    | {
        "n_fft": (4, math.inf, "4 or more"), "codebook_size": (2, math.inf, "2 or more"),
        "codebook_decay": (0, 1, "at least 0 and below 1"), "p_unconditional": (0, 1, "at least 0 and below 1"),
    }
)  # fmt: skip

# The rooms whose code decides what a number is; an edit elsewhere (plots, notebooks, prose) reruns nothing.
_ROOMS = (
    "errors numerics data data_files timefreq quantizer ssl_losses augmentations tokenizer prior fcn metrics "
    "training_checkpoint training_optim training_engine training_tokenizer training_prior training_fcn training "
    "config experiment experiment_samples experiment_stages"
).split()


def digest(settings):
    """Eight hex digits that name these settings and the source code of the rooms that compute with them."""
    return hashlib.sha256(json.dumps([settings, source_digest()], sort_keys=True).encode()).hexdigest()[:8]


@lru_cache
def source_digest():
    """Hash of the rooms' source without comments, docstrings and blank lines."""
    here = Path(__file__).parent
    code = [_bare_code((here / f"{room}.py").read_text(encoding="utf-8")) for room in _ROOMS]
    return hashlib.sha256("\n".join(code).encode()).hexdigest()


def _bare_code(source):
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            for i in range(node.body[0].lineno - 1, node.body[0].end_lineno):
                lines[i] = ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def check_name(kind, value, known):
    """Raise BadInput with the nearest names unless `value` is one of `known`."""
    if value not in known:
        raise BadInput(f"unknown {kind} {value!r}{nearest(value, known)}: choose one of {', '.join(sorted(known))}")


def nearest(value, known):
    """', did you mean ...?' for names close to `value`, or nothing."""
    close = difflib.get_close_matches(str(value), list(known), n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def _article(kind):
    return {"int": "an integer", "float": "a number", "bool": "true or false", "str": "a text"}[kind.__name__]
