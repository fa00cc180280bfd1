"""`ncvqvae report`: our results beside the thesis', as one HTML file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .errors import BadInput


@dataclass(frozen=True)
class Report:
    """Write the thesis' tables with our numbers and verdicts, tests and figures as a page that needs no network."""

    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("report.html")
    """HTML file to write"""
    runs: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """folder of all runs: numbers link to the notebooks that made them; if not given: runs, where there is one"""
    table: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """results as `ncvqvae campaign export` writes them (.csv); if not given: the table that comes with the package"""

    def run(self):
        if self.out.suffix.lower() not in (".html", ".htm"):
            raise BadInput(f"--out {self.out} is no HTML file: choose a name that ends in .html")
        runs = self.runs
        if runs is None and Path("runs").is_dir():
            runs = Path("runs")

        from .lab.report import write_report

        print(f"Report: {write_report(self.out, runs, self.table)}")
        if runs is None:
            print("No folder of runs was given or found: numbers name their run instead of linking to it.")
