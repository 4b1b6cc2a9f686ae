"""A stranger on the outside link, and frames that no honest host sends, each with what must become of it."""

from __future__ import annotations

import collections
import dataclasses
import random
import struct
import time
from collections.abc import Iterator

from packets import (BROADCAST, ETH_ARP, ETH_IPV4, ETH_IPV6, ETH_QINQ, ETH_VLAN, FRAGMENT, ICMP, ICMPV6, TCP, UDP,
                     RawPort, arp, address_bytes, ethernet, icmp, icmpv6, ip_udp, ipv4, ipv6, neighbour_message, udp)
from testbed import Testbed

ANY = "any"  # dropped and counted, whatever the reason


@dataclasses.dataclass(frozen=True)
class Case:
    """A frame, and the name of the drop reason that counts it; None: taken note of, neither dropped nor answered."""

    what: str
    reason: str | None
    frame: bytes


class Stranger:
    """A host on the gateway's outside cable, without a kernel: every frame it sends is ours, and it answers for its own
    addresses only.

    It sits on the switch's own end of the cable, since a switch may look into packets (br_netfilter) and end those
    that are wrong. What the gateway sends to anybody but `others` is in `heard`, questions for link-layer addresses
    aside.
    """

    def __init__(self, bed: Testbed, number: int, others: tuple[bytes, ...]) -> None:
        self.v4, self.v6 = f"192.0.2.{number}", f"2001:db8:0:1::{number}"
        self.mac = bytes((2, 0, 0, 0, 0xBA, number))
        self.port = RawPort(bed.switch, "gateway")
        self.gateway_mac = b""  # known when the gateway runs
        self.heard: collections.deque[bytes] = collections.deque()
        self._others = others

    def listen(self, seconds: float) -> None:
        """Takes in what comes for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            frame = self.port.receive(left)
            if frame is None or frame[6:12] != self.gateway_mac or self._answer(frame):
                continue
            # What it tells everybody (its own addresses, at start) is no answer.
            if not frame[0] & 1 and frame[:6] not in self._others:
                self.heard.append(frame)

    def _answer(self, frame: bytes) -> bool:
        if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1":
            if frame[38:42] == address_bytes(self.v4):
                reply = arp(2, self.mac, self.v4, self.gateway_mac, ".".join(map(str, frame[28:32])))
                self.port.send(ethernet(self.gateway_mac, self.mac, ETH_ARP, reply))
            return True
        if frame[12:14] == b"\x86\xdd" and frame[20] == ICMPV6 and len(frame) >= 78 and frame[54] == 135:
            if frame[62:78] == address_bytes(self.v6):
                asker = ":".join(frame[22 + i:24 + i].hex() for i in range(0, 16, 2))
                advertisement = neighbour_message(136, self.v6, asker, self.v6, flags=0x60, options=b"\2\1" + self.mac)
                self.port.send(ethernet(self.gateway_mac, self.mac, ETH_IPV6, advertisement))
            return True
        return False


@dataclasses.dataclass(frozen=True)
class Aim:
    """Where frames go: from whom, to which addresses of which port of the gateway."""

    mac: bytes
    source_mac: bytes
    v4: str
    v6: str
    source_v4: str
    source_v6: str
    port: int  # UDP, of the tunnel

    def frame(self, ether_type: int, payload: bytes, destination: bytes | None = None) -> bytes:
        return ethernet(self.mac if destination is None else destination, self.source_mac, ether_type, payload)

    def ip4(self, protocol: int, payload: bytes, **fields: object) -> bytes:
        return self.frame(ETH_IPV4, ipv4(self.source_v4, self.v4, protocol, payload, **fields))  # type: ignore

    def ip6(self, protocol: int, payload: bytes, **fields: object) -> bytes:
        return self.frame(ETH_IPV6, ipv6(self.source_v6, self.v6, protocol, payload, **fields))  # type: ignore

    def message(self, payload: bytes, over_ipv6: bool = False, source_port: int = 40000) -> bytes:
        """A WireGuard message as it should come."""
        if over_ipv6:
            return self.frame(ETH_IPV6, ip_udp(self.source_v6, self.v6, source_port, self.port, payload))
        return self.frame(ETH_IPV4, ip_udp(self.source_v4, self.v4, source_port, self.port, payload))


def link_frames(aim: Aim, pick: random.Random) -> Iterator[Case]:
    """Ethernet: unknown types, tags, other hosts' addresses."""
    inner = ipv4(aim.source_v4, aim.v4, UDP, udp(aim.source_v4, aim.v4, 1, aim.port, pick.randbytes(148)))
    for kind in (0, 46, 0x05DC, 0x0600, 0x88CC, 0x8847, 0xFFFF):
        yield Case(f"ether type {kind:#x}", "ether-type-unknown", aim.frame(kind, pick.randbytes(60)))
    for kind in (ETH_VLAN, ETH_QINQ):
        for tag in (0, 1, 0xFFFF):
            tagged = struct.pack(">HH", tag, ETH_IPV4) + inner
            yield Case(f"VLAN {kind:#x} {tag:#x}", "vlan-tagged", aim.frame(kind, tagged))
    twice = struct.pack(">HHHH", 5, ETH_VLAN, 6, ETH_IPV4) + inner
    yield Case("two VLANs", "vlan-tagged", aim.frame(ETH_QINQ, twice))
    yield Case("broadcast frame, unicast packet", "frame-not-for-us", aim.frame(ETH_IPV4, inner, BROADCAST))
    yield Case("another host's MAC", "frame-not-for-us", aim.frame(ETH_IPV4, inner, b"\x02\x00\x5e\x10\x00\x07"))
    yield Case("group MAC, unicast packet", "frame-not-for-us", aim.frame(ETH_IPV4, inner, b"\x01\x00\x5e\x10\x00\x07"))


