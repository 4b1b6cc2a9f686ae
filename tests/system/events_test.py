#!/usr/bin/env python3
"""What the gateway tells while it runs: events to those who listen, metrics to Prometheus, rates to `turnpike top`."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from gateway_case import GatewayCase
from lab import Process, wait_until
from testbed import HOST_V4, Side
from turnpiked import METRICS, program
from wireguard import ping

FULL = bool(os.environ.get("TURNPIKE_TEST_FULL"))
CLEAR = b"\x1b[H\x1b[2J"


class EventsAndMetrics(GatewayCase):
    a: Side

    def setUp(self) -> None:
        super().setUp()
        self.a = self.bed.add_client("client-a")
        self.gateway = self.bed.gateway()
        self.gateway.config["control"]["metrics"] = METRICS
        self.gateway.start()

    def watch(self) -> Process:
        before = self.metric("turnpike_commits_total")
        process = super().watch()
        self.assertGreater(self.metric("turnpike_commits_total"), before)
        return process

    def metric(self, sample: str) -> float:
        assert self.gateway is not None
        return self.gateway.metric(sample)

    def test_events_are_told_as_they_happen(self) -> None:
        gateway = self.gateway
        assert gateway is not None
        process = self.watch()
        self.assert_pings(self.a.client.space, HOST_V4)
        self.await_event(process, "handshake_done", peer="client-a", tunnel="wg0")
        self.assertGreaterEqual(self.metric("turnpike_handshakes_total"), 1)

        # Another address of the same client.
        space, old = self.a.client.space, self.a.outside[0]
        space.ip("address", "flush", "dev", "eth0", "scope", "global")
        space.address("eth0", "192.0.2.77/24")
        self.a.client.wg("set", self.a.client.interface, "listen-port", "44444")
        wait_until("client-a is back", lambda: ping(space, HOST_V4, 2, wait=2)[1] == 2, 20)
        roamed = self.await_event(process, "peer_roamed", peer="client-a")
        self.assertEqual(roamed["endpoint"], "192.0.2.77:44444")
        self.assertTrue(roamed["before"].startswith(f"{old}:"), roamed)

        # A client that no peer is.
        stranger = self.bed.add_client("stranger")
        stranger.client.space.run("ping", "-c", "1", "-W", "1", HOST_V4, check=False)
        unknown = self.await_event(process, "unknown_key", public_key=stranger.client.keys.public)
        self.assertEqual(unknown["tunnel"], "wg0")

        gateway.cli("ips", "claim", "wg0", "client-a", "10.98.0.0/24", "--comment", "told")
        committed = self.await_event(process, "committed", comment="told")
        self.assertEqual(committed["generation"], gateway.show()["generation"])
        refusals = self.metric("turnpike_refusals_total")
        gateway.cli("ips", "release", "wg0", "client-a", "10.97.0.0/24", check=False)
        self.assertIn("10.97.0.0/24", self.await_event(process, "refused")["detail"])
        self.assertEqual(self.metric("turnpike_refusals_total"), refusals + 1)

        gateway.cli("rollback", str(committed["generation"] - 1))
        back = self.await_event(process, "rollback", why="rollback")
        self.assertGreater(back["generation"], committed["generation"])
        gateway.cli("ips", "claim", "wg0", "client-a", "10.96.0.0/24", "--confirm", "1s")
        undone = self.await_event(process, "rollback", why="unconfirmed")
        self.assertEqual(undone["generation"], gateway.show()["generation"])

        gateway.config["tunnels"][0]["peers"][0]["persistent_keepalive"] = 9
        gateway.write_config()
        gateway.cli("reload")
        self.await_event(process, "reload", applied=True, changed=True)
        gateway.config["dataplane"]["memory"] = 1024
        gateway.write_config()
        gateway.cli("reload", check=False)
        self.assertIn("restart needed", self.await_event(process, "reload", applied=False)["detail"])
        self.assertEqual(self.metric("turnpike_last_reload_success"), 0)
        self.assertEqual(self.metric('turnpike_reloads_total{outcome="applied"}'), 1)
        if FULL:
            # Handshakes are given up after 90 seconds without an answer.
            self.a.client.process.signal(signal.SIGSTOP)
            self.bed.host.run("ping", "-c", "120", "-i", "1", self.a.v4, check=False, timeout=150)
            self.await_event(process, "peer_silent", 60, peer="client-a")
            self.a.client.process.signal(signal.SIGCONT)
        process.stop()

    def test_counters_and_rates_follow_the_traffic(self) -> None:
        gateway = self.gateway
        assert gateway is not None
        sample = 'turnpike_tunnel_packets_total{tunnel="wg0",direction="inbound"}'
        before = self.metric(sample)
        self.assert_pings(self.a.client.space, HOST_V4, count=10)
        self.assertGreaterEqual(self.metric(sample) - before, 10)
        self.assertEqual(self.metric('turnpike_port_up{port="outside"}'), 1)
        self.assertEqual(self.metric("turnpike_generation"), gateway.show()["generation"])
        flood = self.a.client.space.start("flood", "ping", "-i", "0.02", "-s", "1000", HOST_V4)
        rounds = gateway.cli("top", "--rounds", "2", "--interval", "2", "--json").stdout.splitlines()
        flood.stop()
        self.assertEqual(len(rounds), 2)
        first, second = (json.loads(line)["peers"][0] for line in rounds)
        self.assertEqual(first["rx_bytes_per_second"], 0)
        self.assertGreater(second["rx_bytes_per_second"], 5_000)
        self.assertGreater(second["tx_bytes_per_second"], 5_000)
        self.assertIn("client-a", gateway.cli("top", "--rounds", "1").stdout)

    def test_top_draws_anew_on_a_terminal_and_q_ends_it(self) -> None:
        gateway = self.gateway
        assert gateway is not None
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 6, 70, 0, 0))
        before = termios.tcgetattr(theirs)
        top = subprocess.Popen([program("turnpike"), "--socket", str(gateway.socket), "top", "--interval", "1"],
                               stdin=theirs, stdout=theirs, stderr=theirs)
        self.addCleanup(top.kill)
        screen = b""

        def drawn() -> bool:
            nonlocal screen
            while select.select([ours], [], [], 0)[0]:
                screen += os.read(ours, 65536)
            return screen.count(CLEAR) >= 3

        wait_until("top has drawn three times", drawn, 20)
        for drawing in screen.split(CLEAR)[1:3]:
            text = re.sub(rb"\x1b\[[0-9;]*m", b"", drawing).decode()
            self.assertIn("client-a", text)
            self.assertLessEqual(len(text.splitlines()), 6)
            self.assertLessEqual(max(map(len, text.splitlines())), 70)
        self.assertIsNone(top.poll())
        os.write(ours, b"q")
        self.assertEqual(top.wait(5), 0)
        self.assertEqual(termios.tcgetattr(theirs)[:6], before[:6], "the terminal is as it was")


if __name__ == "__main__":
    unittest.main()
