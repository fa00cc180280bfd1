"""NC-VQVAE part by part: tokenize time series, learn what the tokens mean, generate new series (arXiv 2408.16613).

Every public name can be imported from here; the module that holds it is loaded on first use, so that
`import ncvqvae_lite` costs nothing: no torch, no aeon, no pandas.
"""

from importlib import import_module

__version__ = "0.2.0"

_ROOMS = {
    "data": (
        "TimeSeriesDataset",
        "load_dataset",
        "from_arrays",
        "two_patterns",
        "cbf",
        "synthetic_control",
        "gestures",
        "THESIS_DATASETS",
    ),
    "timefreq": ("stft", "istft"),
    "quantizer": ("VectorQuantizer",),
    "ssl_losses": ("barlow_twins", "vicreg", "vibcreg", "Projector", "IterNorm"),
    "ssl_losses_contrastive": ("nt_xent", "simclr"),
    "augmentations": ("window_warp", "amplitude_resize", "slice_and_shuffle", "gaussian_noise", "AUGMENTATIONS"),
    "tokenizer": ("Encoder", "Decoder", "Tokenizer"),
    "prior": ("MaskGIT",),
    "fcn": ("FCN",),
    "metrics": (
        "reconstruction_error",
        "knn_accuracy",
        "svm_accuracy",
        "frechet_distance",
        "inception_score",
        "token_usage",
        "perplexity",
    ),
    "training": ("train_tokenizer", "train_prior", "train_fcn"),
    "config": ("ExperimentConfig",),
    "experiment": ("run_experiment", "classification_accuracy_score", "cell_folder", "load_run"),
    "thesis": ("compare",),
    "evaluation": ("evaluate",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", *_ROOM_OF]  # pyright: ignore[reportUnsupportedDunderAll]  # names in _ROOMS are public


def __getattr__(name):
    """Load the module that holds a public name when it is first asked for (PEP 562)."""
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_ROOM_OF[name]}", __name__), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__():
    return sorted(set(globals()) | set(__all__))
