"""Reading and writing: files that are whole or not there, and folders that one process holds.

Here a write that fails (a full or read-only disk, a missing permission) becomes the one sentence that the user reads.
"""

import contextlib
import csv
import errno
import json
import os
import shutil
from pathlib import Path

import filelock

from .errors import BadInput, NotFound, RunFolderError, RunFolderHeld

_PLAIN_REASONS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.EACCES: "writing there is not permitted: choose another folder",
    errno.EPERM: "writing there is not permitted: choose another folder",
    errno.ENOENT: "there is no such place: choose another folder",
    errno.ENOTDIR: "a part of that path is a file: choose another folder",
    errno.EISDIR: "it is a folder: choose another name",
    errno.ENAMETOOLONG: "its name is too long: choose another one",
    errno.EEXIST: "a part of that path is a file: choose another folder",
}


def cache_dir():
    """Folder of downloads and imported weights: $NCVQVAE_CACHE, else ~/.cache/ncvqvae_lite."""
    return Path(os.environ.get("NCVQVAE_CACHE") or "~/.cache/ncvqvae_lite").expanduser()


def data_file(name):
    """Path of a small file that ships with the package, in an installed wheel or in a checkout.

    name      relative to data/, for example "thesis_tables.csv" or "results/grid.csv"
    raises    NotFound if there is no such file
    """
    package = Path(__file__).resolve().parent
    places = (package / "_data" / name, package.parent / "data" / name)
    for path in places:
        if path.is_file():
            return path
    raise NotFound(f"no file {name!r} at {places[0]} or {places[1]}: install the package again, or look in data/")


# --- writing ---


@contextlib.contextmanager
def writing_to(folder):
    """Turn a full or read-only disk into one sentence that names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno in _PLAIN_REASONS and not isinstance(error, RunFolderError):
            raise RunFolderError(f"cannot write to {folder}: {_PLAIN_REASONS[error.errno]}") from error
        raise
    except RuntimeError as error:  # torch.save and safetensors report a failed write so
        if any(text in str(error) for text in ("No space left", "file write failed", "os error 28")):
            raise RunFolderError(f"cannot write to {folder}: {_PLAIN_REASONS[errno.ENOSPC]}") from error
        raise


@contextlib.contextmanager
def atomic(file, mode="w"):
    """A stream whose content becomes `file` when the block ends; after an error `file` is as it was.

    mode    "w" for text (UTF-8, line ends as written), "wb" for bytes. Folders on the way are made.
    """
    file = Path(file)
    if not file.name:
        raise BadInput(f"{str(file)!r} names no file: give it a name")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        with open(partial, mode, **({} if "b" in mode else {"encoding": "utf-8", "newline": ""})) as stream:  # pyright: ignore[reportCallIssue, reportArgumentType]  # keyword arguments of several types
            yield stream
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def link_or_copy(source, target):
    """Give a file a second name, a hard link; a copy where the file system has no such links. Whole or not there."""
    target = Path(target)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        try:
            os.link(source, partial)
        except OSError:
            shutil.copyfile(source, partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)  # it stays where both names were the same file before


def write_json(file, content):
    """Write `content` as JSON. NaN and infinity are refused: JSON has none."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    with atomic(file) as stream:
        stream.write(text)


def read_json(file):
    """Content of a JSON file, or None where there is no such file."""
    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, OSError) as error:
        cells = with_its_cells(Path(file).parent)
        raise BadInput(f"{file} cannot be read ({error}): delete its folder{cells} and run again") from error


def write_csv(file, rows, columns=None):
    """Write rows (dicts) as CSV: the given columns, or every name that a row has; empty where a row lacks one."""
    columns = columns or list(dict.fromkeys(name for row in rows for name in row))
    with atomic(file) as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(file):
    """The rows of a CSV file as dicts of text."""
    with open(file, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


# --- networks ---


def save_module(module, file, arguments):
    """Write a network's state and the arguments of its constructor to one safetensors file."""
    from safetensors.torch import save  # here, so that those who read tables and folders need not load torch

    state = {name: value.contiguous() for name, value in module.state_dict().items()}
    how = json.dumps({"class": type(module).__name__, **arguments})  # one entry: several would come in any order
    with writing_to(file.parent), atomic(file, "wb") as stream:
        stream.write(save(state, metadata={"arguments": how}))


def load_module(file, *classes):
    """Rebuild what `save_module` wrote of a network of one of these classes, on the CPU, in eval mode.

    A class whose `saved_by` is the name of another one is called so in messages.
    """
    from safetensors import safe_open

    file, wanted = Path(file), " or ".join(getattr(cls, "saved_by", cls.__name__) for cls in classes)
    if not file.is_file():
        raise NotFound(f"no {file.name} in {file.parent}: expected a folder that {wanted}.save wrote")
    try:
        with safe_open(file, framework="pt") as opened:
            arguments = json.loads(opened.metadata()["arguments"])
            state = {name: opened.get_tensor(name) for name in opened.keys()}
    except Exception as error:
        cells = with_its_cells(file.parent)
        raise BadInput(f"{file} is not a saved {wanted} ({error}): delete it{cells} and save or train again") from error
    named = arguments.pop("class", classes[0].__name__)
    try:
        module = {cls.__name__: cls for cls in classes}[named](**arguments)
        module.load_state_dict(state)
    except (KeyError, TypeError, RuntimeError) as error:
        raise BadInput(f"{file} is not a saved {wanted}: it holds another network") from error
    return module.eval()


# --- run folders that hang together ---


def made_from(folder):
    """Folders of the cells, finished or begun, that were made from this one: a tokenizer's or a feature net's."""
    folder = Path(folder).resolve()
    out = next((parent for parent in folder.parents if (parent / "cells").is_dir()), None)
    found = []
    for file in sorted(out.glob("cells/*/*/*/*/config.json")) if out else ():
        with contextlib.suppress(OSError, ValueError, AttributeError):  # an unreadable config names no folder
            config = json.loads(file.read_text(encoding="utf-8"))
            places = [config.get("tokenizer", ""), *map(os.path.dirname, config.get("parts", ()))]
            begun = any(file.parent.glob("prior.*"))
            if begun and any(place and (file.parent / place).resolve() == folder for place in places):
                found.append(file.parent)
    return found


def with_its_cells(folder, most=5):
    """For advice to delete a folder: " and the 2 cells made from it (..., ...)", or "" where there are none."""
    cells = [cell.relative_to(cell.parents[4]).as_posix() for cell in made_from(folder)]
    if not cells:
        return ""
    named = ", ".join(cells[:most]) + (f" and {len(cells) - most} more" if cells[most:] else "")
    return f" and the {'cell' if len(cells) == 1 else f'{len(cells)} cells'} made from it ({named})"


# --- holding ---


@contextlib.contextmanager
def hold(folder, wait=False, name=".lock", held=""):
    """Hold a folder, which is created; released by the system even when the process is killed.

    wait    True says so and waits for another holder (of a stage that several runs share); False raises RunFolderHeld
    name    of the lock's file in the folder; different names are held independently
    held    the sentence of the error, instead of the usual one
    """
    folder = Path(folder)
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / name)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if not wait:
                usual = f"{folder} is held by another process: wait, or use another folder (--out)"
                raise RunFolderHeld(held or usual) from None
            print(f"waiting for another process that makes {folder}", flush=True)
            lock.acquire()
    try:
        yield folder
    finally:
        lock.release()