def truncated_frames(aim: Aim, pick: random.Random) -> Iterator[Case]:
    """Whole packets of each kind, cut at every length."""
    body = pick.randbytes(40)
    for over_ipv6, reason in ((False, "ipv4-header-invalid"), (True, "ipv6-header-invalid")):
        whole = aim.message(body, over_ipv6)
        for length in range(14, len(whole)):
            yield Case(f"IPv{6 if over_ipv6 else 4} cut at {length}", reason, whole[:length])
    asking = aim.frame(ETH_ARP, arp(1, aim.source_mac, aim.source_v4, bytes(6), aim.v4))
    for length in range(14, len(asking)):
        yield Case(f"ARP cut at {length}", "frame-too-short", asking[:length])


def ip_frames(aim: Aim, pick: random.Random) -> Iterator[Case]:
    """IP headers that lie."""
    body = udp(aim.source_v4, aim.v4, 1, aim.port, pick.randbytes(64))
    body6 = udp(aim.source_v6, aim.v6, 1, aim.port, pick.randbytes(64))
    bad4, bad6 = "ipv4-header-invalid", "ipv6-header-invalid"
    for version in (0, 1, 5, 6, 7, 15):
        yield Case(f"IPv4 of version {version}", bad4, aim.ip4(UDP, body, version=version))
    for version in (0, 4, 5, 7, 15):
        yield Case(f"IPv6 of version {version}", bad6, aim.ip6(UDP, body6, version=version))
    for words in (0, 1, 4, 15):
        # 15 words: the packet is long enough, the sum over what is now the header is not.
        yield Case(f"header of {words} words", bad4, aim.ip4(UDP, body, words=words))
    for total in (0, 19, 20 + len(body) + 1, 0xFFFF):
        yield Case(f"total length {total}", bad4, aim.ip4(UDP, body, total=total))
    for length in (len(body6) + 1, 0xFFFF):
        yield Case(f"payload length {length}", bad6, aim.ip6(UDP, body6, length=length))
    for value in (0, 0xFFFF, pick.randrange(1, 0xFFFF)):
        yield Case(f"header sum {value:#x}", bad4, aim.ip4(UDP, body, header_sum=value))
    # Fragments of IPv4 do not get here: DPDK's af_packet has the kernel put them together (PACKET_FANOUT_FLAG_DEFRAG).
    for extension in (struct.pack(">BBHI", UDP, 0, 1, 7), struct.pack(">BBHI", UDP, 0, 0x10, 7)):
        yield Case("IPv6 fragment", "fragment", aim.ip6(FRAGMENT, extension + body6))
    yield Case("empty IPv6 fragment", "fragment", aim.ip6(FRAGMENT, b""))
    # Options are passed over; what is behind them is looked at.
    for options in (b"\1" * 4, b"\1" * 40, b"\x83\x07\x04" + address_bytes(aim.source_v4) + b"\0", pick.randbytes(40)):
        yield Case("IPv4 options", "message-invalid", aim.ip4(UDP, body, options=options))
    for protocol in (0, 2, 4, 41, 43, 47, 50, 51, 60, 132, 255):
        yield Case(f"IPv4 protocol {protocol}", "local-unwanted", aim.ip4(protocol, body))
        yield Case(f"IPv6 next header {protocol}", "local-unwanted", aim.ip6(protocol, body6))
    syn = struct.pack(">HHIIBBHHH", 1, 22, 7, 0, 0x50, 2, 1024, 0, 0)
    yield Case("TCP SYN", "local-unwanted", aim.ip4(TCP, syn))
    yield Case("TCP SYN over IPv6", "local-unwanted", aim.ip6(TCP, syn))
    for source in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"):
        yield Case(f"from {source}", "martian-source", aim.frame(ETH_IPV4, ip_udp(source, aim.v4, 1, aim.port, b"x")))
    for source in ("::", "::1", "ff02::1"):
        yield Case(f"from {source}", "martian-source", aim.frame(ETH_IPV6, ip_udp(source, aim.v6, 1, aim.port, b"x")))
    for to in ("0.0.0.0", "127.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.0", "192.0.2.255"):
        yield Case(f"to {to}", "martian-destination", aim.frame(ETH_IPV4, ip_udp(aim.source_v4, to, 1, aim.port, b"x")))
    for to in ("::", "::1"):
        yield Case(f"to {to}", "martian-destination", aim.frame(ETH_IPV6, ip_udp(aim.source_v6, to, 1, aim.port, b"x")))
    for to in ("224.0.0.1", "239.255.255.250"):
        yield Case(f"to {to}", "multicast", aim.frame(ETH_IPV4, ip_udp(aim.source_v4, to, 1, aim.port, b"x")))
    # Not through the outside port, neither to hosts inside nor to peers, and not in plain text.
    for to in ("10.0.0.1", "10.0.0.10", "10.8.0.1", "10.8.0.2", "198.51.100.9", "192.0.2.200"):
        yield Case(f"to {to}", "not-forwarded", aim.frame(ETH_IPV4, ip_udp(aim.source_v4, to, 1, aim.port, b"x")))
    for to in ("fd00:1::10", "fd00:8::2", "2001:db8:0:1::200", "fe80::1"):
        yield Case(f"to {to}", "not-forwarded", aim.frame(ETH_IPV6, ip_udp(aim.source_v6, to, 1, aim.port, b"x")))


