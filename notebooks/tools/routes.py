"""Routes through the course in sessions of 90 minutes, for the opening chapter and for the index.

A session names chapters that can be read in its minutes, by the rule in `minutes`; exercises come on top. The index has
the sums.
"""

from typing import NamedTuple

from minutes import SESSION

MARK = "<!-- routes -->"  # a line of a source that the text of the routes replaces


class Route(NamedTuple):
    name: str
    what: str  # in a few sentences
    sessions: tuple  # each of them the numbers of its chapters


ROUTES = (
    Route("One session", "See the whole once: what goes in, what comes out, how it is judged.", (("00", "01", "08"),)),
    Route(
        "Three sessions",
        "From a series to tokens and from new tokens to a new series. Left out: learning without labels. Before 6 "
        "read of chapter 5 [How many tokens?](05_tokenizer.ipynb#How-many-tokens%3F), "
        "[Encoder and decoder](05_tokenizer.ipynb#Encoder-and-decoder) and "
        "[What no token can carry](05_tokenizer.ipynb#What-no-token-can-carry).",
        (("00", "01", "08"), ("02",), ("06",)),
    ),
    Route(
        "Six sessions",
        "All of NC-VQVAE, the model of the thesis, and how it is judged; then read chapter 10, its results.",
        (("00", "01", "08"), ("02",), ("03", "04"), ("05",), ("06",), ("07",)),
    ),
)
KNOWN = """\
- **You know vector quantization**: of chapter 2 read only how evenly codes are used and what dead ones cost
  ([from here on](02_quantizer.ipynb#How-many-codes-are-in-use%3F)).
- **You know self-supervised learning**: skip chapter 3, and of chapter 4 read which views keep the class
  ([from here on](04_augmentations.ipynb#Does-the-label-survive%3F)). Chapters 11 to 15 are for you: 11 first, the
  others in any order.
- **Your own data**: chapter 9 for new series like yours, chapter 16 for features of yours. They say which earlier parts
  they lean on.
- **Optional**: chapters 17 and 18, the depths of chapters 1 and 3."""


def routes_text(stems):
    """The routes as a list, each chapter with a link; no minutes, which change when any chapter does.

    stems  of all chapters: "00_start_here"
    """
    links = {stem[:2]: f"[{int(stem[:2])}]({stem}.ipynb)" for stem in stems}
    lines = []
    for route in ROUTES:
        sessions = "; then ".join(", ".join(links[number] for number in session) for session in route.sessions)
        lines.append(f"- **{route.name}** of {SESSION} minutes: chapters {sessions}. {route.what}")
    return "\n".join([*lines, KNOWN])
