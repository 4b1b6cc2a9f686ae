"""The traffic of the demo: what must work through a gateway, as named steps that can also run over another one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from lab import Failed, Namespace
from testbed import HOST_V4, HOST_V6, Side, Testbed
from transfer import fetch_file
from wireguard import iperf, ping

FILE_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing that must work. `run` returns what a person likes to read about it, or raises Failed."""

    title: str
    run: Callable[[], str]


def _pings(space: Namespace, addresses: tuple[str, ...], size: int = 56) -> str:
    for address in addresses:
        sent, received = ping(space, address, count=5, size=size)
        if received != sent:
            raise Failed(f"{address}: {received} of {sent} came back")
    return "5 of 5 came back, " + ", ".join(addresses)


def _tcp(server: Namespace, client: Namespace, address: str, seconds: int) -> str:
    up = iperf(server, client, address, seconds)
    down = iperf(server, client, address, seconds, reverse=True)
    return f"{up:,.0f} Mbit/s there, {down:,.0f} Mbit/s back"


def _file(bed: Testbed, side: Side) -> str:
    checksum = fetch_file(bed.lab, bed.host, side.client.space, HOST_V4, FILE_BYTES)
    return f"{FILE_BYTES >> 20} MiB, SHA-256 {checksum[:16]}... at both ends"


def steps(bed: Testbed, a: Side, b: Side, seconds: int = 2) -> Iterator[Step]:
    """In this order: clients begin (the gateway responds), then the inside, then everything heavier."""
    host = bed.host
    for side in (a, b):
        yield Step(f"{side.name} pings the host inside, IPv4 and IPv6",
                   lambda s=side: _pings(s.client.space, (HOST_V4, HOST_V6)))
    for side in (a, b):
        yield Step(f"the host inside pings {side.name}, IPv4 and IPv6", lambda s=side: _pings(host, (s.v4, s.v6)))
    yield Step("the largest packet that fits the tunnel, both ways",
               # 1420 bytes of MTU less 20 of IPv4 and 8 of ICMP.
               lambda: _pings(a.client.space, (HOST_V4,), 1392) and _pings(host, (a.v4,), 1392))
    yield Step(f"TCP over IPv4 between {a.name} and the host inside (iperf3)",
               lambda: _tcp(host, a.client.space, HOST_V4, seconds))
    yield Step(f"TCP over IPv6 between {b.name} and the host inside (iperf3)",
               lambda: _tcp(host, b.client.space, HOST_V6, seconds))
    yield Step(f"{a.name} fetches a file from the host inside", lambda: _file(bed, a))
    yield Step(f"{a.name} pings {b.name} through the gateway, IPv4 and IPv6",
               lambda: _pings(a.client.space, (b.v4, b.v6)))
    yield Step(f"TCP between {a.name} and {b.name} through the gateway (iperf3)",
               lambda: _tcp(b.client.space, a.client.space, b.v4, seconds))
