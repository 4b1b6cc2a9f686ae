#!/usr/bin/env python3
"""An idle gateway with `idle: adaptive` between two virtio cables, whose ports have RX interrupts: its worker waits for one,
is woken by the first packet and by what the session thread has to send, loses nothing, and does so again when the other ends
were killed and are back. And a gateway whose ports have none sleeps as before.
"""

from __future__ import annotations

import signal
import sys
import time
import unittest
from pathlib import Path

for folder in ("support", "bench"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / folder))
from lab import Lab, wait_until
from loopback_ends import Loopback, need_two_cpus
from turnpiked import Gateway, null_ports
from wireguard import KeyPair, write_secret

WAITS = "waits-for-interrupts"
# A worker that waits wakes up 50 times a second by itself, one that sleeps 0.5 ms at a time some 1,800 times. A machine with
# more to do makes them fewer.
FEW_WAKE_UPS = 100
SECONDS = 0.5


class Interrupts(unittest.TestCase):
    loopback: Loopback

    @classmethod
    def setUpClass(cls) -> None:
        need_two_cpus()

    def setUp(self) -> None:
        self.lab = self.enterContext(Lab("idle"))
        self.loopback = Loopback(self.lab, 1, idle="adaptive", keepalive=8)
        self.gateway = self.loopback.gateway

    def worker(self) -> dict[str, object]:
        return self.gateway.show()["workers"][0]

    def interrupts(self) -> int:
        count = self.worker()["interrupts"]
        assert isinstance(count, int)
        return count

    def wake_ups(self) -> float:
        """A second, now."""
        before = self.loopback.worker_wake_ups()
        time.sleep(SECONDS)
        return (self.loopback.worker_wake_ups() - before) / SECONDS

    def wait_until_it_waits(self) -> None:
        wait_until("the worker wakes up seldom", lambda: self.wake_ups() < FEW_WAKE_UPS, 20, every=0)

    def burst_is_whole(self) -> None:
        """Half a millisecond at a million packets a second, which finds the worker waiting."""
        before = self.interrupts()
        answer = self.loopback.burst_from_idle(2)
        self.assertEqual(answer["lost"], 0, answer)
        self.assertGreater(self.interrupts(), before)

    def test_worker_waits_for_interrupts(self) -> None:
        self.assertEqual(self.worker()["idle"], WAITS)
        self.assertIn("idle workers wait for RX interrupts", self.gateway.log.read_text())
        self.wait_until_it_waits()
        self.burst_is_whole()
        self.burst_is_whole()
        # What is sent is the peer's keepalive, each 8 s of silence; nothing comes in.
        self.wait_until_it_waits()
        woken, (received, sent) = self.interrupts(), self.packets()
        wait_until("a keepalive is sent", lambda: self.packets()[1] > sent, 20, every=0.1)
        self.assertEqual(self.packets()[0], received)
        self.assertGreater(self.interrupts(), woken)
        # A handshake has both: what comes in, and what the session thread answers.
        self.wait_until_it_waits()
        self.loopback.handshake()
        for _ in range(2):
            self.wait_until_it_waits()
            self.loopback.restart_generator(signal.SIGKILL)
            self.burst_is_whole()
        self.wait_until_it_waits()
        self.assertEqual(self.worker()["idle"], WAITS)
        self.loopback.close()

    def packets(self) -> tuple[int, int]:
        """Of the port outside, as workers count them: received and sent."""
        port = self.gateway.show()["ports"][0]
        return port["rx_packets"], port["tx_packets"]


class Sleeps(unittest.TestCase):
    def test_ports_without_interrupts_are_named(self) -> None:
        with Lab("idle") as lab:
            key = write_secret(lab.dir / "gateway.key", KeyPair.make().private)
            gateway = Gateway(lab, lab.namespace("gateway"), null_ports(), [
                {"name": "wg0", "private_key_file": str(key), "listen_port": 51820, "outside": "outside",
                 "inside": "inside", "mtu": 1420, "peers": []}])
            gateway.start()
            self.assertIn("idle workers sleep shortly: no RX interrupts of port outside, inside", gateway.log.read_text())
            worker = gateway.show()["workers"][0]
            self.assertEqual((worker["idle"], worker["interrupts"]), ("sleeps", 0))
            self.assertEqual(gateway.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