def udp_frames(aim: Aim, pick: random.Random) -> Iterator[Case]:
    """UDP headers that lie, and sums."""
    body = pick.randbytes(64)

    def v4(**lie: int) -> bytes:
        return aim.ip4(UDP, udp(aim.source_v4, aim.v4, 1, aim.port, body, **lie))  # type: ignore

    def v6(**lie: int) -> bytes:
        return aim.ip6(UDP, udp(aim.source_v6, aim.v6, 1, aim.port, body, **lie))  # type: ignore

    for length in (0, 1, 7, 73, 0xFFFF):
        yield Case(f"UDP length {length}", "udp-invalid", v4(length=length))
        yield Case(f"UDP length {length} over IPv6", "udp-invalid", v6(length=length))
    for size in range(8):
        yield Case(f"{size} bytes of UDP", "udp-invalid", aim.ip4(UDP, bytes(size)))
        yield Case(f"{size} bytes of UDP over IPv6", "udp-invalid", aim.ip6(UDP, bytes(size)))
    for value in (1, 0xFFFF, pick.randrange(1, 0xFFFF)):
        yield Case(f"UDP sum {value:#x}", "udp-invalid", v4(sum_=value))
    # No sum is right on IPv4 (RFC 768) and wrong on IPv6 (RFC 8200, 8.1).
    yield Case("no UDP sum", "message-invalid", v4(sum_=0))
    yield Case("no UDP sum over IPv6", "udp-invalid", v6(sum_=0))
    for port in (0, 53, aim.port - 1, aim.port + 1, 65535):
        packet = ip_udp(aim.source_v4, aim.v4, 1, port, body)
        yield Case(f"UDP port {port}", "local-unwanted", aim.frame(ETH_IPV4, packet))


