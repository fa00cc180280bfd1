"""Series from text, line by line: exactly the series that stand there. Private to `data_files`.

.tsv .txt .csv   the UCR archive's tables: label first, then L values, no header. The first line shows which separator
                 the file has: that of tab, semicolon and comma which stands there most often, else blanks. An empty
                 field is a missing value. A separator at the end of each line is none, and warned of
.ts              the text of sktime and aeon: lines of `@key value` up to `@data`, then channels separated by colons,
                 values by commas, label last; # and % begin a comment. What the header says is compared with the data
Each may be compressed: .tsv.gz, ... UTF-8, with or without a byte-order mark. Lines, columns and steps count from 1.
"""

import csv
import gzip
import math
import re
import warnings
import zlib

import numpy as np

from .data_arrays import JUDGED, NOT_STEPS, rows_text
from .data_labels import plain_name
from .errors import BadInput, WeakEvidence, one_line

GAPS = ("", "?", "na", "n/a", "nan", "null", "none", "-")  # what stands for a missing value, in any case
HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\ufeff]")  # what no editor shows
TABLE = "series only, label first: delete a header (pandas: to_csv(file, header=False, index=False))"
DISGUISES = (  # how a file begins that is not what its name says
    (b"version https://git-lfs", "a Git-LFS pointer instead of the file: run `git lfs pull`"),
    (b"/annex/objects", "a git-annex pointer instead of the file: run `git annex get`"),
    (b"../.git/annex", "a git-annex pointer instead of the file: run `git annex get`"),
    (b"<!doctype", "a web page instead of the file: download the file itself (on GitHub, by its button Raw)"),
    (b"<html", "a web page instead of the file: download the file itself (on GitHub, by its button Raw)"),
    (b"<?xml", "XML instead of the file: download the file itself, or convert it"),
)
PACKED = (
    (b"\x1f\x8b", "compressed by gzip: add .gz to its name"),
    (b"PK\x03\x04", "a zip archive (as .xlsx is): unpack it, or save the sheet as .csv"),
)


def refuse_disguise(path, content):
    """Raise BadInput if a file begins as one of DISGUISES: a pointer, a web page or XML."""
    begin = content[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for sign, what in DISGUISES:
        if begin.startswith(sign):
            raise BadInput(f"{path} is {what}")


def read_text(path):
    """(list of series, labels or None) of one split; a series is (L,), or a list of C arrays.

    raises  BadInput that names the line, and column or step, where the file is not what its format promises
    """
    series, labels = read_columns(path)
    if not _is_ts(path):
        _refuse_values(labels, path)
    return series, labels


def read_columns(path):
    """As `read_text`, but the first column of a table may hold anything, values too."""
    series, labels, numbers = (_read_ts if _is_ts(path) else _read_table)(_lines(path), path)
    if gaps := [row for row, x in enumerate(series) if np.isnan(x).any()]:
        step = np.argwhere(np.isnan(series[gaps[0]]))[0][-1] + 1
        raise BadInput(
            f"{path} has missing values (NaN) in {rows_text(gaps, len(series))}, the first in line {numbers[gaps[0]]}, "
            f"step {step} (from 1), expected none: fill the gaps or drop these series"
        )
    return series, labels


def _lines(path):
    """Numbered lines of a text file, those without any sign left out."""
    try:
        content = path.read_bytes()
        refuse_disguise(path, content)
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path} cannot be read ({one_line(error)}): fetch or write it again") from error
    refuse_disguise(path, content)
    for sign, what in PACKED:
        if content.startswith(sign):
            raise BadInput(f"{path} is {what}")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput(f"{path} cannot be read as text (it is UTF-16, expected UTF-8): save it again as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} cannot be read as text ({one_line(error)}): save it again as UTF-8") from error
    if not text.strip():
        raise BadInput(f"{path} is empty, expected one series per line: fetch or write it again")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        if hidden := HIDDEN.search(line):
            found = f"line {number}, sign {hidden.start() + 1}: found the invisible {hidden.group()!r}"
            raise BadInput(f"{path}, {found}, expected text: delete it, or write the file again")
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip(" ")]


def _floats(fields, place, unit, first=1, expected="numbers only"):
    """The fields of a line as float64, NaN where a value is missing; the first is number `first` of its `unit`."""
    text = "".join(fields)
    if text.isascii() and "_" not in text:  # float() takes 1_000 and other scripts' digits
        try:
            return np.array([float(field) for field in fields])
        except ValueError:
            pass  # a gap, or something that the message below names
    values = []
    for number, word in enumerate(map(str.strip, fields), first):
        if not _is_value(word):
            hint = ", with decimal points" if re.fullmatch(r"[+-]?\d+,\d+", word) else ""
            raise BadInput(f"{place}: {unit} {number} holds {word[:40]!r}, expected {expected}{hint}: correct the line")
        values.append(math.nan if word.lower() in GAPS else float(word))
    return np.array(values)


