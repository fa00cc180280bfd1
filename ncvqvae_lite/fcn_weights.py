"""Weights of the feature nets behind FID and IS: where they are kept, and which of them are the thesis' own.

The thesis' weights are public: github.com/danelee2601/supervised-FCN, commit abc479c, MIT licence; `fcn_fetch` gets
them. For the generated data sets ours ship with the package (data/README.md, judges).
"""

import hashlib
import os
from pathlib import Path

from .errors import BadInput, NotFound
from .files import cache_dir, data_file

HOW_TO_GET = (
    "git clone https://github.com/danelee2601/supervised-FCN   (MIT licence)",
    "git -C supervised-FCN checkout abc479c",
    "ncvqvae fcn import supervised-FCN/saved_models",
)

# First 12 hex digits of `weights_digest` of the weights that the thesis used.
THESIS_WEIGHTS = {
    "ECG5000": "67983a8afa57",
    "ElectricDevices": "34fac366eea6",
    "FordA": "b5d3aff1bef3",
    "FordB": "bc2c29de2fac",
    "Mallat": "58da7750d649",
    "ShapesAll": "97a3c6041c79",
    "SonyAIBORobotSurface1": "678660992274",
    "SonyAIBORobotSurface2": "312f1fb90069",
    "StarLightCurves": "4f38b0cac7fc",
    "Symbols": "31cf091ec4c9",
    "TwoPatterns": "b45d877e9331",
    "UWaveGestureLibraryAll": "fc5bb725be05",
    "Wafer": "5de9a725bbc3",
}


def user_folder():
    """Where `fcn fetch` and `import` write to and `replicate` looks: $NCVQVAE_FCN, else the folder fcn in the cache."""
    return Path(os.environ.get("NCVQVAE_FCN") or cache_dir() / "fcn").expanduser()


def find_weights(dataset, given=None):
    """The weights file for a data set: `given`, else DATASET.safetensors in `user_folder`, else `shipped_judge`.

    raises   NotFound for a given file that is not there, or where $NCVQVAE_FCN names no folder
    """
    if given is not None:
        given = Path(given).expanduser()
        if not given.is_file():
            raise NotFound(f"no FCN weights at {given}: expected a .safetensors file; `ncvqvae fcn import` makes one")
        if given.suffix == ".ckpt":
            raise BadInput(f"{given} is a checkpoint: convert it with `ncvqvae fcn import {given}` first")
        return given
    folder = user_folder()
    if os.environ.get("NCVQVAE_FCN") and not folder.is_dir():
        raise NotFound(f"NCVQVAE_FCN names {folder}, which is no folder: correct it, or unset it")
    file = folder / f"{dataset}.safetensors"
    return file if file.is_file() else shipped_judge(dataset)


def shipped_judge(dataset):
    """The weights that ship with the package for a generated data set, made by benchmarks/make_judges.py; else None."""
    try:
        return data_file(f"judges/{dataset}.safetensors")
    except NotFound:
        return None


def file_hash(file):
    """First 12 hex digits of the SHA-256 of a file: says which weights stand behind an FID or an IS."""
    if not Path(file).is_file():
        raise NotFound(f"no FCN weights at {file}: expected a .safetensors file")
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]


def is_thesis_weights(file, dataset):
    """True if the file holds the very weights that the thesis used for this data set, in whatever order or format.

    TwoPatternsGenerated is set beside the archive's TwoPatterns.
    """
    archive = "TwoPatterns" if dataset == "TwoPatternsGenerated" else dataset
    return weights_digest(file) == THESIS_WEIGHTS.get(archive)


def weights_digest(file):
    """First 12 hex digits of the SHA-256 of names and values (float32) of all tensors, in the order of their names.

    Dilations count where they are not 1.
    """
    from .fcn import FCN

    return net_digest(FCN.load(file))


def net_digest(net):
    """`weights_digest` of an FCN on the CPU."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        if not name.endswith("num_batches_tracked"):
            digest.update(name.encode() + tensor.numpy().tobytes())
    if net.dilation != (1, 1, 1):
        digest.update(str(net.dilation).encode())
    return digest.hexdigest()[:12]
