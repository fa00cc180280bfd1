"""One cell, stage after stage: feature nets, tokenizer, prior, samples and their scores, CAS."""

import time

from .experiment_cas import cas_stage
from .experiment_evaluation import evaluate_samples
from .experiment_fcn import accuracy, fcn_stage
from .experiment_noise import noise_stage
from .experiment_parts import keep_parts
from .experiment_prior import prior_stage
from .experiment_stages import resolve
from .experiment_tokenizer import tokenizer_stage
from .fcn import FCN
from .files import write_json
from .names import SCORES


def make_cell(cfg, ds, scaled, session, folder, fcn_weights):
    """Do what is left of a cell in its folder (held by the caller); returns its metrics."""
    seconds, metrics = {}, {}

    def timed(name, stage, *arguments):
        start = time.monotonic()
        result = stage(*arguments)
        seconds[name] = time.monotonic() - start
        return result

    fcns, seen = {}, []
    if not SCORES["fid"].lacks(ds):
        if fcn_weights:
            fcns["fid"] = FCN.load(fcn_weights).to(session.device)
            metrics["fcn_accuracy"] = accuracy(fcns["fid"], scaled.x_test, scaled.y_test)
        else:
            fcns["fid"], metrics["fcn_accuracy"] = timed("fcn", fcn_stage, cfg, ds, scaled, session)
            seen.append(cfg.fcn_folder(session.out_dir) / "fcn.safetensors")
        if cfg.second_fcn:
            second = (cfg, ds, scaled, session, cfg.fcn_seed + 1)
            fcns["fid_second"], metrics["fcn_accuracy_second"] = timed("second fcn", fcn_stage, *second)
            seen.append(cfg.fcn_folder(session.out_dir, cfg.fcn_seed + 1) / "fcn.safetensors")
    tokenizer, found = timed("tokenizer", tokenizer_stage, cfg, ds, scaled, session)
    metrics |= found
    keep_parts(folder, held=[cfg.tokenizer_folder(session.out_dir) / "tokenizer.safetensors"], seen=seen)
    cfg = resolve(cfg, ds)
    prior = timed("prior", prior_stage, cfg, ds, scaled, tokenizer, session, folder)
    pieces, found = timed("noise", noise_stage, cfg, scaled, tokenizer, folder)
    metrics |= found
    generator = (tokenizer, prior, pieces)
    metrics |= timed("evaluation", evaluate_samples, cfg, ds, scaled, *generator, fcns, folder)
    if cfg.cas and not SCORES["cas"].lacks(ds):
        metrics |= timed("cas", cas_stage, cfg, scaled, *generator, session, folder)
    write_json(folder / "seconds.json", seconds)
    return metrics
