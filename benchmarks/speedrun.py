"""The speed run: how soon are TwoPatterns and ECG5000 generated better than in the thesis?  `make speedrun`

From raw series to a tokenizer, a prior, samples of every class and their scores, on one CPU core. A run counts if, over
five seeds, reconstruction error, FID by class, inception score and CAS are all better than the best mean of the
thesis' seven arms (Mathisen 2024), each by a one-sided t-test at p < 0.01. What counts is the processor time of one
core, the mean over the seeds. The rules: settings are tuned on generated sets and on folds of train splits
(`search.py`), and a record opens the archive's test splits once.

Without options the course is run on TwoPatternsGenerated with the judge that ships, and nothing is opened. `--record
"what changed"` runs the archive's series ($NCVQVAE_DATA) with the thesis' feature nets ($NCVQVAE_FCN), and adds to
RECORDS.md, whether it passes or not; this file must be entered in data/results/openings.csv before (`opening.py --file
benchmarks/speedrun.py`).
"""

import argparse
import datetime
import hashlib
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from scipy import stats
from torch.utils.flop_counter import FlopCounterMode

from ncvqvae_lite import ExperimentConfig, load_dataset
from ncvqvae_lite.errors import BadInput, NotFound, UserError
from ncvqvae_lite.experiment_cas import cas_stage
from ncvqvae_lite.experiment_folders import commit
from ncvqvae_lite.experiment_noise import noise_stage
from ncvqvae_lite.experiment_prior import prior_stage
from ncvqvae_lite.experiment_samples import classes_like, generate
from ncvqvae_lite.experiment_stages import Session, resolve, scale
from ncvqvae_lite.experiment_tokenizer import tokenizer_stage
from ncvqvae_lite.fcn import FCN
from ncvqvae_lite.fcn_weights import find_weights, is_thesis_weights
from ncvqvae_lite.files import read_csv
from ncvqvae_lite.inference import batched
from ncvqvae_lite.metrics import frechet_distance, inception_score
from ncvqvae_lite.thesis import data_file
from ncvqvae_lite.training_engine import derive_seed

RECORDS = Path(__file__).with_name("RECORDS.md")
SETS = ("TwoPatterns", "ECG5000")
SEEDS = (1, 2, 3, 4, 5)
P = 0.01
SETTINGS = {"decoding_steps": 10}  # changes of the preset `improved`, tuned for speed
LOWER = ("recon", "fid")  # is better; of the others, higher
LABELS = {  # ours is by class, each class with its share of train; the thesis has FID and IS without a class only
    "recon": "reconstruction error, last test batch",
    "fid": "FID by class",
    "is": "inception score by class",
    "cas": "CAS",
}
OF_THESIS = {  # our score -> table and metric of the thesis
    "recon": ("recon_mean", "recon_val"),  # of the last test batch, as the thesis'
    "fid": ("gen_mean", "fid"),
    "is": ("gen_mean", "is"),
    "cas": ("cas_mean", "cas"),
}


def targets(dataset):
    """The best mean over the thesis' seven arms of each score: name -> value."""
    rows = [row for row in read_csv(data_file("thesis_tables.csv")) if row["dataset"] == dataset]
    found = {}
    for name, (table, metric) in OF_THESIS.items():
        values = [float(row["value"]) for row in rows if (row["table"], row["metric"]) == (table, metric)]
        found[name] = (min if name in LOWER else max)(values)
    return found


def run(ds, fcn, seed):
    """One run: scores by name, seconds of processor time by stage."""
    cfg = ExperimentConfig.preset("improved", dataset=ds.name, seed=seed, **SETTINGS)
    seconds, last = {}, time.process_time()

    def lap(stage):
        nonlocal last
        now = time.process_time()
        seconds[stage], last = now - last, now

    with tempfile.TemporaryDirectory() as folder:
        session, scaled = Session(Path(folder), torch.device("cpu")), scale(ds, torch.device("cpu"))
        tokenizer, metrics = tokenizer_stage(cfg, ds, scaled, session)
        lap("tokenizer")
        cfg = resolve(cfg, ds)
        prior = prior_stage(cfg, ds, scaled, tokenizer, session, Path(folder))
        lap("prior")
        pieces, _ = noise_stage(cfg, scaled, tokenizer, Path(folder))
        counts = torch.bincount(scaled.y_train).tolist()
        classes = classes_like(counts, len(scaled.x_test), seed)
        sampling = derive_seed("speedrun", seed)
        x = generate(cfg, tokenizer, prior, len(classes), sampling, classes, pieces)[1]
        lap("samples")
        fid = frechet_distance(batched(fcn.features, scaled.x_test), batched(fcn.features, x))
        score = inception_score(batched(fcn.probabilities, x)).mean
        lap("scores")
        cas = cas_stage(cfg, scaled, tokenizer, prior, pieces, session, Path(folder))["cas"]
        lap("CAS")
    return {"recon": metrics["recon_last_batch"], "fid": fid, "is": score, "cas": cas}, seconds


