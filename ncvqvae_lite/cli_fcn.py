"""`ncvqvae fcn import`: the weights of the feature nets behind FID and IS, from their public checkpoints.

The weights behind the thesis are public: github.com/danelee2601/supervised-FCN, commit abc479c, MIT licence.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from .fcn_weights import is_thesis_weights, user_folder

HOW_TO_GET = (
    "git clone https://github.com/danelee2601/supervised-FCN   (MIT licence)",
    "git -C supervised-FCN checkout abc479c",
    "ncvqvae fcn import supervised-FCN/saved_models",
)


@dataclass(frozen=True)
class Fcn:
    """Convert supervised-FCN checkpoints (.ckpt) to weights that `replicate` uses, without running code from them.

    They are public: github.com/danelee2601/supervised-FCN, commit abc479c, MIT licence; folder saved_models.
    """

    action: tyro.conf.Positional[Literal["import"]]
    """the one thing that can be done"""
    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE_OR_FOLDER")]
    """a checkpoint NAME.ckpt, or a folder with some; each becomes NAME.safetensors"""
    to: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """where to; if not given, where `replicate` looks: the folder that $NCVQVAE_FCN names, else the folder fcn in the
    cache ($NCVQVAE_CACHE, else ~/.cache/ncvqvae_lite)"""

    def run(self):
        from .fcn import import_checkpoint

        written = import_checkpoint(self.source.expanduser(), (self.to or user_folder()).expanduser())
        for file in written:
            print(f"{file}{' (the weights behind the thesis)' if is_thesis_weights(file, file.stem) else ''}")
        if self.to and self.to.expanduser().resolve() != user_folder().resolve():
            print(f"`replicate` finds them with --fcn FILE, or with NCVQVAE_FCN={self.to}")
