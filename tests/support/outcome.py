"""What became of a test, asked from within it: for clean-ups that show logs when something went wrong."""

from __future__ import annotations

import unittest


def has_failed(case: unittest.TestCase) -> bool:
    """Whether the test or a part of it (subTest) has failed so far. unittest's own `_outcome.success` is True again while
    clean-ups run (Python 3.11)."""
    outcome = getattr(case, "_outcome", None)
    result = getattr(outcome, "result", None)
    if result is None:
        return False
    return any(case in (seen, getattr(seen, "test_case", None)) for seen, _ in result.errors + result.failures)
