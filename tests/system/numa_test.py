#!/usr/bin/env python3
"""Look-up tables on a machine with two NUMA nodes: a guest that is told that its CPUs and memory are apart."""

from __future__ import annotations

import re
import sys
import unittest
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from kernel_guest import PROGRAMS, KernelGuest, Tap
from lab import Lab
from turnpiked import BUILD

# The first node has CPU 0, the second CPU 1, each half of the memory.
TWO_NODES = ("-m", "768", "-smp", "2",
             "-object", "memory-backend-ram,id=m0,size=384M", "-numa", "node,nodeid=0,cpus=0,memdev=m0",
             "-object", "memory-backend-ram,id=m1,size=384M", "-numa", "node,nodeid=1,cpus=1,memdev=m1")

# All memory is on the first.
MEMORY_ON_ONE = ("-m", "768", "-smp", "2",
                 "-object", "memory-backend-ram,id=m0,size=768M", "-numa", "node,nodeid=0,cpus=0,memdev=m0",
                 "-numa", "node,nodeid=1,cpus=1")


def setUpModule() -> None:
    requirements.need(PROGRAMS, tun=True)


class TwoNodes(unittest.TestCase):
    def place_tables(self, machine: Sequence[str]) -> str:
        """What unit-daemon-nodes says on such a machine, where it finds each page on the right node."""
        program = BUILD / "tests/unit/daemon/unit-daemon-nodes"
        with Lab("numa") as lab:
            guest = KernelGuest(lab, lab.namespace("guest"), Tap("guest0"), BUILD / "guest-kernel", [program], machine)
            try:
                guest.run("true")  # the shell's greeting comes with it
                self.assertEqual(guest.run("cat /sys/devices/system/node/online").strip(), "0-1")
                return guest.run(program.name, seconds=240)
            finally:
                guest.close()

    def test_each_worker_reads_a_table_that_lies_on_its_node(self) -> None:
        said = self.place_tables(TWO_NODES)
        found = re.search(r"2 nodes, 2 copies, (\d+) pages seen", said)
        self.assertIsNotNone(found, said)
        assert found is not None
        self.assertGreaterEqual(int(found.group(1)), 200, said)
        self.assertNotIn("NUMA node", said)

    def test_workers_on_a_node_without_memory_read_the_copy_of_the_other(self) -> None:
        said = self.place_tables(MEMORY_ON_ONE)
        self.assertRegex(said, r"2 nodes, 1 copies, \d+ pages seen")
        self.assertIn("NUMA node 1: there is no such node with memory for this process; those with memory: 0; "
                      "workers on NUMA node 1 read tables that may lie elsewhere", said)


if __name__ == "__main__":
    unittest.main()
