"""What a trained model made, small enough for git: `python notebooks/tools/example.py RUN EXAMPLE.npz`.

The opening chapter draws it, so that a reader sees a trained model before training one. Nothing of the archive's series
goes into the file: what is encoded comes from `two_patterns`, the rest from the model.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ncvqvae_lite.data import load_dataset
from ncvqvae_lite.errors import BadInput, UserError
from ncvqvae_lite.experiment import load_run
from ncvqvae_lite.experiment_samples import batched_decode

PER_CLASS = 16  # generated series


def example(run, seed=1):
    """Arrays of a finished run of TwoPatterns, in the units of its series.

    x, x_hat, x_tokens  (4, L) test series of TwoPatternsGenerated, one of each class; what the tokenizer makes of them;
                        their tokens (4, F, W')
    steps, drawn        (T + 1, F, W') tokens of one series while it is decoded, -1 where still masked; the series (L,)
    generated, classes  (4 PER_CLASS, L) series that the prior was asked for, and the classes (4 PER_CLASS,)
    raises              BadInput for a run of another data set
    """
    if run.config["dataset"] not in ("TwoPatterns", "TwoPatternsGenerated"):
        raise BadInput(f"the example needs a run of TwoPatterns, this one is of {run.config['dataset']}")
    ds = load_dataset("TwoPatternsGenerated")
    x = ds.x_test[[int((ds.y_test == k).nonzero()[0, 0]) for k in range(ds.n_classes)]]  # (4, 1, L)
    tokens = run.tokenizer.encode((x - run.mean) / run.std)  # (4, N)
    seen = []
    hook = run.prior.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].clone()))
    of_run = run.settings
    settings = {"steps": of_run.decoding_steps, "choice_temperature": of_run.choice_temperature, "order": of_run.order}
    final = run.prior.sample(1, 0, **settings, generator=torch.Generator().manual_seed(seed))
    hook.remove()
    steps = torch.cat([*seen, final])  # (T + 1, N)
    steps = torch.where(steps == run.prior.codebook_size, -1, steps)
    classes = torch.arange(ds.n_classes).repeat_interleave(PER_CLASS)
    x_hat, drawn = (batched_decode(run.tokenizer, t)[:, 0] * run.std + run.mean for t in (tokens, final))
    series = {"x": x[:, 0], "x_hat": x_hat, "drawn": drawn[0]}
    series["generated"] = run.sample(len(classes), classes, seed=seed)[:, 0]
    grid = run.tokenizer.grid
    whole = {"x_tokens": tokens.view(-1, *grid), "steps": steps.view(-1, *grid), "classes": classes}
    return {name: a.numpy().astype(np.float16) for name, a in series.items()} | {
        name: a.numpy().astype(np.int16) for name, a in whole.items()
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description="Keep a small example of what a finished run of TwoPatterns made.")
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
