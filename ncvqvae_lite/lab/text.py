"""Counts, lists and durations in words."""


def counted(n, noun):
    """1 cell, 2 cells."""
    return f"{n} {noun}{'s' * (n != 1)}"


def listed(words):
    """a; a and b; a, b and c; nothing of nothing."""
    *first, last = [*words] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def duration(seconds):
    """45 s, 3 min, 2 h 05 min, 3 days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes < 72 * 60 else f"{minutes / 1440:.0f} days"
