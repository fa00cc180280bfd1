"""Make the drawings of the course: `python notebooks/tools/draw.py [NAME ...]` writes notebooks/drawings/NAME.svg.

`--check` says which are not what the code draws. `--record` trains a small model first and writes what the drawings
show of it to notebooks/drawings/recorded.json; without it nothing is trained.
"""

import argparse
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(NOTEBOOKS.parent), str(NOTEBOOKS / "tools")]  # a checkout need not be installed

FOLDER = NOTEBOOKS / "drawings"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of drawings; all without any")
    parser.add_argument("--check", action="store_true", help="compare files with what is drawn now")
    parser.add_argument("--record", action="store_true", help="train the model that the drawings show")
    given = parser.parse_args(argv)
    if given.record:
        from drawings import recording

        recording.write(FOLDER / "recorded.json")
    from drawings import DRAWINGS  # reads recorded.json

    unknown = set(given.names) - set(DRAWINGS)
    if unknown:
        parser.error(f"no drawing {', '.join(sorted(unknown))}: choose from {', '.join(DRAWINGS)}")
    stale = []
    for name in given.names or DRAWINGS:
        file, data = FOLDER / f"{name}.svg", DRAWINGS[name]().svg().encode()
        if given.check:
            stale += [name] * (not file.is_file() or file.read_bytes() != data)
        else:
            file.write_bytes(data)
    for name in stale:
        print(f"drawings/{name}.svg is not current: python notebooks/tools/draw.py {name}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
