"""Reads what `meson test` logged and counts it.

A test program is one line to Meson, but may hold hundreds of GoogleTest cases; the cases are what a
person means by "N passed", so they are counted where the output names them.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

# The closing lines of GoogleTest, which are the same since its first release.
_GTEST_PASSED = re.compile(r"^\[  PASSED  \] (\d+) tests?\.", re.MULTILINE)
_GTEST_SKIPPED = re.compile(r"^\[  SKIPPED \] (\d+) tests?, listed below", re.MULTILINE)
_GTEST_FAILED = re.compile(r"^\[  FAILED  \] (\d+) tests?, listed below", re.MULTILINE)
_GTEST_NAME = re.compile(r"^\[  (?:FAILED |SKIPPED)\s?\] (\S+\.\S+?)(?:,.*)?$", re.MULTILINE)
# The closing lines of Python's unittest.
_UNITTEST_RAN = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
_UNITTEST_VERDICT = re.compile(r"^(?:OK|FAILED)(?: \((.*)\))?$", re.MULTILINE)
_UNITTEST_NAME = re.compile(r"^(?:FAIL|ERROR): (\S+)", re.MULTILINE)


@dataclasses.dataclass
class Count:
    """Numbers of tests, and the names of those that somebody must look at."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    bad: list[str] = dataclasses.field(default_factory=list)

    def add(self, other: "Count") -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.bad += other.bad

    def forbid_skips(self) -> None:
        """A missing requirement is a failure unless somebody said --allow-skip."""
        self.failed += self.skipped
        self.skipped = 0

    def line(self) -> str:
        """The closing line that scripts/test promises."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def _count_unittest(output: str) -> Count:
    """Python's unittest: "Ran 5 tests in 0.1s" and "FAILED (failures=1, errors=1, skipped=2)"."""
    ran = sum(int(n) for n in _UNITTEST_RAN.findall(output))
    words = [w for details in _UNITTEST_VERDICT.findall(output) for w in details.split(", ") if "=" in w]
    numbers = [(key, int(value)) for key, value in (w.split("=") for w in words)]
    skipped = sum(n for key, n in numbers if key == "skipped")
    failed = sum(n for key, n in numbers if key in ("failures", "errors", "unexpected successes"))
    return Count(max(ran - skipped - failed, 0), failed, skipped, _UNITTEST_NAME.findall(output))


def _count_gtest(output: str) -> Count:
    return Count(sum(int(n) for n in _GTEST_PASSED.findall(output)),
                 sum(int(n) for n in _GTEST_FAILED.findall(output)),
                 sum(int(n) for n in _GTEST_SKIPPED.findall(output)),
                 sorted(set(_GTEST_NAME.findall(output))))


def count_output(name: str, result: str, output: str) -> Count:
    """The count of one test program from Meson's verdict and what it printed."""
    count = Count()
    if _UNITTEST_RAN.search(output):
        count = _count_unittest(output)
    elif _GTEST_PASSED.search(output):
        count = _count_gtest(output)
    count.bad = [f"{name}: {case}" for case in count.bad]
    if count.failed + count.skipped and not count.bad:
        count.bad = [name if count.failed else f"{name} (skipped)"]

    # Meson's verdict is the one that counts: a program may crash after its last printed line.
    if result in ("OK", "EXPECTEDFAIL"):
        if count.passed + count.failed + count.skipped == 0:
            count.passed = 1
    elif result == "SKIP":
        count.skipped = max(count.skipped, 1)
        count.bad = count.bad or [f"{name} (skipped)"]
    elif count.failed == 0:
        count.failed = 1
        count.bad.append(f"{name} ({result.lower()})")
    return count


def read(log: Path) -> Count:
    """The count of all tests in one `testlog.json`; one JSON object stands on each line."""
    total = Count()
    for line in log.read_text(errors="replace").splitlines():
        entry = json.loads(line)
        output = entry.get("stdout", "") + "\n" + entry.get("stderr", "")
        total.add(count_output(entry["name"], entry["result"], output))
    return total
