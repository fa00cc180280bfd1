"""`ncvqvae fcn fetch|import|list`: the weights of the feature nets behind FID and IS."""

import os
from dataclasses import dataclass
from pathlib import Path

from .config import check_name
from .errors import BadInput
from .fcn_weights import HOW_TO_GET, THESIS_WEIGHTS, is_thesis_weights, shipped_judge, user_folder

THESIS = "used by the thesis"


@dataclass(frozen=True)
class Fetch:
    """Fetch the weights behind the thesis' FID and IS from their public repository, check and convert them.

    They are public: github.com/danelee2601/supervised-FCN, commit abc479c, MIT licence; saved_models/D.ckpt. No code
    from them is run. A file is written only if it holds the weights that the thesis used; one that is there is kept.

    datasets D   only of these data sets of the thesis; if not given, of all thirteen
    to FOLDER    where to; if not given, where `replicate` looks: the folder that $NCVQVAE_FCN names, else the folder
                 fcn in the cache ($NCVQVAE_CACHE, else ~/.cache/ncvqvae_lite)
    mirror URL   fetch URL/D.ckpt instead
    """

    datasets: tuple[str, ...] = ()
    to: Path | None = None
    mirror: str | None = None

    def run(self):
        for dataset in self.datasets:
            check_name("data set of the thesis", dataset, THESIS_WEIGHTS)
        from .fcn_fetch import PUBLIC, fetch_weights

        folder = (self.to or user_folder()).expanduser()
        for dataset in self.datasets or THESIS_WEIGHTS:
            file = folder / f"{dataset}.safetensors"
            if file.exists():
                advice = "" if whose(file) == THESIS else "; delete it to fetch what the thesis used"
                print(f"{file}: kept, it was there ({whose(file)}{advice})")
            else:
                print(f"{fetch_weights(dataset, folder, self.mirror or PUBLIC)}: fetched", flush=True)
        _say_how_to_use(self.to)


@dataclass(frozen=True)
class Import:
    """Convert supervised-FCN checkpoints (.ckpt) to weights that `replicate` uses, without running code from them.

    They are public: github.com/danelee2601/supervised-FCN, commit abc479c, MIT licence; folder saved_models.

    source FILE_OR_FOLDER   a checkpoint NAME.ckpt, or a folder with some; each becomes NAME.safetensors
    to FOLDER               where to; if not given, where `replicate` looks: the folder that $NCVQVAE_FCN names, else
                            the folder fcn in the cache ($NCVQVAE_CACHE, else ~/.cache/ncvqvae_lite)
    """

    source: Path
    to: Path | None = None

    def run(self):
        from .fcn_import import import_checkpoint

        for file in import_checkpoint(self.source.expanduser(), (self.to or user_folder()).expanduser()):
            print(f"{file}{' (the weights behind the thesis)' if is_thesis_weights(file, file.stem) else ''}")
        _say_how_to_use(self.to)


@dataclass(frozen=True)
class List:
    """Say which weights `replicate` finds, whether they are those of the thesis, and how to get those that lack."""

    def run(self):
        report_weights()


def _say_how_to_use(to):
    """Where weights were written to a folder that `replicate` does not look into."""
    if to and to.expanduser().resolve() != user_folder().resolve():
        print(f"`replicate` finds them with --fcn FILE, or with NCVQVAE_FCN={to}")


def report_weights():
    """Print which FCN weights `replicate` finds, whether they are those of the thesis, and how to get them."""
    from .generators import GENERATORS  # here, as it loads torch

    folder = user_folder()
    named = "$NCVQVAE_FCN" if os.environ.get("NCVQVAE_FCN") else "the cache; NCVQVAE_FCN is not set"
    found = {file.stem: whose(file) for file in sorted(folder.glob("*.safetensors"))}
    print(f"FCN weights behind FID and IS: {len(found)} in {folder} ({named})")
    for what in dict.fromkeys(found.values()):
        print(f"  {what}: {', '.join(name for name, of in found.items() if of == what)}")
    if shipped := [name for name in GENERATORS if shipped_judge(name)]:
        print(f"  with the package, ours, for generated sets: {', '.join(shipped)}")
    lacking = [name for name in THESIS_WEIGHTS if name not in found]
    if lacking:
        print(f"  none for {', '.join(lacking)}: an FCN is trained there, and FID and IS are not comparable")
        print(
            "  Those of the thesis are public: `ncvqvae fcn fetch` gets them. By hand, with those of other data sets:"
        )
        print("\n".join(f"    {step}" for step in HOW_TO_GET))


def whose(file):
    """Whether a file of weights is the thesis' own, in a few words."""
    try:
        return THESIS if is_thesis_weights(file, file.stem) else "others"
    except BadInput as error:
        return f"unusable ({error})"
