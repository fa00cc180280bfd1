"""What figures need of finished runs and no table of scores holds, small enough for git: panels and loss curves.

`python notebooks/tools/panels.py RUNS --out FOLDER` writes both: FOLDER/panels/*.npz, one file per cell of seed 1, and
FOLDER/curves.csv, one row per kept epoch of every tokenizer. The ones that ship are in data/results. Figures of the
report are drawn from them by `lab.report.panel_figures`, which also reads them.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ncvqvae_lite.data import load_dataset
from ncvqvae_lite.errors import BadInput, UserError
from ncvqvae_lite.experiment import load_run
from ncvqvae_lite.experiment_folders import finished_metrics
from ncvqvae_lite.fcn import batched
from ncvqvae_lite.files import atomic, read_csv, read_json, writing_to
from ncvqvae_lite.lab.report.panel_figures import CURVE_COLUMNS, CURVE_KEY, TERMS
from ncvqvae_lite.lab.results import cell_rows, finished_cells, key_of, update
from ncvqvae_lite.plots import tsne

PANEL_SEED = 1  # one seed is enough to look at
MOST_SERIES, MOST_CLASSES, PER_CLASS, MOST_POINTS = 400, 4, 5, 200
SAMPLES, BINS = 100, 20  # series whose decoding is watched, as in the thesis; bins of a probability
QUANTILES = (0.1, 0.5, 0.9)  # of real series: their range, not the series themselves, belongs into git
PANEL_BYTES = 40_000
EPOCHS = 40  # kept of a tokenizer's history
TEXTS = tuple(name for name in CURVE_KEY if name != "seed")


# --- panels ---


def export_panels(folders, out_folder):
    """Write one .npz of `panel` for each cell of seed 1 among `folders`; returns how many.

    A cell's file is named by its data set, configuration, preset and changed settings, so a new run replaces it.
    """
    chosen = [folder for folder in folders if read_json(Path(folder) / "config.json")["seed"] == PANEL_SEED]
    for folder in chosen:
        arrays, packed = panel(folder), io.BytesIO()
        np.savez_compressed(packed, **arrays)
        if packed.tell() > PANEL_BYTES:
            raise BadInput(f"the panel of {folder} has {packed.tell()} bytes, at most {PANEL_BYTES} belong into git")
        name = "_".join(" ".join(arrays[name].item() for name in TEXTS).split()) + ".npz"
        with writing_to(out_folder), atomic(Path(out_folder) / name, "wb") as file:
            file.write(packed.getvalue())
    return len(chosen)


def panel(folder):
    """Arrays of one finished cell, series in raw units and float16; raises BadInput for code that was not committed.

    dataset, method, augmentation, preset, ablation   texts; ablation lists settings that differ from the preset
    points, classes     (n, 2) t-SNE of the pooled latents of at most 400 test series, and their classes (n,)
    accepted            (T, 20) how many tokens the sampler accepted in each decoding step, by their probability
    shown, time         (k,) the first classes, at most 4; (P,) steps that are kept of a series, at most 200
    real                (k, 3, P) quantiles .1, .5 and .9 of all test series of these classes at each step (channel 1)
    generated           (k, 5, P) series that the prior was asked for
    class_names         names of all classes
    """
    folder = Path(folder)
    cell = _key(folder)
    ds = load_dataset(cell["dataset"])
    finished_metrics(folder, ds)  # refuses a run of other series
    if not ds.n_classes:
        raise BadInput(f"{ds.name} has no labels, and a panel shows classes")
    run = load_run(folder)
    points, classes = latent_points(run, ds)
    shown = torch.arange(min(ds.n_classes, MOST_CLASSES))
    generated = run.sample(PER_CLASS * len(shown), shown.repeat_interleave(PER_CLASS), seed=PANEL_SEED)[:, 0]
    kept = np.arange(0, generated.shape[-1], -(-generated.shape[-1] // MOST_POINTS))
    quantiles = torch.tensor(QUANTILES)
    real = torch.stack([ds.x_test[ds.y_test == k, 0].quantile(quantiles, dim=0) for k in shown])  # (k, 3, L)
    return {name: np.array(cell[name]) for name in TEXTS} | {
        "points": points.astype(np.float16),
        "classes": classes.astype(np.int16),
        "accepted": accepted_probabilities(run),
        "shown": shown.numpy().astype(np.int16),
        "time": kept.astype(np.int16),
        "real": real[..., kept].numpy().astype(np.float16),
        "generated": generated.view(len(shown), PER_CLASS, -1)[..., kept].numpy().astype(np.float16),
        "class_names": np.array(ds.class_names),
    }


def latent_points(run, ds):
    """t-SNE (n, 2) of the pooled latents of at most 400 random test series, and their classes (n,)."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(ds.x_test))[:MOST_SERIES])
    features = batched(run.tokenizer.features, (ds.x_test[chosen] - run.mean) / run.std)
    return tsne(features)[0], ds.y_test[chosen].numpy()


