#!/usr/bin/env python3
"""Every test that tests/PROTOCOL.md names exists, and every rule there names one."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def existing() -> set[str]:
    """`Suite.Name` of C++ and `file: name` of Python."""
    found = set()
    for path in TESTS.rglob("*_test.cpp"):
        found |= {f"{suite}.{name}" for suite, name in re.findall(r"^TEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\s*\)",
                                                                  path.read_text(), re.MULTILINE)}
    for path in TESTS.rglob("*_test.py"):
        found |= {f"{path.name}: {name}" for name in re.findall(r"^    def (test_\w+)", path.read_text(), re.MULTILINE)}
    return found


class Rules(unittest.TestCase):
    def test_each_names_tests_that_exist(self) -> None:
        there = existing()
        rows = [line for line in (TESTS / "PROTOCOL.md").read_text().splitlines() if line.startswith("| ")]
        self.assertGreater(len(rows), 60)
        for row in rows:
            rule, tests = (cell.strip() for cell in row.strip("|").split("|"))
            if tests == "tests":
                continue
            names = re.findall(r"`([^`]+)`", tests)
            with self.subTest(rule):
                self.assertTrue(names, "no test")
                self.assertEqual([name for name in names if name not in there], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
