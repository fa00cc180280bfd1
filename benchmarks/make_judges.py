"""Train the feature nets that ship for the generated data sets: `python benchmarks/make_judges.py [--only NAME]`

Writes NAME.safetensors and a row of judges.csv for each (data/README.md says what the columns mean). Series are fresh:
20,000 to learn from and 20,000 to be judged on, of seeds of their own, scaled as a run scales them, by the mean and
deviation of the data set's train split. One thread; minutes each.
"""

import argparse
import time
from pathlib import Path

import torch

from ncvqvae_lite.data import load_dataset
from ncvqvae_lite.experiment_fcn import accuracy
from ncvqvae_lite.experiment_stages import initial_weights, scale
from ncvqvae_lite.fcn import FCN
from ncvqvae_lite.fcn_weights import file_hash
from ncvqvae_lite.files import read_csv, write_csv
from ncvqvae_lite.generators import GENERATORS
from ncvqvae_lite.training import train_fcn

JUDGES = Path(__file__).resolve().parent.parent / "data" / "judges"
# So that a feature sees nearly the whole series: 120 steps of 128, 56 of 60. The published net's 14 cannot tell which
# of two patterns comes first.
DILATION = {"TwoPatternsGenerated": (1, 8, 40), "CBFGenerated": (1, 8, 40), "SyntheticControlGenerated": (1, 4, 16)}
N_SERIES = 20_000
TRAIN_SEED, TEST_SEED = 91_001, 91_002  # no run and no test makes series of these seeds
OPTIM = dict(epochs=3, batch_size=32, lr=1e-2, schedule="one-cycle")


def fresh_series(name, seed, n):
    """n series of a generated data set as its runs see them: scaled (n, 1, L), labels (n,) from 0 on."""
    scaled = scale(load_dataset(name), "cpu")
    x, y, *_ = GENERATORS[name](n_train=n, n_test=1, seed=seed)
    return ((torch.from_numpy(x).double() - scaled.mean) / scaled.std).float(), torch.from_numpy(y) - 1


def make_judge(name, dilation, n, folder):
    """Train one judge and write its file; returns its row of the table."""
    x, y = fresh_series(name, TRAIN_SEED, n)
    with initial_weights("judge", name):
        net = FCN(int(y.max()) + 1, dilation=dilation)
    start = time.process_time()
    train_fcn(net, x, y, **OPTIM)
    seconds = time.process_time() - start
    file = folder / f"{name}.safetensors"
    net.eval().save(file)
    return {
        "name": name,
        "hash": file_hash(file),
        "accuracy": accuracy(net, *fresh_series(name, TEST_SEED, n)),
        "dilation": " ".join(map(str, dilation)),
        "n_series": n,
        "train_seed": TRAIN_SEED,
        "test_seed": TEST_SEED,
        "epochs": OPTIM["epochs"],
        "seconds": round(seconds),
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=GENERATORS, metavar="NAME", help="one data set: " + ", ".join(GENERATORS))
    parser.add_argument("--dilation", type=int, nargs=3, metavar="D", help="of the convolutions; 1 1 1: as published")
    parser.add_argument("--series", type=int, default=N_SERIES, metavar="N", help="instead of 20000, twice")
    parser.add_argument("--out", type=Path, default=JUDGES, metavar="FOLDER", help="instead of data/judges")
    chosen = parser.parse_args(arguments)
    table = chosen.out / "judges.csv"
    rows = {row["name"]: row for row in read_csv(table)} if table.exists() else {}
    for name in [chosen.only] if chosen.only else GENERATORS:
        rows[name] = make_judge(name, tuple(chosen.dilation or DILATION[name]), chosen.series, chosen.out)
        write_csv(table, [rows[known] for known in GENERATORS if known in rows])
        print(f"{name}: accuracy {rows[name]['accuracy']:.5f} on fresh series, {rows[name]['seconds']} s", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    main()
