#!/usr/bin/env python3
"""The judge of numbered flows finds what it is there to find."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from numbered_flow import Arrival, Move, Verdict, judge

# a owns until 110 at most, b from 100 at least until 210 at most, a again from 200.
MOVES = [Move("b", 100, 110), Move("a", 200, 210)]


def one(stamp: int, arrived: int, receiver: str) -> Verdict:
    return judge(1, [Arrival(0, stamp, arrived, receiver)], "a", MOVES)


class Judge(unittest.TestCase):
    def test_a_packet_on_its_way_during_a_move_may_reach_either(self) -> None:
        for receiver in ("a", "b"):
            self.assertTrue(one(95, 120, receiver).flawless)
            self.assertTrue(one(195, 220, receiver).flawless)

    def test_not_the_giver_once_the_move_was_acknowledged(self) -> None:
        self.assertEqual(len(one(111, 120, "a").astray), 1)
        self.assertTrue(one(111, 120, "b").flawless)
        self.assertEqual(len(one(211, 220, "b").astray), 1)

    def test_not_the_taker_before_the_move_was_asked_for(self) -> None:
        self.assertEqual(len(one(50, 99, "b").astray), 1)
        self.assertEqual(len(one(120, 199, "a").astray), 1)

    def test_a_packet_that_is_slower_than_two_moves(self) -> None:
        self.assertTrue(one(50, 300, "b").flawless)

    def test_a_stranger_is_wrong_at_any_time(self) -> None:
        self.assertEqual(len(one(50, 300, "c").astray), 1)

    def test_loss_and_copies(self) -> None:
        arrivals = [Arrival(0, 1, 2, "a"), Arrival(2, 3, 4, "a"), Arrival(2, 3, 120, "b"), Arrival(4, 150, 160, "b")]
        verdict = judge(6, arrivals, "a", MOVES)
        self.assertEqual((verdict.lost, verdict.twice, verdict.astray), ([1, 3, 5], [2], []))
        self.assertFalse(verdict.flawless)
        self.assertEqual((verdict.changes, verdict.received), (1, {"a": 2, "b": 2}))


if __name__ == "__main__":
    unittest.main(verbosity=2)