def _is_value(word):
    """Whether a field is a number or stands for a missing one."""
    if word.strip().lower() in GAPS:
        return True
    try:
        float(word)
    except ValueError:
        return False
    return word.isascii() and "_" not in word


# ---- tables


def _is_ts(path):
    return path.name.removesuffix(".gz").endswith(".ts")


def _read_table(lines, path):
    """Label first, then the values; returns (series, labels, numbers of their lines)."""
    separator = _separator(lines[0][1])
    lines = [(number, line) for number, line in lines if line.strip() or separator == "\t"]
    if separator and all(line.rstrip(" ").endswith(separator) for _, line in lines):
        lines = [(number, line.rstrip(" ")[:-1]) for number, line in lines]
        found = "each line ends with a separator, which is read as no value"
        warnings.warn(f"{path}: {found}: if the last value is missing, write NaN there", WeakEvidence, stacklevel=2)
    name = {"\t": "tabs", ";": "semicolons", ",": "commas", None: "blanks"}[separator]
    labels, series, numbers = [], [], []
    for number, line in lines:
        place = f"{path}, line {number}"
        label, *fields = _split(line, separator, place)
        if not series and not fields:
            found = f"found {label.strip()[:40]!r} and no values"
            raise BadInput(f"{place}: {found}, expected a label and values, between tabs, semicolons, commas or blanks")
        if not series and re.search(r"[^\W\d_]", "".join(fields)) and not any(map(_is_value, fields)):
            raise BadInput(f"{place}: found words ({', '.join(map(repr, fields[:2]))}, ...), expected {TABLE}")
        values = _floats(fields, place, "column", 2, f"numbers only after the label, between {name} as in line 1")
        if not label.strip():
            raise BadInput(f"{place} has no label in the first column, expected {TABLE}")
        if label.lstrip().startswith(("#", "%")):
            raise BadInput(f"{place}: found {label[:20]!r}, a comment in some formats, expected {TABLE}")
        if series and len(values) != len(series[0]):
            found = f"{len(values)} values between {name}, the first line {len(series[0])} (unequal lengths)"
            raise BadInput(f"{place} has {found}, expected as many: correct the line, or cut or resample the series")
        labels.append(label.strip())
        series.append(values)
        numbers.append(number)
    _check_columns(series, labels, path, numbers[0])
    return series, labels, numbers


def _separator(line):
    """The separator of a line, None for blanks; what stands in quotes does not count."""
    bare = re.sub(r'"[^"]*"', "", line)
    mark = max("\t;,", key=bare.count)
    return mark if mark in bare else None


def _split(line, separator, place):
    """The fields of a line, without the quotes that some programs write around them."""
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator or " ", skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise BadInput(f"{place}: {one_line(error)}, expected quotes in pairs: correct the line") from error


def _check_columns(series, labels, path, line):
    """Refuse a first line that numbers or times columns, and a table whose label stands last."""
    if len(series) < 2 or not len(series[0]):
        return
    if _is_header(series, labels):
        found = f"a header of numbers ({series[0][0]:g}, {series[0][1]:g}, ...)"
        raise BadInput(f"{path}, line {line}: found {found}, expected {TABLE}, or move the line down if it is a series")
    stand_first = _numbers(labels)
    if stand_first is None:
        return
    last = [x[-1] for x in series]
    if _whole(last) and not _whole(stand_first) and not any(map(_whole, np.transpose(series)[:-1])):
        if len(set(last)) > 1:
            raise BadInput(
                f"{path}: the label seems to stand in the last column, expected it in the first: move it there"
            )


def _refuse_values(labels, path):
    """Refuse a first column of real numbers, each one once."""
    numbers = _numbers(labels)
    if numbers is None or len(labels) < JUDGED or len(set(labels)) < len(labels) or np.equal(numbers % 1, 0).any():
        return
    raise BadInput(
        f"{path}: the first column holds real numbers, each one once ({labels[0]}, {labels[1]}, ...), expected labels: "
        "put them there; series without any can be written as .npz or .ts"
    )


def _numbers(labels):
    """Labels as numbers, or None where one is none."""
    try:
        return np.array([float(label) for label in labels])
    except ValueError:
        return None


def _is_header(series, labels):
    """Whether the first line seems a header: its values rise, and its label is that of no other line.

    And either its values, as those of no other line, rise by equal steps; or its label is a word, and a usual
    head of columns or the only word.
    """
    if labels[0] in labels[1:] or len(series[0]) < 2 or not (np.diff(series[0]) > 0).all():
        return False
    a_word = not _is_value(labels[0]) and (labels[0].lower() in NOT_STEPS or all(map(_is_value, labels[1:])))
    return a_word or (_is_even(series[0]) and not any(map(_is_even, series[1:])))


def _is_even(values):
    """Whether values rise by equal steps, up to the rounding of those who print them."""
    steps = np.diff(values)
    return bool((steps > 0).all() and np.ptp(steps) <= 0.1 * steps.mean())


