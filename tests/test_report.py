"""`lab.report`: the page is whole, needs nothing from outside, its numbers are those of the rows, its links lead on."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_report_answer import table as made_up
from test_report_prior import ABLATIONS
from test_report_tables import SONY, cell, frame

from ncvqvae_lite import plots
from ncvqvae_lite.cli import main
from ncvqvae_lite.errors import BadInput, NotFound
from ncvqvae_lite.lab import report, text
from ncvqvae_lite.lab.campaign import costs as campaign_costs
from ncvqvae_lite.lab.report import costs, entries, figures, write_report
from ncvqvae_lite.lab.report.tables import comparable, count_verdicts, thesis_tables
from ncvqvae_lite.lab.results import COLUMNS, load_cells


class Page(HTMLParser):
    """What a browser would find: tags that must balance, links, images, ids, text, and the tables by their headings."""

    EMPTY = ("meta", "img", "br")

    def __init__(self, file):
        super().__init__()
        self.open, self.links, self.sources, self.ids, self.words = [], [], [], set(), []
        self.feed(file.read_text(encoding="utf-8"))
        assert not self.open, f"unclosed: {self.open}"
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.open += [tag] if tag not in self.EMPTY else []
        self.links += [attributes["href"]] if "href" in attributes else []
        self.sources += [attributes["src"]] if "src" in attributes else []
        self.ids |= {attributes["id"]} if "id" in attributes else set()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)


def rows_of(file, heading):
    """The table after a heading, as lists of plain texts."""
    html = file.read_text(encoding="utf-8")
    table = re.search(f"{re.escape(heading)}</h3>.*?<tbody>(.*?)</tbody>", html, re.DOTALL).group(1)
    rows = re.findall("<tr>(.*?)</tr>", table, re.DOTALL)
    cells = [re.findall("<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[re.sub("<.*?>", " ", cell).split() for cell in row] for row in cells]


@pytest.fixture
def one_figure(monkeypatch):
    """A report with one figure that can be drawn and one that cannot: drawing all takes seconds."""
    fig, _ = plots.figure()
    entries = [
        figures.Shown("Priors", "matched_priors", fig),
        figures.Shown("Curves", "loss_curves", reason="nothing was <kept>"),
    ]
    monkeypatch.setattr(report, "all_figures", lambda cells, runs: entries)


@pytest.fixture
def campaign(tmp_path):
    """(table, folder of runs): four priors of two seeds on one data set; only seed 1 has its notebooks."""
    cells = []
    for seed in (1, 2):
        for i, ablation in enumerate(ABLATIONS.values()):
            scores = dict(recon_val=seed / 10, recon_last_batch=0.6, fid=2.0 + i + seed, is_=1.5, seconds_prior=100.0)
            scores |= {"cas": 0.99, "knn_acc": 0.5} if "=masked" not in ablation and "head" not in ablation else {}
            rows = cell(seed=seed, ablation=ablation, **scores)
            folder = f"cells/{SONY}/regular-none/0000000{i}/seed{seed}"
            cells.append([row | {"folder": folder} for row in rows])
            (tmp_path / "all runs" / folder).mkdir(parents=True)
            if seed == 1:
                (tmp_path / "all runs" / folder / "notebook.ipynb").write_text("{}")
    frame(*cells).to_csv(tmp_path / "cells.csv", index=False)
    return tmp_path / "cells.csv", tmp_path / "all runs"


def test_numbers_link_to_the_notebooks_that_made_them(one_figure, campaign, tmp_path):
    table, runs = campaign
    out = write_report(tmp_path / "pages" / "report.html", runs, table)
    page = Page(out)
    notebooks = {link for link in page.links if not link.startswith("#")}
    assert len(notebooks) == 4 and all("%20" in link for link in notebooks)
    for link in notebooks:
        assert (out.parent / link.replace("%20", " ")).resolve().is_file()
    html = out.read_text(encoding="utf-8")
    assert f'title="cells/{SONY}/regular-none/00000000/seed2, commit 0123456789ab">2</span>' in html
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert list(out.parent.iterdir()) == [out]


def test_without_runs_numbers_name_folder_and_commit(one_figure, campaign, tmp_path):
    page = Page(write_report(tmp_path / "report.html", None, campaign[0]))
    assert all(link.startswith("#") for link in page.links)
    assert "No folder of runs was given" in page.text


def test_the_tables_say_what_the_rows_say(one_figure, campaign, tmp_path):
    out = write_report(tmp_path / "report.html", None, campaign[0])
    fid = {row[0][0]: row[1:] for row in rows_of(out, "FID of generated series, mean (lower is better)")}
    assert len(fid) == 13 and all(len(row) == 7 for row in fid.values())
    ours = fid[SONY][0]
    assert (
        ours[:3] == ["3.50", "±", "0.71"]
        and "better" in ours
        and ours[ours.index("seeds") :][:3] == ["seeds", "1", "2"]
    )
    assert ours[ours.index("thesis") + 1] == "5.42" and ours[-3:] == ["3.85", "…", "8.92"]
    assert fid["FordA"][0][:2] == ["not", "run"]
    best = {row[0][0]: row[1:] for row in rows_of(out, "FID of generated series, best of four")}
    assert best[SONY][0][0] == "3.00" and not {"better", "worse", "inside"} & set(best[SONY][0])
    verdicts = {" ".join(row[0]): row for row in rows_of(out, "Verdicts")}
    counted = count_verdicts(thesis_tables(comparable(load_cells(campaign[0])))).set_index(["table", "metric"])
    assert [int(n) for [n] in verdicts["all tables"][1:7]] == counted.loc[("all", "")].tolist()[:6]
    assert "2 of 364 cells" in Page(out).text


def test_the_headline_has_its_sentence_ratio_and_figure(one_figure, campaign, tmp_path):
    page = Page(write_report(tmp_path / "report.html", None, campaign[0]))
    ratio = np.exp(np.mean([np.log(6 / 3), np.log(7 / 4)]))
    assert f"multiplies the FID by {ratio:.2f} (1 data set, too few for an interval)" in page.text
    assert (
        page.text.index("multiplies the FID") < page.text.index("Priors") < page.text.index("The thesis' tables Inside")
    )


def test_the_page_begins_with_the_answer(one_figure, campaign, tmp_path):
    unanswered = Page(write_report(tmp_path / "report.html", None, campaign[0])).text
    assert unanswered.index("Not answered yet") < unanswered.index("NC-VQVAE adds") and "0 of 224 cells" in unanswered
    made_up(knn_acc=0.1).to_csv(tmp_path / "answer.csv", index=False)
    out = write_report(tmp_path / "report.html", None, tmp_path / "answer.csv")
    page = Page(out).text
    assert page.index("Does the non-contrastive loss help?") < page.index("An NC loss improves KNN accuracy: +0.1")
    assert page.index("An NC loss improves") < page.index("NC against naive") < page.index("NC-VQVAE adds")
    assert "All 224 cells of the campaign headline" in page and "in which all arms have the same prior" in page
    html = out.read_text(encoding="utf-8")
    assert re.search(r'<th>KNN accuracy</th><td class="better"><b>\+0\.\d+</b><br><small><b>improves</b>', html)


def test_the_page_needs_nothing_from_outside(one_figure, campaign, tmp_path):
    out = write_report(tmp_path / "report.html", None, campaign[0])
    page, html = Page(out), out.read_text(encoding="utf-8")
    (source,) = page.sources
    kind, data = source.split(",")
    assert kind == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).format == "PNG"
    assert not re.search(r"https?://|<script|<link|@import|url\(", html)
    assert "Not drawn: nothing was <kept>" in page.text and "<kept>" not in html


def test_methods_and_augmentations_of_which_the_thesis_knows_nothing_do_not_stop_the_report(one_figure, tmp_path):
    scores = dict(recon_val=0.5, recon_last_batch=0.6, fid=2.0, is_=1.5, cas=0.9, seconds_prior=100.0)
    others = [cell(method="vicreg", augmentation="mirror", **scores), cell(method="elsewhere", **scores)]
    frame(cell(**scores), *others).to_csv(tmp_path / "cells.csv", index=False)
    out = write_report(tmp_path / "report.html", None, tmp_path / "cells.csv")
    said = Page(out).text
    assert "1 of 364 cells" in said and "VICReg mirror" in said and "elsewhere none" in said


def test_an_empty_table_gives_an_empty_report(one_figure, tmp_path):
    (tmp_path / "cells.csv").write_text(",".join(COLUMNS) + "\n")
    page = Page(write_report(tmp_path / "report.html", None, tmp_path / "cells.csv"))
    assert "0 of 364 cells" in page.text and "Not run yet" in page.text
    assert "In ours: too few data sets" in page.text and "No row of this table has times" in page.text


@pytest.mark.slow
def test_the_table_that_ships_makes_a_report_with_all_figures(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["report"]) == 0
    assert "report.html" in capsys.readouterr().out
    page = Page(tmp_path / "report.html")
    captions = re.findall("<figcaption>(.*?)</figcaption>", (tmp_path / "report.html").read_text("utf-8"), re.DOTALL)
    assert len(captions) == len(page.sources) and all(len(caption) > 40 for caption in captions)
    assert len(page.sources) >= 7 and (tmp_path / "report.html").stat().st_size < 10e6


# --- costs ---


def test_costs_are_medians_and_the_grid_is_scaled_by_arithmetic():
    rows = frame(
        cell(seed=1, seconds_prior=100.0, seconds_tokenizer=50.0),
        cell(seed=2, seconds_prior=300.0),
        cell(seed=3, seconds_prior=110.0),
        cell(seed=5, ablation="prior_epochs=1", seconds_prior=1.0),
        cell("Wafer", "vibcreg", "gauss", seconds_prior=1000.0, seconds_tokenizer=2000.0),
    )
    spent = costs.stage_seconds(rows).droplevel(costs.MACHINE)
    assert spent.loc[SONY, ["naive", "prior"]].tolist() == [50.0, 110.0] and np.isnan(spent.loc[SONY, "nc"])
    assert spent.loc["Wafer", ["nc", "prior"]].tolist() == [2000.0, 1000.0] and np.isnan(spent.loc["Wafer", "naive"])
    work = costs.reference_cost()
    assert work.shape == (13, 4) and work.loc["Wafer"].tolist() == [0.17, 0.86, 0.34, 0.73]
    *timed, whole = [line[3] for line in costs.cost_table(rows).rows]  # of the prior
    assert [entry.value for entry in timed] == ["2 min", "17 min"]
    assert timed[0].small == (f"{0.008e6 / 110:.1f} GFLOP/s",)
    speed = (0.008 + 0.34) / 1110  # PFLOP per second, both data sets
    assert whole.value == text.duration(28 * work.prior.sum() / speed)


def test_costs_in_bf16_stand_apart():
    rows = frame(
        cell(seed=1, seconds_prior=100.0), cell(seed=2, ablation="prior_precision=bf16 cas=False", seconds_prior=10.0)
    )
    spent = costs.stage_seconds(rows).prior.droplevel(["device", "threads", "dataset"])
    assert spent.to_dict() == {"fp32": 100.0, "partly bf16": 10.0}
    machines = {line[0].small[0] for line in costs.cost_table(rows).rows}
    assert {"cpu, 1 thread, fp32", "cpu, 1 thread, partly bf16"} < machines


def test_the_speed_of_recorded_cells_is_that_of_cells_that_made_their_tokenizer(monkeypatch):
    rows = frame(
        cell(seed=1, ablation="cas=False", seconds_tokenizer=30.0, seconds_prior=70.0),
        cell(seed=2, ablation="head=untied cas=False", seconds_prior=70.0),  # found it finished, at a cost unknown
        cell(seed=1, ablation="precision=bf16 cas=False", seconds_tokenizer=3.0, seconds_prior=7.0),
    )
    monkeypatch.setattr(campaign_costs, "read_rows", lambda: rows.astype(str).to_dict("records"))
    work = costs.reference_cost().loc[SONY]
    assert campaign_costs._recorded_rates() == [pytest.approx(100.0 / (work.naive + work.prior))]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3.0, "3 s"), (89, "89 s"), (119, "2 min"), (600, "10 min"), (7500, "2 h 05 min"), (1e6, "12 days")],
)
def test_durations(seconds, said):
    assert text.duration(seconds) == said


# --- small things ---


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.6354, "0.635"),
        (0.95, "0.950"),
        (3, "3.00"),
        (99.96, "100"),
        (1234.5, "1234"),
        (0.0608, "0.0608"),
        (float("nan"), "–"),
    ],
)
def test_numbers_keep_three_digits(value, said):
    assert entries.number(value) == said


def test_texts_are_escaped(one_figure, campaign, tmp_path):
    rows = pd.read_csv(campaign[0])
    rows.assign(commit="<script>").to_csv(campaign[0], index=False)
    out = write_report(tmp_path / "report.html", None, campaign[0])
    assert "commit &lt;script&gt;" in out.read_text(encoding="utf-8") and "commit <script>" not in Page(out).text
    assert "<script" not in out.read_text(encoding="utf-8")


def test_what_is_wrong_is_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="no folder of runs at"):
        write_report(tmp_path / "report.html", tmp_path / "missing")
    with pytest.raises(NotFound, match="no table at"):
        write_report(tmp_path / "report.html", None, tmp_path / "missing.csv")
    pd.DataFrame({"dataset": []}).to_csv(tmp_path / "other.csv")
    with pytest.raises(BadInput, match="other columns"):
        write_report(tmp_path / "report.html", None, tmp_path / "other.csv")
    (tmp_path / "file").write_text("")
    for arguments, said in (
        (["--out", "report.pdf"], "ends in .html"),
        (["--runs", "missing"], "no folder of runs"),
        (["--table", "missing.csv"], "no table at"),
        (["--outt", "report.html"], "unknown argument"),
    ):
        assert main(["report", *arguments]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    assert not (tmp_path / "report.html").exists()


def test_a_place_that_cannot_be_written_is_one_sentence(one_figure, campaign, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["report", "--table", str(campaign[0]), "--out", str(tmp_path / "file" / "report.html")]) == 2
    assert "cannot write to" in capsys.readouterr().err
