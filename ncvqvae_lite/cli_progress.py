"""How far a run is: a bar for each stage on a terminal, elsewhere a plain line now and then.

Both take what `run_experiment` reports about once a second: stage, epochs done, epochs, loss terms, steps per second.
"""

import shutil
import time
from contextlib import AbstractContextManager

from .lab.text import duration


def progress_on(stream):
    """The reporter that suits a text stream; use it as a context manager, so that a bar ends its line."""
    return Bars(stream) if stream.isatty() else Lines(stream)


class Bars(AbstractContextManager):
    """A tqdm bar for each stage."""

    def __init__(self, stream):
        self.stream, self.bar = stream, None

    def __call__(self, stage, done, total, terms, rate):
        from tqdm import tqdm

        if self.bar is None or self.bar.desc != stage:
            self.close()
            layout = "{desc:<9} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} epochs{postfix}, {remaining} left"
            size = {"ncols": shutil.get_terminal_size().columns or 80, "nrows": 20}  # some terminals say 0 by 0
            self.bar = tqdm(total=total, initial=done, desc=stage, bar_format=layout, file=self.stream, **size)
        self.bar.set_postfix_str(f"loss {_loss(terms):.4g}, {rate:.3g} steps/s", refresh=False)
        self.bar.update(done - self.bar.n)
        if done == total:
            self.close()

    def close(self, *_):
        if self.bar is not None:
            self.bar.refresh()
            self.bar.close()
        self.bar = None

    __exit__ = close


class Lines(AbstractContextManager):
    """A line at the first report, then at most one in `every` seconds, and one at the end of each stage."""

    def __init__(self, stream, every=10.0, clock=time.monotonic):
        self.stream, self.every, self.clock = stream, every, clock
        self.printed_at = -every
        self.stage, self.began, self.began_at = None, 0, 0.0  # epochs and time at the stage's first report

    def __call__(self, stage, done, total, terms, rate):
        now = self.clock()
        if stage != self.stage:
            self.stage, self.began, self.began_at = stage, done, now
        if done < total and now - self.printed_at < self.every:
            return
        line = f"{stage:<9} {done:>{len(str(total))}}/{total} epochs, loss {_loss(terms):.4g}, {rate:.3g} steps/s"
        if self.began < done < total:
            left = (now - self.began_at) / (done - self.began) * (total - done)
            line += f", {duration(left)} left"
        print(line, file=self.stream, flush=True)
        self.printed_at = now
        if done == total:
            self.stage = None  # the second feature net reports under the name of the first

    def __exit__(self, *_):
        pass


def _loss(terms):
    """The loss itself, which comes before the terms that it is made of."""
    return next(iter(terms.values()))
