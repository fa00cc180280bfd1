"""The command `ncvqvae`: finds the subcommand, and turns whatever ends it into one line and an exit code.

    0  done                                   3    the training diverged
    1  `doctor`, a notebook or cells failed   4    out of memory
    2  a mistake that the user can mend       130  interrupted (Ctrl-C)
                                              141  the reader of the output has left

Nothing heavy is imported here: `ncvqvae --help` answers at once, and mistakes on the command line are found before
torch is loaded.
"""

import contextlib
import functools
import io
import os
import re
import sys
import warnings
from dataclasses import fields
from importlib import import_module
from itertools import groupby

from . import __version__
from .config import ExperimentConfig, check_name, nearest
from .errors import BadInput, TrainingDiverged, UserError, WeakEvidence

COMMANDS = {  # name -> (module, class with the arguments as fields and a method run(), what the help says)
    "replicate": ("cli_replicate", "Replicate", "run one cell of the thesis' tables, compare with the published one"),
    "campaign run": ("cli_campaign", "Run", "run what is left of many cells: the thesis, or a list of your own"),
    "campaign status": ("cli_campaign", "Status", "how far a campaign is, and how long the rest may take"),
    "campaign export": ("cli_campaign", "Export", "add the finished cells of a campaign to the table of results"),
    "report": ("cli_report", "Report", "the thesis' tables with our numbers, tests and figures as one HTML file"),
    "fcn": ("cli_fcn", "Fcn", "fcn import FILE_OR_FOLDER: convert the public weights behind the thesis' FID and IS"),
    "doctor": ("cli_doctor", "Doctor", "what is installed, which data and weights are found, and does it work here"),
}
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
    except TrainingDiverged as error:
        return _fail(error, DIVERGED)
    except UserError as error:
        return _fail(error, USER_ERROR)
    except KeyboardInterrupt:
        resumable = argv[:1] == ["replicate"] or argv[:2] == ["campaign", "run"]
        resumes = ": run the same command again to continue at the last checkpoint" if resumable else ""
        return _fail(f"interrupted{resumes}", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has left, as in `ncvqvae doctor | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it closes stdout
        return PIPE_CLOSED
    except (MemoryError, RuntimeError) as error:
        from .lab.runner import is_out_of_memory

        if not is_out_of_memory(type(error).__name__, str(error)):
            raise
        advice = "free some, or use smaller batches (--set batch_size=64 prior_batch_size=64), and run again"
        return _fail(f"out of memory: {advice}", OUT_OF_MEMORY)


def _run(argv):
    name, *rest = argv or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return DONE
    if name in ("-V", "--version"):
        print(f"ncvqvae-lite {__version__}")
        return DONE
    if any(command.startswith(f"{name} ") for command in COMMANDS):  # such as `campaign`, which is two words
        if rest[:1] in ([], ["-h"], ["--help"]):
            print(_help(name))
            return DONE
        name, *rest = f"{name} {rest[0]}", *rest[1:]
    if name.startswith("-"):
        raise BadInput(f"unknown option {name}: `ncvqvae --help` lists the commands")
    check_name("command", name, COMMANDS)
    module, kind, _ = COMMANDS[name]
    command = _parse(getattr(import_module(f".{module}", __package__), kind), f"ncvqvae {name}", rest)
    return DONE if command is None else command.run() or DONE


def _help(beginning=""):
    """The commands, or those whose name begins so."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, _, what) in COMMANDS.items() if name.startswith(beginning)]
    return "\n".join(
        ["usage: ncvqvae COMMAND ...", "", "NC-VQVAE: tokenize, understand and generate time series.", "", "commands:"]
        + lines
        + ["", "`ncvqvae COMMAND --help` explains a command; `ncvqvae --version` prints the version."]
    )


def _show_warning(otherwise, message, category, *place):
    """Ours in one line; those of libraries as Python shows them, with their place."""
    if issubclass(category, WeakEvidence):
        print(f"warning: {message}", file=sys.stderr, flush=True)
    else:
        otherwise(message, category, *place)


def _fail(message, code):
    print("error: " + " ".join(str(message).split("\n")), file=sys.stderr, flush=True)
    return code


# --- arguments ---


def _parse(kind, program, argv):
    """An instance of the dataclass `kind` from its arguments, or None after --help; raises BadInput in one sentence."""
    import tyro

    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            command, unknown = tyro.cli(kind, prog=program, args=argv, return_unknown_args=True)
    except SystemExit as stop:
        if not stop.code:
            return None
        raise BadInput(f"{_sentence(printed.getvalue())}: see `{program} --help`") from None
    if unknown:
        raise BadInput(_unknown(unknown, kind, program))
    return command


def _unknown(arguments, kind, program):
    """What to do about arguments that no option took."""
    first = arguments[0].partition("=")[0]
    setting = first.lstrip("-").replace("-", "_")
    if "settings" in {f.name for f in fields(kind)} and setting in {f.name for f in fields(ExperimentConfig)}:
        return f"unknown option {first}: settings are changed by --set, for example --set {setting}=..."
    close = nearest(first, [f"--{f.name}" for f in fields(kind)] + ["--set", "--help"])
    return f"unknown argument {' '.join(arguments)}{close}: see `{program} --help`"


def _sentence(printed):
    """The message in a frame that the parser printed: its first section, on one line, without frame and colours."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", printed)
    lines = [line for line in plain.splitlines() if not set("╭╰") & set(line)]
    lines = [line.strip(" │") for line in lines if not re.match(r".? {9}", line)]  # no help texts
    by_rules = groupby(filter(None, lines), key=lambda line: set(line) <= set("─-"))
    sections = [" ".join(section) for is_rule, section in by_rules if not is_rule]
    message = sections[0 if "╭" in plain else 1]  # without a frame (a terminal without Unicode) the title is a section
    message = message.removeprefix("Error parsing ").rstrip(".")
    message = message[:1].lower() + message[1:]
    return message.replace("invalid literal for int() with base 10:", "expected a whole number, got")


if __name__ == "__main__":
    sys.exit(main())
