"""Figures of a benchmark in Python, printed as they come and written as the JSON of the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Report:
    def __init__(self, only: str = "") -> None:
        self._only = only
        self._figures: list[dict[str, Any]] = []

    def wants(self, prefix: str) -> bool:
        """Whether figures of this name or below it were asked for."""
        return self._only in prefix or prefix in self._only

    def add(self, name: str, value: float, unit: str, runs: list[float], baseline: str = "",
            baseline_value: float = 0, ratio: float = 0) -> None:
        self._figures.append({
            "name": name, "value": value, "unit": unit,
            "baseline": {"name": baseline, "value": baseline_value} if baseline else None,
            "ratio": ratio if baseline else None, "runs": runs})
        against = f"{baseline_value:12.3f} {baseline}  {ratio:.3f}" if baseline else ""
        print(f"{name:55} {value:10.3f} {unit:8} {against}".rstrip(), flush=True)

    def write(self, path: Path | None) -> None:
        if path is not None:
            path.write_text("[\n" + ",\n".join("  " + json.dumps(f) for f in self._figures) + "\n]\n")
