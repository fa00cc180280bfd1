"""What FID compares, and what it cannot see: three pairs of clouds with the number that it gives them."""

import numpy as np

from ncvqvae_lite.metrics import frechet_distance

from .style import DECODED, INK, NOTE, SERIES, SMALL, Drawing

N = 90  # points of a cloud
SCALE, PANEL = 26.0, 220  # units of the drawing per unit of a feature; width of a panel


def drawing():
    numbers = [frechet_distance(*pair) for pair in _pairs()]
    d = Drawing(
        "What FID compares, and what it cannot see",
        "Three panels, each with a grey cloud of real series and a blue cloud of generated ones in a space of two "
        "features; ellipses show the mean and the covariance, which are all that FID compares. First: the blue "
        f"cloud is shifted and too narrow, and FID is {numbers[0]:.2f}. Second: the blue points lie on a ring, "
        f"nothing like the grey ones, but with the same mean and covariance, and FID is {numbers[1]:.2f}. Third: "
        "there are two classes, every blue point lies where real ones of its class lie, but one class comes four "
        f"times as often as the other, and FID is {numbers[2]:.2f}.",
        318,
    )
    words = (
        ("another mean, another spread", "It sees the difference."),
        ("a ring: same mean and covariance", "It sees no difference."),
        ("each class right, another mix", "A difference, and no series is wrong."),
    )
    for i, (pair, value, (title, verdict)) in enumerate(zip(_pairs(), numbers, words)):
        left = 10 + i * (PANEL + 10)
        middle = left + PANEL / 2
        d.text(middle, 52, title, SMALL, bold=True)
        d.rect(left, 62, PANEL, 196, "#FAFAFA", "#DDDDDD", radius=4)
        for points, colour in zip(pair, (SERIES, DECODED)):
            d.dots([(middle + SCALE * x, 160 - SCALE * y) for x, y in points.tolist()], 2.4, colour, opacity="0.6")
        for points, colour, dash in zip(pair, (INK, DECODED), (None, "6 4")):
            d.polyline([(middle + SCALE * x, 160 - SCALE * y) for x, y in _ellipse(points)], colour, 2.2, dash)
        d.text(middle, 283, f"FID {value:.2f}", 16, bold=True)
        d.text(middle, 303, verdict, SMALL, fill=NOTE)
    _legend(d)
    return d


def _legend(d):
    d.circle(178, 18, 4, SERIES)
    d.text(188, 22, "real series", SMALL, "start")
    d.circle(278, 18, 4, DECODED)
    d.text(288, 22, "generated series", SMALL, "start")
    d.polyline([(406, 18), (430, 18)], INK, 2.2)
    d.polyline([(434, 18), (458, 18)], DECODED, 2.2, "6 4")
    d.text(466, 22, "mean and covariance", SMALL, "start")


def _pairs():
    """Three times real and generated points (N, 2)."""
    rng = np.random.default_rng(2)
    real = _with_moments(_blob(rng), (-0.5, -0.3), ((1.6, 0.5), (0.5, 1.0)))
    shifted = _with_moments(_blob(rng), (1.0, 0.8), ((0.5, 0.1), (0.1, 0.35)))
    blob = _with_moments(_blob(rng), (0, 0), np.eye(2) * 2.0)
    angle = 2 * np.pi * np.arange(N) / N
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) + rng.normal(0, 0.05, (N, 2))
    ring = _with_moments(ring, (0, 0), np.eye(2) * 2.0)
    left, right = np.array([-2.1, -0.6]), np.array([2.1, 0.6])
    two = [rng.normal(c, 0.55, (n, 2)) for c, n in ((left, N // 2), (right, N // 2))]
    lopsided = [rng.normal(c, 0.55, (n, 2)) for c, n in ((left, N - N // 5), (right, N // 5))]
    return (real, shifted), (blob, ring), (np.concatenate(two), np.concatenate(lopsided))


def _blob(rng):
    """N points of a normal distribution without those more than 2.2 deviations away, which would leave the panel."""
    points = rng.normal(size=(4 * N, 2))
    return points[(points**2).sum(axis=1) < 2.2**2][:N]


def _with_moments(points, mean, covariance):
    """Points (N, 2), moved and stretched until they have this mean and this covariance exactly."""
    centred = points - points.mean(axis=0)
    now = np.linalg.cholesky(np.cov(centred, rowvar=False))
    return centred @ np.linalg.inv(now).T @ np.linalg.cholesky(np.array(covariance)).T + np.array(mean)


def _ellipse(points, n=48):
    """Where a Gaussian with the mean and covariance of the points is 1.5 deviations from its mean."""
    circle = 2 * np.pi * np.arange(n + 1) / n
    root = np.linalg.cholesky(np.cov(points, rowvar=False))
    ring = points.mean(axis=0) + 1.5 * np.stack([np.cos(circle), np.sin(circle)], axis=1) @ root.T
    return [(float(x), float(y)) for x, y in ring]
