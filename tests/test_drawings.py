"""The drawings of the course: what their code draws now, legible, described, and shown by a chapter."""

import base64
import itertools
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS / "tools"))

import chapters  # noqa: E402
import draw  # noqa: E402
from drawings import DRAWINGS, fid, recording  # noqa: E402
from drawings.recorded import RECORDED  # noqa: E402

from ncvqvae_lite.data import load_dataset  # noqa: E402
from ncvqvae_lite.metrics import frechet_distance  # noqa: E402
from ncvqvae_lite.prior import n_masked_after  # noqa: E402
from ncvqvae_lite.timefreq import stft  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"
SHOWN = r"!\[(.*?)\]\(drawings/(\w+)\.svg\)"
EMBEDDED = r"!\[([^\]]*)\]\(data:image/svg\+xml;base64,([^)]+)\)"


@pytest.fixture(params=DRAWINGS)
def tree(request):
    return ET.parse(NOTEBOOKS / "drawings" / f"{request.param}.svg").getroot()


def test_the_files_are_what_the_code_draws(capsys):
    assert draw.main(["--check"]) == 0, capsys.readouterr().err
    assert {file.stem for file in (NOTEBOOKS / "drawings").glob("*.svg")} == set(DRAWINGS)


def test_a_file_that_is_not_current_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(draw, "FOLDER", tmp_path)
    assert draw.main(["quantizer"]) == 0 and draw.main(["quantizer", "--check"]) == 0
    (tmp_path / "quantizer.svg").write_text((tmp_path / "quantizer.svg").read_text().replace("token", "taken"))
    assert draw.main(["quantizer", "--check"]) == 1
    assert "drawings/quantizer.svg is not current: python notebooks/tools/draw.py quantizer" in capsys.readouterr().err


def test_a_drawing_is_described_and_small_and_white(tree, request):
    name = request.node.callspec.params["tree"]
    assert (NOTEBOOKS / "drawings" / f"{name}.svg").stat().st_size < 150_000
    assert tree.get("role") == "img" and tree.get("font-family").endswith("sans-serif")
    title, words = tree.find(f"{SVG}title").text, tree.find(f"{SVG}desc").text
    assert len(title) > 8 and 150 < len(words) < 1000
    assert not set("[]_*`$<>\n") & set(words)  # it stands in markdown
    ground = tree.find(f"{SVG}rect")
    assert ground.get("fill") == "#FFFFFF" and ground.get("width") == tree.get("width") == "700"
    assert not any(element.get("id") for element in tree.iter())  # two of them may stand on one page


def test_text_is_large_enough_and_stays_inside(tree):
    width, height, count = float(tree.get("width")), float(tree.get("height")), 0
    for group in tree.iter():
        for element in group.findall(f"{SVG}text"):
            inherited = group.get("font-size") or tree.get("font-size")
            size = float(element.get("font-size") or inherited)
            assert size >= 11, element.text
            room = 0.52 * size * len(element.text)  # of a sans-serif font, about
            anchor = element.get("text-anchor") or group.get("text-anchor") or "start"
            left = float(element.get("x")) - {"start": 0, "middle": 0.5, "end": 1}[anchor] * room
            assert left > -8 and left + room < width + 8, element.text
            assert 8 < float(element.get("y")) < height, element.text
            count += 1
    assert count >= 5


def test_every_drawing_is_shown_by_a_chapter_and_described_nowhere_else():
    shown = [found for file in chapters.source_files() for found in re.findall(SHOWN, file.read_text(encoding="utf-8"))]
    assert {name for _, name in shown} == set(DRAWINGS)
    assert not any(words for words, _ in shown)  # the words stand beside the drawing's code


def test_a_built_chapter_carries_its_drawings_and_their_words():
    for source in chapters.source_files():
        wanted = [chapters.drawing(name) for _, name in re.findall(SHOWN, source.read_text(encoding="utf-8"))]
        cells = nbformat.read(NOTEBOOKS / f"{source.stem}.ipynb", as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        found = [(base64.b64decode(data), words) for words, data in re.findall(EMBEDDED, text)]
        assert found == wanted, source.stem
        assert "](drawings/" not in text


# --- what they show ---


def test_a_hidden_token_is_filled_once_and_stays():
    steps = np.array(RECORDED["steps"])  # (T + 1, F, W')
    hidden = (steps < 0).sum(axis=(1, 2)).tolist()
    assert hidden == [40, *n_masked_after(40, 10)]
    for before, after in itertools.pairwise(steps):
        assert (after[before >= 0] == before[before >= 0]).all()


def test_endings_spread_at_the_last_step_less_than_half_as_far_as_at_the_first():
    spread = np.array(RECORDED["endings"]).std(axis=1).mean(axis=1)  # (T,)
    assert spread[-1] < 0.5 * spread[0]


def test_the_spectrogram_is_that_of_the_series():
    x = torch.tensor(RECORDED["x"])[None, None]
    assert torch.allclose(stft(x)[0].norm(dim=0), torch.tensor(RECORDED["spectrogram"]), atol=0.06)


def test_the_recorded_series_and_its_views_are_those_of_the_generator():
    ds = load_dataset(recording.SET)
    scaled = (ds.x_test - ds.x_train.mean()) / ds.x_train.std(correction=0)
    one = scaled[ds.y_test == recording.SHOWN][:1]
    assert np.allclose(RECORDED["x"], one[0, 0], atol=0.006)
    assert np.allclose(RECORDED["views"], list(recording.two_views(one)), atol=0.011)


def test_the_moving_picture_has_a_frame_for_each_step():
    root = ET.parse(NOTEBOOKS / "drawings" / "decoding.svg").getroot()
    frames = root.findall(f"{SVG}g")
    assert len(frames) == len(RECORDED["steps"])
    names = [sum(len(group) for group in frame.findall(f"{SVG}g")) for frame in frames]
    assert names == [40 - left for left in (40, *n_masked_after(40, 10))]  # tokens that are written in a frame


def test_fid_of_clouds_with_equal_moments_is_zero():
    shifted, ring, mix = (frechet_distance(*pair) for pair in fid._pairs())
    assert ring < 1e-6 < 1 < mix < shifted
