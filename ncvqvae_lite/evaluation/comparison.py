"""`evaluate`: every score of synthetic series, each beside that of real series, of copies, and of copies with noise."""

import json
from pathlib import Path

import numpy as np
import torch

from ..arguments import checked, count_from_0, flag
from ..errors import BadInput
from ..fcn import FCN
from ..files import atomic, writing_to
from ..inference import batched
from .classifiers import convolutional, ridge
from .draws import HALF, Draw, Pool, Pools, some
from .inputs import sets_of
from .kernels import KernelFeatures
from .reading import number, verdict, word
from .scores import SCORES

DRAWS = 20  # random halves
NOISE = 0.05  # of jitter: deviation over that of all train values of a channel
FLOOR_DRAWS = 5  # of them score copies and jitter too, of which only the mean is needed
NORMAL = 1.96  # deviations on either side of the mean that hold 95 % of a normal distribution
FLOORS = ("copy", "jitter")
ENTRY = ("value", "low", "high", "real", *FLOORS)


class Evaluation(dict):
    """name of a score -> {"value", "low", "high", "real", "copy", "jitter"}, plain numbers, None where there is none.

    value      mean over 20 draws of k synthetic series and a random half of the real ones, also k; low, high: the 95 %
               interval, 1.96 deviations of these draws on either side
    real       the same of the other k real series; copy, jitter: of train series, drawn anew, and with 5 % noise
    k          series of each kind that were compared at a time
    excess     name -> 95 % interval of how much worse than `real` the value is, halves compared one by one
    left_out   name -> why a score is not there
    notes      sentences on how the sets were made comparable
    sets       `inputs.Sets`: the series that were compared, for figures
    """

    def __init__(self, entries, *, k, excess, left_out, sets):
        super().__init__(entries)
        self.k, self.excess, self.left_out, self.sets, self.notes = k, excess, left_out, sets, sets.notes

    @property
    def verdict(self):
        """One sentence, by the rule in `reading`."""
        return verdict(self)

    def table(self):
        """Aligned text: every score with its interval, what real series and copies have, and a word."""
        rows = [("score", "synthetic", "95 %", "real", *(kind for kind in FLOORS if self._has(kind)), "")]
        for name, entry in self.items():
            floors = [number(entry[kind]) for kind in FLOORS if self._has(kind)]
            between = f"{number(entry['low'])}..{number(entry['high'])}"
            rows.append((name, number(entry["value"]), between, number(entry["real"]), *floors, word(self, name)))
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join(
            "  ".join(
                [row[0].ljust(widths[0]), *(t.rjust(w) for t, w in zip(row[1:-1], widths[1:-1])), row[-1]]
            ).rstrip()
            for row in rows
        )

    def _has(self, kind):
        return any(entry[kind] is not None for entry in self.values())

    def write_json(self, file):
        """{name: {"value", "low", "high", "real", "copy", "jitter"}}, null where there is no number."""
        with writing_to(Path(file).parent), atomic(file) as stream:
            json.dump(self, stream, indent=2, allow_nan=False)
            stream.write("\n")

    def write_html(self, file):
        """One page with the verdict, the table, what each score asks, and the figures; it needs no network."""
        from .page import write_page  # here, as figures need matplotlib

        write_page(self, file)


@checked(seed=count_from_0, thorough=flag)
def evaluate(
    real, synthetic, *, real_labels=None, synthetic_labels=None, train=None, train_labels=None, fcn=None, seed=0,
    thorough=False,
):  # fmt: skip
    """How good synthetic series are: 17 scores, each beside the same score of real series and of copies.

    real, synthetic  (n, L) or (n, C, L), numpy, torch or lists; any numbers of series. `real` are ones that the
                     generator has not seen (a test split). Where the lengths differ, the first steps are compared
    train            series that the generator was trained on: without them nothing says whether it copies
    *_labels         (n,) names or numbers of classes, one for each series
    fcn              file of weights of a feature net (.safetensors), or an FCN, for `fid_fcn`
    seed             equal seeds give equal numbers
    thorough         `tstr`, `trts` and `class_mix` by convolutional nets instead of linear classifiers: some minutes
    returns          Evaluation; what cannot be computed is left out, and `left_out` says why
    raises           BadInput for arrays that are no series, other numbers of labels than series, or other channels
    """
    sets = sets_of(real, synthetic, train, real_labels, synthetic_labels, train_labels)
    return evaluate_sets(sets, _net(fcn, sets), seed, thorough)


