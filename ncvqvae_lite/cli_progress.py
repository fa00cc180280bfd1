"""Progress of a run: a bar for each stage on a terminal, elsewhere a plain line now and then.

Both take what `run_experiment` reports about once a second: stage, epochs done (a fraction of the running one counts),
epochs, loss terms, steps per second. Between trainings, where it reports nothing, they say that work goes on.
"""

import shutil
import threading
import time
from contextlib import AbstractContextManager

from .lab.text import duration


def progress_on(stream):
    """The reporter that suits a text stream; use it as a context manager, so that a bar ends its line."""
    return Bars(stream) if stream.isatty() else Lines(stream)


class _Heard(AbstractContextManager):
    """What both do where nothing is reported: say so every `quiet` seconds, from a thread of its own."""

    def __init__(self, stream, quiet=10.0, clock=time.monotonic):
        self.stream, self.quiet, self.clock = stream, quiet, clock
        self.over = threading.Event()

    def __enter__(self):
        self.heard_at = self.spoke_at = self.clock()
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()

    def _listen(self):
        while not self.over.wait(self.quiet / 10):
            now = self.clock()
            if now - max(self.heard_at, self.spoke_at) >= self.quiet:
                self.spoke_at = now
                self._say(f"{'':<9} at work, {duration(now - self.heard_at)} since the last report of a training")

    def _say(self, line):
        print(line, file=self.stream, flush=True)


class Bars(_Heard):
    """A tqdm bar for each stage."""

    def __init__(self, stream, quiet=10.0, clock=time.monotonic):
        super().__init__(stream, quiet, clock)
        self.bar = None

    def __call__(self, stage, done, total, terms, rate):
        from tqdm import tqdm

        self.heard_at = self.clock()
        if self.bar is None or self.bar.desc != stage:
            self.close()
            layout = "{desc:<9} {percentage:3.0f}%|{bar}| {n:.6g}/{total_fmt} epochs{postfix}, {remaining} left"
            width = shutil.get_terminal_size().columns or 80  # some terminals say 0 by 0
            self.bar = tqdm(
                total=total, initial=done, desc=stage, bar_format=layout, file=self.stream, ncols=width, nrows=20
            )
        self.bar.set_postfix_str(f"loss {_loss(terms):.4g}, {rate:.3g} steps/s", refresh=False)
        self.bar.update(round(done, 2) - self.bar.n)
        if done == total:
            self.close()

    def close(self, *_):
        if self.bar is not None:
            self.bar.refresh()
            self.bar.close()
        self.bar = None

    def __exit__(self, *_):
        super().__exit__()
        self.close()

    def _say(self, line):
        from tqdm import tqdm

        tqdm.write(line, file=self.stream)


class Lines(_Heard):
    """A line at the first report, then at most one in `every` seconds, and one at the end of each stage."""

    def __init__(self, stream, every=5.0, quiet=10.0, clock=time.monotonic):
        super().__init__(stream, quiet, clock)
        self.every = every
        self.printed_at = -every
        self.stage, self.began, self.began_at = None, 0, 0.0  # epochs and time at the stage's first report

    def __call__(self, stage, done, total, terms, rate):
        self.heard_at = now = self.clock()
        if stage != self.stage:
            self.stage, self.began, self.began_at = stage, done, now
        if done < total and now - self.printed_at < self.every:
            return
        epochs = f"{round(done, 2):>{len(str(total))}}/{total} epochs"
        line = f"{stage:<9} {epochs}, loss {_loss(terms):.4g}, {rate:.3g} steps/s"
        if self.began < done < total:
            left = (now - self.began_at) / (done - self.began) * (total - done)
            line += f", {duration(left)} left"
        print(line, file=self.stream, flush=True)
        self.printed_at = now
        if done == total:
            self.stage = None  # the second feature net reports under the name of the first


def _loss(terms):
    """The loss itself, which comes before the terms that it is made of."""
    return next(iter(terms.values()))
