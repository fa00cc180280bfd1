"""The files that a run depends on, by hash, so that an exchanged one is noticed.

config.json has them under `parts`, file -> SHA-256. A plain name is a file in the run's own folder, which the run needs
wherever it is taken; a name with a path is a file of another folder as it was when the run was made (the tokenizer
and the feature nets that cells share). Runs of earlier versions have no `parts`: theirs are not checked.
"""

import hashlib
import os
from pathlib import Path

from .errors import BadInput
from .files import link_or_copy, read_json, with_its_cells, write_json


def keep_parts(folder, held=(), seen=()):
    """Take what a cell is being made of into its folder, and note it in config.json.

    held     files that the finished cell needs: a hard link, or a copy, of each is put into the folder
    seen     files that stay where they are
    raises   BadInput where the cell has a prior already that was made with another file of that name
    """
    folder, parts = Path(folder), {}
    known = parts_of(folder)
    for file in map(Path, held):
        parts[file.name] = sha256_of(file)
        made = [*folder.glob("prior.*"), *folder.glob("residuals.*")]
        if made and known.get(file.name, parts[file.name]) != parts[file.name]:
            raise _exchanged(folder, file, known[file.name], parts[file.name])
        link_or_copy(file, folder / file.name)
    for file in map(Path, (*held, *seen)):
        parts[_way(folder, file)] = sha256_of(file)
    _note(folder, known | parts)


def note_weights(folder):
    """Note the weights in the folder of a stage that is finished."""
    folder = Path(folder)
    _note(folder, parts_of(folder) | {file.name: sha256_of(file) for file in sorted(folder.glob("*.safetensors"))})


def check_held(folder):
    """Raise BadInput unless every part in the folder of a finished run is there and the one that it was made with."""
    folder = Path(folder)
    for name, recorded in parts_of(folder).items():
        if "/" in name:
            continue
        found = sha256_of(folder / name) if (folder / name).is_file() else None
        if found != recorded:
            differs = f"is not the one that this run was made with ({recorded[:8]}, this is {(found or '')[:8]})"
            raise BadInput(
                f"{name} in {folder} {differs if found else 'is gone'}: copy that folder whole from where it came, or "
                f"delete it{with_its_cells(folder)} and run again"
            )


def check_parts(folder):
    """As `check_held`; also that no shared part was made anew since: the run would now give other numbers."""
    folder = Path(folder)
    check_held(folder)
    for name, recorded in parts_of(folder).items():
        file = folder / name
        if "/" in name and file.is_file():
            found = sha256_of(file)
            if found != recorded:
                raise _exchanged(folder, Path(os.path.normpath(file)), recorded, found)


def parts_of(folder):
    """The recorded parts of a run, file -> SHA-256; {} where an earlier version, which recorded none, made it."""
    return (read_json(Path(folder) / "config.json") or {}).get("parts", {})


def hash_when_made(folder, file):
    """SHA-256 of a shared file when the run in `folder` was made with it; as it is now where none was recorded."""
    return parts_of(folder).get(_way(folder, file)) or sha256_of(file)


def sha256_of(file):
    """SHA-256 of a file, 64 hex digits."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _note(folder, parts):
    write_json(folder / "config.json", read_json(folder / "config.json") | {"parts": parts})  # pyright: ignore[reportOptionalOperand]  # the file is there, so a dict


def _way(folder, file):
    """From a folder to a file, as `parts` names it."""
    return Path(os.path.relpath(file, folder)).as_posix()


def _exchanged(folder, file, recorded, found):
    own = folder / file.name
    opens = ", or go on with it as it is by load_run: it holds its own" if own.is_file() else ""
    return BadInput(
        f"{folder} was made with another {file.name} ({recorded[:8]}) than {file.parent} holds now ({found[:8]}): "
        f"delete the former folder and run again{opens}"
    )