def evaluate_sets(sets, net=None, seed=0, thorough=False):
    """`evaluate` for Sets; net is an FCN or None."""
    pools = _pools(sets, net, seed, thorough)
    left_out = {name: reason for name, score in SCORES.items() if (reason := _lacks(score, sets, net, pools.k))}
    names = [name for name in SCORES if name not in left_out]
    found = {name: {kind: [] for kind in ("synthetic", "real", *FLOORS)} for name in names}
    rng = np.random.default_rng(seed)
    for count in range(DRAWS):
        draw = Draw(pools, rng)
        for name in names:
            for kind in pools.kinds:
                if kind not in FLOORS or (count < FLOOR_DRAWS and _has_labels(SCORES[name], pools.kinds[kind])):
                    found[name][kind].append(SCORES[name].compute(draw, kind))
    entries, excess = {}, {}
    for name in names:
        values, real, *floors = map(np.array, found[name].values())
        low, high = np.clip(_interval(values), *SCORES[name].range)
        means = [values.mean(), low, high, real.mean(), *(floor.mean() if len(floor) else None for floor in floors)]
        entries[name] = dict(zip(ENTRY, (None if mean is None else float(mean) for mean in means)))
        excess[name] = tuple(map(float, _interval(SCORES[name].excess(values, real))))
    return Evaluation(entries, k=pools.k, excess=excess, left_out=left_out, sets=sets)


def _interval(values):
    spread = NORMAL * values.std(ddof=1)
    return values.mean() - spread, values.mean() + spread


def _lacks(score, sets, net, k):
    """Why a score cannot be computed, or ""."""
    if score.needs == "train" and sets.train is None:
        return "no train series were given"
    if score.needs == "fcn" and net is None:
        return "no feature net was given"
    if score.needs in ("labels", "both labels") and sets.real_labels is None:
        return "the real series have no labels"
    if score.needs == "both labels" and sets.synthetic_labels is None:
        return "the synthetic series have no labels"
    if score.needs == "train" and len(sets.train) < 2:
        return "one train series has no neighbour"
    if k < score.least:
        return f"it compares halves of {score.least} series or more, and these have {k}"
    return ""


def _has_labels(score, pool):
    """Copies can have a score of classes where the train series have classes."""
    return score.needs not in ("labels", "both labels") or pool.labels is not None


def _pools(sets, net, seed, thorough):
    """All that is compared, scaled channel by channel by the real series."""
    rng = np.random.default_rng([seed, 1])
    kernels = KernelFeatures(*sets.real.shape[1:], seed=seed)
    train = None if sets.train is None else sets.scaled(sets.train)

    def pool(x, labels, rows, noise=0.0):
        x = x[rows] + noise * rng.standard_normal(x[rows].shape)
        labels = None if labels is None else labels[rows]
        of_net = None if net is None else _net_features(net, x, sets)
        return Pool(sets.scaled(x), labels, kernels, train, of_net)

    kinds = {"real": pool(sets.real, sets.real_labels, some(len(sets.real), rng))}
    kinds["synthetic"] = pool(sets.synthetic, sets.synthetic_labels, some(len(sets.synthetic), rng))
    if train is not None:
        learned = sets.train, sets.train_labels
        kinds["copy"] = pool(*learned, some(len(train), rng))
        noise = NOISE * sets.train.std(axis=(0, 2), keepdims=True)  # pyright: ignore[reportOptionalMemberAccess]  # train is not None here
        kinds["jitter"] = pool(*learned, rng.integers(len(train), size=2 * HALF), noise)
    return Pools(kinds, convolutional if thorough else ridge, sets.synthetic_labels is not None)


def _net(fcn, sets):
    """The feature net, loaded; BadInput if it reads another number of channels."""
    net = FCN.load(fcn) if isinstance(fcn, (str, Path)) else fcn
    if net is not None and not isinstance(net, FCN):
        raise BadInput(f"fcn is {type(fcn).__name__}, expected a file of weights or an FCN: give one of them")
    if net is not None and net.channels != sets.real.shape[1]:
        found = f"the feature net reads {net.channels} channels, the series have {sets.real.shape[1]}"
        raise BadInput(f"{found}: give a net of such series, or leave fcn out")
    return net


def _net_features(net, x, sets):
    """(n, D) features of series, scaled as in the net's training: by one mean and deviation of all train (else real)
    series."""
    units = sets.real if sets.train is None else sets.train
    return batched(net.features, torch.tensor((x - units.mean()) / units.std()).float()).double().numpy()
