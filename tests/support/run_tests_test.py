#!/usr/bin/env python3
"""What runs beside the system tests: at a low priority, with its output in one piece, and missed where it breaks."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import unittest
from unittest import mock

import run_tests
from testlog import Count

PRINTS_ITS_NICENESS = [sys.executable, "-c", "import os; print('nice', os.nice(0))"]


class Beside(unittest.TestCase):
    def setUp(self) -> None:
        self.others_are_through = threading.Event()
        self.alone: list[bool] = []

    def system_tests(self, _: object, alone: bool) -> Count:
        run_tests.say("the system tests speak")
        if alone:
            self.alone.append(self.others_are_through.is_set())
        return Count(passed=100 if alone else 10)

    def part(self, part: str, _: object) -> Count:
        run_tests.say(f"{part} speaks")
        if part == "tsan":
            self.others_are_through.set()
            raise RuntimeError("no such build")
        return Count(passed=1, failed=run_tests.run(PRINTS_ITS_NICENESS))

    def run_beside(self) -> tuple[list[run_tests.Row], str]:
        output = io.StringIO()
        with contextlib.redirect_stdout(output), mock.patch.multiple(
                run_tests, system_tests=self.system_tests, runner=self.part):
            return run_tests.run_beside(["asan", "tsan"], mock.Mock()), output.getvalue()

    def test_every_part_is_counted_also_one_that_breaks(self) -> None:
        rows, _ = self.run_beside()
        self.assertEqual([(part, count.passed, count.failed) for part, count, _ in rows],
                         [("asan", 1, 0), ("tsan", 0, 1), ("system", 110, 0)])
        self.assertIn("no such build", rows[1][1].bad[0])

    def test_what_wants_to_be_alone_waits_for_the_others(self) -> None:
        self.run_beside()
        self.assertEqual(self.alone, [True])

    def test_their_output_is_one_piece_and_they_have_a_low_priority(self) -> None:
        before = os.nice(0)
        _, output = self.run_beside()
        self.assertIn(f"== asan\nasan speaks\nnice {min(before + 10, 19)}\n== tsan\ntsan speaks\n", output)
        self.assertEqual(os.nice(0), before)


if __name__ == "__main__":
    unittest.main()
