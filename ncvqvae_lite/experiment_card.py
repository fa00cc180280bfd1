"""The model card of a finished cell: README.md in its folder, for whoever gets the folder and nothing else."""

import shlex
from collections import defaultdict
from pathlib import Path

from .experiment_stages import optim_settings, resolve
from .files import atomic, read_json
from .names import METHODS, arm
from .tables import floors_table, scores_table

# Settings that decide how samples look, beside those that were changed.
MATTER = (
    *("geometry", "n_fft", "width", "codebook_size", "epochs", "prior_width", "prior_depth", "prior_epochs"),
    *("decoding_steps", "order", "choice_temperature", "guidance", "class_draw", "noise"),
)


def write_card(folder, cfg, ds, metrics, absent, weak, fcn_weights):
    """Write README.md into the folder of a cell whose parts and config.json are there.

    absent        scores that were not computed: name -> reason
    weak          sentences that say why its numbers say less than they seem to
    fcn_weights   the file behind FID and IS, or None: trained on this data set
    """
    config = read_json(folder / "config.json")
    sections = [
        _title(cfg, ds, config),
        _data(ds, config),
        _method(cfg, ds, config),
        _scores(metrics, absent, config, fcn_weights),
        _sampling(ds, config),
        _limits(ds, metrics, weak, (folder / "residuals.safetensors").exists()),
        _provenance(config),
    ]
    with atomic(folder / "README.md") as file:
        file.write("\n\n".join(sections) + "\n")


def _title(cfg, ds, config):
    return (
        f"# New series like {ds.name}\n\n"
        f"A generator of time series made with ncvqvae-lite: {arm(cfg.method, cfg.augmentation)}, preset "
        f"{cfg.preset_name}, seed {cfg.seed}. This folder is all that it needs; copy it whole."
    )


def _data(ds, config):
    lines = [f"## Data\n\n{ds.name}: {ds.sizes}. Source: {config['data_source']}."]
    if ds.n_classes:
        lines.append("\n| class_index | class_name | train series |\n|---|---|---|")
        rows = enumerate(zip(ds.class_names, config["class_counts"], strict=True))
        lines += [f"| {index} | {name.replace('|', chr(92) + '|')} | {count} |" for index, (name, count) in rows]
    else:
        lines.append("The series have no labels.")
    scaling = (
        f"Scaled by one mean ({config['scale_mean']:.10g}) and one deviation ({config['scale_std']:.10g}) of train"
    )
    return "\n".join([*lines, f"\n{scaling}; samples are in the units of the series."])


def trained_epochs(cfg, ds):
    """Setting -> epochs that are trained, more than it says where `min_steps` asks for them."""
    resolved, n = resolve(cfg, ds), len(ds.x_train)
    return {f"{prefix}epochs": optim_settings(resolved, n, prefix)["epochs"] for prefix in ("", "prior_", "fcn_")}


def _method(cfg, ds, config):
    what = "no second view" if METHODS[cfg.method].loss is None else f"views by `{cfg.augmentation}`"
    settings = config | config["resolved"] | trained_epochs(cfg, ds)
    told = {name: settings[name] for name in (*MATTER, *cfg.changes())}
    return (
        f"## Method\n\nNC-VQVAE (arXiv 2408.16613): a VQVAE (`{cfg.method}`, {what}) writes a series as tokens, a "
        "MaskGIT prior draws tokens, the decoder makes series of them. All settings are in `config.json`; some of them:"
        f"\n\n{', '.join(f'{name} {value}' for name, value in told.items())}."
    )


def _scores(metrics, absent, config, fcn_weights):
    lines = ["## Scores", "On the test split; all numbers are in `metrics.json`.", _block(scores_table(metrics))]
    if "fid" in metrics:
        net = f"given as {Path(fcn_weights).name} ({config['fcn']})" if fcn_weights else "trained on this train split"
        lines += ["FID, IS and others say something beside those of real series only:", _block(floors_table(metrics))]
        lines.append(
            f"The feature net behind FID and IS was {net}; its accuracy on the test split is "
            f"{metrics['fcn_accuracy']:.3f}. FID and IS of another feature net cannot be compared with these."
        )
    else:
        pairs = [(name, f"{name}_test_halves") for name in ("fid_kernels", "coverage", "recall")]
        beside = [f"{a} {metrics[a]:.4g} ({metrics[b]:.4g})" for a, b in pairs if b in metrics]
        lines += [f"Samples, and in brackets other test series: {', '.join(beside)}."] if beside else []
    by_reason = defaultdict(list)
    for name, reason in absent.items():
        by_reason[reason].append(name)
    lines += [f"Not computed: {', '.join(names)} ({reason})." for reason, names in by_reason.items()]
    return "\n\n".join(lines)


def _block(text):
    return f"```\n{text}\n```"


def _sampling(ds, config):
    argument = option = drawn = ""
    if ds.n_classes:
        argument, option = f", class_name={ds.class_names[0]!r}", f" --class {shlex.quote(ds.class_names[0])}"
        share = "drawn by the shares of train" if config["class_draw"] == "train" else "left open, and not known"
        drawn = f"\n\nWithout a class it is {share}."
    python = f"from ncvqvae_lite import load_run\n\nrun = load_run('.')  # this folder\nnew = run.sample(100{argument})"
    command = f"ncvqvae sample . --n 100{option} --out new.csv  # or new.npz, new.ts"
    return f"## Sampling\n\n```python\n{python}\n```\n\n```sh\n{command}\n```{drawn}"


def _limits(ds, metrics, weak, pieces):
    limits = [
        "Samples are like the train series: what these do not show, they do not show either.",
        "The terms of the series are those of their owner, and whoever passes on samples or this folder sees to them.",
    ]
    if pieces:
        limits.append("Samples hold pieces of train series (what tokens leave over of them), and so does this folder.")
    if metrics.get("nearest_train_low", 0.0) > 0.5:
        limits.append(
            f"Samples lie nearer to train series than test series do (AUC {metrics['nearest_train']:.3f}, 0.5 would be "
            "ideal): some may be near copies."
        )
    if len(ds.x_test) < 100:
        limits.append(f"With {len(ds.x_test)} test series the scores are uncertain; so are those of a single seed.")
    else:
        limits.append("One seed: how far scores differ between seeds cannot be seen here.")
    limits += [f"{sentence[0].upper()}{sentence[1:]}." for sentence in weak]
    return "\n".join(["## Limits\n", *(f"- {sentence}" for sentence in limits)])


def _provenance(config):
    versions = ", ".join(f"{name} {version}" for name, version in config["versions"].items())
    rows = [
        ("package", f"ncvqvae-lite {config['package_version']}, commit {config['commit'] or 'unknown'}"),
        ("versions", versions),
        ("device", f"{config['device']}, {config['threads']} threads"),
        ("series", f"SHA-256 {config['data_hash']}"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"## Provenance\n\n| | |\n|---|---|\n{table}\n\nThe hashes of the parts are in `config.json`."
