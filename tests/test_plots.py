"""Every figure draws the data that it was given, names its axes, and is small and the same every time."""

import io
import sys

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from ncvqvae_lite import plots
from ncvqvae_lite.augmentations import AUGMENTATIONS, Augmentation
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.metrics import perplexity
from ncvqvae_lite.names import METHODS, Method

CLASSES = ("a", "b", "c")


@pytest.fixture
def series():
    rng = np.random.default_rng(0)
    return rng.normal(size=(30, 1, 40)).astype("f4"), np.arange(30) % 3


def legend(fig):
    """All texts of all legends of a figure."""
    legends = [*fig.legends, *(ax.get_legend() for ax in fig.axes if ax.get_legend())]
    return [text.get_text() for found in legends for text in found.get_texts()]


def assert_legible(fig):
    """Axes are labelled (shared ones at the edge), text is at least 11 points, and the PNG is under the limit."""
    assert isinstance(fig, Figure)
    bottom = [ax for ax in fig.axes if ax.get_subplotspec().is_last_row()]
    left = [ax for ax in fig.axes if ax.get_subplotspec().is_first_col()]
    assert all(ax.get_xlabel() for ax in bottom)
    assert fig.get_supylabel() or all(ax.get_ylabel() for ax in left)
    png = fig._repr_png_()
    assert len(png) < 150_000
    width, height = Image.open(io.BytesIO(png)).size
    assert width == 720 and height < 900
    texts = [t for t in fig.findobj(lambda a: hasattr(a, "get_fontsize")) if t.get_text()]
    assert min(t.get_fontsize() for t in texts) >= 11


def test_augmented_views_shows_each_view_over_its_series(series):
    x, y = series
    views = {"warp": x + 1, "slice": x * 2, "gauss": torch.from_numpy(x - 3)}
    fig = plots.augmented_views(x, y, CLASSES, views, used="slice")
    axes = np.reshape(fig.axes, (3, 3))
    for row in range(3):
        for column, (name, view) in enumerate(views.items()):
            original, drawn = axes[row, column].lines
            np.testing.assert_array_equal(original.get_ydata(), x[row, 0])  # series 0, 1, 2 have classes 0, 1, 2
            np.testing.assert_array_equal(drawn.get_ydata(), np.asarray(view)[row, 0])
            assert drawn.get_color() == plots.augmentation_colour(name)
    assert [ax.get_title() for ax in axes[0]] == ["warp", "slice (this run)", "gauss"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["class a", "class b", "class c"]
    assert legend(fig) == ["original", "view: warp", "view: slice", "view: gauss"]
    assert_legible(fig)


def test_augmented_views_without_labels_and_with_channels(series):
    x = np.repeat(series[0], 2, axis=1)
    fig = plots.augmented_views(x, None, (), {"warp": x})
    assert [ax.get_ylabel() for ax in fig.axes] == ["series 0", "series 1", "series 2", "series 3"]
    assert "channel 1 of 2" in fig.get_supylabel()


def history(epochs, **terms):
    values = {name: np.linspace(3, 1, epochs) * scale for name, scale in terms.items()}
    rows = [{"epoch": float(e), **{name: v[e - 1] for name, v in values.items()}} for e in range(1, epochs + 1)]
    return rows


def test_loss_curves_draws_terms_and_test_values():
    rows = [{"epoch": 0.0, "recon_val": 5.0}, *history(6, time=1, spectrum=2, commitment=0.5, augmented=3, ssl=0.1)]
    rows[-1]["recon_val"] = 4.0
    prior = history(4, total=1)
    prior[-1]["validation"] = 1.5
    fig = plots.loss_curves(rows, prior, "barlowtwins", "gauss")
    left, right = fig.axes
    drawn = {line.get_label(): line for line in left.lines}
    epochs = np.arange(1, 7)
    np.testing.assert_array_equal(drawn["reconstruction, train"].get_xdata(), epochs)
    np.testing.assert_allclose(drawn["reconstruction, train"].get_ydata(), np.linspace(3, 1, 6) * 3)
    np.testing.assert_array_equal(drawn["reconstruction, test"].get_xydata(), [[0, 5], [6, 4]])
    assert {"commitment", "augmented view", "SSL loss"} < set(drawn)
    assert drawn["augmented view"].get_color() == plots.augmentation_colour("gauss")
    assert right.lines[0].get_color() == METHODS["barlowtwins"].colour
    np.testing.assert_array_equal(right.lines[1].get_xydata(), [[4, 1.5]])
    assert_legible(fig)


def test_loss_curves_of_the_plain_tokenizer_has_no_branch():
    rows = history(6, time=1, spectrum=2, commitment=0.5, augmented=0, ssl=0)
    assert not {"augmented view", "SSL loss"} & set(legend(plots.loss_curves(rows, history(2, total=1), "regular")))


def test_reconstructions_picks_the_median_and_the_worst(series):
    x, _ = series
    errors = np.random.default_rng(1).permutation(30).astype("f4")  # series i is off by the square root of errors[i]
    x_hat = x + np.sqrt(errors)[:, None, None]
    fig = plots.reconstructions(torch.from_numpy(x), torch.from_numpy(x_hat), "vibcreg")
    shown = [int(ax.get_title().split()[1].rstrip(",")) for ax in fig.axes]
    assert errors[shown[3:]].tolist() == [29, 28, 27]
    assert set(errors[shown[:3]]) == {13, 14, 15}
    for ax, row in zip(fig.axes, shown):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), x[row, 0])
        np.testing.assert_allclose(ax.lines[1].get_ydata(), x_hat[row, 0])
        assert f"error {errors[row]:.2g}" in ax.get_title()
    assert legend(fig) == ["test series", "reconstruction (VIbCReg)"]
    assert_legible(fig)


