"""The methods and the scores, each as one record: what it is called, how it is drawn, what it computes. Loads no torch.

A new loss is a function in `ssl_losses`, or in a room of its own beside it, and a record in METHODS. A new score of
samples is a function of the `Evidence` of `experiment_evaluation`, there, and a record in SCORES. Code outside this
package registers its own the same way. (Augmentations are in `augmentations.AUGMENTATIONS`, sources of series in
`data.SOURCES`.) Colours are those of Okabe and Ito, and two of Tol's for VICReg and SimCLR: colour-blind readers can
tell them apart.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module


def function_of(function):
    """A function, or the one that the text "module.name" names in this package, which is loaded only now."""
    if not isinstance(function, str):
        return function
    module, _, name = function.partition(".")
    return getattr(import_module(f".{module}", __package__), name)


@dataclass(frozen=True)
class Method:
    """How the tokenizer is trained: to reconstruct only, or with a loss between two views as well.

    loss            (a, b, **weights) -> named tuple with `total`, of two projections (B, D); None has no views
    weights         argument of the loss -> default; each is a setting named PREFIX_ARGUMENT. The settings are made when
                    `config` is loaded: a method that is registered later has none: its weights are those of the record
    scale           default of the setting PREFIX_weight, by which the loss is multiplied; likewise
    whiten          whether the projections are whitened (`ssl_losses.IterNorm`)
    prefix          of the settings' names; "" is the method's name
    above_0         the weights that may not be 0, such as a temperature, by which is divided
    label, colour   in tables and figures
    """

    label: str
    colour: str
    loss: str | Callable | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    scale: float = 1.0
    whiten: bool = False
    prefix: str = ""
    above_0: tuple[str, ...] = ()


METHODS = {
    "regular": Method("naive", "#0072B2"),
    "barlowtwins": Method("Barlow", "#D55E00", "ssl_losses.barlow_twins", {"offdiagonal": 0.005}, prefix="barlow"),
    "vibcreg": Method(
        "VIbCReg", "#009E73", "ssl_losses.vibcreg", {"sim": 25.0, "var": 25.0, "cov": 100.0}, scale=0.01, whiten=True
    ),
    "vicreg": Method("VICReg", "#882255", "ssl_losses.vicreg", {"sim": 25.0, "var": 25.0, "cov": 1.0}, scale=0.01),
    "simclr": Method("SimCLR", "#332288", "ssl_losses_contrastive.simclr", {"tau": 0.2}, above_0=("tau",)),
}


def arm(method, augmentation="none"):
    """An arm's name in tables and figures: "naive", "Barlow warp"."""
    return METHODS[method].label + ("" if augmentation == "none" else f" {augmentation}")


@dataclass(frozen=True)
class Score:
    """One number that a run gives, by its name in `metrics`.

    label, short    in running text, and as the head of a column of tables; without the latter it stands beside others
    axis            what stands on an axis: quantity and unit
    better          "lower", "higher", or "" where neither is
    needs           "labels" where it cannot be computed without; "fcn" where it looks at the feature net, which is
                    there if FID can be computed
    test, train     fewest series of each split that it needs
    compute         (experiment_evaluation.Evidence) -> float, or {suffix of the name: float} with "" for the score
                    itself; None: its own stage computes it
    """

    label: str
    short: str = ""
    axis: str = ""
    better: str = ""
    needs: tuple[str, ...] = ()
    test: int = 1
    train: int = 1
    compute: str | Callable | None = None

    def lacks(self, ds):
        """Why this score cannot be computed on a TimeSeriesDataset, or ""."""
        if "fcn" in self.needs and SCORES["fid"].lacks(ds):
            return SCORES["fid"].lacks(ds)
        if "labels" in self.needs and ds.n_classes == 0:
            return "the series have no labels"
        if len(ds.x_train) < self.train:
            return f"fewer than {self.train} train series"
        return f"fewer than {self.test} test series" if len(ds.x_test) < self.test else ""


SCORES = {
    "recon_val": Score("reconstruction error", "recon", "reconstruction error (MSE, scaled)", "lower"),
    "knn_acc": Score(
        "KNN accuracy", "KNN", "accuracy of 5 nearest neighbours (fraction of test)", "higher", ("labels",), train=5
    ),
    "svm_acc": Score(
        "SVM accuracy", "SVM", "accuracy of a linear SVM (fraction of test)", "higher", ("labels",), train=5
    ),
    "fid": Score(  # below ten series nonsense, but 128 features want many more
        label="FID",
        short="FID",
        axis="FID of generated against test series (lower is better)",
        better="lower",
        needs=("labels",),
        test=10,
        compute="experiment_evaluation.frechet_distances",
    ),
    "is": Score(  # ten splits, and one of a single series scores 1, whatever it is
        label="inception score",
        short="IS",
        axis="inception score of generated series (higher is better)",
        better="higher",
        needs=("labels",),
        test=20,
        compute="experiment_evaluation.inception_scores",
    ),
    "fid_by_class": Score(  # classes drawn by their shares of train
        label="FID by class",
        short="FID cl",
        axis="FID of samples by class against test series (lower is better)",
        better="lower",
        needs=("fcn",),
        compute="experiment_evaluation.frechet_distances_by_class",
    ),
    "is_by_class": Score(
        label="inception score by class",
        axis="inception score of samples by class (higher is better)",
        better="higher",
        needs=("fcn",),
        test=20,
        compute="experiment_evaluation.inception_score_by_class",
    ),
    "class_accuracy": Score(
        label="samples of the class that was asked for",
        axis="share of samples that the FCN gives their class",
        better="higher",
        needs=("fcn",),
        compute="experiment_evaluation.class_accuracy",
    ),
    "fid_kernels": Score(
        label="FID of random kernels",
        axis="Frechet distance of random-kernel features (lower is better)",
        better="lower",
        test=10,
        train=10,
        compute="experiment_evaluation.kernel_distances",
    ),
    "coverage": Score(
        label="coverage",
        axis="share of test series that have samples near (fraction)",
        better="higher",
        test=12,
        train=10,
        compute="experiment_evaluation.coverages",
    ),
    "recall": Score(
        label="recall",
        axis="share of test series inside the samples' manifold (fraction)",
        better="higher",
        test=12,
        train=10,
        compute="experiment_evaluation.recalls",
    ),
    "nearest_train": Score(
        label="nearest-train AUC",
        axis="P(sample nearer to train than test is): 0.5 ideal, 1 copies",
        compute="experiment_evaluation.nearest_train_auc",
    ),
    "cas": Score("CAS", "CAS", "CAS: accuracy on test, trained on generated (fraction)", "higher", ("labels",)),
    "class_mix_error": Score(
        label="class-mix error",
        axis="total variation distance of the class shares (0 to 1)",
        better="lower",
        needs=("fcn",),
        compute="experiment_evaluation.class_mix_error",
    ),
    "sample_perplexity": Score("perplexity of samples", compute="experiment_evaluation.sample_perplexity"),
    "sample_coverage": Score("share of codes in samples", compute="experiment_evaluation.sample_coverage"),
}
