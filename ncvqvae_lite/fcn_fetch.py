"""Download of the feature nets behind the thesis' FID and IS, from the public repository that they are kept in.

Of the checkpoints themselves no hash is recorded, only of the tensors in them (`fcn_weights.THESIS_WEIGHTS`). So one is
converted first, which runs no code from it, and what comes out is kept only if it is what the thesis used.
"""

import tempfile
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from .errors import BadInput, NotFound
from .fcn import FCN
from .fcn_import import import_checkpoint
from .fcn_weights import THESIS_WEIGHTS, net_digest
from .files import writing_to

REPOSITORY, COMMIT = "danelee2601/supervised-FCN", "abc479c3fec3fdf6c677d848667ea5d50a001b2f"
PUBLIC = f"https://raw.githubusercontent.com/{REPOSITORY}/{COMMIT}/saved_models"
TIMEOUT = 30.0  # seconds without an answer after which a server is given up


def fetch_weights(dataset, folder, mirror=PUBLIC):
    """Download, convert and check the thesis' feature net of one data set; returns the file DATASET.safetensors.

    dataset   one of THESIS_WEIGHTS
    folder    where to, made if needed; a file of that name is replaced. Nothing is written unless all is well
    mirror    URL of a folder that holds DATASET.ckpt
    raises    BadInput for another data set and for a download that is not the thesis' net; NotFound if there is none;
              RunFolderError if it cannot be written. What to do by hand is said
    """
    if dataset not in THESIS_WEIGHTS:
        raise BadInput(f"the thesis has no feature net of {dataset!r}, only of {', '.join(THESIS_WEIGHTS)}")
    url, file = f"{mirror.rstrip('/')}/{dataset}.ckpt", Path(folder) / f"{dataset}.safetensors"
    place = f"saved_models/{dataset}.ckpt of github.com/{REPOSITORY} at commit {COMMIT[:7]}"
    by_hand = f"get {place} by hand, and run `ncvqvae fcn import {dataset}.ckpt --to {folder}`"
    try:
        with urlopen(url, timeout=TIMEOUT) as response:
            content = response.read()
    except (OSError, HTTPException, ValueError) as error:  # the last of an address that is none
        why = getattr(error, "reason", error)
        if isinstance(error, HTTPError):  # an answer, such as 404, whose connection is still open
            error.close()
            why = error
        raise NotFound(f"cannot fetch {url} ({why}): {by_hand}") from error
    try:
        net = _convert(content)
    except BadInput as error:
        raise BadInput(f"{url} is {_what(content)}, not a checkpoint of an FCN: {by_hand}") from error
    found, expected = net_digest(net), THESIS_WEIGHTS[dataset]
    if found != expected:
        raise BadInput(f"{url} holds other weights than the thesis used (hash {found}, not {expected}): {by_hand}")
    net.save(file)
    return file


def _convert(content):
    """The bytes of a checkpoint -> the FCN in it."""
    with writing_to(tempfile.gettempdir()), tempfile.TemporaryDirectory(prefix="ncvqvae-fcn-") as folder:
        checkpoint = Path(folder, "net.ckpt")
        checkpoint.write_bytes(content)
        return FCN.load(*import_checkpoint(checkpoint, folder))


def _what(content):
    """What bytes are that were sent in place of a checkpoint, in a few words."""
    if content.lstrip().startswith(b"<"):
        return "a web page, as a proxy or a sign-in sends it"
    if content.startswith(b"version https://git-lfs"):
        return "a Git-LFS pointer, which only names the file"
    return f"damaged, cut off or something else ({len(content)} bytes)"