def accepted_probabilities(run, n=SAMPLES, seed=PANEL_SEED):
    """How sure the prior was of the tokens that it kept: counts (T, 20) by decoding step and probability.

    Watches the prior while it draws n series without a class. A position counts in the step that filled it for good,
    with the probability of its token in that step. Without a class, guidance changes nothing and is left out.
    """
    prior, before, logits = run.prior, [], []

    def watch(_, arguments, output):
        before.append(arguments[0])
        logits.append(output)

    handle = prior.register_forward_hook(watch)
    generator = torch.Generator(prior.table.device).manual_seed(seed)
    settings = run.settings
    how = dict(steps=settings.decoding_steps, choice_temperature=settings.choice_temperature, order=settings.order)
    final = prior.sample(n, **how, generator=generator, batch_size=n)
    handle.remove()
    counts = []
    for tokens, after, scores in zip(before, [*before[1:], final], logits):
        accepted = (tokens == prior.codebook_size) & (after != prior.codebook_size)
        chosen = after.where(accepted, 0)[..., None]
        probability = torch.softmax(scores, dim=-1).gather(-1, chosen)[..., 0][accepted]
        counts.append(np.histogram(probability.cpu().numpy(), bins=BINS, range=(0, 1))[0])
    return np.array(counts, dtype=np.int32)


# --- loss curves ---


def export_curves(folders, table):
    """Add the loss curves of the cells' tokenizers to the CSV file `table`; returns how many tokenizers.

    One row is one epoch of one tokenizer, about 40 of them: the first, the last, those with probes, and between them
    epochs whose distance grows. Cells that share a tokenizer give its rows once; rows that are there already are
    replaced.
    """
    new = {}
    for folder in folders:
        cell, config = _key(Path(folder)), read_json(Path(folder) / "config.json")
        tokenizer = Path(folder) / config["tokenizer"]
        settings = read_json(tokenizer / "config.json")
        changes = [change for change in cell["ablation"].split() if change.split("=")[0] in settings]
        shared = cell | {"ablation": " ".join(changes)}
        key = key_of(shared, CURVE_KEY)
        if key not in new:
            new[key] = [shared | row for row in _thinned(tokenizer / "history.csv")]
    update(table, new, CURVE_KEY, CURVE_COLUMNS)
    return len(new)


def _thinned(history):
    """The kept rows of a history.csv, numbers rounded to 4 digits, without values that are 0 throughout."""
    rows = read_csv(history)
    last = int(rows[-1]["epoch"])
    wanted = {round(epoch) for epoch in np.geomspace(1, max(last, 1), EPOCHS)}
    kept = [row for row in rows if int(row["epoch"]) in wanted or row.get("recon_val")]
    absent = {name for name in TERMS if not any(float(row.get(name) or 0) for row in rows)}
    shown = [name for name in TERMS if name not in absent]
    return [{"epoch": row["epoch"]} | {n: f"{float(row[n]):.4g}" for n in shown if row.get(n)} for row in kept]


# --- shared ---


def _key(folder):
    """What tells this finished cell from others, as in the table of results; refuses code that was not committed."""
    row = cell_rows(folder)[0]
    return {name: row[name] for name in CURVE_KEY}


def main(argv=None):
    parser = argparse.ArgumentParser(description="Keep what figures need of finished runs: panels and loss curves.")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs, or of single finished cells")
    parser.add_argument("--out", type=Path, required=True, help="folder to write panels/ and curves.csv to")
    given = parser.parse_args(argv)
    try:
        cells = [cell for place in given.runs for cell in finished_cells(place)]
        curves = export_curves(cells, given.out / "curves.csv")
        panels = export_panels(cells, given.out / "panels")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{panels} panels and the curves of {curves} tokenizers in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
