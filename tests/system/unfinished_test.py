#!/usr/bin/env python3
"""Between two virtio cables whose other ends leave checksums to a device, as a virtual machine does: what comes out of the
tunnel has right ones, and messages for the tunnel are taken."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

for folder in ("support", "bench"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / folder))
from lab import Lab
from loopback_ends import Loopback, need_two_cpus


class Unfinished(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        need_two_cpus()

    def test_checksums_left_to_a_device_are_finished_or_not_asked_for(self) -> None:
        with Lab("unfinished") as lab:
            loopback = Loopback(lab, 1, idle="adaptive")
            answer = loopback.ask("unfinished")
            sent = answer["sent"]
            self.assertGreater(sent, 0)
            self.assertEqual({**answer, "udp-invalid": loopback.gateway.show()["drops"]["udp-invalid"]},
                             {"ok": True, "sent": sent, "tcp": sent, "udp": sent, "wrong": 0, "messages": sent,
                              "udp-invalid": 0})
            loopback.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
