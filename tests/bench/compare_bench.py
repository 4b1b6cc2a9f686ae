#!/usr/bin/env python3
"""Turnpike beside wireguard-go as the gateway, in the same namespaces over the same veths, in turns.

The client is wireguard-go in both cases, the host behind the gateway is the kernel, and all of them share the machine's
CPUs: the figures say what somebody sees who replaces one gateway by the other there, not what a gateway can do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from figures import Report
from lab import Failed, Lab, Namespace, wait_until
from testbed import GATEWAY_INSIDE, GATEWAY_OUTSIDE, GATEWAY_TUNNEL, HOST_V4, LISTEN_PORT, Side, Testbed
from wireguard import Client, Peer, iperf, ping

DATAGRAM_BYTES = 1300
# DPDK drivers for an interface of the kernel.
DRIVERS = {"af_packet": "net_af_packet{n},iface={i},blocksz=65536,framesz=2048,framecnt=2048,qdisc_bypass=1",
           "af_xdp": "net_af_xdp{n},iface={i}"}


def udp(server: Namespace, client: Namespace, seconds: float, reverse: bool, port: int) -> float:
    """Datagrams as fast as they can be sent; what arrives, in Mbit/s."""
    service = server.start(f"iperf3-udp-{port}-{reverse}", "iperf3", "-s", "-1", "-p", str(port))
    wait_until("iperf3 -s", lambda: f":{port} " in server.run("ss", "-Hltn").stdout)
    words = ["iperf3", "--json", "-u", "-b", "0", "-l", str(DATAGRAM_BYTES), "-c", HOST_V4, "-p", str(port), "-t", str(seconds),
             "--connect-timeout", "10000", *(["-R"] if reverse else [])]
    done = client.run(*words, check=False, timeout=seconds + 60)
    service.stop(5)
    try:
        total = json.loads(done.stdout)["end"]["sum"]
        return total["bits_per_second"] * (1 - total["lost_percent"] / 100) / 1e6
    except (ValueError, KeyError):
        raise Failed(f"iperf3 -u: {done.stdout[-500:]}{done.stderr}") from None


class Rivals:
    """Both gateways, one of them at work."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.bed = Testbed(lab)
        self.side: Side = self.bed.add_client("client")
        self.turnpike = self.bed.gateway()
        self.rounds = 0

    def with_turnpike(self, driver: str, measure: Callable[[], None]) -> None:
        for number, (port, interface) in enumerate(zip(self.turnpike.config["ports"], ("wan0", "lan0"))):
            port["device"] = DRIVERS[driver].format(n=number, i=interface)
        self.turnpike.start()
        try:
            self._reach()
            measure()
        finally:
            status = self.turnpike.stop()
        if status != 0:
            raise Failed(f"turnpiked ended with {status}")

    def with_wireguard_go(self, measure: Callable[[], None]) -> None:
        space = self.bed.gateway_space
        space.address("wan0", GATEWAY_OUTSIDE[0])
        space.address("lan0", GATEWAY_INSIDE[0])
        space.sysctl("net.ipv4.ip_forward", "1")
        rival = Client(self.lab, space, self.bed.keys, (GATEWAY_TUNNEL[0],), LISTEN_PORT)
        try:
            rival.set_peer(Peer(self.side.client.keys.public, (f"{self.side.v4}/32",)))
            self._reach()
            measure()
        finally:
            rival.process.stop()
            # Turnpike's ports must be nobody else's.
            space.sysctl("net.ipv4.ip_forward", "0")
            for interface in ("wan0", "lan0"):
                space.ip("address", "flush", "dev", interface)

    def _reach(self) -> None:
        # A gateway that was replaced has another MAC for its address.
        for space, interface in ((self.bed.host, "eth0"), (self.side.client.space, "eth0")):
            space.ip("neighbour", "flush", "dev", interface)
        wait_until("the client reaches the host", lambda: ping(self.side.client.space, HOST_V4, 1, wait=2)[1] == 1, 40)

    def measure(self, seconds: float) -> dict[str, float]:
        """Outbound is from the host to the client."""
        host, client = self.bed.host, self.side.client.space
        self.rounds += 1
        port = 5201 + 10 * self.rounds
        return {"tcp/inbound": iperf(host, client, HOST_V4, int(seconds), port=port),
                "tcp/outbound": iperf(host, client, HOST_V4, int(seconds), reverse=True, port=port + 1),
                "udp/inbound": udp(host, client, seconds, False, port + 2),
                "udp/outbound": udp(host, client, seconds, True, port + 3)}


def run(report: Report, rounds: int, seconds: float) -> None:
    drivers = [d for d in DRIVERS if report.wants(f"compare/{d}")]
    ours: dict[str, list[dict[str, float]]] = {driver: [] for driver in drivers}
    theirs: list[dict[str, float]] = []
    with Lab("compare") as lab:
        rivals = Rivals(lab)
        try:
            for _ in range(rounds):
                for driver in drivers:
                    rivals.with_turnpike(driver, lambda d=driver: ours[d].append(rivals.measure(seconds)))
                rivals.with_wireguard_go(lambda: theirs.append(rivals.measure(seconds)))
        except Failed as error:
            raise Failed(f"{error}\n{lab.logs()}") from None
    for driver in drivers:
        for what in theirs[0]:
            own, other = [r[what] for r in ours[driver]], [r[what] for r in theirs]
            report.add(f"compare/{driver}/{what}", statistics.median(own), "Mbit/s", own, f"wireguard-go/{what}",
                       statistics.median(other), statistics.median(a / b for a, b in zip(own, other)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", metavar="FILE", type=Path)
    parser.add_argument("--filter", metavar="TEXT", default="")
    arguments = parser.parse_args()
    requirements.need(("ip", "ethtool", "wg", "wireguard-go", "ping", "iperf3"), tun=True)
    report = Report(arguments.filter)
    run(report, *((1, 1) if arguments.quick else (3, 5)))
    report.write(arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
