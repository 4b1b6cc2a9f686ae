#!/usr/bin/env python3
"""outcome.has_failed() within a clean-up."""

from __future__ import annotations

import unittest

from outcome import has_failed


class Sample(unittest.TestCase):
    seen: dict[str, bool] = {}

    def setUp(self) -> None:
        self.addCleanup(lambda: self.seen.update({self._testMethodName: has_failed(self)}))

    def passes(self) -> None:
        pass

    def fails(self) -> None:
        self.fail("wanted")

    def breaks(self) -> None:
        raise ValueError("wanted")

    def fails_in_a_part(self) -> None:
        with self.subTest(part=1):
            self.fail("wanted")


class HasFailed(unittest.TestCase):
    def test_a_clean_up_knows_what_became_of_its_test(self) -> None:
        names = ("fails", "passes", "breaks", "fails_in_a_part")  # one that passes between others, in one result
        unittest.TestSuite(Sample(name) for name in names).run(unittest.TestResult())
        self.assertEqual(Sample.seen, {"fails": True, "passes": False, "breaks": True, "fails_in_a_part": True})


if __name__ == "__main__":
    unittest.main(verbosity=2)