def test_reconstructions_of_odd_length_and_of_two_series(series):
    x = series[0][:2, :, :39]
    fig = plots.reconstructions(x, x[..., :38], "regular")
    assert len(fig.axes) == 4
    assert all(ax.get_title().endswith("error 0") for ax in fig.axes)


def test_token_usage_shows_shares_and_perplexity():
    rng = np.random.default_rng(0)
    groups = {"train": rng.integers(8, size=(50, 10)), "test": rng.integers(4, size=90)}
    groups["generated"] = torch.full((20, 3), 5)
    fig = plots.token_usage(groups, 8, "vibcreg")
    (ax,) = fig.axes
    counts = np.bincount(groups["train"].ravel(), minlength=8)
    heights = [bar.get_height() for bar in ax.patches]
    np.testing.assert_allclose(heights, np.sort(counts)[::-1] / 500)
    points = {line.get_label().split(":")[0]: line for line in ax.lines}
    order = np.argsort(-counts, kind="stable")
    np.testing.assert_allclose(points["generated"].get_ydata(), order == 5)
    assert points["generated"].get_color() == METHODS["vibcreg"].colour
    for (name, tokens), text in zip(groups.items(), legend(fig)):
        assert text == f"{name}: perplexity {perplexity(tokens, 8):.1f}"
    assert_legible(fig)


def test_latent_map_has_every_point_once_and_separates_what_is_apart(series):
    _, y = series
    features = np.eye(3)[y] * 50 + np.random.default_rng(0).normal(size=(30, 3))
    fig = plots.latent_map(features, torch.from_numpy(y), CLASSES, seed=1)
    ax = fig.axes[0]
    clouds = [np.asarray(dots.get_offsets()) for dots in ax.collections]
    assert [len(cloud) for cloud in clouds] == [10, 10, 10]
    assert "30 of 30 test series" in ax.get_title() and "perplexity 9.67" in ax.get_title()
    assert legend(fig) == ["class a", "class b", "class c"]
    centres = np.stack([cloud.mean(axis=0) for cloud in clouds])
    for i, cloud in enumerate(clouds):
        distances = np.linalg.norm(cloud[:, None] - centres, axis=2)
        assert (distances.argmin(axis=1) == i).all()
    assert_legible(fig)
    again = plots.latent_map(features, y, CLASSES, seed=1)
    assert again._repr_png_() == fig._repr_png_()


