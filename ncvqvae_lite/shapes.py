"""Types that say shapes: `Float[Tensor, "B C L"]` is a tensor of floats with three axes; `Int`, `Bool`, `Shaped` (any).

A letter is one size throughout a signature. "2*C" is twice the size C, "{length}" what the argument `length` says,
"..." any axes, "" one number. Letters: B series in a batch; n, m series or rows; C channels, L steps; F rows and W
frames of a spectrogram, f and w of its latents; N tokens; K codes; D width; k classes. One alone is written " n": ruff
takes "n" for a name.

Tensor       a tensor of this shape; with `checked` before the function, also what `checked` converts to one
ArrayLike    what the function itself converts to a tensor, arrays and lists too; BadInput for the rest

They are for readers and type checkers: nothing is checked while the package runs, and jaxtyping is not loaded. Where it
was loaded before, as tests/conftest.py does, these are its types, and its import hook checks every call.
"""

import sys
from typing import TYPE_CHECKING

from torch import Tensor

__all__ = ["ArrayLike", "Bool", "Float", "Int", "Shaped", "Tensor"]

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped
    from numpy.typing import ArrayLike
else:
    jaxtyping = sys.modules.get("jaxtyping")

    class ArrayLike:
        pass

    class _Text:
        """A type as `help` shows it, in the words of the source."""

        def __init__(self, text):
            self.text = text

        def __repr__(self):
            return self.text

        def __or__(self, other):
            return _Text(f"{self} | {other}")

    class _Anything(type):
        """Of a class that has everything as an instance. The sizes of what has its `shape` are those of its letters."""

        def __instancecheck__(cls, value):
            return isinstance(value, cls.shape) or True

    class _Kind:
        def __class_getitem__(cls, item):
            array, axes = item
            if jaxtyping is None:
                return _Text(f'{cls.__name__}[{array.__name__}, "{axes.strip()}"]')
            kind = getattr(jaxtyping, cls.__name__)
            return (
                _Anything("ArrayLike", (), {"shape": kind[Tensor, axes]}) if array is ArrayLike else kind[array, axes]
            )

    class Float(_Kind):
        pass

    class Int(_Kind):
        pass

    class Bool(_Kind):
        pass

    class Shaped(_Kind):
        pass
