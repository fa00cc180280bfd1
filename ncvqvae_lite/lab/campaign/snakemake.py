"""The engine that schedules a campaign's jobs with Snakemake: on cores and GPUs of this machine, or on a cluster."""

import contextlib
import os
import platform
import signal
import threading
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from ...errors import BadInput, NotFound
from ...files import read_json, write_json, writing_to
from ..runner import own_environment
from .engines import record_silent_end
from .state import KILLED, read_mark, running

LAB = Path(__file__).parents[1]
PLUGIN = "snakemake-executor-plugin-slurm"
INSTALL = "pip install 'ncvqvae-lite[campaign]'"


def check_snakemake(profile=None, status_command=None):
    """Raise BadInput unless Snakemake is installed, and with a plugin that knows what is asked of it."""
    if find_spec("snakemake") is None:
        raise BadInput(f"Snakemake is not installed: {INSTALL}, or choose --engine inline, one job after another")
    if find_spec(PLUGIN.replace("-", "_")) is None and (status_command or profile == "slurm"):
        raise BadInput(f"Snakemake's SLURM plugin is not installed: {INSTALL}")
    if status_command and int(version(PLUGIN).split(".")[0]) < 2:
        needs = f"--slurm-status-command needs {PLUGIN} 2 or newer, here is {version(PLUGIN)}"
        raise BadInput(f"{needs}: install a newer one, or leave the option out where SLURM keeps accounts (sacct)")


def profile_folder(profile):
    """The folder of a shipped profile or of one's own, given by name or path; None for None."""
    if profile is None:
        return None
    for folder in (LAB / "profiles" / profile, Path(profile).expanduser()):
        if (folder / "config.yaml").is_file():
            return folder.resolve()
    shipped = ", ".join(sorted(folder.name for folder in (LAB / "profiles").iterdir()))
    raise NotFound(f"no profile {profile}: expected a folder with config.yaml, or one of {shipped}")


def run_snakemake(plan_file, progress, keep_going, *, cores, profile=None, status_command=None):
    """Run the jobs of a plan with Snakemake, in this process, so that both end together.

    cores           jobs x threads at a time; under a profile jobs in the queue, or None for what the profile says
    profile         folder of a Snakemake profile, or None for this machine
    status_command  of the SLURM plugin: "squeue" where the cluster has no accounting database
    """
    plan, session = read_json(plan_file), plan_file.parent
    arguments = snakemake_arguments(plan, plan_file, keep_going, cores, profile, status_command)
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(plan, session, progress, over))
    watcher.start()
    try:
        code = _snakemake(arguments, session / "snakemake.log")
    finally:
        over.set()
        watcher.join()
    if code:
        _explain(code, plan, session, progress)


def _explain(code, plan, session, progress):
    """Tell of jobs that could not say how they ended; raise where Snakemake itself failed, or the disk is full."""
    with writing_to(session):
        write_json(session / "snakemake.json", {"exit_code": code})
    for name, job in plan["jobs"].items():
        word = read_mark(session / f"{name}.json")
        if word and word["event"] == "started" and not _lives_on(Path(job["folder"]), since=word["time"]):
            Path(job["folder"], "running.json").unlink(missing_ok=True)
            what = "ended without a word, killed or on a full disk"
            progress.gave_up(name, record_silent_end(session, name, job, KILLED, what))
    if not progress.failed:
        log = session / "snakemake.log"
        last = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        raise BadInput(f"Snakemake did not run the jobs ({last[-1].strip() if last else code}): see {log}")


def _lives_on(folder, since):
    """Whether a process works in the folder after Snakemake ended: on this host, or of another engine.

    since   when our job said that it started; a younger mark of another host is that of our killed job
    """
    mark = running(folder)
    return mark is not None and (mark["host"] == platform.node() or mark["since"] < since)


def snakemake_arguments(plan, plan_file, keep_going, cores, profile, status_command):
    """The command line of Snakemake; its working directory is the session's folder, so that nothing stale is there.

    The plan is given by its name in there: Snakemake takes braces or a colon in a setting for more than text.
    """
    arguments = ["--snakefile", str(LAB / "Snakefile"), "--directory", str(plan_file.parent), "--nocolor"]
    arguments += ["--config", f"plan={plan_file.name}", "--scheduler", "greedy", "--rerun-triggers", "mtime"]
    arguments += ["--keep-going"] * keep_going
    if plan["gpus"] and not profile:
        arguments += ["--resources", f"gpu_slots={plan['gpus'] * plan['slots']}"]
    if profile:
        arguments += ["--profile", str(profile)]
    if cores:
        arguments += ["--jobs" if profile else "--cores", str(cores)]
    if status_command:
        arguments += ["--slurm-status-command", status_command]
    return arguments


def _snakemake(arguments, log_file):
    """Exit code of Snakemake, called as a function; what it prints goes to a file. Ctrl-C is KeyboardInterrupt."""
    from snakemake.cli import main

    def note(*signal_and_frame):  # Snakemake ends its jobs and exits like after any failure
        interrupts.append(signal_and_frame)
        signal.default_int_handler(*signal_and_frame)

    interrupts, variables = [], dict(os.environ)
    handler = signal.signal(signal.SIGINT, note)
    os.environ |= own_environment()
    try:
        with open(log_file, "w", encoding="utf-8") as log, contextlib.chdir("."):  # Snakemake changes the folder
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                main(arguments)
        return 0
    except SystemExit as stop:
        if interrupts:
            raise KeyboardInterrupt from None
        return stop.code or 0
    finally:
        signal.signal(signal.SIGINT, handler)
        os.environ.clear()
        os.environ |= variables


def _watch(plan, session, progress, over):
    """Pass on what the jobs say about themselves until Snakemake is over."""
    told, last_look = {}, False
    while not last_look:
        last_look = over.wait(0.5)
        for name in [name for name in plan["jobs"] if name not in progress.ended]:
            word = read_mark(session / f"{name}.json")
            if word and word != told.get(name):
                told[name] = word
                progress.hear(name, word)
