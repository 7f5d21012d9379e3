"""Sparklines: a series in a word's space, as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT, MARGIN = 200.0, 40.0, 4.0


def sparkline(values: Sequence[float | None], label: str) -> Markup:
    """Draw values side by side; a gap where there is none, a dot at the last one.

    Parameters
    ----------
    values
        By time.
    label
        What they are, for those who cannot see it.
    """
    there = [value for value in values if value is not None]
    low, high = min(there, default=0.0), max(there, default=0.0)
    step = (WIDTH - 2 * MARGIN) / max(len(values) - 1, 1)

    def place(index: int, value: float) -> str:
        # A series that does not change runs through the middle.
        share = (value - low) / (high - low) if high > low else 0.5
        return f"{MARGIN + index * step:.1f},{HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN):.1f}"

    pieces: list[list[str]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append(place(index, value))
    lines = Markup("").join(
        Markup('<polyline points="{}" fill="none" stroke="currentColor" stroke-width="1.5"/>').format(" ".join(piece))
        for piece in pieces
        if len(piece) > 1
    )
    # A value between two gaps has no line: it is a dot, as the latest one is.
    dots = [piece[0] for piece in pieces if len(piece) == 1] + ([pieces[-1][-1]] if pieces[-1] else [])
    circle = Markup('<circle cx="{}" cy="{}" r="2.5" fill="currentColor"/>')
    circles = Markup("").join(circle.format(*dot.split(",")) for dot in dict.fromkeys(dots))
    frame = Markup('<svg class="spark" role="img" aria-label="{}" viewBox="0 0 {:g} {:g}" width="{:g}" height="{:g}">')
    return frame.format(label, WIDTH, HEIGHT, WIDTH, HEIGHT) + lines + circles + Markup("</svg>")
