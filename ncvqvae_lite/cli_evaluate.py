"""`ncvqvae evaluate`: how good are these synthetic series? For files from any generator."""

from dataclasses import dataclass
from pathlib import Path

from .errors import BadInput


@dataclass(frozen=True)
class Evaluate:
    """Set synthetic series beside real ones: scores with intervals, what real series and copies score, a verdict.

    Files: .npz with X (n, L) or (n, C, L) and perhaps y (n,); .csv, .tsv, .txt with the label first, or without labels;
    .ts. Of a .npz with both splits of a data set, REAL and SYNTHETIC are the test split and --train is the train split.
    SYNTHETIC may be the folder of a finished run, too: then its samples are judged.

    real REAL            series that the generator has not seen: a test split
    synthetic SYNTHETIC  series of the generator, of any number
    train FILE           series that the generator was trained on: tells whether it copies them
    fcn FILE             weights (.safetensors) of a feature net, for the Frechet distance of its features
    thorough             classes by convolutional nets instead of linear classifiers: takes minutes
    out FILE             also write a page with the figures (.html)
    json FILE            also write the scores: {name: {"value", "low", "high", "real", "copy", "jitter"}}
    seed S               equal seeds give equal numbers
    """

    real: Path
    synthetic: Path
    train: Path | None = None
    fcn: Path | None = None
    thorough: bool = False
    out: Path | None = None
    json: Path | None = None
    seed: int = 0

    def run(self):
        for option, file, suffixes in (("--out", self.out, (".html", ".htm")), ("--json", self.json, (".json",))):
            if file and file.suffix.lower() not in suffixes:
                raise BadInput(f"{option} {file} does not end in {suffixes[0]}: choose such a name")
        from .data_series import read_series  # here, so that --help need not wait for torch
        from .evaluation import evaluate
        from .fcn_weights import find_weights

        given = {"real": (self.real, "test"), "synthetic": (self.synthetic, "test"), "train": (self.train, "train")}
        read = {name: read_series(file, split) for name, (file, split) in given.items() if file}
        for name, found in read.items():
            print(f"{name}: {given[name][0]}, {found.told}", flush=True)
        sets = {name: found.x for name, found in read.items()}
        labels = {f"{name}_labels": found.y for name, found in read.items()}
        fcn = find_weights("", self.fcn) if self.fcn else None
        evaluation = evaluate(**sets, **labels, fcn=fcn, seed=self.seed, thorough=self.thorough)
        for note in evaluation.notes:
            print(f"note: {note}")
        print(f"\n{evaluation.table()}\n")
        for name, reason in evaluation.left_out.items():
            print(f"{name} is left out: {reason}")
        print(f"{evaluation.k} series of each were compared at a time.\n{evaluation.verdict}")
        for file, write in ((self.out, evaluation.write_html), (self.json, evaluation.write_json)):
            if file:
                write(file)
                print(f"Written: {file}")