def test_latent_map_draws_at_most_max_points_unlabelled_or_of_many_classes():
    features = np.random.default_rng(0).normal(size=(60, 4))
    fig = plots.latent_map(features, None, (), max_points=20)
    assert [len(dots.get_offsets()) for dots in fig.axes[0].collections] == [20]
    assert "20 of 60" in fig.axes[0].get_title() and legend(fig) == ["unlabelled"]
    many = plots.latent_map(features, np.arange(60) // 3, [str(i) for i in range(20)])
    assert len(many.axes[0].collections[0].get_offsets()) == 60
    assert "class" in many.axes[1].get_ylabel()
    with pytest.raises(BadInput, match="2 series"):
        plots.latent_map(features[:2], None, ())


def test_real_and_generated_stand_side_by_side_on_one_scale(series):
    x, y = series
    new = 10 * x[:12]
    fig = plots.real_and_generated(x, y, new, torch.arange(3).repeat_interleave(4), CLASSES, "regular", n=5)
    axes = np.reshape(fig.axes, (3, 2))
    for label in range(3):
        left, right = axes[label]
        assert len(left.lines) == 5 and len(right.lines) == 4
        drawn = {tuple(line.get_ydata()) for line in right.lines}
        assert drawn == {tuple(row[0]) for row in new[4 * label : 4 * label + 4]}
        assert {tuple(line.get_ydata()) for line in left.lines} <= {tuple(row[0]) for row in x[y == label]}
        assert left.get_ylim() == right.get_ylim()
        assert right.get_ylim()[1] >= new[4 * label : 4 * label + 4].max()
        assert sum(line.get_alpha() == 1 for line in right.lines) == 1
    assert [ax.get_title() for ax in axes[0]] == ["real (test split)", "generated"]
    assert_legible(fig)
    unlabelled = plots.real_and_generated(x, None, new, None, (), "regular")
    assert [len(ax.lines) for ax in unlabelled.axes] == [8, 8]


def test_small_multiples_show_the_first_series_of_each_class_on_one_scale(series):
    x, y = series
    new, of = 2 * x[:12], np.repeat(np.arange(3), 4)
    columns = {"real": (x, y, "#555555"), "naive": (new, of, METHODS["regular"].colour)}
    fig = plots.by_class(columns, ("up", "down", "flat"), n=2)
    assert len(fig.axes) == 3 * 2 * 2 and len({ax.get_ylim() for ax in fig.axes}) == 1
    low, high = fig.axes[0].get_ylim()
    assert low <= new.min() and high >= new.max()
    drawn = {}
    for ax in fig.axes:
        (line,) = ax.lines
        drawn.setdefault(to_hex(line.get_color()).upper(), []).append(tuple(line.get_ydata()))
    wanted = {"#555555": (x, np.asarray(y)), METHODS["regular"].colour: (new, of)}
    for colour, (group, classes) in wanted.items():
        first = [tuple(np.asarray(group)[row, 0]) for k in range(3) for row in np.flatnonzero(classes == k)[:2]]
        assert drawn[colour] == first
    assert [ax.get_ylabel() for ax in fig.axes if ax.get_ylabel()] == ["up", "down", "flat"]
    assert [ax.get_title() for ax in fig.axes if ax.get_title()] == ["real", "naive"]
    assert f"{x.shape[-1]} steps" in fig.get_supxlabel() and "classes" not in fig.get_supxlabel()
    many = plots.by_class(
        {"real": (np.arange(100.0).reshape(20, 1, 5), np.arange(20), "k")}, [str(k) for k in range(20)], n=1
    )
    assert len(many.axes) == plots.SMALL_MULTIPLES and "8 of 20 classes" in many.get_supxlabel()


def test_class_shares_counts_both_sides():
    fig = plots.class_shares(np.array([0, 0, 1, 2]), torch.tensor([2, 2]), CLASSES, "barlowtwins")
    heights = [bar.get_height() for bar in fig.axes[0].patches]
    assert heights == [0.5, 0.25, 0.25, 0, 0, 1]
    assert legend(fig) == ["real (test split), n = 4", "generated, n = 2"]
    assert to_hex(fig.axes[0].patches[-1].get_facecolor()).upper() == METHODS["barlowtwins"].colour
    assert_legible(fig)
    many = plots.class_shares(np.arange(60), np.arange(60), [str(i) for i in range(60)], "regular")
    assert len(many.axes[0].get_xticks()) <= 13


def test_colours_of_methods_and_augmentations_are_all_different():
    colours = [METHODS[name].colour for name in METHODS]
    colours += [plots.augmentation_colour(name) for name in ("none", *AUGMENTATIONS)] + [plots.INK]
    assert len({c.upper() for c in colours}) == len(colours)
    assert plots.augmentation_colour("warp") == "#E69F00" and plots.augmentation_colour("none") == plots.REAL


def test_what_is_registered_elsewhere_is_drawn_in_its_own_colour(series, monkeypatch):
    monkeypatch.setitem(AUGMENTATIONS, "mirror", Augmentation(lambda x, generator=None: -x, "mirror", "#123456"))
    monkeypatch.setitem(METHODS, "ours", Method("Ours", "#654321"))
    x, y = series
    fig = plots.augmented_views(x, y, CLASSES, {"warp": x, "mirror": AUGMENTATIONS["mirror"](x), "of a chapter": x})
    assert [ax.lines[1].get_color() for ax in fig.axes[:3]] == ["#E69F00", "#123456", plots.INK]
    rows = history(3, time=1, spectrum=2, augmented=3)
    left = plots.loss_curves(rows, history(2, total=1), "ours", "mirror").axes[0]
    drawn = {line.get_label(): line.get_color() for line in left.lines}
    assert (drawn["reconstruction, train"], drawn["augmented view"]) == ("#654321", "#123456")
    assert legend(plots.reconstructions(x, x, "ours")) == ["test series", "reconstruction (Ours)"]


def test_no_figure_is_known_to_pyplot(series):
    x, y = series
    plots.augmented_views(x, y, CLASSES, {"warp": x})
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_ratios_of_pairs_stand_over_their_mean_and_interval():
    panels = {
        "first": {"a": ([0.5, 2.0], (1.0, 0.2, 5.0)), "all": ([], (1.5, 1.2, 1.9))},
        "second": {"b": (np.array([3.0]), (3.0, np.nan, np.nan))},
    }
    fig = plots.paired_ratios(panels, "what they are", {"a": "#0072B2"})
    first, second = fig.axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["a", "b", "all"]  # means over others come last

    def drawn(ax, **style):
        lines = [line for line in ax.lines if all(getattr(line, f"get_{k}")() == v for k, v in style.items())]
        return [(list(line.get_xdata()), round(line.get_ydata()[0])) for line in lines if len(line.get_xdata())]

    assert drawn(first, marker="o") == [([0.5, 2.0], 0)] and drawn(second, marker="o") == [([3.0], 1)]
    assert drawn(first, marker="D") == [([1.0], 0), ([1.5], 2)]
    assert drawn(first, linewidth=1.8) == [([0.2, 5.0], 0)] and drawn(first, linewidth=3) == [([1.2, 1.9], 2)]
    assert drawn(second, linewidth=1.8) == []  # no interval
    assert [line.get_xdata() for line in first.lines if line.get_linestyle() == ":"] == [[1, 1]]
    assert first.get_xlim() == pytest.approx((0.2 / 1.2, 5.0 * 1.2)) == second.get_xlim()
    assert fig.get_suptitle() == "what they are"
    assert_legible(fig)


def test_an_interval_without_end_does_not_hide_the_ratios():
    fig = plots.paired_ratios({"": {"a": ([0.5, 2.0], (1.0, 1e-9, 1e9))}}, "")
    assert fig.axes[0].get_xlim() == pytest.approx((0.5 / 3 / 1.2, 2.0 * 3 * 1.2))


def test_hidden_tokens_are_hatched_and_the_others_coloured():
    fig, [[ax]] = plots.figure()
    plots.token_grid(ax, torch.tensor([[0, 4], [4, 3]]), 4)
    (image,) = ax.images
    assert np.ma.getmaskarray(image.get_array()).tolist() == [[False, True], [True, False]]
    colours = image.to_rgba(image.get_array())
    assert (colours[..., 3] == [[1, 0], [0, 1]]).all() and ax.patch.get_hatch() == "////"
    assert to_hex(colours[0, 0]) == to_hex(plots.colour_map(4)(0)) and to_hex(colours[1, 1]) == to_hex(
        plots.colour_map(4)(3)
    )
    assert image.origin == "lower"
