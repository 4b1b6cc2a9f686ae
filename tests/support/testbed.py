"""The network of the demo and of the interoperation tests: clients outside, the gateway, a host inside.

    client a ─┐ 192.0.2.0/24                          10.0.0.0/24
    client b ─┤ 2001:db8:0:1::/64   ┌─────────┐      fd00:1::/64
              └───── switch ── wan0 ┤ gateway ├ lan0 ────── host
                                    └─────────┘
                 tunnel 10.8.0.0/24, fd00:8::/64
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from lab import Lab, Namespace
from turnpiked import Config, Gateway
from wireguard import Client, KeyPair, Peer, make_preshared_key, write_secret

LISTEN_PORT = 51820
GATEWAY_OUTSIDE = ("192.0.2.1/24", "2001:db8:0:1::1/64")
GATEWAY_INSIDE = ("10.0.0.1/24", "fd00:1::1/64")
GATEWAY_TUNNEL = ("10.8.0.1/24", "fd00:8::1/64")
HOST = ("10.0.0.10/24", "fd00:1::10/64")
BEHIND = ("10.8.0.0/24", "10.0.0.0/24", "fd00:8::/64", "fd00:1::/64")
TUNNEL_MTU = 1420


def bare(address: str) -> str:
    """The address without its prefix length."""
    return address.split("/")[0]


HOST_V4, HOST_V6 = (bare(a) for a in HOST)


@dataclasses.dataclass
class Side:
    """A client with what both ends must know of it."""

    name: str
    number: int  # last part of its addresses
    client: Client
    preshared_key: str | None
    outside: tuple[str, str]

    @property
    def v4(self) -> str:
        return f"10.8.0.{self.number}"

    @property
    def v6(self) -> str:
        return f"fd00:8::{self.number}"


class Testbed:
    """Namespaces and cables; then clients; then a gateway. Lives as long as its Lab."""

    __test__ = False  # not a test, whatever a collector thinks of its name

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.keys = KeyPair.make()
        self.sides: list[Side] = []
        self.switch = lab.namespace("switch")
        self.switch.switch()
        self.gateway_space = lab.namespace("gateway")
        self.plug(self.gateway_space, "wan0", "gateway")
        self.host = lab.namespace("host")
        self.plug_host()

    def plug_host(self) -> None:
        """The cable between the gateway and the host inside, with what the host's end needs."""
        self.lab.link(self.host, "eth0", self.gateway_space, "lan0")
        self.host.address("eth0", *HOST)
        self.host.route("10.8.0.0/24", "via", bare(GATEWAY_INSIDE[0]))
        self.host.route("fd00:8::/64", "via", bare(GATEWAY_INSIDE[1]))

    def plug(self, space: Namespace, interface: str, port: str) -> None:
        """A cable from `interface` to the switch, where it is called `port`."""
        self.lab.link(space, interface, self.switch, port)
        self.switch.switch_port(port)

    def add_client(self, name: str, over_ipv6: bool = False, preshared: bool = False,
                   knows_endpoint: bool = True, listen_port: int = 0) -> Side:
        """A wireguard-go client; with `knows_endpoint` it can begin, else it waits for the gateway."""
        number = 2 + len(self.sides)
        space = self.lab.namespace(name)
        self.plug(space, "eth0", f"p{number}")
        outside = (f"192.0.2.{number + 8}", f"2001:db8:0:1::{number + 8}")
        space.address("eth0", f"{outside[0]}/24", f"{outside[1]}/64")
        client = Client(self.lab, space, KeyPair.make(), (f"10.8.0.{number}/32", f"fd00:8::{number}/128"),
                        listen_port, TUNNEL_MTU)
        side = Side(name, number, client, make_preshared_key() if preshared else None, outside)
        address = bare(GATEWAY_OUTSIDE[1 if over_ipv6 else 0])
        endpoint = f"[{address}]:{LISTEN_PORT}" if over_ipv6 else f"{address}:{LISTEN_PORT}"
        client.set_peer(Peer(self.keys.public, BEHIND, endpoint if knows_endpoint else None, side.preshared_key))
        self.sides.append(side)
        return side

    def peer_config(self, side: Side) -> Config:
        peer: Config = {"name": side.name, "public_key": side.client.keys.public,
                        "allowed_ips": [f"{side.v4}/32", f"{side.v6}/128"]}
        if side.preshared_key:
            path = write_secret(self.lab.dir / f"{side.name}.psk", side.preshared_key)
            peer["preshared_key_file"] = str(path)
        return peer

    def gateway(self, workers: int = 1, peers: Sequence[Config] | None = None) -> Gateway:
        """A turnpiked for the clients so far, not yet started."""
        for interface in ("wan0", "lan0"):
            self.lab.raw_port(self.gateway_space, interface)
        key = write_secret(self.lab.dir / "gateway.key", self.keys.private)

        def device(number: int, interface: str) -> str:
            queues = f",qpairs={workers}" if workers > 1 else ""
            # Blocks and frames that hold a whole frame each: the driver's own defaults depend on the page size.
            return f"net_af_packet{number},iface={interface},blocksz=65536,framesz=2048,framecnt=2048{queues}"

        return Gateway(
            self.lab, self.gateway_space, workers=workers,
            ports=[{"name": "outside", "device": device(0, "wan0"), "addresses": list(GATEWAY_OUTSIDE), "mtu": 1500},
                   {"name": "inside", "device": device(1, "lan0"), "addresses": list(GATEWAY_INSIDE), "mtu": 1500}],
            tunnels=[{"name": "wg0", "private_key_file": str(key), "listen_port": LISTEN_PORT,
                      "outside": "outside", "inside": "inside", "mtu": TUNNEL_MTU,
                      "addresses": list(GATEWAY_TUNNEL), "peer_to_peer": True,
                      "peers": list(peers) if peers is not None else [self.peer_config(s) for s in self.sides]}])
