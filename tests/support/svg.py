"""Charts as SVG text: curves over a logarithmic axis, stacked bars. Plain elements, so that any viewer shows them."""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 860, 90, 210, 50, 90
# Okabe and Ito's colours, which people with any colour vision can tell apart; ours first.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")

Curves = dict[str, list[tuple[float, float]]]


def short(value: float) -> str:
    """1000000 as 1M; small numbers as they are."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if letter == 'k' else limit):g}{letter}"
    return f"{value:g}"


def ticks(top: float) -> list[float]:
    """From 0 to at least `top` in about five round steps."""
    if top <= 0:
        return [0.0, 1.0]
    rough = top / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    return [step * i for i in range(math.ceil(top / step - 1e-9) + 1)]


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 13, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{extra}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, extra: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{extra}/>'


def _frame(title: str, caption: str, height: int, body: list[str]) -> str:
    # The caption names machine and compiler and is long: two lines at most.
    cut = caption.rfind(", ", 0, 120) + 1 if len(caption) > 120 else len(caption)
    lines = [caption[:cut], caption[cut:].strip()]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(LEFT, 28, title, size=17, extra=' font-weight="bold"'),
        *body,
        *(_text(12, height - 24 + 14 * i, line, size=10, extra=' fill="#666"') for i, line in enumerate(lines)),
        "</svg>", ""])


def _fill(number: int) -> str:
    """The colours once in full, then paler."""
    return f'fill="{COLOURS[number % len(COLOURS)]}" fill-opacity="{1 if number < len(COLOURS) else 0.45}"'


def _legend(names: list[str], left: float = WIDTH - RIGHT + 20) -> list[str]:
    out = []
    for i, name in enumerate(names):
        y = TOP + 14 + 22 * i
        out.append(f'<rect x="{left}" y="{y - 10}" width="14" height="12" {_fill(i)}/>')
        out.append(_text(left + 20, y, name))
    return out


def line_chart(title: str, x_label: str, y_label: str, curves: Curves, caption: str = "",
               reference: float | None = None, linear: bool = False) -> str:
    """Curves over a logarithmic x axis (or a linear one from 0) and a linear y axis from 0; `reference` is a dashed line."""
    height = 500
    bottom, right = height - BOTTOM, WIDTH - RIGHT
    xs = sorted({x for points in curves.values() for x, _ in points})
    if not xs or xs[0] <= 0:
        raise ValueError("a logarithmic axis needs points above 0")
    scale = (lambda x: x) if linear else math.log10
    low, high = 0.0 if linear else scale(xs[0]), scale(xs[-1])
    steps = ticks(max([y for points in curves.values() for _, y in points] + [reference or 0.0]))

    def at_x(x: float) -> float:
        return LEFT + 20 + (right - LEFT - 40) * ((scale(x) - low) / (high - low) if high > low else 0.5)

    def at_y(y: float) -> float:
        return bottom - (bottom - TOP) * y / steps[-1]

    out = []
    for step in steps:
        out.append(_line(LEFT, at_y(step), right, at_y(step), "#ddd"))
        out.append(_text(LEFT - 8, at_y(step) + 4, short(step), "end"))
    for x in [x for x in ticks(xs[-1]) if x <= xs[-1]] if linear else xs:
        out.append(_line(at_x(x), bottom, at_x(x), bottom + 5, "#333"))
        out.append(_text(at_x(x), bottom + 20, short(x), "middle"))
    if reference is not None:
        out.append(_line(LEFT, at_y(reference), right, at_y(reference), "#333", ' stroke-dasharray="6 4"'))
    out.append(_line(LEFT, bottom, right, bottom, "#333"))
    out.append(_line(LEFT, TOP, LEFT, bottom, "#333"))
    out.append(_text((LEFT + right) / 2, bottom + 42, x_label if linear else x_label + " (logarithmic)", "middle"))
    middle = (TOP + bottom) / 2
    out.append(_text(24, middle, y_label, "middle", extra=f' transform="rotate(-90 24 {middle:.1f})"'))
    for i, points in reversed(list(enumerate(curves.values()))):  # the first, ours, on top
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{3 if i == 0 else 2}"/>')
        for x, y in points:
            out.append(f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="{3 if linear else 4}" fill="{colour}">'
                       f"<title>{x:g}: {y:.4g}</title></circle>")
    return _frame(title, caption, height, out + _legend(list(curves)))


def stacked_bars(title: str, x_label: str, bars: dict[str, dict[str, float]], caption: str = "") -> str:
    """One horizontal bar for each case, its parts side by side, with the total at its end."""
    left = 270
    parts = list(dict.fromkeys(part for bar in bars.values() for part in bar))
    bottom = TOP + max(34 * len(bars) + 10, 22 * len(parts))
    height, right = bottom + BOTTOM, WIDTH - RIGHT
    steps = ticks(max(sum(bar.values()) for bar in bars.values()))

    def at_x(value: float) -> float:
        return left + (right - left) * value / steps[-1]

    out = []
    for step in steps:
        out.append(_line(at_x(step), TOP, at_x(step), bottom, "#ddd"))
        out.append(_text(at_x(step), bottom + 18, short(step), "middle"))
    out.append(_text((left + right) / 2, bottom + 40, x_label, "middle"))
    for row, (name, bar) in enumerate(bars.items()):
        y = TOP + 6 + 34 * row
        out.append(_text(left - 8, y + 16, name, "end", size=11))
        start = 0.0
        for part, value in bar.items():
            out.append(f'<rect x="{at_x(start):.1f}" y="{y}" width="{max(0.0, at_x(value) - left):.1f}" height="22" '
                       f'{_fill(parts.index(part))} stroke="white"><title>{escape(part)}: {value:.4g}</title></rect>')
            start += value
        out.append(_text(at_x(start) + 4, y + 16, short(round(start) if start >= 10 else round(start, 2)), size=11))
    # Beside the totals of the longest bars.
    return _frame(title, caption, height, out + _legend(parts, right + 50))
