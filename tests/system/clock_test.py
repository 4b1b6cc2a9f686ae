#!/usr/bin/env python3
"""The gateway's wall clock goes back an hour, or ahead and back: handshakes go on, with peers that remember its newest date,
and what is old stays old. Other clocks are left alone, as where a person or NTP sets the time.
"""

from __future__ import annotations

import datetime
import json
import os
import secrets
import signal
import sys
import time
import unittest
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from gateway_case import GatewayCase
from hostile import Case
from hostile_case import HostileCase
from lab import wait_until
from noise_peer import tai64n
from testbed import HOST_V4, Side
from turnpiked import SHORT_KEYS, Config, Gateway
from wall_clock import HOUR, WallClock
from wireguard import ping

CLIENT_PORT = 51821
FULL = bool(os.environ.get("TURNPIKE_TEST_FULL"))


class ClockCase(GatewayCase):
    clock: WallClock
    durability = "full"

    def start(self, workers: int = 1, peers: Sequence[Config] | None = None) -> Gateway:
        self.gateway = self.bed.gateway(workers, peers)
        self.gateway.daemon = self.DAEMON
        self.gateway.config["control"]["durability"] = self.durability
        self.clock = WallClock(self.lab.dir, self.gateway)
        self.gateway.start()
        return self.gateway

    def kill(self) -> None:
        assert self.gateway is not None and self.gateway.process is not None
        self.gateway.process.signal(signal.SIGKILL)
        self.gateway.process.wait()


class InitiatorCase(ClockCase):
    """The client is a stock one. It refuses an initiation that is not newer than the last."""

    DAEMON = SHORT_KEYS

    def begin(self) -> Side:
        """A client that waits for the gateway, and the gateway with a session."""
        side = self.bed.add_client("client-a", knows_endpoint=False, listen_port=CLIENT_PORT)
        self.start(peers=[{**self.bed.peer_config(side), "endpoint": f"{side.outside[0]}:{CLIENT_PORT}"}])
        self.assert_pings(self.bed.host, side.v4)
        return side


class AsInitiator(InitiatorCase):
    def date_of_the_log(self) -> float:
        """What the gateway takes for now, by the newest commit of its history."""
        assert self.gateway is not None
        self.gateway.cli("peer", "set", "wg0", "client-a", "--description", secrets.token_hex())
        newest = json.loads(self.gateway.cli("history", "--json").stdout)["history"][0]["time"]
        return datetime.datetime.fromisoformat(newest).timestamp()

    def test_sessions_are_renewed_while_it_runs(self) -> None:
        side = self.begin()
        assert self.gateway is not None
        flow = self.bed.host.start("flow", "ping", "-n", "-i", "0.1", side.v4)
        for hours in (-1, 1, 0) if FULL else (-1, 0):
            self.clock.set(hours * HOUR)
            self.assertAlmostEqual(self.date_of_the_log(), time.time() + hours * HOUR, delta=60)
            before = self.handshakes(side)
            wait_until(f"rekeys with the clock {hours} hours off", lambda n=before: self.handshakes(side) != n, 40)
        flow.signal(signal.SIGINT)
        flow.wait()
        summary = next(line for line in flow.tail().splitlines() if "packets transmitted" in line)
        sent, received = (int(word) for word in summary.split() if word.isdigit())
        self.assertGreaterEqual(received, sent - 1, summary)

    def handshakes(self, side: Side) -> str:
        """When the client, by its own clock, had the last one."""
        return side.client.space.run("wg", "show", side.client.interface, "latest-handshakes").stdout

    def test_a_restart_with_the_clock_set_back_begins_at_once(self) -> None:
        side = self.begin()
        assert self.gateway is not None
        for hours, end in ((-1, self.kill), (-2, self.stop), (0, self.kill)):
            end()
            self.clock.set(hours * HOUR)
            self.gateway.start()
            self.assertEqual(ping(self.bed.host, side.v4, 5, wait=2), (5, 5), f"the clock {hours} hours off")

    def stop(self) -> None:
        assert self.gateway is not None
        self.assertEqual(self.gateway.stop(), 0)


class WithoutAState(InitiatorCase):
    """Shows that the clock is really set, and that the client really minds: nothing is remembered here."""

    durability = "off"

    def test_the_client_refuses_a_gateway_whose_dates_went_back(self) -> None:
        side = self.begin()
        assert self.gateway is not None
        self.kill()
        self.clock.set(-HOUR)
        self.gateway.start()
        self.assert_silent(self.bed.host, side.v4)


class AsResponder(ClockCase, HostileCase):
    GOOD_CLIENT_PINGS = False

    def test_an_initiation_of_before_a_restart_is_old_after_it_whatever_the_clock_says(self) -> None:
        assert self.gateway is not None
        now = time.time_ns()
        first, _ = self.handshake(tai64n(now))
        for hours in (-1, 1):
            self.assertEqual(self.gateway.stop(), 0)
            self.clock.set(hours * HOUR)
            self.gateway.start()
            self.stranger.heard.clear()
            self.expect([Case("replayed", "handshake-replayed", self.aim.message(message))
                         for message in (first, self.mallory.initiation(tai64n(now - 1), 9))])
            first, _ = self.handshake(tai64n(now := now + 1_000_000_000))


if __name__ == "__main__":
    unittest.main(verbosity=2)
