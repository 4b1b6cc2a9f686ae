#!/usr/bin/env python3
"""The counts that scripts/test closes with are right, above all when something failed or crashed."""

from __future__ import annotations

import unittest

from testlog import Count, count_output

GTEST_OK = "[==========] 3 tests from 1 test suite ran. (1 ms total)\n[  PASSED  ] 3 tests.\n"
GTEST_BAD = ("[  FAILED  ] Trie.Finds (0 ms)\n[==========] 3 tests ran.\n[  PASSED  ] 1 test.\n"
             "[  SKIPPED ] 1 test, listed below:\n[  SKIPPED ] Trie.Avx512\n"
             "[  FAILED  ] 1 test, listed below:\n[  FAILED  ] Trie.Finds\n\n 1 FAILED TEST\n")
UNITTEST_OK = "....\n----\nRan 4 tests in 0.004s\n\nOK\n"
UNITTEST_BAD = ("ERROR: test_a (__main__.X.test_a)\nFAIL: test_b (__main__.X.test_b)\n----\n"
                "Ran 4 tests in 1.2s\n\nFAILED (failures=1, errors=1, skipped=1)\n")
UNITTEST_NO_ROOT = "ERROR: setUpModule (__main__)\n----\nRan 0 tests in 0.000s\n\nFAILED (errors=1)\n"
UNITTEST_SKIPPED = "----\nRan 0 tests in 0.000s\n\nOK (skipped=1)\n"


class CountOutput(unittest.TestCase):
    def check(self, result: str, output: str, passed: int, failed: int, skipped: int = 0) -> Count:
        count = count_output("t", result, output)
        self.assertEqual((count.passed, count.failed, count.skipped), (passed, failed, skipped), count)
        self.assertEqual(bool(count.bad), bool(failed or skipped), "what somebody must look at has a name")
        return count

    def test_cases_of_google_test_count_one_by_one(self) -> None:
        self.check("OK", GTEST_OK, 3, 0)
        self.assertEqual(self.check("FAIL", GTEST_BAD, 1, 1, 1).bad, ["t: Trie.Avx512", "t: Trie.Finds"])

    def test_cases_of_unittest_count_one_by_one(self) -> None:
        self.check("OK", UNITTEST_OK, 4, 0)
        self.assertEqual(self.check("FAIL", UNITTEST_BAD, 1, 2, 1).bad, ["t: test_a", "t: test_b"])

    def test_a_module_that_cannot_start_failed(self) -> None:
        self.check("FAIL", UNITTEST_NO_ROOT, 0, 1)
        self.check("OK", UNITTEST_SKIPPED, 0, 0, 1)

    def test_a_program_without_cases_counts_as_one(self) -> None:
        self.check("OK", "fine\n", 1, 0)
        self.check("FAIL", "", 0, 1)
        self.check("TIMEOUT", "", 0, 1)
        self.check("SKIP", "no root\n", 0, 0, 1)

    def test_a_crash_after_the_last_case_is_a_failure(self) -> None:
        self.check("FAIL", GTEST_OK, 3, 1)
        self.check("TIMEOUT", UNITTEST_OK, 4, 1)

    def test_a_skip_is_a_failure_unless_it_is_allowed(self) -> None:
        count = count_output("t", "SKIP", "")
        count.forbid_skips()
        self.assertEqual(count.line(), "0 passed, 1 failed")

    def test_the_closing_line(self) -> None:
        self.assertEqual(Count(5, 0).line(), "5 passed, 0 failed")
        self.assertEqual(Count(5, 1, 2).line(), "5 passed, 1 failed, 2 skipped")


if __name__ == "__main__":
    unittest.main()