def verdict(found, aims):
    """Lines of a table, one a score, and whether all are better at p < P; found: lists of values by score."""
    lines, passed = ["| score | mean (sd) | thesis' best mean | p |", "|---|---|---|---|"], True
    for name, values in found.items():
        better = "less" if name in LOWER else "greater"
        p = stats.ttest_1samp(values, aims[name], alternative=better).pvalue
        passed &= bool(p < P)
        spread = np.std(values, ddof=1)
        lines.append(f"| {LABELS[name]} | {np.mean(values):.3f} ({spread:.3f}) | {aims[name]:.3f} | {p:.1g} |")
    return lines, passed


def pflop_of_paper(dataset):
    """PFLOP of the preset `paper` of a naive cell with CAS, as counted in data/reference_cost.csv."""
    (row,) = [row for row in read_csv(data_file("reference_cost.csv")) if row["dataset"] == dataset]
    return sum(float(row[stage]) for stage in ("naive", "prior", "cas"))


def generated_set():
    """The set, with its judge, on which nothing is opened: (ds, weights)."""
    ds = load_dataset("TwoPatternsGenerated")
    if find_weights(ds.name) is None:
        raise NotFound(f"no feature net for {ds.name}: expected the one that ships")
    return ds, find_weights(ds.name)


def archive_sets():
    """The archive's sets and the thesis' feature nets, [(ds, weights), ...]; BadInput where no row enters this file."""
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    if not any(digest in row["digest"].split() for row in read_csv(data_file("results/openings.csv"))):
        raise BadInput(f"data/results/openings.csv has no row of this file ({digest}): enter it by opening.py first")
    found = [(load_dataset(name), find_weights(name)) for name in SETS]
    for ds, weights in found:
        if not (weights and is_thesis_weights(weights, ds.name)):
            raise BadInput(f"no feature net of the thesis for {ds.name} here: `ncvqvae fcn fetch`, or set NCVQVAE_FCN")
    return found


def course(ds, weights, seeds):
    """All runs on one data set: lines for RECORDS.md, and whether they pass."""
    fcn, aims = FCN.load(weights), targets(ds.name.removesuffix("Generated"))
    found, times = {name: [] for name in OF_THESIS}, []
    for seed in seeds:
        scores, seconds = run(ds, fcn, seed)
        times.append(seconds)
        for name, value in scores.items():
            found[name].append(value)
        told = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        print(f"{ds.name} seed {seed}: {told}; {sum(seconds.values()):.0f} s", flush=True)
    with FlopCounterMode(display=False) as counter:  # one more run, which is slower and not timed
        run(ds, fcn, seeds[0])
    share = counter.get_total_flops() / 1e15 / pflop_of_paper(ds.name.removesuffix("Generated"))
    mean = {stage: np.mean([seconds[stage] for seconds in times]) for stage in times[0]}
    totals = [sum(seconds.values()) for seconds in times]
    lines, passed = verdict(found, aims)
    stages = ", ".join(f"{stage} {value:.0f}" for stage, value in mean.items())
    head = f"**{ds.name}: {np.mean(totals):.0f} s** ({min(totals):.0f} to {max(totals):.0f}; {stages})"
    work = f"{counter.get_total_flops() / 1e12:.1f} TFLOP, {share:.2%} of the preset `paper`'s"
    return [f"{head}; {work}; {'passes' if passed else 'does not pass'}", "", *lines, ""], passed


def machine():
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        if info.exists()
        else []
    )
    return f"{names[0] if names else platform.processor() or platform.machine()}, one thread, torch {torch.__version__}"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--record", metavar="WHAT", help="add the result to RECORDS.md, with what changed")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    try:
        if given.record and (given.seeds != list(SEEDS) or str(commit()).endswith("-dirty")):
            raise BadInput("a record needs all seeds, and code that is committed: leave out --seeds, and commit")
        chosen = archive_sets() if given.record else [generated_set()]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    results = [course(ds, weights, given.seeds) for ds, weights in chosen]
    lines = [line for lines, _ in results for line in lines]
    print("\n".join(["", *lines]))
    if given.record:  # also where it does not pass: the test splits were opened
        about = f"## {datetime.date.today()}: {given.record}\n\nCommit {commit()}, {machine()}, seeds {given.seeds}.\n"
        with open(RECORDS, "a", encoding="utf-8") as file:
            file.write("\n".join(["", about, *lines]))
    return 0 if all(passed for _, passed in results) else 1


if __name__ == "__main__":
    sys.exit(main())