def _whole(values):
    return bool((np.floor(values) == values).all())


# ---- .ts


def _read_ts(lines, path):
    """A header up to @data, then `v,v,...:v,v,...:label`; returns (series, labels or None, numbers of their lines)."""
    header, promise, labels, series, numbers = {}, None, [], [], []
    for number, line in ((number, line.strip()) for number, line in lines):
        place = f"{path}, line {number}"
        if not line or line.startswith(("#", "%")):
            continue
        if "data" not in header:
            key, *value = line.split(maxsplit=1)
            if not key.startswith("@"):
                raise BadInput(f"{place}: found {key[:20]!r}, expected a header up to @data: correct it")
            header[key[1:].lower()] = value[0].strip() if value else ""
            promise = _promised(header, path) if "data" in header else None
            continue
        channels = line.split(":")
        if promise["classLabel"] is not False:  # pyright: ignore[reportOptionalSubscript]  # a dict once @data was read
            labels.append(_ts_label(channels.pop().strip(), promise, place))
        values = [_floats(x.split(","), place, f"channel {c}, step") for c, x in enumerate(channels, 1)]
        _check_shape(values, promise, series, place)
        series.append(values)
        numbers.append(number)
    if not series:
        raise BadInput(f"{path} is empty, expected series after a line @data: fetch or write it again")
    return series, labels if promise["classLabel"] is not False else None, numbers  # pyright: ignore[reportOptionalSubscript]


def _promised(header, path):
    """What a header says, by the names of the format; None: it does not say. `classLabel`: whether there are labels."""
    said = {}
    for name in ("timeStamps", "targetLabel", "univariate", "equalLength", "classLabel"):
        word, *classes = header.get(name.lower(), "").split() or [None]
        said[name] = {"true": True, "false": False, None: None}.get(word and word.lower(), word)
        if said[name] not in (True, False, None) or (word is None and name.lower() in header):
            raise BadInput(f"{path}: @{name} is {word or ''!r}, expected true or false: correct the header")
    for name, what in (("timeStamps", "time stamps"), ("targetLabel", "regression targets")):
        if said[name]:
            raise BadInput(f"{path} holds {what}, expected plain values with classes: pass arrays to from_arrays")
    for name in ("seriesLength", "dimensions"):
        word = header.get(name.lower(), header.get(name.lower().removesuffix("s")))
        if word is not None and not (word.isascii() and word.isdigit()):
            raise BadInput(f"{path}: @{name} is {word!r}, expected a whole number: correct the header")
        said[name] = int(word) if word else None
    if said["equalLength"] is False:
        said["seriesLength"] = None
    return said | {"classes": {plain_name(label).casefold() for label in classes}}  # pyright: ignore[reportOptionalMemberAccess]  # words are texts


def _ts_label(label, promise, place):
    """The label of a line, which is what follows the last colon."""
    is_listed = plain_name(label).casefold() in promise["classes"]
    if label in ("", "?") or ("," in label and not is_listed):
        found = "values" if "," in label else repr(label)
        none = ", or write @classLabel false above @data if no line has one" if promise["classLabel"] is None else ""
        raise BadInput(f"{place} has no label (found {found} after the last colon): add it or drop the line{none}")
    if promise["classes"] and not is_listed:
        raise BadInput(f"{place} has the label {label!r}, which @classLabel does not list: correct the line or header")
    return label


def _check_shape(values, promise, series, place):
    """Refuse a line, C arrays, that is not as the header says, or has other channels than the first line."""
    channels, lengths = len(values), [len(channel) for channel in values]
    ragged = next((c for c, length in enumerate(lengths, 1) if length != lengths[0]), None)
    if ragged:
        found = f"{lengths[ragged - 1]} values in channel {ragged}, {lengths[0]} in the first"
        raise BadInput(
            f"{place} has {found}, expected equally many: correct the line (a label without @classLabel true?)"
        )
    checks = (
        (promise["univariate"] and channels != 1, f"{channels} channels", "@univariate true"),
        (promise["univariate"] is False and channels == 1, "1 channel", "@univariate false"),
        (
            promise["dimensions"] not in (None, channels),
            f"{channels} channel(s)",
            f"@dimensions {promise['dimensions']}",
        ),
        (
            promise["seriesLength"] not in (None, lengths[0]),
            f"{lengths[0]} steps",
            f"@seriesLength {promise['seriesLength']}",
        ),
        (
            promise["equalLength"] and series and len(series[0][0]) != lengths[0],
            f"{lengths[0]} steps",
            "@equalLength true",
        ),
    )
    for differs, found, said in checks:
        if differs:
            raise BadInput(f"{place} has {found}, the header says {said}: correct the one that is wrong")
    if series and len(series[0]) != channels:
        found = f"{channels} channel(s), the first series {len(series[0])}"
        raise BadInput(f"{place} has {found}, expected (n, L) or (n, C, L): complete the line")
