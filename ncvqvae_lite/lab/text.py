"""Numbers in sentences: a span of time, so many things."""


def duration(seconds):
    """45 s, 3 min, 2 h 05 min, 3 days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes < 72 * 60 else f"{minutes / 1440:.0f} days"


def counted(n, noun):
    """ "1 seed", "2 seeds"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"
