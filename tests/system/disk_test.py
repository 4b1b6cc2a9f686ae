#!/usr/bin/env python3
"""A disk that is full or turns read-only while packets flow: transactions are refused with the reason and what to do, not one
packet is lost, and all goes on once there is room again, or a disk that can be written.

Each test has a disk of its own, mounted in a mount namespace of its own.
"""

from __future__ import annotations

import ctypes
import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from control_client import Answer, Control
from durable_case import EXIT_ERROR, fill
from gateway_case import GatewayCase
from lab import run, wait_until
from numbered_flow import NumberedFlow, judge
from testbed import HOST_V4, Side
from turnpiked import METRICS, program

INTERVAL_MS = 4.0
FAILURES = "turnpike_commit_failures_total"
_CLONE_NEWNS = 0x20000


class DiskCase(GatewayCase):
    side: Side

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        requirements.need(("mkfs.ext4",))
        # Children inherit it; what is mounted goes with the last of them.
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        run("mount", "--make-rprivate", "/")

    def setUp(self) -> None:
        super().setUp()
        self.disk = self.lab.dir / "disk"
        self.disk.mkdir()
        self.side = self.bed.add_client("client-a")
        self.gateway = self.bed.gateway()
        self.gateway.config["control"] |= {"state": str(self.disk / "state.db"), "durability": "full", "metrics": METRICS}

    def mount(self, *words: str) -> None:
        run("mount", *words, str(self.disk))
        self.addCleanup(run, "umount", "--lazy", str(self.disk), check=False)

    def start_with_traffic(self) -> NumberedFlow:
        assert self.gateway is not None
        self.gateway.start()
        self.assert_pings(self.side.client.space, HOST_V4)
        self.handshake = self.session_of("client-a")["last_handshake"]
        self.watching = self.gateway.space.start("watch", program("turnpike"), "--socket", str(self.gateway.socket),
                                                 "watch", "--json")
        self.control = self.enterContext(Control(self.gateway.socket))
        flow = NumberedFlow(self.lab, self.bed.host, [self.side.client.space], self.side.v4, "flow")
        flow.start(INTERVAL_MS)
        flow.wait_for(50)
        return flow

    def commit(self, number: int) -> Answer:
        """Claims and releases in turn, so that the state stays as it is."""
        return self.control.commit({"op": "release" if number % 2 else "claim", "peer": "client-a",
                                    "prefixes": ["10.9.0.0/24"]})

    def assert_refused(self, answer: Answer, *why: str) -> None:
        self.assertEqual(answer.status, 500, answer.body)
        self.assertIn(f"the state cannot be written ({self.disk / 'state.db'}: ", answer.body["detail"])
        for word in why:
            self.assertIn(word, answer.body["detail"])

    def assert_nothing_changes(self, *why: str) -> None:
        """Whoever asks, however, is told why; what there was, is."""
        assert self.gateway is not None
        before = self.control.ask("GET", "/v1/show?section=peers").body
        failures = self.gateway.metric(FAILURES)
        self.assert_refused(self.control.commit({"op": "peer_remove", "peer": "client-a"}), *why)
        said = self.gateway.cli("peer", "set", "wg0", "client-a", "--description", "x", check=False)
        self.assertEqual(said.returncode, 1)
        for word in why:
            self.assertIn(word, said.stderr)
        peer = self.gateway.config["tunnels"][0]["peers"][0]
        peer["description"] = "of the file"
        self.gateway.write_config()
        reloaded = self.gateway.cli("reload", check=False)
        self.assertEqual(reloaded.returncode, 1, reloaded.stderr)
        del peer["description"]
        self.gateway.write_config()
        key = self.gateway.space.run("wg", "set", "wg0", "peer", self.side.client.keys.public, "persistent-keepalive", "9",
                                     check=False)
        self.assertNotEqual(key.returncode, 0)
        self.assertEqual(self.gateway.metric(FAILURES), failures + 4)
        after = self.control.ask("GET", "/v1/show?section=peers").body
        for each in (before, after):
            for peer in each["peers"]:
                peer["allowed_ips"].sort()
                for traffic in ("rx_bytes", "tx_bytes"):
                    del peer[traffic]
        self.assertEqual(after, before)

    def assert_said(self, times: int, *why: str) -> None:
        """In the log: once, however often somebody asks; to those who listen, each time."""
        assert self.gateway is not None
        lines = [line for line in self.gateway.log.read_text().splitlines()
                 if "the state cannot be written" in line and "; forwarding goes on with generation" in line]
        self.assertEqual(len(lines), times, lines)
        for word in why:
            self.assertIn(word, lines[-1])
        # What it says to be in force is what the workers have.
        workers = {worker["generation"] for worker in self.gateway.show()["workers"]}
        self.assertEqual(workers, {int(lines[-1].rpartition(" ")[2])}, lines[-1])
        wait_until("an event", lambda: any("cannot be written" in event.get("detail", "") for event in self.events()))

    def events(self) -> list[dict]:
        text = self.watching.log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def assert_flawless(self, flow: NumberedFlow) -> None:
        verdict = judge(*flow.finish(), self.side.client.space.name, [])
        print(verdict, flush=True)
        self.assertTrue(verdict.flawless, str(verdict))
        self.assertEqual(self.session_of("client-a")["last_handshake"], self.handshake)


