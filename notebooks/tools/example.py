"""What a trained model made, small enough for git: `python notebooks/tools/example.py RUN EXAMPLE.npz`.

The opening chapter draws it, so that a reader sees a trained model before training one. The run is the naive arm of
`make replicate`, on a data set that the package makes: nothing of the archive is in the file.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ncvqvae_lite.data import load_dataset
from ncvqvae_lite.demonstration import DATASET
from ncvqvae_lite.errors import BadInput, UserError
from ncvqvae_lite.experiment import load_run
from ncvqvae_lite.experiment_samples import batched_decode, generate

PER_CLASS = 16  # generated series
SHOWN = 4  # class of the series that is watched while it is drawn: an upward shift
PLACES = ("tokenizer", "parts")  # of a run's config: where its files lie


def example(run, seed=1):
    """Arrays of a finished run of the data set of the demonstration (k classes), in the units of its series.

    x, x_hat, x_tokens  (k, L) test series, one of each class; what the tokenizer makes of them; their tokens (k, F, W')
    steps               (T + 1, F, W') tokens of one series while it is decoded, -1 where still masked
    decoded, drawn      (L,) what the decoder makes of the last step, and the series that a user gets: with a piece of
                        noise where the run adds some, else the same
    generated, classes  (k PER_CLASS, L) series that a user gets who asks for the classes (k PER_CLASS,)
    about               JSON: the run's "config" (settings, commit, versions, hashes of data and FCN) and "metrics"
    raises              BadInput for a run of another data set
    """
    if run.config["dataset"] != DATASET:
        raise BadInput(f"the example needs a run of {DATASET}, this one is of {run.config['dataset']}")
    ds = load_dataset(DATASET)
    x = ds.x_test[[int((ds.y_test == k).nonzero()[0, 0]) for k in range(ds.n_classes)]]  # (k, 1, L)
    tokens = run.tokenizer.encode((x - run.mean) / run.std)  # (k, N)
    steps, drawn = decoding(run, seed)
    x_hat, decoded = (batched_decode(run.tokenizer, t)[:, 0] * run.std + run.mean for t in (tokens, steps[-1:]))
    classes = torch.arange(ds.n_classes).repeat_interleave(PER_CLASS)
    series = {"x": x[:, 0], "x_hat": x_hat, "decoded": decoded[0], "drawn": drawn}
    series["generated"] = run.sample(len(classes), classes, seed=seed)[:, 0]
    grid = run.tokenizer.grid
    whole = {"x_tokens": tokens.view(-1, *grid), "steps": steps.view(-1, *grid), "classes": classes}
    config = {name: value for name, value in run.config.items() if name not in PLACES}
    return (
        {name: a.numpy().astype(np.float16) for name, a in series.items()}
        | {name: a.numpy().astype(np.int16) for name, a in whole.items()}
        | {"about": np.array(json.dumps({"config": config, "metrics": run.metrics}))}
    )


def decoding(run, seed):
    """A series while `run.sample(1, SHOWN, seed)` draws it: its tokens (T + 1, N) step by step, and the series (L,)."""
    seen = []

    def see(_, arguments):
        tokens, classes = arguments
        if (classes == SHOWN).all():  # guidance asks a second time, without the class
            seen.append(tokens.clone())

    hook = run.prior.register_forward_pre_hook(see)
    last, series = generate(run.settings, run.tokenizer, run.prior, 1, seed, SHOWN, run.pieces)
    hook.remove()
    steps = torch.cat([*seen, last])
    return torch.where(steps == run.prior.codebook_size, -1, steps), series[0, 0] * run.std + run.mean


def main(argv=None):
    parser = argparse.ArgumentParser(description=f"Keep a small example of what a finished run of {DATASET} made.")
    parser.add_argument("run", type=Path, help="the run's cell folder")
    parser.add_argument("file", type=Path, help=".npz to write")
    given = parser.parse_args(argv)
    try:
        np.savez_compressed(given.file, **example(load_run(given.run)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
