"""The command `ncvqvae`: finds the subcommand, and turns whatever ends it into one line and an exit code.

    0  done                                   3    the training diverged
    1  `doctor`, a notebook or cells failed   4    out of memory
    2  a mistake that the user can mend       130  interrupted (Ctrl-C)
                                              141  the reader of the output has left

Nothing heavy is imported here: `ncvqvae --help` answers at once, and mistakes on the command line are found before
torch is loaded.
"""

import functools
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from . import __version__
from .cli_options import parse
from .errors import BadInput, LongRun, TrainingDiverged, UserError, WeakEvidence, is_out_of_memory
from .names import function_of

COMMANDS = {  # name -> (class with the options as fields and a method run(), what the help says)
    "demonstrate": ("cli_demonstrate.Demonstrate", "both kinds of arm side by side: a table, a figure, a verdict"),
    "replicate": ("cli_replicate.Replicate", "run one cell of the thesis' tables, compare with the published one"),
    "sample": ("cli_sample.Sample", "draw new series from a finished run and write them to a file"),
    "evaluate": (
        "cli_evaluate.Evaluate",
        "how good are synthetic series of any generator, beside real ones and copies",
    ),
    "campaign run": ("cli_campaign.Run", "run what is left of many cells: the thesis, or a list of your own"),
    "campaign status": ("cli_campaign.Status", "how far a campaign is, and how long the rest may take"),
    "campaign export": ("cli_campaign.Export", "add the finished cells of a campaign to the table of results"),
    "report": ("cli.Report", "the thesis' tables with our numbers, tests and figures as one HTML file"),
    "fcn fetch": ("cli_fcn.Fetch", "get the public weights behind the thesis' FID and IS"),
    "fcn import": ("cli_fcn.Import", "convert such weights that were got by hand (FILE_OR_FOLDER)"),
    "fcn list": ("cli_fcn.List", "which weights are here, and whether they are those of the thesis"),
    "doctor": ("cli_doctor.Doctor", "what is installed, which data and weights are found, and does it work here"),
}
_HELP = """usage: ncvqvae COMMAND ...

NC-VQVAE: tokenize, understand and generate time series.

commands:
{}

`ncvqvae COMMAND --help` explains a command; `ncvqvae --version` prints the version."""
DONE, USER_ERROR, DIVERGED, OUT_OF_MEMORY, INTERRUPTED, PIPE_CLOSED = 0, 2, 3, 4, 130, 141


def main(argv=None):
    """Run one command; returns the exit code.

    argv    list of arguments; None takes those of the process
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
            code = _run(argv)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        resumable = argv[:1] in (["demonstrate"], ["replicate"]) or argv[:2] == ["campaign", "run"]
        resumes = ": run the same command again to continue at the last checkpoint" if resumable else ""
        return _fail(f"interrupted{resumes}", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has left, as in `ncvqvae doctor | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it closes stdout
        return PIPE_CLOSED
    except (UserError, MemoryError, RuntimeError) as error:
        if is_out_of_memory(type(error).__name__, str(error)):
            advice = "free some, or use smaller batches (--set batch_size=64 prior_batch_size=64), and run again"
            return _fail(f"out of memory: {advice}", OUT_OF_MEMORY)
        if not isinstance(error, UserError):
            raise
        return _fail(error, DIVERGED if isinstance(error, TrainingDiverged) else USER_ERROR)


def _run(argv):
    name, *rest = argv or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return DONE
    if name in ("-V", "--version"):
        print(f"ncvqvae-lite {__version__}")
        return DONE
    if any(command.startswith(f"{name} ") for command in COMMANDS):  # such as `campaign`, which is two words
        word, *rest = rest or ["--help"]
        if word in ("-h", "--help"):
            print(_help(name))
            return DONE
        name = f"{name} {word}"
    if name.startswith("-"):
        raise BadInput(f"unknown option {name}: `ncvqvae --help` lists the commands")
    from .config import check_name  # here, so that --help need not wait for it

    check_name("command", name, COMMANDS)
    command = parse(function_of(COMMANDS[name][0]), f"ncvqvae {name}", rest)
    return DONE if command is None else command.run() or DONE


def _help(beginning=""):
    """The commands, or those whose name begins so."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items() if name.startswith(beginning)]
    return _HELP.format("\n".join(lines))


def _show_warning(otherwise, message, category, *place):
    """Ours in one line; those of libraries as Python shows them, with their place."""
    if issubclass(category, WeakEvidence | LongRun):
        print(f"warning: {message}", file=sys.stderr, flush=True)
    else:
        otherwise(message, category, *place)


def _fail(message, code):
    print("error:", str(message).replace("\n", " "), file=sys.stderr, flush=True)
    return code


# --- the command that is as small as a function ---


@dataclass(frozen=True)
class Report:
    """Write the thesis' tables with our numbers and verdicts, tests and figures as a page that needs no network.

    out FILE      HTML file to write
    runs FOLDER   folder of all runs, with the notebooks that numbers link to; if not given: runs, where there is one
    table FILE    results from `ncvqvae campaign export` (.csv); if not given: the table that comes with the package
    """

    out: Path = Path("report.html")
    runs: Path | None = None
    table: Path | None = None

    def run(self):
        if self.out.suffix.lower() not in (".html", ".htm"):
            raise BadInput(f"--out {self.out} is no HTML file: choose a name that ends in .html")
        runs = self.runs or (Path("runs") if Path("runs").is_dir() else None)
        from .lab.report import write_report

        print(f"Report: {write_report(self.out, runs, self.table)}")
        if runs is None:
            print("No folder of runs was given or found: numbers name their run instead of linking to it.")


if __name__ == "__main__":
    sys.exit(main())
