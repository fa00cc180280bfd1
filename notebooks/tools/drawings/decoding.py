"""A series while it is drawn, step by step: as a moving picture, and as stills for print."""

from .recorded import RECORDED
from .style import DECODED, NOTE, SMALL, Drawing

SECONDS, LAST = 1.3, 4.0  # of a step; of the finished series
WORDS = (
    "A series is drawn in 10 steps. Above, a grid of 5 rows and 8 frames, 40 tokens; below, the series. At the "
    "start all tokens are hidden, and the grey lines, five ways in which the series could still end, have little "
    "in common. With each step some tokens are kept and stay (empty, dashed places are hidden), and the five lines"
    " come closer. After step 10 none is hidden, and one series is left: {what}."
)
WHAT = "a rise and later a fall, as asked, but with a dip too many between them (trained for minutes only)"


def drawing():
    """The moving picture: one group for each step, shown in turn; without animation the finished series is seen."""
    steps = RECORDED["steps"]
    d = Drawing("A series is drawn, step by step", WORDS.format(what=WHAT), 336)
    total = SECONDS * (len(steps) - 1) + LAST
    share, last = 100 * SECONDS / total, 100 * LAST / total
    d.css = (
        f"@keyframes one{{0%{{visibility:visible}}{share:.2f}%,100%{{visibility:hidden}}}}"
        f"@keyframes last{{0%{{visibility:visible}}{last:.2f}%,100%{{visibility:hidden}}}}"
        f".step{{visibility:hidden;animation:one {total:.1f}s step-end infinite}}"
        f".last{{visibility:visible;animation:last {total:.1f}s step-end infinite}}"
        "@media (prefers-reduced-motion:reduce){.step,.last{animation:none}}"
    )
    for k in range(len(steps)):
        name = "last" if k == len(steps) - 1 else "step"
        d.parts.append(f'<g class="{name}" style="animation-delay:{k * SECONDS - total:.1f}s">')
        _frame(d, k, 22, 50, 656, 22, 130, names=True)
        d.text(22, 28, _title(k), 16, "start", bold=True)
        d.text(678, 28, _remark(k), SMALL, "end", NOTE)
        d.parts.append("</g>")
    return d


def stills():
    """Six of the steps beside each other."""
    d = Drawing("A series is drawn: six of its steps", WORDS.format(what=WHAT) + " Six of the steps are shown.", 430)
    for i, k in enumerate((0, 3, 5, 7, 9, 10)):
        x, y = 10 + 232 * (i % 3), 10 + 212 * (i // 3)
        d.rect(x - 4, y - 4, 224, 204, "#F7F8FA", radius=8)
        d.text(x + 6, y + 16, _title(k).split(":")[0], bold=True, anchor="start")
        d.text(x + 210, y + 16, f"{_left(k)} hidden", SMALL, "end", NOTE)
        _frame(d, k, x + 6, y + 28, 204, 11, 86, names=False)
    return d


def _left(k):
    return sum(token < 0 for row in RECORDED["steps"][k] for token in row)


def _title(k):
    return "start: all hidden" if k == 0 else f"step {k} of {len(RECORDED['steps']) - 1}"


def _remark(k):
    if k == len(RECORDED["steps"]) - 1:
        return "no token hidden: the series is decided"
    return f"{_left(k)} of 40 tokens hidden; five ways in which it could still end"


def _frame(d, k, x, y, width, cell, height, names):
    """The tokens after step k, and below each frame the steps that it stands for."""
    steps, gap = RECORDED["steps"], 3 if names else 2
    grid, before = steps[k], steps[max(0, k - 1)]
    rows, frames = len(grid), len(grid[0])
    pitch = width / frames
    new = {(r, c) for r in range(rows) for c in range(frames) if grid[r][c] >= 0 > before[r][c] and k < len(steps) - 1}
    d.tokens(grid, x, y, (pitch - gap, cell), gap, names=names, new=new)
    top = y + rows * (cell + gap) + 8
    last = k == len(steps) - 1
    lines = [RECORDED["drawn"]] if last else RECORDED["endings"][k]
    for frame in range(frames):
        seen = sum(row[frame] >= 0 for row in grid) / rows
        if not last:
            d.rect(
                x + frame * pitch,
                top,
                pitch - gap,
                height,
                "#000000",
                radius=3,
                fill_opacity=f"{0.06 * (1 - seen):.3f}",
            )
        pieces = [_piece(line, frame, frames, x, top, width - gap, height) for line in lines]
        d.lines(pieces, _blend(seen), 2.0 if last else 1.1, stroke_linecap="round")


def _piece(values, frame, frames, x, top, width, height, low=-2.6, high=2.6):
    """The points of the part of a series that belongs to one frame."""
    n = len(values)
    first, end = n * frame // frames, min(n, n * (frame + 1) // frames + 1)
    inside = [min(max(value, low), high) for value in values]
    return [(x + width * i / (n - 1), top + height * (high - inside[i]) / (high - low)) for i in range(first, end)]


def _blend(share):
    """From a pale grey (nothing decided) to the colour of decoded series."""
    pale = (190, 190, 190)
    full = tuple(int(DECODED[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share**2):02X}" for a, b in zip(pale, full))
