"""Write what the README pages say in numbers, from the rows that the numbers come from.

    python benchmarks/pages.py            after new rows of a table under data/, or new times of a chapter
    python benchmarks/pages.py --check    says which page is not current, as the tests do

What stands on these pages between a line <!-- NAME --> and a line <!-- /NAME --> is the text that `pages_blocks.NAME`
returns. The words around such a block are written by hand: whoever brings new numbers reads them again.
"""

import argparse
import re
import sys
from pathlib import Path

from pages_blocks import BLOCKS

from ncvqvae_lite.files import atomic

ROOT = Path(__file__).resolve().parents[1]
PAGES = tuple(ROOT / folder / "README.md" for folder in ("", "data/results", "ncvqvae_lite"))
BLOCK = re.compile(r"^<!-- (\w+) -->\n(.*?)^<!-- /\1 -->$", flags=re.M | re.S)


def filled(text):
    """A page with all of its blocks written anew.

    raises   ValueError for a block that has no function or no end
    """
    for name in re.findall(r"^<!-- (\w+) -->$", text, flags=re.M):
        if name not in BLOCKS or text.count(f"\n<!-- /{name} -->\n") != 1:
            known = ", ".join(BLOCKS)
            raise ValueError(f"<!-- {name} -->: expected one of {known}, and one line <!-- /{name} --> that ends it")
    return BLOCK.sub(lambda found: f"<!-- {found[1]} -->\n{BLOCKS[found[1]]()}\n<!-- /{found[1]} -->", text)


def main(argv=None):
    parser = argparse.ArgumentParser(description="Write the numbers of the README pages from their rows.")
    parser.add_argument("--check", action="store_true", help="write nothing, say what is not current")
    check = parser.parse_args(argv).check
    late = {page: new for page in PAGES if (new := filled(text := page.read_text(encoding="utf-8"))) != text}
    for page, new in late.items():
        print(f"{page.relative_to(ROOT)} {'is not current: run python benchmarks/pages.py' if check else 'written'}")
        if not check:
            with atomic(page) as file:
                file.write(new)
    return int(check and bool(late))


if __name__ == "__main__":
    sys.exit(main())
