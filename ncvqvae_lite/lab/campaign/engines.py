"""Sessions of a campaign, what they tell, and the engine that runs one job after another here.

A session is one `ncvqvae campaign run`: a new folder OUT/campaigns/NAME/<time> with the plan and logs of its jobs.
Both engines, this one and `snakemake`, start the same processes (`job`) and follow the same rule: what
failed for lack of memory, by a kill or by the time limit is tried again, everything else is not.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from ...files import hold, read_json, write_json, writing_to
from ..runner import own_environment
from ..text import duration
from .devices import visible_gpus
from .state import BUG, KILLED, TRANSIENT, read_mark, write_failure

JOB = (sys.executable, "-m", "ncvqvae_lite.lab.campaign.job")  # and the plan's file, and the name of a job
RETRIES = 2
MEM_MB = 4000  # what a job asks a cluster for, and as much again with each further attempt; a guess for large sets


def engine_lock(out, name):
    """Hold the campaign in this run folder, so that one engine at a time works on it."""
    held = f"another engine runs campaign {name} in {out}: wait for it, `campaign status` shows how far it is"
    return hold(Path(out) / "campaigns" / name, name="engine.lock", held=held)


def new_session(folder, jobs, out, *, data, threads, slots, timeout):
    """Write the plan of a session into a new folder; returns the plan's file.

    jobs     from `plan.jobs`
    data     folder of the series, or None
    threads  of each job
    slots    jobs that share one GPU
    timeout  seconds after which a job is stopped, or None
    """
    session = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    shared = {"out": str(Path(out).resolve()), "data": str(data.expanduser().resolve()) if data else None}
    shared |= {"threads": threads, "slots": slots, "timeout": timeout, "retries": RETRIES, "mem_mb": MEM_MB}
    shared |= {"gpus": len(visible_gpus()), "slurm_job": os.environ.get("SLURM_JOB_ID"), "python": sys.executable}
    with writing_to(session):
        write_json(session / "plan.json", shared | {"jobs": {job.name: job.record() for job in jobs}})
    return (session / "plan.json").resolve()


def find_problems(plan_file):
    """Sentences about data sets and weights that the jobs of a plan could not use, found by loading each of them."""
    checked = subprocess.run([*JOB, str(plan_file)], env=own_environment(), capture_output=True, text=True)
    if checked.returncode:
        raise RuntimeError(f"checking the data sets failed:\n{checked.stderr}")
    return json.loads(checked.stdout)


class Progress:
    """One line for each job that starts and ends: how many are over, how long it took, how long the rest may take."""

    def __init__(self, plan, say):
        self.jobs, self.say = plan["jobs"], say
        self.started_at, self.ended, self.failed, self.begin = {}, set(), [], time.monotonic()

    def hear(self, name, word):
        """Pass on what a job has told of itself, see `job.tell`."""
        took = duration(time.monotonic() - self.started_at.get(name, self.begin))
        if word["event"] == "started":
            self.started_at[name] = time.monotonic()
            self._line(name, "started" if word["attempt"] == 1 else f"attempt {word['attempt']}")
        elif word["event"] == "done":
            self.ended.add(name)
            self._line(name, f"done in {took}{self._left()}")
        elif word["kind"] in TRANSIENT and word["attempt"] <= RETRIES:
            self._line(name, f"stopped after {took}: {word['message']}")
        else:
            self.gave_up(name, word["message"])

    def gave_up(self, name, message):
        self.ended.add(name)
        self.failed.append(name)
        self._line(name, f"failed: {message}")

    def _line(self, name, what):
        self.say(f"[{len(self.ended)} of {len(self.jobs)}] {self.jobs[name]['label']}: {what}")

    def _left(self):
        rest = len(self.jobs) - len(self.ended)
        left = duration((time.monotonic() - self.begin) / len(self.ended) * rest)
        return f", about {left} left" if rest else ""


def run_inline(plan_file, progress, keep_going):
    """Run the jobs of a plan in its order, each in a process of its own, so that a crash of one does not end the rest.

    keep_going  go on with jobs that do not need the failed one
    """
    plan = read_json(plan_file)
    assert plan is not None, f"no plan {plan_file}"
    for name, job in plan["jobs"].items():
        if not progress.ended.difference(progress.failed).issuperset(job["needs"]):
            continue  # what it needs has failed
        attempt = 0
        while name not in progress.ended:
            attempt += 1
            progress.hear(name, {"event": "started", "attempt": attempt})
            code = _process(plan_file, name)
            progress.hear(name, _last_word(plan_file.parent, name, job, code) | {"attempt": attempt})
        if progress.failed and not keep_going:
            return


def _process(plan_file, name):
    """Exit code of one job; negative where a signal ended it."""
    session = plan_file.parent
    with writing_to(session), open(session / f"{name}.log", "a", encoding="utf-8") as log:
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
        with subprocess.Popen([*JOB, str(plan_file), name], env=own_environment(), **streams) as process:
            return process.wait()


def _last_word(session, name, job, code):
    """The last word of a job, or one made from its exit code if it left none."""
    if code == 0:
        return {"event": "done"}
    word = read_mark(session / f"{name}.json") or {}
    if word.get("event") == "failed":
        return word
    kind, what = (KILLED, f"killed by signal {-code}") if code < 0 else (BUG, f"ended with exit code {code}")
    return {"event": "failed", "kind": kind, "message": record_silent_end(session, name, job, kind, what)}


def record_silent_end(session, name, job, kind, what):
    """Record the failure of a job that could not do so itself, and return a sentence.

    raises   RunFolderError if nothing can be written there any more: then no job can record anything
    """
    word, log = read_mark(session / f"{name}.json") or {"attempt": 1}, session / f"{name}.log"
    message = f"{what}: see {log}"
    with writing_to(job["folder"]):
        write_failure(Path(job["folder"]), kind, message, attempts=word["attempt"], log=log)
    return message