class Disks(DiskCase):
    def test_full_and_then_not(self) -> None:
        self.mount("-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs")
        flow = self.start_with_traffic()
        assert self.gateway is not None
        for times in (1, 2):
            filler = fill(self.disk)
            committed = 0
            while (answer := self.commit(committed)).status == 200:
                committed += 1
            self.assert_refused(answer, "full", "make room there, and transactions work again")
            self.assert_nothing_changes("full", "make room there")
            self.assert_said(times, "full")
            flow.wait_for(50)
            filler.unlink()
            self.assertEqual(self.commit(committed).status, 200)
            if committed % 2 == 0:
                self.assertEqual(self.commit(1).status, 200)
            self.assertEqual(self.gateway.log.read_text().count("info: transactions work again"), times)
        self.assert_flawless(flow)
        generation = self.gateway.show()["generation"]
        self.assertEqual(self.gateway.stop(), 0)
        # Nor does it start: what it must not forget from now on could not be stored.
        filler = fill(self.disk)
        self.gateway.spawn()
        assert self.gateway.process is not None
        self.assertEqual(self.gateway.process.wait(60), EXIT_ERROR)
        self.assertRegex(self.gateway.process.tail(1), "error: .*full")
        filler.unlink()
        self.gateway.start()
        self.assertEqual(self.gateway.show()["generation"], generation)
        self.assertEqual(self.gateway.stop(), 0)
        # Nor is a new state begun.
        for path in self.disk.glob("state.db*"):
            path.unlink()
        filler = fill(self.disk)
        self.gateway.spawn()
        self.assertEqual(self.gateway.process.wait(60), EXIT_ERROR)
        self.assertRegex(self.gateway.process.tail(1), "error: .*full; make room there, then start again")
        filler.unlink()
        self.gateway.start()

    def test_read_only_and_mended(self) -> None:
        image = self.lab.dir / "image"
        with image.open("wb") as file:
            file.truncate(32 << 20)
        run("mkfs.ext4", "-q", "-F", str(image))
        self.mount("-o", "loop,errors=remount-ro", str(image))
        flow = self.start_with_traffic()
        assert self.gateway is not None and self.gateway.process is not None
        answer = self.control.commit({"op": "claim", "peer": "client-a", "prefixes": ["10.9.1.0/24"]})
        self.assertEqual(answer.status, 200, answer.body)
        loop = Path(run("findmnt", "-no", "SOURCE", str(self.disk)).stdout.strip()).name
        Path(f"/sys/fs/ext4/{loop}/trigger_fs_error").write_text("a test\n")
        self.assert_refused(self.commit(0), "see to its disk")
        self.assert_nothing_changes("see to its disk")
        self.assert_said(1, "see to its disk")
        flow.wait_for(50)
        self.assert_flawless(flow)
        # As the message says.
        self.assertEqual(self.gateway.stop(), 0)
        run("umount", str(self.disk))
        self.assertIn(run("e2fsck", "-fy", str(image), check=False).returncode, (0, 1))
        run("mount", "-o", "loop", str(image), str(self.disk))
        self.gateway.start()
        self.assertEqual(self.gateway.show()["generation"], answer.body["generation"])
        self.assertIn("10.9.1.0/24", self.gateway.peer("client-a")["allowed_ips"])
        self.gateway.cli("ips", "claim", "wg0", "client-a", "10.9.2.0/24")


if __name__ == "__main__":
    unittest.main(verbosity=2)
