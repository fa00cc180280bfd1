"""Series that come with a sentence about them: two steps, up or down, and what a caption says of them.

Our own recipe. In a series there are two steps; their order (two signs) is the class. Further factors are the size of
the steps, the noise, the position, and a faint ripple of one of two frequencies. A caption of 3 to 10 words out of 24
always says the order; of size, noise and position it says each with probability one half; the ripple it never mentions.
Every factor has two words for each of its values, drawn at random.

    data = captioned(2000, g=g)          data.x (n, 1, L), data.tokens (n, M), data.captions, data.factors["order"] (n,)
    [phrasings(order) for order in range(4)]      six ways to say each order, for classification by captions
"""

import itertools
import math
from typing import NamedTuple

import torch

from ..arguments import checked, count, integer, share
from ..arguments_tensors import source
from ..errors import BadInput
from ..shapes import Float, Int, Tensor

ORDERS = ("up up", "up down", "down up", "down down")  # the classes 0..3
SYNONYMS = {
    "step": (("up", "upward"), ("down", "downward")),
    "size": (("small", "low"), ("large", "high")),
    "noise": (("clean", "smooth"), ("noisy", "rough")),
    "position": (("early", "soon"), ("late", "afterwards")),
}
FRAMES = (  # how an order is said: {0} and {1} are the words of the steps, {about} those of size and noise, if any
    "{about} {0} then {1}",
    "{about} {0} and then {1}",
    "a {about} series {0} then {1}",
    "a {about} series that steps {0} then {1}",
    "with {about} steps {0} then {1}",
    "in {about} steps {0} and then {1}",
)
_SAID = [word for pairs in SYNONYMS.values() for pair in pairs for word in pair]
WORDS = ("", *_SAID, "then", "and", "a", "series", "that", "steps", "with", "in")  # by token; 0 fills up short captions
LONGEST = 10  # words of a caption
SHORTEST = 32  # steps of a series
ON_CPU = torch.empty(0)


class Captioned(NamedTuple):
    x: Float[Tensor, "n 1 L"]  # float32, not normalised: levels are about -4 to 4
    tokens: Int[Tensor, "n 10"]  # int64, LONGEST a caption
    captions: list  # n texts
    factors: dict  # order (n,) in 0..3, as ORDERS; size, noise, position, ripple (n,) in 0..1


@checked(n=count)
def captioned(n, length=128, *, g) -> Captioned:
    """n series of L steps, at least 32, each with a caption; all of it is drawn from g.

    From 0 a series goes up or down by 1 (small) or 2 (large) at a first step, and again at a second one, L/8 to 3L/8
    later. The first one is in L/16..3L/16 (early) or in 5L/16..7L/16 (late). Gaussian noise has 0.1 (clean) or 0.4; the
    ripple is a sine of amplitude 0.15 with L/8 or 3L/16 cycles.
    """
    length = integer(length, "length", low=SHORTEST)
    device = g.device if isinstance(g, torch.Generator) else torch.device("cpu")
    g = source(g, torch.empty(0, device=device))

    def draw(high):
        return torch.randint(high, (n,), generator=g, device=device)

    factors = dict(order=draw(4), size=draw(2), noise=draw(2), position=draw(2), ripple=draw(2))
    first = length / 16 + length / 4 * factors["position"] + length / 8 * torch.rand(n, generator=g, device=device)
    second = first + length / 8 + length / 4 * torch.rand(n, generator=g, device=device)
    time = torch.arange(length, device=device)
    signs = 1 - 2 * torch.stack([factors["order"] // 2, factors["order"] % 2])[..., None]  # (2, n, 1)
    level = signs[0] * (time >= first[:, None]) + signs[1] * (time >= second[:, None])  # (n, L)
    phase = 2 * math.pi * torch.rand(n, 1, generator=g, device=device)
    cycles = length / 8 + length / 16 * factors["ripple"][:, None]
    x = (1 + factors["size"])[:, None] * level + 0.15 * torch.sin(2 * math.pi * cycles * time / length + phase)
    x = x + (0.1 + 0.3 * factors["noise"])[:, None] * torch.randn(n, length, generator=g, device=device)
    choices = [column.tolist() for column in (draw(len(FRAMES)), *(draw(2) for _ in range(8)))]
    rows = zip(*(factors[name].tolist() for name in ("order", "size", "noise", "position")), zip(*choices), strict=True)
    captions = [_caption(*row) for row in rows]
    return Captioned(x[:, None], encode(captions).to(device), captions, factors)


def _caption(order, size, noise, position, choices):
    frame, one, two, says_size, says_noise, says_position, *word = choices
    about = [SYNONYMS["size"][size][word[0]]] * says_size + [SYNONYMS["noise"][noise][word[1]]] * says_noise
    steps = (SYNONYMS["step"][sign][which] for sign, which in ((order // 2, one), (order % 2, two)))
    said = FRAMES[frame].format(*steps, about=" ".join(about)).split()
    return " ".join(said + [SYNONYMS["position"][position][word[2]]] * says_position)


@checked(order=lambda value, name: integer(value, name, low=0, high=3))
def phrasings(order) -> list[str]:
    """The six FRAMES of an order, a number of ORDERS, in its first words: what a class is called in zero-shot."""
    words = [SYNONYMS["step"][sign][0] for sign in (order // 2, order % 2)]
    return [" ".join(frame.format(*words, about="").split()) for frame in FRAMES]


def encode(captions) -> Int[Tensor, "n 10"]:
    """Tokens (n, LONGEST) int64 of texts: each word's number in WORDS, then 0.

    raises   BadInput for an empty caption, a longer one, or a word that is not among the 24
    """
    numbers, rows = {word: number for number, word in enumerate(WORDS)}, []
    for caption in [captions] if isinstance(captions, str) else captions:
        words = str(caption).split()
        if unknown := [word for word in words if word not in numbers]:
            raise BadInput(f"no word {unknown[0]!r} in captions: use any of {', '.join(WORDS[1:])}")
        if not 1 <= len(words) <= LONGEST:
            raise BadInput(f"a caption of {len(words)} words, expected 1 to {LONGEST}: {caption!r}")
        rows.append([numbers[word] for word in words] + [0] * (LONGEST - len(words)))
    return torch.tensor(rows, dtype=torch.int64).view(-1, LONGEST)


# --- captions changed at random (EDA, arXiv 1901.11196) ---


def swap_words(captions, *, g) -> list[str]:
    """Texts, two words of each in each other's place: an order of steps may become another one. g is on the CPU."""
    out, g = [], source(g, ON_CPU)
    for words in (caption.split() for caption in captions):
        if len(words) > 1:
            i, j = torch.randperm(len(words), generator=g)[:2].tolist()
            words[i], words[j] = words[j], words[i]
        out.append(" ".join(words))
    return out


@checked(chance=share)
def drop_words(captions, chance=0.1, *, g) -> list[str]:
    """Texts without some of their words, each of which goes with this chance; one is left at least. g is on the CPU."""
    out, g = [], source(g, ON_CPU)
    for words in (caption.split() for caption in captions):
        is_kept = (torch.rand(len(words), generator=g) >= chance).tolist()
        kept = list(itertools.compress(words, is_kept))
        out.append(" ".join(kept or [words[int(torch.randint(len(words), (), generator=g))]]))
    return out
