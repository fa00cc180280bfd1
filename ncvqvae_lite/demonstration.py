"""The demonstration: two arms on series whose classes are named at sight, one closing table and a verdict by rule.

Loads no torch. The closing table has one row a score and the columns of COLUMNS; a value that does not exist is None.
Real series of the test split, judged the same way, stand beside the generated ones: no generator can be asked for more.
"""

from .names import SCORES
from .thesis import METRICS, OWN_FCN, compare, published_values

DATASET = "SyntheticControlGenerated"
CLASS_WORDS = {  # in the order of the labels; other sets keep their own names
    DATASET: ("normal", "cyclic", "increasing trend", "decreasing trend", "upward shift", "downward shift")
}
ARMS = {"naive": ("regular", "none"), "non_contrastive": ("barlowtwins", "warp")}  # column -> method, augmentation
# Changes of the preset `quick`. Besides noise, 60 steps have little to say: 10 tokens of 64 codes hold it, and what
# these leave over is drawn again (`noise`). A prior of 400 steps still mixes classes a little: some guidance and surer
# choices help. Fewer steps of decoding save time.
SETTINGS = {"n_fft": 12, "width": 10, "codebook_size": 64, "prior_min_steps": 400}
SETTINGS |= {"prior_batch_size": 128, "guidance": 1.25, "choice_temperature": 1.0, "decoding_steps": 8, "cas_epochs": 5}
COLUMNS = ("metric", *ARMS, "real", "thesis")
# Score -> what real series have: another metric of the same run, a number, or None where nothing is compared.
ROWS = {
    "recon_val": None,
    "knn_acc": None,
    "svm_acc": None,
    "fid": "fid_train_test",
    "is": "is_real",
    "class_accuracy": "fcn_accuracy",
    "cas": "fcn_accuracy",
    "is_by_class": "is_real",
    "fid_by_class": "fid_train_test",
    "coverage": "coverage_test_halves",
    "nearest_train": 0.5,
}
OF_THESIS = ("fid", "is")  # samples without a class: shown where the thesis has a number to compare with

CLASS_LEAST, CAS_LACK, IS_SHARE, FID_MOST = 0.95, 0.03, 0.9, 3.0
RULE = (
    f"samples are right if the judge sees the class that was asked for in more than {CLASS_LEAST:.0%}, CAS is at most "
    f"{CAS_LACK} below the judge's accuracy on real series, and IS by class at least {IS_SHARE} of theirs. FID by "
    f"class of more than {FID_MOST:g} tells them apart from real ones. Tokens tell classes better where KNN and SVM "
    "are both right more often."
)


def class_words(dataset, class_names):
    """The names of the classes of a data set as a reader understands them: words where there are some."""
    return CLASS_WORDS.get(dataset, tuple(f"class {name}" for name in class_names))


def closing_rows(metrics, dataset, arms: dict[str, tuple[str, str]] = ARMS, own_fcn=True, ds=None):
    """The closing table: a dict of COLUMNS for each score that a run has.

    metrics   column -> metrics of that arm's run. `real` is of the first
    arms      column -> (method, augmentation)
    own_fcn   True if FID and IS come from another feature net than the thesis'
    ds        TimeSeriesDataset of the runs, or None: see `thesis.compare`
    returns   rows; "thesis" is the mean that it prints for each arm in turn, separated by " / ", or None
    """
    published = [_published(found, dataset, *arms[column], own_fcn, ds) for column, found in metrics.items()]
    first, rows = next(iter(metrics.values())), []
    for name, real in ROWS.items():
        thesis = [means.get(name) for means in published]
        has_thesis = any(value is not None for value in thesis)
        if not any(name in found for found in metrics.values()) or (name in OF_THESIS and not has_thesis):
            continue
        row = dict.fromkeys(COLUMNS) | {"metric": name}
        row |= {column: found.get(name) for column, found in metrics.items()}
        row["real"] = first.get(real) if isinstance(real, str) else real
        if has_thesis:
            row["thesis"] = " / ".join("-" if value is None else f"{value:g}" for value in thesis)
        rows.append(row)
    return rows


def _published(metrics, dataset, method, augmentation, own_fcn, ds):
    """metric -> mean of the thesis where it is comparable: on these series, not on the last batch alone."""
    if dataset not in {value.dataset for value in published_values()}:  # `compare` has some for generated ones
        return {}
    rows = compare(metrics, dataset, method, augmentation, own_fcn=own_fcn, ds=ds)
    ours = {metric.name: metric.ours for metric in METRICS}
    return {ours[row.metric]: row.thesis_mean for row in rows if row.verdict != OWN_FCN and row.thesis_mean is not None}


def as_text(row):
    """A row with its numbers as the CSV file has them, four digits; what does not exist is empty."""
    return {name: f"{value:.4g}" if isinstance(value, float) else value or "" for name, value in row.items()}


def failings(metrics):
    """What keeps samples from being right by RULE, in words; () where they are.

    metrics   of a run on a data set with labels
    """
    real_is, judge = metrics["is_real"], metrics["fcn_accuracy"]
    bad = {
        f"{metrics['class_accuracy']:.1%} of the class asked for": metrics["class_accuracy"] <= CLASS_LEAST,
        f"CAS {metrics['cas']:.3f}, judge {judge:.3f}": metrics["cas"] < judge - CAS_LACK,
        f"IS {metrics['is_by_class']:.3g} of {real_is:.3g}": metrics["is_by_class"] < IS_SHARE * real_is,
    }
    return tuple(words for words, is_bad in bad.items() if is_bad)


def verdict(naive, non_contrastive):
    """One sentence by RULE, from the metrics of both arms: are samples right, do the tokens tell classes better?"""
    arms = {"naive": naive, "non-contrastive": non_contrastive}
    bad = {arm: failings(metrics) for arm, metrics in arms.items()}
    right = [arm for arm, words in bad.items() if not words]
    lacking = "; ".join(f"{arm}: {', '.join(words)}" for arm, words in bad.items() if words)
    whose = ("neither arm", f"the {(right or [''])[0]} arm alone", "both arms")[len(right)]
    samples = f"Samples of {whose} are of the class that was asked for and teach it nearly as well as real series"
    samples += f" ({lacking})" if lacking else ""
    fids = {arm: metrics["fid_by_class"] for arm, metrics in arms.items()}
    far = {arm: fid for arm, fid in fids.items() if fid > FID_MOST}
    values = ", ".join(f"{arm} {fid:.3g}" for arm, fid in (far or fids).items())
    values += f", real {naive['fid_train_test']:.2g}"
    if far:
        samples += f", but FID still tells them apart (by class: {values})"
    else:
        samples += f", with an FID by class of at most {FID_MOST:g} ({values})"
    scores = {name: (naive[name], non_contrastive[name]) for name in ("knn_acc", "svm_acc")}
    higher = [name for name, (before, after) in scores.items() if after > before]
    values = [f"{SCORES[name].short} {after:.3f} against {before:.3f}" for name, (before, after) in scores.items()]
    told = ("no better than", f"better by {SCORES[(higher or ['knn_acc'])[0]].short} alone than", "better than")
    probes = f"non-contrastive tokens tell the classes {told[len(higher)]} naive ones ({', '.join(values)})"
    return f"{samples}; {probes}."
