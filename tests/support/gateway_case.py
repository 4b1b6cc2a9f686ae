"""The frame of a test that needs a running turnpiked with real clients around it."""

from __future__ import annotations

import json
import sys
import unittest
from collections.abc import Sequence
from typing import Any

import requirements
from lab import Failed, Lab, Namespace, Process, wait_until
from outcome import has_failed
from testbed import Testbed
from turnpiked import Config, Gateway, program
from wireguard import ping


class GatewayCase(unittest.TestCase):
    """A Testbed for each test; whatever the test does, the gateway must stop cleanly at its end."""

    DAEMON = "turnpiked"

    lab: Lab
    bed: Testbed
    gateway: Gateway | None

    @classmethod
    def setUpClass(cls) -> None:
        requirements.need(("ip", "ethtool", "wg", "wireguard-go", "ping", "iperf3"), tun=True)

    def setUp(self) -> None:
        self.gateway = None
        self.lab = self.enterContext(Lab("interop"))
        # Cleanups run last in, first out: the logs are printed while the lab still has them.
        self.addCleanup(self._print_logs_of_a_failure)
        self.bed = Testbed(self.lab)

    def start(self, workers: int = 1, peers: Sequence[Config] | None = None) -> Gateway:
        """Starts turnpiked for the clients made so far."""
        self.gateway = self.bed.gateway(workers, peers)
        self.gateway.daemon = self.DAEMON
        self.gateway.start()
        return self.gateway

    def tearDown(self) -> None:
        if self.gateway is not None:
            self.gateway.check_alive()
            self.assertEqual(self.gateway.stop(), 0, "turnpiked ends with 0 on SIGTERM")

    def _print_logs_of_a_failure(self) -> None:
        if has_failed(self):
            print(self.lab.logs(60), file=sys.stderr, flush=True)

    def assert_pings(self, space: Namespace, *addresses: str, count: int = 5, size: int = 56) -> None:
        """Every one comes back: held packets too, so not even the first may be lost."""
        for address in addresses:
            self.assertEqual(ping(space, address, count, size, interval=0.05), (count, count),
                             f"{space.name} pings {address}")

    def assert_silent(self, space: Namespace, address: str, source: str | None = None) -> None:
        self.assertEqual(ping(space, address, 3, wait=2, source=source)[1], 0, f"{space.name} pings {address}")

    def watch(self) -> Process:
        """`turnpike watch`, which listens from when it sees the first event of ours: of claims for the first peer."""
        gateway = self.gateway
        assert gateway is not None
        tunnel = gateway.config["tunnels"][0]
        process = gateway.space.start("watch", program("turnpike"), "--socket", str(gateway.socket), "watch", "--json")
        count = 0

        def seen() -> bool:
            nonlocal count
            count += 1
            gateway.cli("ips", "claim" if count % 2 else "release", tunnel["name"], tunnel["peers"][0]["name"], "10.99.0.0/24")
            return bool(self.events(process))

        wait_until("turnpike watch sees an event", seen, 20, every=0.3)
        return process

    def events(self, process: Process) -> list[dict[str, Any]]:
        text = process.log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def await_event(self, process: Process, name: str, seconds: float = 20, **fields: object) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [e for e in self.events(process)
                        if e["event"] == name and all(e.get(k) == v for k, v in fields.items())]
            return bool(found)

        wait_until(f"the event {name} {fields}", there, seconds)
        return found[0]

    def drops(self) -> int:
        """All packets that the gateway dropped, whatever the reason."""
        assert self.gateway is not None
        return sum(self.gateway.show()["drops"].values())

    def session_of(self, name: str) -> Config:
        """What `turnpike show` says of a peer that has a session."""
        assert self.gateway is not None
        peer = self.gateway.peer(name)
        if peer["last_handshake"] is None:
            raise Failed(f"{name} has no session: {peer}")
        return peer
