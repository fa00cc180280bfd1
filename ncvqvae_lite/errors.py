"""Exceptions for mistakes of a user; the text of each is one sentence: found this, expected that, and the next step.

The command line prints that sentence and exits with code 2; from Python they are ordinary ValueError, OSError, ...
Two are warnings: `WeakEvidence` for what is allowed but makes results say little,
`LongRun` before a run that takes hours.
"""


class UserError(Exception):
    """Anything that the user, not the programmer, can put right."""


class BadInput(UserError, ValueError):
    """A value, an array or a file whose content cannot be used."""


class NotFound(UserError, FileNotFoundError):
    """A file, folder or data set that is not where it was looked for."""


class RunFolderError(UserError, OSError):
    """A run folder that cannot be used: held by another process, read-only, or on a full disk."""


class RunFolderHeld(RunFolderError):
    """A run folder in which another process works."""


class TrainingDiverged(UserError, ArithmeticError):
    """A loss became NaN or infinite; the last good checkpoint is kept."""


class LongRun(UserWarning):
    """The run will take hours."""


class WeakEvidence(UserWarning):
    """The run goes on, but its numbers will say less than they seem to."""


def one_line(error):
    """The text of an error, on one line and cut to a length that a sentence can carry."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."


class OutOfMemory(UserError, MemoryError):
    """This machine, or its GPU, has less memory than was asked for."""


def is_out_of_memory(kind, text):
    """Whether an exception, given by the name of its class and its text, says that memory ran out."""
    if kind in (
        "MemoryError",
        "_ArrayMemoryError",
        "OutOfMemoryError",
        "OutOfMemory",
    ):  # numpy's, torch's on GPUs, ours
        return True
    told = ("can't allocate memory", "not enough memory", "Storage size calculation overflowed")  # torch on a CPU
    return kind == "RuntimeError" and any(words in text for words in told)
