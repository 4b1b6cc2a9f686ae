#!/usr/bin/env python3
"""Where the tables of allowed IPs lie: on the huge pages that the configuration asks for, or the log says so. And keys are
locked into memory, or the log says so.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import hugepages
import requirements
from lab import Failed, Lab, wait_until
from turnpiked import Gateway, null_ports, program
from wireguard import KeyPair, write_secret

MEMORY_MIB = 128
PACKET_PAGES = hugepages.pages_of(MEMORY_MIB)
TABLE_PAGES = 12
MAY_BE_SWAPPED = "keys cannot be locked into memory (RLIMIT_MEMLOCK)"
RAN_OUT = "dataplane.hugepages: reserved hugepages ran out"
PREFIXES = 60_000
PREFIXES_OF_A_CALL = 6_000


class TableMemory(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        requirements.need(("ip", "wg", "mount"))

    def setUp(self) -> None:
        self.lab = self.enterContext(Lab("memory"))
        secret = write_secret(self.lab.dir / "wg0.key", KeyPair.make().private)
        self.gateway = Gateway(
            self.lab, self.lab.namespace("gateway"),
            null_ports(),
            [{"name": "wg0", "private_key_file": str(secret), "listen_port": 51820, "outside": "outside",
              "inside": "inside", "peers": [{"name": "site", "public_key": KeyPair.make().public}]}],
            memory=MEMORY_MIB)

    def with_hugepages(self, pages: int) -> None:
        """The configuration asks for hugepages, and so many are free."""
        self.gateway.config["dataplane"].update(hugepages=True, eal=hugepages.provide(self, self.lab, pages))

    def proc(self, name: str) -> str:
        assert self.gateway.process is not None
        return Path(f"/proc/{self.gateway.process.pid}/{name}").read_text()

    def reserved_pages(self) -> dict[str, int]:
        """Anonymous ones (packet memory is in files) by NUMA node."""
        nodes: dict[str, int] = {}
        for line in self.proc("numa_maps").splitlines():
            if "anon_hugepage" in line:
                self.assertIn(f"kernelpagesize_kB={hugepages.PAGE_KIB}", line)
                for node, pages in re.findall(r" (N\d+)=(\d+)", line):
                    nodes[node] = nodes.get(node, 0) + int(pages)
        return nodes

    def transparent_kib(self) -> int:
        return sum(int(kib) for kib in re.findall(r"^AnonHugePages: +(\d+) kB", self.proc("smaps"), re.M))

    def claim(self) -> None:
        """More than a table's first, small regions hold."""
        prefixes = [f"{10 + i // 65536}.{i // 256 % 256}.{i % 256}.0/24" for i in range(PREFIXES)]
        for at in range(0, PREFIXES, PREFIXES_OF_A_CALL):
            self.gateway.cli("ips", "claim", "wg0", "site", *prefixes[at:at + PREFIXES_OF_A_CALL])
        self.assertIn("site", self.gateway.cli("owner", "wg0", prefixes[-1]).stdout)

    def said(self) -> bool:
        return RAN_OUT in self.gateway.log.read_text()

    def stop(self) -> None:
        self.assertEqual(self.gateway.stop(), 0)

    def test_reserved_hugepages_hold_the_tables(self) -> None:
        self.with_hugepages(PACKET_PAGES + TABLE_PAGES)
        self.gateway.start()
        before = sum(self.reserved_pages().values())
        self.claim()
        after = self.reserved_pages()
        self.assertGreater(sum(after.values()), before)
        nodes = {path.name.replace("node", "N") for path in Path("/sys/devices/system/node").glob("node[0-9]*")}
        self.assertLessEqual(set(after), nodes)
        self.assertFalse(self.said())
        self.stop()

    def test_where_they_run_out_the_log_says_so(self) -> None:
        self.with_hugepages(PACKET_PAGES)
        self.gateway.start()
        before = self.transparent_kib()
        self.claim()
        wait_until("the log tells of it", self.said, 10)
        self.assertEqual(self.gateway.log.read_text().count(RAN_OUT), 1)
        self.assertGreaterEqual(self.transparent_kib(), before + hugepages.PAGE_KIB)
        self.stop()

    def test_without_reserved_ones_transparent_ones_hold_them(self) -> None:
        mode = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
        if "[never]" in mode:
            raise Failed("transparent hugepages are off: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
        self.gateway.start()
        before = self.transparent_kib()
        self.claim()
        self.assertGreaterEqual(self.transparent_kib(), before + hugepages.PAGE_KIB)
        self.assertEqual(self.reserved_pages(), {})
        self.assertFalse(self.said())
        self.stop()

    def test_too_few_for_packets_are_a_refusal(self) -> None:
        self.with_hugepages(PACKET_PAGES // 4)
        self.gateway.write_config()
        done = subprocess.run([program("turnpiked"), "--config", str(self.gateway.config_file)], text=True,
                              capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertIn("reserve hugepages", lines[0])
        self.assertIn("dataplane.hugepages", lines[0])

    def count_after_a_handshake_begins(self) -> int:
        """How often the log tells of keys that are not locked. Where a key will be is kept ready from an initiation on."""
        self.gateway.start()
        self.assertNotIn(MAY_BE_SWAPPED, self.gateway.log.read_text())
        self.gateway.cli("peer", "set", "wg0", "site", "--endpoint", "192.0.0.9:51820", "--persistent-keepalive", "1")
        time.sleep(2.5)  # the daemon looks each second
        return self.gateway.log.read_text().count(MAY_BE_SWAPPED)

    def test_where_keys_cannot_be_locked_the_log_says_so_once(self) -> None:
        requirements.need(("prlimit", "setpriv"))
        self.assertEqual(self.count_after_a_handshake_begins(), 0)
        self.stop()
        self.may_lock(65_536)
        self.assertEqual(self.count_after_a_handshake_begins(), 1)
        self.stop()

    def test_only_keys_are_locked(self) -> None:
        """5 MiB are enough for the first 32,768 keypairs; what is known of received counters is no secret."""
        requirements.need(("prlimit", "setpriv"))
        self.may_lock(5 << 20)
        self.assertEqual(self.count_after_a_handshake_begins(), 0)
        # The next ones are touched ahead of need, beside the session thread.
        assert self.gateway.process is not None
        tasks = Path(f"/proc/{self.gateway.process.pid}/task").glob("*/comm")
        self.assertIn("pages\n", [task.read_text() for task in tasks])
        self.stop()

    def may_lock(self, size: int) -> None:
        self.gateway.started_by = ["prlimit", f"--memlock={size}", "setpriv", "--bounding-set=-ipc_lock"]


if __name__ == "__main__":
    unittest.main(verbosity=2)
