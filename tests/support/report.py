"""What the demo prints at its end: the gateway's own figures beside those of the clients."""

from __future__ import annotations

import datetime

from testbed import HOST_V4, Testbed
from turnpiked import Gateway, program


def table(title: str, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Columns as wide as their widest cell; numbers to the right."""
    cells = [tuple(f"{c:,}" if isinstance(c, int) else str(c) for c in row) for row in rows]
    widths = [max(len(r[i]) for r in [header, *cells]) for i in range(len(header))]
    right = [bool(rows) and all(isinstance(r[i], (int, float)) for r in rows) for i in range(len(header))]

    def line(row: tuple[str, ...]) -> str:
        return "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right)).rstrip()

    print(f"\n{title}")
    print("  " + line(header))
    for row in cells:
        print("  " + line(row))


def _age(rfc3339: str | None) -> str:
    if rfc3339 is None:
        return "never"
    then = datetime.datetime.fromisoformat(rfc3339)
    return f"{(datetime.datetime.now(datetime.timezone.utc) - then).total_seconds():.0f} s ago"


def print_summary(bed: Testbed, gateway: Gateway) -> None:
    shown = gateway.show()
    table("Peers, as the gateway counts them (WireGuard bytes)",
          ("peer", "endpoint", "last handshake", "received", "sent"),
          [(p["name"] or p["public_key"], p["endpoint"] or "-", _age(p["last_handshake"]), p["rx_bytes"], p["tx_bytes"])
           for p in shown["peers"]])
    rows: list[tuple[object, ...]] = []
    for side in bed.sides:
        status = side.client.status(bed.keys.public)
        rows.append((side.name, status.tx_bytes, status.rx_bytes))
    table("The same, as wireguard-go counts them", ("client", "sent", "received"), rows)
    table("Ports", ("port", "up", "received packets", "sent packets", "missed", "no buffer"),
          [(p["name"], "yes" if p["up"] else "NO", p["rx_packets"], p["tx_packets"], p["missed"], p["no_mbuf"])
           for p in shown["ports"]])
    table("Workers", ("lcore", "generation", "busy", "cycles a packet"),
          [(w["lcore"], w["generation"], f"{w['busy']:.0%}", f"{w['cycles_per_packet']:.0f}")
           for w in shown["workers"]])
    drops = [(reason, count) for reason, count in sorted(shown["drops"].items()) if count]
    table("Packets dropped, by reason", ("reason", "packets"), drops or [("none", 0)])


def print_look_around(bed: Testbed, gateway: Gateway) -> None:
    """Commands to paste into a second terminal."""
    client = bed.sides[0].client
    print("\nTo look at it, as root in another terminal:")
    for what, command in (
        ("the gateway's state", f"{program('turnpike')} --socket {gateway.socket} show"),
        ("its configuration", f"cat {gateway.config_file}"),
        ("its log", f"tail -f {gateway.log}"),
        ("stock wg on the gateway", f"nsenter -t {gateway.process.pid if gateway.process else 0} -m -n wg show"),
        ("stock wg on a client", f"nsenter -t {client.process.pid} -m -n wg show"),
        ("traffic from a client", f"ip netns exec {client.space.full_name} ping {HOST_V4}"),
        ("the encrypted side", f"ip netns exec {bed.switch.full_name} tcpdump -ni gateway udp"),
        ("the inside", f"ip netns exec {bed.host.full_name} tcpdump -ni eth0"),
    ):
        print(f"  {what:24} {command}")
