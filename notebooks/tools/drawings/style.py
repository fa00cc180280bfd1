"""The look of all drawings: a few shapes that know the palette of `ncvqvae_lite.plots`, written as SVG.

A drawing is 700 units wide and shown at about as many pixels, so text of 12 units is text of 12 pixels. Equal code
gives equal bytes: no date, no ids, numbers with at most one decimal. Text stays text, in the reader's own sans-serif
font, so lines of it need some room to the right.
"""

import math
from html import escape

from ncvqvae_lite import plots
from ncvqvae_lite.names import METHODS

WIDTH = 700
TEXT, SMALL, LARGE = 13, 12, 15  # font sizes
INK, NOTE, RULE = "#222222", "#555555", "#888888"  # text, remarks, lines
SERIES, DECODED = "#777777", METHODS["regular"].colour  # of the data set; made by a network
VIEWS = plots.CLASS_COLOURS[0], plots.CLASS_COLOURS[2]  # first and second view
GRADIENT = plots.CLASS_COLOURS[5]  # and everything else that flows back in training
HIDDEN = "#F2F2F2"
NETWORK, LOSS = "#E3EEF6", "#FBE9DD"  # fill of what has weights, of what is minimised


class Drawing:
    """One picture; methods add to it, `svg()` gives its text.

    title   what it shows, in a few words
    words   its alternative text: what somebody has to know who cannot see it
    """

    def __init__(self, title, words, height, width=WIDTH):
        self.title, self.words, self.width, self.height = title, words, width, height
        self.parts, self.css = [], ""
        self.rect(0, 0, width, height, fill="#FFFFFF")

    def svg(self):
        """The whole file."""
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
        head += f'width="{self.width}" height="{self.height}" role="img" '
        head += f'font-family="Helvetica, Arial, sans-serif" font-size="{TEXT}" fill="{INK}">'
        style = [f"<style>{self.css}</style>"] if self.css else []
        about = [f"<title>{escape(self.title)}</title>", f"<desc>{escape(self.words)}</desc>"]
        return "\n".join([head, *about, *style, *self.parts, "</svg>", ""])

    def add(self, tag, content=None, **attributes):
        """An SVG element; font_size=12 becomes font-size="12", None is left out."""
        given = " ".join(
            f'{name.rstrip("_").replace("_", "-")}="{number(value)}"'
            for name, value in attributes.items()
            if value is not None
        )
        self.parts.append(f"<{tag} {given}/>" if content is None else f"<{tag} {given}>{content}</{tag}>")

    # --- shapes ---

    def rect(self, x, y, width, height, fill="none", stroke=None, radius=None, dash=None, line=1.2, **more):
        shape = dict(x=x, y=y, width=width, height=height, rx=radius, fill=fill, stroke=stroke)
        self.add("rect", **shape, stroke_width=line if stroke else None, stroke_dasharray=dash, **more)

    def circle(self, x, y, r, fill="none", stroke=None, line=1.2, **more):
        self.add("circle", cx=x, cy=y, r=r, fill=fill, stroke=stroke, stroke_width=line if stroke else None, **more)

    def dots(self, points, r, colour, **more):
        """Many circles in one element: lines of length 0 with round ends."""
        path = "".join(f"M{number(x)},{number(y)}h0" for x, y in points)
        self.add("path", d=path, stroke=colour, stroke_width=2 * r, stroke_linecap="round", **more)

    def polygon(self, points, fill="none", stroke=None, line=1.2, **more):
        joined = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self.add("polygon", points=joined, fill=fill, stroke=stroke, stroke_width=line if stroke else None, **more)

    def polyline(self, points, stroke=INK, line=1.5, dash=None, **more):
        self.lines([points], stroke, line, dash, **more)

    def lines(self, lines, stroke=INK, line=1.5, dash=None, **more):
        """Several lines of points (x, y) in one element."""
        shape = dict(d="".join(track(points) for points in lines), fill="none", stroke=stroke, stroke_width=line)
        self.add("path", **shape, stroke_dasharray=dash, stroke_linejoin="round", **more)

    def text(self, x, y, words, size=TEXT, anchor="middle", fill=None, bold=False, italic=False, **more):
        """Lines of text (split at newlines) whose first base line is at y."""
        shape = dict(x=x, y=y, text_anchor=anchor if anchor != "start" else None, fill=fill)
        shape |= dict(font_size=size if size != TEXT else None, font_weight="bold" if bold else None)
        shape |= dict(font_style="italic" if italic else None)
        for i, line in enumerate(words.split("\n")):
            content = escape(line, quote=False)
            self.add("text", content, **shape | {"y": y + i * round(1.25 * size)}, **more)

    def arrow(self, *points, stroke=RULE, line=1.8, dash=None, head=7):
        """A line through the points (x, y), with a head at the last."""
        (x0, y0), (x1, y1) = points[-2:]
        angle = math.atan2(y1 - y0, x1 - x0)
        neck = x1 - head * math.cos(angle), y1 - head * math.sin(angle)
        self.polyline([*points[:-1], neck], stroke, line, dash)
        across = 0.55 * head * math.sin(angle), -0.55 * head * math.cos(angle)
        sides = [(neck[0] + s * across[0], neck[1] + s * across[1]) for s in (1, -1)]
        self.polygon([(x1, y1), *sides], fill=stroke)

    # --- what every drawing is made of ---

    def network(self, x, y, width, height, words, narrows=0.0, fill=NETWORK, size=TEXT, frozen=False):
        """A box with weights in it: a trapezoid that narrows to the right (narrows > 0) or to the left (< 0)."""
        left, right = (max(0, -narrows) * height / 2, max(0, narrows) * height / 2)
        corners = [(x, y + left), (x + width, y + right), (x + width, y + height - right), (x, y + height - left)]
        dash = "5 3" if frozen else None
        self.polygon(corners, fill, plots.CLASS_COLOURS[0], stroke_linejoin="round", stroke_dasharray=dash)
        lines = words.count("\n")
        self.text(x + width / 2, y + height / 2 + 0.35 * size - lines * 0.625 * size, words, size)

    def loss(self, x, y, width, height, words, size=TEXT):
        """A quantity that training makes small."""
        self.rect(x, y, width, height, LOSS, GRADIENT, radius=height / 2 if "\n" not in words else 12)
        self.text(x + width / 2, y + height / 2 + 0.35 * size - words.count("\n") * 0.625 * size, words, size)

    def series(self, values, x, y, width, height, stroke=SERIES, line=1.5, low=-2.4, high=2.4, **more):
        """Values as a curve in a box; low and high are its lower and upper edge."""
        step, scale = width / (len(values) - 1), height / (high - low)
        points = [(x + i * step, y + (high - min(max(v, low), high)) * scale) for i, v in enumerate(values)]
        self.polyline(points, stroke, line, **more)

    def tokens(self, grid, x, y, cell, gap=2, names=True, new=(), codes=32):
        """A grid of tokens, rows of frequency upwards; -1 is hidden. `new` cells (row, frame) get a frame."""
        width, height = cell if isinstance(cell, tuple) else (cell, cell)
        size, hidden, words = min(SMALL, round(0.62 * min(width, height))), "", []
        for row, values in enumerate(grid):
            for frame, token in enumerate(values):
                left, top = x + frame * (width + gap), y + (len(grid) - 1 - row) * (height + gap)
                if token < 0:
                    hidden += f"M{number(left)},{number(top)}h{number(width)}v{number(height)}h{number(-width)}z"
                    continue
                fill = code_colour(token, codes)
                edge = dict(stroke=GRADIENT, line=2.2) if (row, frame) in new else {}
                self.rect(left, top, width, height, fill, radius=2, **edge)
                colour = "" if brightness(fill) > 0.55 else ' fill="#FFFFFF"'
                middle, base = number(left + width / 2), number(top + height / 2 + 0.36 * size)
                words.append(f'<text x="{middle}" y="{base}"{colour}>{token}</text>')
        if hidden:
            self.add("path", d=hidden, fill=HIDDEN, stroke="#BBBBBB", stroke_width=0.8, stroke_dasharray="2 2")
        if names and words:
            self.parts.append(f'<g text-anchor="middle" font-size="{size}">{"".join(words)}</g>')


def track(points):
    """The path through points (x, y), each written as the way from the one before."""
    x, y = (round(v, 1) for v in points[0])
    text = f"M{number(x)},{number(y)}l"
    for a, b in points[1:]:
        a, b = round(a, 1), round(b, 1)
        text += f"{number(a - x)},{number(b - y)} "
        x, y = a, b
    return text.rstrip()


def number(value):
    """A number with at most one decimal, anything else as text."""
    return f"{value:.1f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def code_colour(token, codes=32):
    """The colour of a token, as `plots.colour_map` has it."""
    red, green, blue, _ = plots.colour_map(codes)(int(token))
    return f"#{round(255 * red):02X}{round(255 * green):02X}{round(255 * blue):02X}"


def brightness(colour):
    """Of a colour "#RRGGBB", 0 to 1."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.3 * red + 0.59 * green + 0.11 * blue


def grey(share):
    """A grey: white at 0, dark at 1."""
    level = round(255 - 215 * min(1.0, max(0.0, share)))
    return f"#{level:02X}{level:02X}{level:02X}"
