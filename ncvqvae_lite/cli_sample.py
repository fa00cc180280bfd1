"""`ncvqvae sample`: new series from a finished run, written to a file."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .arguments import check_name
from .errors import BadInput
from .files import atomic, writing_to

SUFFIXES = (".npz", ".csv", ".ts")


@dataclass(frozen=True)
class Sample:
    """Draw new series from a finished run, in the units of the series that it was made from, and write them to a file.

    The end of the file's name says how it is written; L steps, C channels:
      .npz  arrays x (n, C, L) and, where the series have classes, y (n,): their names. For numpy and `from_arrays`
      .csv  a line for each series: its class, if it has one, then its L values. One channel only
      .ts   the text of sktime and aeon: channels separated by colons, then the class, if there is one
    Two files NAME_TRAIN.ts and NAME_TEST.ts are a data set for `ncvqvae replicate --data`.

    folder FOLDER    of a finished run: the one with metrics.json, or a copy of it
    n N              number of series
    class_ NAME      a class by its name, as the README.md of the run lists them; if not given, classes are drawn by
                     their shares of the train series, or, as with the preset paper, left open: then none is written
    out FILE         where to
    seed S           equal seeds give equal series
    overwrite        replace FILE if it is there
    """

    folder: Path
    n: int = 100
    class_: str | None = None
    out: Path = Path("samples.npz")
    seed: int = 0
    overwrite: bool = False

    def run(self):
        write = {".npz": _write_npz, ".csv": _write_csv, ".ts": _write_ts}.get(self.out.suffix.lower())
        if write is None:
            raise BadInput(f"--out {self.out} ends in none of {', '.join(SUFFIXES)}: choose one of them")
        if self.out.exists() and not self.overwrite:
            raise BadInput(f"--out {self.out} is there already: choose another name, or replace it by --overwrite")
        if self.n < 1:
            raise BadInput(f"--n {self.n}, expected a whole number of 1 or more")

        from .experiment_run import load_run

        run = load_run(self.folder.expanduser())
        if write is _write_csv and run.tokenizer.channels > 1:
            raise BadInput(f"the series have {run.tokenizer.channels} channels, a .csv has one: choose .npz or .ts")
        names = run.class_names or [str(index) for index in range(run.prior.n_classes)]  # earlier versions kept none
        wanted = {"class_name": self.class_}
        if self.class_ is not None and names and not run.class_names:
            check_name("class", self.class_, names)
            wanted = {"class_index": int(self.class_)}
        classes = run.classes(self.n, seed=self.seed, **wanted)
        labels = None if classes is None else [names[index] for index in classes.tolist()]
        if write is not _write_npz:
            _check_words(labels, self.out.suffix)
        series = run.sample(self.n, seed=self.seed, **wanted).numpy()
        with writing_to(self.out.parent), atomic(self.out, "wb" if write is _write_npz else "w") as file:
            write(file, series, labels, run.config["dataset"])
        print(
            f"{self.out}: {self.n} series of {series.shape[1]} channel(s) and {series.shape[2]} steps, {_told(labels)}"
        )


def _check_words(labels, suffix):
    """Refuse names of classes that whoever reads a text file would take for something else."""
    for name in sorted(set(labels or ())):
        if suffix.lower() == ".ts" and (set(name) & set(":, \t\r\n") or name == "?"):
            found = "'?' is no label there" if name == "?" else "blank, colon or comma"
            raise BadInput(f"the class {name!r} cannot stand in a .ts file ({found}): choose .npz or .csv")
        if suffix.lower() == ".csv" and (set(name) & set("\r\n") or name.startswith(("#", "%"))):
            found = f"a line that begins with {name[0]} is a comment" if name[0] in "#%" else "it has two lines"
            raise BadInput(f"the class {name!r} cannot stand in a .csv file ({found}): choose .npz")


def _told(labels):
    if labels is None:
        return "no class"
    named = ", ".join(f"{name} ({count})" for name, count in sorted(Counter(labels).items()))
    return f"classes {' '.join(named.split())}"


# --- the three formats; each value has as many digits as tell it from its neighbours in its type ---


def _write_npz(file, series, labels, name):
    import numpy as np  # here, so that --help need not wait for it

    if labels is None:
        np.savez_compressed(file, x=series)
    else:
        np.savez_compressed(file, x=series, y=np.array(labels))


def _write_csv(file, series, labels, name):
    writer = csv.writer(file, lineterminator="\n")
    for row, (values,) in enumerate(series):
        writer.writerow([*([] if labels is None else [labels[row]]), *map(str, values)])


def _write_ts(file, series, labels, name):
    header = {"problemName": name, "timeStamps": "false", "missing": "false"}
    header |= {"univariate": str(series.shape[1] == 1).lower()}
    header |= {"dimensions": series.shape[1]} if series.shape[1] > 1 else {}
    header |= {"equalLength": "true", "seriesLength": series.shape[2]}
    header |= {"classLabel": " ".join(["true", *sorted(set(labels))]) if labels else "false"}
    file.write("".join(f"@{key} {value}\n" for key, value in header.items()) + "@data\n")
    for row, channels in enumerate(series):
        words = [",".join(map(str, values)) for values in channels]
        file.write(":".join([*words, *([labels[row]] if labels else [])]) + "\n")
