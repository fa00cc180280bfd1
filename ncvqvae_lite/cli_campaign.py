"""`ncvqvae campaign run|status|export`: many cells by one command, resumable, on this machine or a cluster."""

import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from .cli_options import check_notebook_extra, parse_changes
from .errors import BadInput, NotFound
from .files import read_json
from .lab import results
from .lab.campaign import load_campaign
from .lab.campaign.plan import jobs, plan
from .lab.campaign.state import DONE
from .lab.campaign.status import describe, failures, totals
from .lab.text import counted

SOME_FAILED = 1


@dataclass(frozen=True)
class _Campaign:
    """What the three commands have in common: which cells, in which folder.

    name NAME_OR_FILE   one that ships (headline, contrastive, thesis, matched-prior, improved, smoke), or a TOML file
    out FOLDER          folder of all runs
    datasets D          only these data sets of the campaign
    configurations C    only these configurations of it, such as regular-none
    seeds S             only these seeds of it
    set FIELD=VALUE     replace single settings of every cell, for example --set cas=false
    """

    name: str
    out: Path = Path("runs")
    datasets: tuple[str, ...] = ()
    configurations: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    set: tuple[str, ...] = ()

    def planned(self, recorded=None):
        """The campaign's name and its cells, with what the run folder (and a table of results) holds of them."""
        campaign = load_campaign(self.name)
        part = campaign.part(self.datasets, self.configurations, self.seeds, parse_changes(self.set))
        return part, plan(part, self.out, recorded)


@dataclass(frozen=True)
class _Continued(_Campaign):
    """What `run` and `status` share: they can count results of runs that are elsewhere.

    recorded TABLE   a cell that a table of results has whole, of this very code, settings and feature net, counts as
                     done; without TABLE: data/results/cells.csv of the checkout that this package is imported from
    """

    recorded: Path | bool = False

    def planned(self):
        """The campaign's name and its cells, with what the run folder and perhaps a table hold of them."""
        table = results_table(None if self.recorded is True else self.recorded) if self.recorded else None
        return super().planned(results.recorded_metrics(table) if table else None)


def results_table(given=None):
    """The table of results: the one given, else data/results/cells.csv of the checkout; BadInput outside one."""
    checkout = Path(__file__).resolve().parents[1]
    if given is None and not (checkout / "pyproject.toml").is_file():
        raise BadInput("this package is not used from a checkout: name the table of results, a CSV file")
    return given or checkout / "data" / "results" / "cells.csv"


