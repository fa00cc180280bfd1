"""The feature net behind FID and IS: trained once for all runs of a data set."""

from .experiment_stages import initial_weights, optim_settings, resolve, stage
from .fcn import FCN
from .files import write_csv
from .inference import batched
from .training_engine import derive_seed
from .training_fcn import train_fcn


def fcn_stage(cfg, ds, scaled, session, seed=None):
    """The FCN trained on the train split (thesis: the feature net of FID and IS), made once for all runs.

    seed     of another one than the configuration names: the second feature net
    returns  FCN in eval mode, its test accuracy
    """
    folder = cfg.fcn_folder(session.out_dir, seed)
    cfg = resolve(cfg, ds)
    settings = cfg.settings("fcn") | {"dataset": cfg.dataset} | ({} if seed is None else {"fcn_seed": seed})

    def make():
        with initial_weights("fcn", settings["fcn_seed"]):
            fcn = FCN(ds.n_classes, channels=ds.channels).to(session.device)
        optim = optim_settings(cfg, len(scaled.x_train), "fcn_")
        how = dict(precision=cfg.fcn_precision, seed=derive_seed(settings["fcn_seed"]))
        history = train_fcn(fcn, scaled.x_train, scaled.y_train, **how, **optim, loop=session.loop("fcn", folder))
        fcn.eval().save(folder / "fcn.safetensors")
        write_csv(folder / "history.csv", history)
        return {
            "accuracy_train": accuracy(fcn, scaled.x_train, scaled.y_train),
            "accuracy_test": accuracy(fcn, scaled.x_test, scaled.y_test),
        }

    metrics = stage(folder, settings, ds, session, make)
    return FCN.load(folder / "fcn.safetensors").to(session.device), metrics["accuracy_test"]


def accuracy(fcn, x, y):
    """Share of series x (n, C, L) that the classifier gives their label y (n,)."""
    return (batched(fcn, x).argmax(dim=1) == y).double().mean().item()
