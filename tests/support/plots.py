"""Which charts a list of benchmark figures makes.

A part of a name that is a number (`1000`, `64`, `1000-peers`) is an axis: figures that differ in it alone make one
curve. Each axis with two points or more gives a chart of values, ours and the baselines', and one of ratios; seconds
are a linear axis, all others are logarithmic.
Figures `.../stage/NAME` make one chart of stacked bars, `.../latency-pNN/N-percent` one chart for each case with a curve for
each percentile, `pipeline/two-workers/...` and `loopback/spread/...` one chart of bars each.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import svg

Figure = dict[str, Any]

_AXIS = re.compile(r"(\d+)(?:-([a-z]+))?$")


def _axes(name: str) -> list[tuple[int, int, str]]:
    """(place, number, unit) of each part of the name that is a number."""
    found = []
    for place, part in enumerate(name.split("/")):
        match = _AXIS.match(part)
        if match and place > 0:
            unit = match.group(2) or ""
            found.append((place, int(match.group(1)), unit.removesuffix("s") + "s" if unit else ""))
    return found


def _axis_label(area: str, unit: str) -> str:
    if unit:
        return unit
    return {"lookup": "prefixes in the table", "control": "prefixes in place"}.get(area, "packet size [bytes]")


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


# What says of a figure how it came about has no curve of its own.
_NO_CURVES = ("/stage/", "/latency-", "pipeline/two-workers/", "loopback/spread/", "/ring-full", "/line-there-and-back",
              "/repeated-trials", "/far")
_LATENCY = re.compile(r"(.+)/latency-(p\d+)/(\d+)-percent$")


def _rival(figure: Figure) -> str:
    """Who the curve is called after: of the same case in another area, that area."""
    name = figure["baseline"]["name"]
    area, _, case = name.partition("/")
    return area if case and case == figure["name"].partition("/")[2] else name


def line_charts(figures: list[Figure], caption: str) -> dict[str, str]:
    """SVG by file name."""
    # (name with the axis as *, unit of the axis, unit of the value) -> curve -> points
    values: dict[tuple[str, str, str], dict[str, dict[int, float]]] = {}
    ratios: dict[tuple[str, str, str], dict[str, dict[int, float]]] = {}
    for f in figures:
        if any(mark in f["name"] for mark in _NO_CURVES):
            continue
        parts = f["name"].split("/")
        for place, x, unit in _axes(f["name"]):
            family = "/".join([*parts[:place], "*", *parts[place + 1:]])
            key = (family, unit, f["unit"])
            values.setdefault(key, {}).setdefault("Turnpike", {})[x] = f["value"]
            if f["baseline"]:
                rival = _rival(f)
                values[key].setdefault(rival, {})[x] = f["baseline"]["value"]
                ratios.setdefault(key, {}).setdefault(rival, {})[x] = f["ratio"]
    charts = {}
    for what, families in (("", values), ("-ratio", ratios)):
        for (family, unit, value_unit), curves in families.items():
            if all(len(points) < 2 for points in curves.values()):
                continue
            title = family.replace("*", f"by {unit or 'size'}") + (": ratio to each rival" if what else "")
            charts[f"{_slug(family.replace('*', unit or 'size'))}-{_slug(value_unit)}{what}.svg"] = svg.line_chart(
                title, _axis_label(family.split("/")[0], unit), "ratio (as the benchmark defines it)" if what else value_unit,
                {name: sorted(points.items()) for name, points in curves.items()}, caption,
                reference=1.0 if what else None, linear=unit == "seconds")
    return charts


def stage_chart(figures: list[Figure], caption: str) -> dict[str, str]:
    bars: dict[str, dict[str, float]] = {}
    unit = ""
    for f in figures:
        if "/stage/" in f["name"]:
            case, stage = f["name"].split("/stage/")
            bars.setdefault(case, {})[stage] = f["value"]
            unit = f["unit"]
    return {"stages.svg": svg.stacked_bars("where the time goes, stage by stage", unit, bars, caption)} if bars else {}


def latency_charts(figures: list[Figure], caption: str) -> dict[str, str]:
    cases: dict[str, svg.Curves] = {}
    for f in figures:
        if match := _LATENCY.match(f["name"]):
            case, percentile, share = match.groups()
            # 999 is said p99.9.
            name = f"{percentile[:3]}.{percentile[3:]}" if len(percentile) > 3 else percentile
            cases.setdefault(case, {}).setdefault(name, []).append((float(share), f["value"]))
    return {f"{_slug(case)}-latency.svg": svg.line_chart(
        f"{case}: latency, generator to generator", "load [% of the highest rate without loss]", "us",
        {name: sorted(points) for name, points in curves.items()}, caption, linear=True) for case, curves in cases.items()}


def bar_charts(figures: list[Figure], caption: str) -> dict[str, str]:
    charts = {}
    for prefix, file, title in (("pipeline/two-workers/", "two-workers.svg", "two workers over the same peers"),
                                ("loopback/spread/", "spread.svg", "spreading in software")):
        bars: dict[str, dict[str, float]] = {}
        unit = ""
        for f in figures:
            if not f["name"].startswith(prefix):
                continue
            case, unit = f["name"].removeprefix(prefix), f["unit"]
            bars[case] = {"Turnpike": f["value"]}
            if f["baseline"]:
                rival = f["baseline"]["name"]
                bars[f"{case}: {rival}"] = {rival: f["baseline"]["value"]}
        if bars:
            charts[file] = svg.stacked_bars(title, unit, bars, caption)
    return charts


def write(figures: list[Figure], directory: Path, caption: str) -> list[Path]:
    """Draws everything that can be drawn; the files."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in {**line_charts(figures, caption), **latency_charts(figures, caption), **bar_charts(figures, caption),
                       **stage_chart(figures, caption)}.items():
        (directory / name).write_text(text)
        written.append(directory / name)
    return written