def flipped_frames(aim: Aim, pick: random.Random, count: int) -> Iterator[Case]:
    """One bit off somewhere behind the Ethernet header: no sum holds any more."""
    for number in range(count):
        frame = bytearray(aim.message(pick.randbytes(pick.randrange(200))))
        # Not the fragment field: see ip_frames().
        bit = pick.choice([n for n in range(14 * 8, len(frame) * 8) if n // 8 not in (20, 21)])
        frame[bit // 8] ^= 1 << bit % 8
        yield Case(f"bit {bit} flipped, {number}", ANY, bytes(frame))


def icmp_frames(aim: Aim, pick: random.Random) -> Iterator[Case]:
    """ICMP that nobody asked for; and echo requests that are none."""
    for kind in (*range(8), *range(9, 19), 40, 255):  # 8 is echo
        yield Case(f"ICMP {kind}", "local-unwanted", aim.ip4(ICMP, icmp(kind, 0, pick.randbytes(36))))
    for size in range(8):
        yield Case(f"{size} bytes of ICMP", "local-unwanted", aim.ip4(ICMP, b"\x08" + bytes(size) if size else b""))
    yield Case("echo with a wrong sum", "local-unwanted", aim.ip4(ICMP, icmp(8, 0, bytes(40), sum_=0x1234)))
    yield Case("echo with a code", "local-unwanted", aim.ip4(ICMP, icmp(8, 1, bytes(40))))

    def v6(kind: int, body: bytes, **lie: int) -> bytes:
        return aim.ip6(ICMPV6, icmpv6(aim.source_v6, aim.v6, kind, 0, body, **lie), hop_limit=255)

    for kind in (0, 1, 2, 3, 4, 127, 129, 130, 131, 132, 133, 134, 137, 143, 255):
        yield Case(f"ICMPv6 {kind}", "local-unwanted", v6(kind, pick.randbytes(36)))
    for size in range(4):
        yield Case(f"{size} bytes of ICMPv6", "local-unwanted", aim.ip6(ICMPV6, b"\x80" + bytes(size)))
    yield Case("IPv6 echo with a wrong sum", "local-unwanted", v6(128, bytes(40), sum_=0x1234))


def neighbour_frames(aim: Aim, victim_v4: str, victim_v6: str) -> Iterator[Case]:
    """ARP and neighbour discovery that lies. The victim's addresses must stay where they are."""

    def ask(**lie: object) -> bytes:
        return aim.frame(ETH_ARP, arp(1, aim.source_mac, aim.source_v4, bytes(6), aim.v4, **lie))  # type: ignore

    bad = "arp-invalid"
    for hardware in (0, 2, 0xFFFF):
        yield Case(f"ARP hardware {hardware}", bad, ask(hardware=hardware))
    yield Case("ARP for IPv6", bad, ask(protocol=ETH_IPV6))
    for sizes in ((6, 16), (8, 4), (0, 0), (255, 255)):
        yield Case(f"ARP sizes {sizes}", bad, ask(sizes=sizes))
    for operation in (0, 3, 4, 8, 0xFFFF):
        packet = arp(operation, aim.source_mac, aim.source_v4, bytes(6), aim.v4)
        yield Case(f"ARP operation {operation}", bad, aim.frame(ETH_ARP, packet))
    for mac in (bytes(6), BROADCAST, b"\x01\x00\x5e\0\0\1", aim.mac):
        yield Case(f"ARP from {mac.hex()}", bad, aim.frame(ETH_ARP, arp(1, mac, aim.source_v4, bytes(6), aim.v4)))
    for sender in ("203.0.113.1", "127.0.0.1", "224.0.0.1", "192.0.2.255", aim.v4):
        yield Case(f"ARP of {sender}", bad, aim.frame(ETH_ARP, arp(1, aim.source_mac, sender, bytes(6), aim.v4)))
    packet = arp(2, aim.source_mac, victim_v4, aim.mac, aim.v4)
    yield Case("unasked ARP reply to all", bad, aim.frame(ETH_ARP, packet, BROADCAST))
    yield Case("unasked ARP reply", None, aim.frame(ETH_ARP, packet))
    yield Case("gratuitous ARP", None,
               aim.frame(ETH_ARP, arp(1, aim.source_mac, victim_v4, bytes(6), victim_v4), BROADCAST))
    yield Case("ARP for another host", None,
               aim.frame(ETH_ARP, arp(1, aim.source_mac, aim.source_v4, bytes(6), victim_v4), BROADCAST))

    def message(kind: int, target: str, **lie: object) -> bytes:
        return aim.frame(ETH_IPV6, neighbour_message(kind, aim.source_v6, aim.v6, target, **lie))  # type: ignore

    link_layer = b"\x02\x01" + aim.source_mac
    for flags in (0, 0x20, 0x40, 0x60, 0xE0):
        yield Case(f"unasked advertisement {flags:#x}", None, message(136, victim_v6, flags=flags, options=link_layer))
    yield Case("forwarded advertisement", bad, message(136, victim_v6, flags=0x60, options=link_layer, hop_limit=254))
    yield Case("forwarded solicitation", bad, message(135, aim.v6, options=b"\1\1" + aim.source_mac, hop_limit=64))
    yield Case("solicitation with a wrong sum", bad, message(135, aim.v6, sum_=0x1234))
    yield Case("advertisement of a group", bad, message(136, "ff02::1", options=link_layer))
    for options in (b"\1\0" + bytes(6), b"\1\2" + bytes(6), b"\1", b"\1\xff" + bytes(6)):
        yield Case(f"ND options {options[:2].hex()}", bad, message(135, aim.v6, options=options))
    yield Case("solicitation of another host", None, message(135, victim_v6, options=b"\1\1" + aim.source_mac))
    for size in range(24):
        body = icmpv6(aim.source_v6, aim.v6, 135, 0, bytes(size))[:max(size, 1)]
        yield Case(f"{len(body)} bytes of solicitation", bad, aim.ip6(ICMPV6, body, hop_limit=255))
