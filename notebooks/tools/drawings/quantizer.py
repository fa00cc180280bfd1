"""The quantizer: latents become the nearest of a few codes, and the gradient goes past that step."""

import numpy as np

from .style import DECODED, GRADIENT, INK, LARGE, NOTE, SMALL, Drawing, code_colour

CODES = {3: (0.20, 0.74), 9: (0.56, 0.86), 16: (0.42, 0.40), 22: (0.84, 0.55), 29: (0.76, 0.14)}  # token -> place
LATENT = (0.55, 0.57)  # the one that is followed


def drawing():
    d = Drawing(
        "The quantizer",
        "Left: a plane with latents as small dots and five codes as large ones. Straight borders half way between two "
        "codes divide the plane, and every latent in a region gets the token of its code. One latent z is moved to the "
        "nearest code, number 16. Right: the encoder gives z, the nearest code e takes its place, and the decoder sees "
        "only e. What is stored is the token 16. In training the gradient at e is copied to z, as if nothing had "
        "happened in between; two more forces pull z to its code and the code to its latents.",
        300,
    )
    _plane(d, 20, 44, 300, 236)
    _flow(d)
    return d


def _plane(d, x, y, width, height):
    d.text(x + width / 2, 26, "latents (dots) and codes, in two dimensions", bold=True)

    def at(p):
        return x + p[0] * width, y + (1 - p[1]) * height

    rng = np.random.default_rng(4)
    for token, place in CODES.items():
        d.polygon([at(p) for p in _region(place)], code_colour(token), "#FFFFFF", fill_opacity="0.22", line=2)
    for token, place in CODES.items():
        for p in rng.normal(place, 0.07, (14, 2)):
            if all(0.03 < v < 0.97 for v in p):
                nearest = min(CODES, key=lambda k: (p[0] - CODES[k][0]) ** 2 + (p[1] - CODES[k][1]) ** 2)
                d.circle(*at(p), 2.6, code_colour(nearest))
        d.circle(*at(place), 11, code_colour(token), "#FFFFFF", line=2)
        left, top = at(place)
        d.text(left, top + 4.5, str(token), fill="#FFFFFF" if token < 20 else INK, bold=True)
    (x0, y0), (x1, y1) = at(LATENT), at(CODES[16])
    share = 1 - 13 / ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
    d.arrow((x0, y0), (x0 + share * (x1 - x0), y0 + share * (y1 - y0)), stroke=INK, line=2)
    d.circle(x0, y0, 5, INK, "#FFFFFF")
    d.text(x0 - 13, y0 + 1, "z", LARGE, bold=True, italic=True)


def _region(place):
    """The part of the unit square that is nearer to `place` than to any other code, as a polygon."""
    corners = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    for other in CODES.values():
        if other == place:
            continue
        normal = np.subtract(other, place)
        limit = float(normal @ (np.add(other, place) / 2))
        inside = [float(normal @ np.array(c)) - limit for c in corners]  # negative: nearer to `place`
        cut = []
        for i, (a, fa) in enumerate(zip(corners, inside)):
            b, fb = corners[(i + 1) % len(corners)], inside[(i + 1) % len(corners)]
            if fa <= 0:
                cut.append(a)
            if fa * fb < 0:
                cut.append(tuple(np.add(a, fa / (fa - fb) * np.subtract(b, a))))
        corners = cut
    return corners


def _flow(d):
    d.text(520, 26, "forward, and the gradient back", bold=True)
    top, middle = 62, 92
    d.network(350, top, 76, 60, "encoder", narrows=0.45)
    d.network(614, top, 76, 60, "decoder", narrows=-0.45)
    d.circle(462, middle, 6, INK)
    d.text(462, middle - 14, "z", bold=True, italic=True)
    d.circle(566, middle, 13, code_colour(16), "#FFFFFF", line=2)
    d.text(566, middle + 4.5, "16", bold=True, fill="#FFFFFF")
    d.text(566, middle - 20, "e", bold=True, italic=True)
    d.arrow((428, middle), (452, middle))
    d.arrow((472, middle), (550, middle), stroke=INK, dash="4 3")
    d.text(511, middle - 8, "nearest", SMALL, fill=NOTE)
    d.arrow((583, middle), (612, middle))
    d.arrow((566, middle + 17), (566, 142))
    d.text(566, 157, "token 16: all that is stored", SMALL, fill=DECODED)
    # the way back
    d.arrow((652, 130), (652, 190), (388, 190), (388, 130), stroke=GRADIENT, line=2.2)
    d.text(520, 183, "gradient of the loss at e, copied to z", SMALL, fill=GRADIENT)
    d.text(520, 207, "(straight through: finding the nearest has no slope)", SMALL, fill=NOTE)
    # two forces
    for row, (a, b, words) in enumerate(
        (("z", "e", "commitment loss: the latent moves to its code"),
         ("e", "z", "moving average: the code moves to its latents"))
    ):  # fmt: skip
        y = 240 + 28 * row
        d.text(358, y + 4, a, bold=True, italic=True)
        d.arrow((367, y), (392, y), stroke=GRADIENT if row == 0 else INK)
        d.text(401, y + 4, b, bold=True, italic=True)
        d.text(416, y + 4, words, SMALL, anchor="start")