@dataclass(frozen=True)
class Run(_Continued):
    """Run whatever of a campaign is not done yet: every cell is one executed notebook in its run folder.

    Stopped or killed, the same command continues; what is finished is never done again. Jobs that run out of memory,
    are killed or reach the time limit are tried three times, others once.

    engine                   snakemake (needs the extra `campaign`) runs several jobs at a time, here or on a cluster;
                             inline runs one job after another here
    cores N                  CPU cores in use at a time, all if not given (inline never uses more than one job's); with
                             --profile, jobs in the queue
    threads N                of each job
    gpu_slots_per_gpu N      jobs that share one GPU; the models are small, but the best number was not measured
    hours_per_job H          stop a job that takes longer; it is tried again, and continues at its last checkpoint
    keep_going               go on with other jobs when one has failed
    dry_run                  list the cells that would run, and run nothing
    data FOLDER              folder of the series, as for `replicate`
    profile NAME_OR_FOLDER   a Snakemake profile: slurm, which ships, or a folder with config.yaml
    slurm_status_command     how Snakemake asks SLURM about its jobs: squeue where no accounts are kept (sacct)
    """

    engine: Literal["snakemake", "inline"] = "snakemake"
    cores: int | None = None
    threads: int = 1
    gpu_slots_per_gpu: int = 2
    hours_per_job: float | None = None
    keep_going: bool = False
    dry_run: bool = False
    data: Path | None = None
    profile: str | None = None
    slurm_status_command: Literal["sacct", "squeue"] | None = None

    def run(self):
        """Run the jobs that are left; returns 1 if some failed."""
        self._check()
        campaign, planned = self.planned()
        left = jobs(planned)
        if self.dry_run:
            return self._list(campaign, planned, left)
        print(f"Campaign {campaign.name}: {totals(planned)}", flush=True)
        if not left:
            return 0
        self._run_jobs(campaign, left)
        planned = self.planned()[1]
        print(totals(planned), *failures(planned), sep="\n", flush=True)
        return SOME_FAILED if jobs(planned) else 0  # a notebook that failed on a done cell counts too

    def _check(self):
        for name in ("cores", "threads", "gpu_slots_per_gpu", "hours_per_job"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise BadInput(f"--{name.replace('_', '-')} must be positive, got {value}")
        if self.data is not None and not self.data.expanduser().is_dir():
            raise NotFound(f"found no folder of series at {self.data}: correct --data, or leave it out")
        if self.engine == "inline":
            for name in ("profile", "slurm_status_command"):
                if getattr(self, name) is not None:
                    raise BadInput(f"--{name.replace('_', '-')} is for --engine snakemake: inline runs its jobs here")

    def _list(self, campaign, planned, left):
        made = {job.folder for job in left}
        for p in planned:
            if p.folder in made:
                print(f"{p.label}: {'notebook only' if p.lacks_notebook else p.state}")
        shared, again = sum(job.kind != "cell" for job in left), sum(p.lacks_notebook for p in planned)
        before = f", and before them {shared} shared feature nets or tokenizers" if shared else ""
        notebooks = f"; {counted(again, 'finished cell')} would get an up-to-date notebook" if again else ""
        print(f"Campaign {campaign.name}: {totals(planned)}")
        print(f"{counted(len(left) - shared - again, 'cell')} would run{before}{notebooks}")
        return 0

    def _run_jobs(self, campaign, left):
        from .experiment_folders import commit
        from .lab.campaign.engines import Progress, engine_lock, find_problems, new_session, run_inline
        from .lab.campaign.snakemake import check_snakemake, profile_folder, run_snakemake

        check_notebook_extra("a campaign, whose cells are executed notebooks,")
        if self.engine == "snakemake":
            check_snakemake(self.profile, self.slurm_status_command)
        profile, timeout = profile_folder(self.profile), self.hours_per_job and self.hours_per_job * 3600
        limits = {"threads": self.threads, "slots": self.gpu_slots_per_gpu, "timeout": timeout}
        if str(commit()).endswith("-dirty"):
            print("warning: the package has uncommitted changes: `export` will refuse these runs", flush=True)
        with engine_lock(self.out, campaign.name) as folder:
            plan_file = new_session(folder, left, self.out, data=self.data, **limits)
            for problem in find_problems(plan_file):
                if not self.keep_going:
                    raise BadInput(f"{problem} (with --keep-going the cells without such a problem run)")
                print(f"warning: {problem}", flush=True)
            print(f"{counted(len(left), 'job')}, engine {self.engine}; logs in {plan_file.parent}", flush=True)
            say = partial(print, file=sys.stdout, flush=True)  # this stdout: Snakemake's goes to a file
            progress = Progress(read_json(plan_file), say)
            if self.engine == "inline":
                run_inline(plan_file, progress, self.keep_going)
            else:
                cluster = {"profile": profile, "status_command": self.slurm_status_command}
                cores = self.cores or (None if profile else os.cpu_count())
                run_snakemake(plan_file, progress, self.keep_going, cores=cores, **cluster)


@dataclass(frozen=True)
class Status(_Continued):
    """How far a campaign is: a grid, totals, failures with their reason, and the time left.

    It reads files only, so it can be asked while engines work, and without the extras of this package.
    """

    def run(self):
        """Print the report."""
        campaign, planned = self.planned()
        about = f": {campaign.about}" if campaign.about else ""
        print(f"Campaign {campaign.name}{about}", *describe(planned), sep="\n")


@dataclass(frozen=True)
class Export(_Campaign):
    """Add the finished cells of a campaign to a table of results, one row for each metric.

    table FILE   CSV file; if not given: data/results/cells.csv of the checkout that this package is imported from
    """

    table: Path | None = None

    def run(self):
        """Write the rows and say how many cells there were."""
        campaign, planned = self.planned()
        folders = [p.folder for p in planned if p.state == DONE]
        if not folders:
            raise BadInput(f"no cell of campaign {campaign.name} is finished in {self.out}: `campaign run` it first")
        table = results_table(self.table)
        print(f"{results.export(folders, table)} of {len(planned)} cells exported to {table}")
