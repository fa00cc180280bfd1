"""Checkpoints of supervised-FCN, made weights of our FCN; no code in them runs."""

import torch

from .arguments import path
from .errors import BadInput, NotFound
from .fcn import is_weight, net_of_tensors


def import_checkpoint(file_or_folder, destination):
    """Convert supervised-FCN checkpoints to safetensors: `<Dataset>.ckpt` -> `destination/<Dataset>.safetensors`.

    The public weights are in the history of github.com/danelee2601/supervised-FCN (MIT licence), commit abc479c,
    `saved_models/<Dataset>.ckpt`. A checkpoint is a state dict of tensors, or a Lightning checkpoint that holds one
    under "state_dict". Names are not relied on: convolutions, batch norms and the linear layer are taken in file order
    and checked by shape. Only tensors are unpickled, so no code in a checkpoint runs.

    file_or_folder   one checkpoint, or a folder with *.ckpt files
    destination      folder, made if needed
    returns          the files written, in the order of their names; none is written unless all checkpoints fit
    raises           NotFound for a missing file or a folder without checkpoints; BadInput for one that does not fit
    """
    source, destination = path(file_or_folder, "file_or_folder"), path(destination, "destination")
    checkpoints = sorted(source.glob("*.ckpt")) if source.is_dir() else [source]
    if not checkpoints or not checkpoints[0].is_file():
        raise NotFound(f"no checkpoint at {source}: expected a .ckpt file or a folder that holds some")
    nets = {destination / f"{file.stem}.safetensors": _convert(file) for file in checkpoints}
    for target, net in nets.items():
        net.save(target)
    return list(nets)


def _convert(file):
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file can fail in any way inside the reader
        raise BadInput(
            f"{file} is refused ({type(error).__name__}): it is damaged or holds Python objects besides tensors, which "
            "are never unpickled because they can run code; save its state dict alone and try again"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(t, torch.Tensor) for t in content.values()):
        raise BadInput(f"{file} holds no state dict: expected names with tensors, or those under 'state_dict'")

    layers = {}  # "layers.0" -> {"weight": …, "bias": …}, in file order
    for name, tensor in content.items():
        if is_weight(str(name)):
            layer, _, leaf = str(name).rpartition(".")
            layers.setdefault(layer, {})[leaf] = tensor
    counts, renamed = dict.fromkeys(("conv", "norm", "head", "other"), 0), {}
    for layer in layers.values():
        dim = layer["weight"].ndim if "weight" in layer else 0
        kind = "norm" if "running_mean" in layer else {3: "conv", 2: "head"}.get(dim, "other")
        counts[kind] += 1  # pyright: ignore[reportArgumentType]  # kind is one of these four
        place = kind if kind == "head" else f"{kind}{counts[kind]}"  # pyright: ignore[reportArgumentType]
        renamed |= {f"{place}.{leaf}": t for leaf, t in layer.items()}
    found = tuple(counts.values())
    if found != (3, 3, 1, 0):
        wanted = "3 convolutions, 3 batch norms, 1 linear layer, 0 others"
        raise BadInput(f"{file} holds no FCN: expected {wanted}, found {found}; use a supervised-FCN checkpoint")
    return net_of_tensors(renamed, file)
