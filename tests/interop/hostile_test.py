#!/usr/bin/env python3
"""A hostile peer of our own against a running gateway: frames, handshakes, data and inner packets that lie.

Each frame is dropped under its name, none is answered, and a good client's pings go on all the while. TURNPIKE_SEED
replays a run.
"""

from __future__ import annotations

import json
import struct
import sys
import time
import unittest
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import noise_peer
from hostile import (ANY, Aim, Case, flipped_frames, icmp_frames, ip_frames, link_frames, neighbour_frames,
                     truncated_frames, udp_frames)
from hostile_case import ABSENT_V4, MALLORY_V4, MALLORY_V6, HostileCase, MalloryCase, padded
from lab import wait_until
from noise_peer import LOW_ORDER, Initiator, Session, tai64n
from packets import (BROADCAST, ETH_ARP, ETH_IPV4, ETH_IPV6, FRAGMENT, ICMP, ICMPV6, UDP, RawPort, address_bytes, after_hop,
                     arp, ethernet, icmp, icmpv6, ip_udp, ipv4, ipv6)
from testbed import GATEWAY_INSIDE, GATEWAY_TUNNEL, HOST_V4, HOST_V6, LISTEN_PORT, bare


class Strangers(HostileCase):
    def test_frames_of_every_wrong_kind_are_counted_and_not_answered(self) -> None:
        aim, pick = self.aim, self.pick
        # Who hears nothing must be able to hear.
        self.stranger.port.send(aim.ip4(ICMP, icmp(8, 0, bytes(64))))
        wait_until("the stranger's own ping is answered", lambda: self.stranger.listen(0.1) or self.stranger.heard)
        self.expect([*link_frames(aim, pick), *truncated_frames(aim, pick)])
        self.expect([*ip_frames(aim, pick), *udp_frames(aim, pick)])
        self.expect(flipped_frames(aim, pick, 300))
        self.expect(icmp_frames(aim, pick))
        self.expect(neighbour_frames(aim, *self.good.outside))
        self.assert_the_good_client_lost_nothing()
        self.pings = []
        self.expect(self.long_frames())

    def long_frames(self) -> Iterator[Case]:
        """Longer than the port's MTU: as far as the link lets them through, cut or not."""
        assert self.gateway is not None
        self.bed.switch.ip("link", "set", "gateway", "mtu", "9000")
        self.bed.gateway_space.ip("link", "set", "wan0", "mtu", "9000")
        for size in (1600, *range(1900, 2200, 7), 4000, 8900):
            yield Case(f"{size} bytes", ANY, self.aim.message(self.pick.randbytes(size)))

    def test_wireguard_messages_that_are_none(self) -> None:
        pick = self.pick

        def message(reason: str, payload: bytes) -> Iterator[Case]:
            for over_ipv6 in (False, True):
                yield Case(reason, reason, self.aim.message(payload, over_ipv6))

        def messages() -> Iterator[Case]:
            for kind in (0, 5, 6, 255, 0x101, 0x10001, 0x1000001, 0x04000000):  # reserved bytes must be zero
                for length in (32, 64, 92, 148):
                    yield from message("message-invalid", struct.pack("<I", kind) + pick.randbytes(length - 4))
            for kind, right in ((1, 148), (2, 92), (3, 64)):
                for length in (4, 31, 32, 63, 64, 65, 91, 92, 93, 147, 148, 149, 1400):
                    if length != right:
                        yield from message("message-invalid", struct.pack("<I", kind) + pick.randbytes(length - 4))
            for length in range(32):  # shorter than a keepalive
                yield from message("message-invalid", (b"\4\0\0\0" + bytes(28))[:length])
            for kind, length in ((1, 148), (2, 92)):
                yield from message("mac1-invalid", struct.pack("<I", kind) + pick.randbytes(length - 4))
                right_mac = noise_peer.with_macs(struct.pack("<I", kind) + pick.randbytes(length - 36),
                                                 self.mallory.responder)
                yield from message("handshake-invalid", right_mac)
            yield from message("cookie-invalid", b"\3\0\0\0" + pick.randbytes(60))
            for length in (32, 33, 48, 1452):
                yield from message("receiver-index-unknown", b"\4\0\0\0" + pick.randbytes(length - 4))
            unknown = Initiator(self.bed.keys.public)
            yield from message("handshake-peer-unknown", unknown.initiation(tai64n(time.time_ns()), 7))
            elsewhere = Initiator(unknown.public_base64)  # for another responder
            yield from message("mac1-invalid", elsewhere.initiation(tai64n(time.time_ns()), 7))
            for point in LOW_ORDER:
                yield from message("handshake-invalid", self.mallory.initiation(tai64n(time.time_ns()), 7, point))

        self.expect(messages())


class Floods(HostileCase):
    # Some 180,000 frames a second are near what an af_packet port takes; above it the port loses anybody's.
    PORT_LOSS = 0.1

    def test_a_flood_of_handshakes_and_pings_stops_nobody(self) -> None:
        # With a right mac1, so that each costs the gateway a Diffie-Hellman operation; and long pings beside them.
        forged = [self.aim.message(noise_peer.with_macs(b"\1\0\0\0" + self.pick.randbytes(112), self.mallory.responder))
                  for _ in range(200)]
        ping = self.aim.ip4(ICMP, icmp(8, 0, bytes(1400)))
        asking = self.aim.frame(ETH_ARP, arp(1, self.aim.source_mac, self.aim.source_v4, bytes(6), self.aim.v4))
        # Answers to the flood itself, cookies among them, would push ARP out of our own socket.
        self.stranger.port.keep_only(ETH_ARP)
        asked = 0
        end = time.monotonic() + 3
        while time.monotonic() < end:
            for frame in forged:
                self.stranger.port.send(frame)
                self.stranger.port.send(ping)
            self.stranger.port.send(asking)
            asked += 1
        self.stranger.listen(1)
        found = self.counts()
        self.assertGreater(found["punt-ring-full"], 0, "this was no flood")
        self.assertGreater(found["handshake-invalid"], 0)
        # Who floods from afar does not keep ARP out, or the next hop would be lost, and all tunnels with it.
        answered = sum(frame[12:14] == b"\x08\x06" for frame in self.stranger.heard)
        self.assertGreater(answered, asked / 2)
        self.stranger.port.keep_only(None)
        self.handshake()


class Operators(HostileCase):
    def test_a_peer_that_one_transaction_removes_and_adds_comes_back(self) -> None:
        assert self.gateway is not None
        self.handshake()
        edits = [{"op": "peer_remove", "tunnel": "wg0", "peer": "mallory"},
                 {"op": "peer_add", "tunnel": "wg0", "name": "mallory", "public_key": self.mallory.public_base64,
                  "prefixes": [f"{MALLORY_V4}/32"]}]
        document = self.lab.dir / "again.json"
        document.write_text(json.dumps({"edits": edits}))
        old = self.mallory.initiation(tai64n(time.time_ns() - 10**9), 5)
        self.gateway.cli("apply", str(document))
        wait_until("the new peer", lambda: self.gateway.peer("mallory")["last_handshake"] is None)
        # What was old for the peer that went is old for the one that came.
        self.expect([Case("old", "handshake-replayed", self.aim.message(old, source_port=41000))])
        self.handshake()


class Mallory(MalloryCase):
    def test_handshakes_that_are_replayed_old_or_changed(self) -> None:
        now = time.time_ns()
        first, session = self.handshake(tai64n(now))
        where = self.endpoint()
        self.assertEqual(where, f"{self.stranger.v4}:40000")
        stale = [self.mallory.initiation(tai64n(now - age), 9) for age in (0, 1, 20_000_000, 10**9, 10**18)]
        self.expect(Case("from elsewhere", "handshake-replayed", self.aim.message(m, source_port=41000))
                    for m in [first, *stale])
        self.expect(self.flipped(first, {4: "message-invalid", 132: "mac1-invalid", 148: "handshake-replayed"}))
        self.assertEqual(self.endpoint(), where)
        # The session of the first handshake is as good as before.
        self.expect([Case("data", None, self.aim.message(session.data(self.inner())))])
        self.assertEqual(self.delivered(), 1)

    def test_data_that_is_forged_or_replayed(self) -> None:
        _, session = self.handshake()
        where = self.endpoint()
        good = [session.data(self.inner()) for _ in range(20)] + [session.data(b"")]
        self.expect(Case("good", None, self.aim.message(m)) for m in good)
        self.assertEqual(self.delivered(), 20)

        def forged() -> Iterator[Case]:
            yield from self.flipped(good[3], {4: "message-invalid", 8: "receiver-index-unknown",
                                              len(good[3]): "authentication-failed"})
            for message in good:
                yield Case("replayed", "replayed-counter", self.aim.message(message, source_port=41000))
                yield Case("replayed over IPv6", "replayed-counter", self.aim.message(message, over_ipv6=True))
            for length in range(32, len(good[0])):
                yield Case("cut", "authentication-failed", self.aim.message(good[0][:length], source_port=41000))
            for key in (bytes(32), session.receiving_key, self.pick.randbytes(32)):
                message = session.data(self.inner(), key=key, counter=1000)
                yield Case("another key", "authentication-failed", self.aim.message(message, source_port=41000))
            for counter in (2**64 - 2**13 - 1, 2**64 - 1):  # at and above REJECT_AFTER_MESSAGES
                message = session.data(self.inner(), counter=counter)
                yield Case("counter", "replayed-counter", self.aim.message(message, source_port=41000))

        self.expect(forged())
        self.assertEqual(self.delivered(), 0)
        self.assertEqual(self.endpoint(), where, "followed what was forged or replayed")

        # The window: what falls out of it is old; what lies in it counts once, in whatever order.
        top = 20_000
        window = [top, top - 8127, top - 1, top - 4000]
        self.expect([Case("in the window", None, self.aim.message(session.data(self.inner(), counter=n)))
                     for n in window])
        self.assertEqual(self.delivered(), len(window))
        self.expect([Case("left of the window", "replayed-counter",
                          self.aim.message(session.data(self.inner(), counter=n))) for n in (top - 8129, 100, *window)])
        # Only what is authentic and new moves the endpoint.
        self.stranger.port.send(self.aim.message(session.data(self.inner(), counter=top + 1), source_port=42000))
        wait_until("the peer is followed", lambda: self.endpoint() == f"{self.stranger.v4}:42000")

    def test_inner_packets_that_lie(self) -> None:
        _, session = self.handshake()
        good_v4, good_v6, pick = self.good.v4, self.good.v6, self.pick
        self.delivered()

        def inner_packets() -> Iterator[tuple[str, bytes]]:
            not_hers = "inner-source-not-allowed"
            for source in (good_v4, ABSENT_V4, "10.8.0.1", "10.8.0.67", HOST_V4, bare(GATEWAY_INSIDE[0]), "203.0.113.5",
                           "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"):
                yield not_hers, self.inner(source)
            for source in (good_v6, HOST_V6, "fd00:8::1", "fe80::1", "::", "::1", "ff02::1"):
                yield not_hers, self.inner(source, HOST_V6)
            for to in ("127.0.0.1", "0.0.0.0", "240.0.0.1", "255.255.255.255", "10.0.0.255"):
                yield "martian-destination", self.inner(to=to)
            for to in ("::1", "::"):
                yield "martian-destination", self.inner(MALLORY_V6, to)
            yield "inner-multicast", self.inner(to="224.0.0.251")
            yield "inner-multicast", self.inner(MALLORY_V6, "ff02::fb")
            yield "not-forwarded", self.inner(to=MALLORY_V4)  # back to where it came from
            yield "not-forwarded", self.inner(MALLORY_V6, "fe80::1")  # link-local: of our link, not of hers
            # What elsewhere is told who sent it, here is not: errors, other fragments than the first.
            yield "ttl-exceeded", padded(ipv4(MALLORY_V4, HOST_V4, ICMP, icmp(3, 1, bytes(28)), ttl=1))
            yield "no-route", padded(ipv4(MALLORY_V4, "203.0.113.9", ICMP, icmp(11, 0, bytes(28))))
            yield "no-route", padded(ipv4(MALLORY_V4, "203.0.113.9", UDP, bytes(64), fragment=0x2001))
            unreachable = icmpv6(MALLORY_V6, HOST_V6, 1, 0, bytes(44))
            yield "ttl-exceeded", padded(ipv6(MALLORY_V6, HOST_V6, ICMPV6, unreachable, hop_limit=1))
            behind = struct.pack(">BBHI", UDP, 0, 8, 7) + bytes(64)
            yield "ttl-exceeded", padded(ipv6(MALLORY_V6, HOST_V6, FRAGMENT, behind, hop_limit=1))
            for to in (bare(GATEWAY_TUNNEL[0]), bare(GATEWAY_INSIDE[0])):
                yield "local-unwanted", self.inner(to=to)
                yield "local-unwanted", padded(ipv4(MALLORY_V4, to, ICMP, icmp(8, 0, bytes(8), sum_=0x4321)))
                yield "fragment", padded(ipv4(MALLORY_V4, to, ICMP, icmp(8, 0, bytes(8)), fragment=0x2000))
            for version in (0, 1, 5, 7, 15):
                yield "inner-invalid", self.inner(version=version)
            for words in (0, 4, 15):
                yield "inner-invalid", padded(ipv4(MALLORY_V4, HOST_V4, UDP, b"", words=words))
            for total in (0, 19, 65535):
                yield "inner-invalid", padded(ipv4(MALLORY_V4, HOST_V4, UDP, b"x", total=total))
            yield "inner-invalid", self.inner(MALLORY_V6, HOST_V6, length=0xFFFF)
            for length in (1, 15, 16, 19):
                yield "inner-invalid", b"\x45" + bytes(length - 1)
                yield "inner-invalid", b"\x60" + bytes(length - 1)
                yield "inner-invalid", bytes(length)
            for length in (16, 160, 1408):
                yield "inner-invalid", bytes([pick.choice((0x00, 0x51, 0x70, 0xFF))]) + pick.randbytes(length - 1)

        lies = list(inner_packets())
        honest = [self.inner() for _ in range(10)] + [self.inner(MALLORY_V6, HOST_V6) for _ in range(10)]
        mixed = [(reason, text) for reason, text in lies] + [("", text) for text in honest]
        pick.shuffle(mixed)
        # What she may send comes through between what she may not.
        dropped = self.expect([Case(reason or "honest", reason or None, self.aim.message(session.data(text)))
                               for reason, text in mixed])
        delivered = self.delivered()
        self.assertEqual(delivered, len(honest))
        self.assertEqual(dropped + delivered, len(mixed))
        self.check_errors_to_mallory(session)
        # A mark of congestion on what cannot carry one (RFC 6040, 4.2).
        marked = ipv4(self.stranger.v4, self.aim.v4, UDP, ip_udp(
            self.stranger.v4, self.aim.v4, 40000, LISTEN_PORT, session.data(self.inner()))[20:], tos=3)
        self.expect([Case("congestion experienced", "ecn-invalid", self.aim.frame(ETH_IPV4, marked))])

    def check_errors_to_mallory(self, session: Session) -> None:
        """One answer each, in the tunnel, from the gateway's address there, about what she sent."""
        v6 = {"source": MALLORY_V6, "to": HOST_V6}
        for reason, packet, said in (
                ("no-route", self.inner(to="203.0.113.9"), (3, 0)),
                ("no-route", self.inner(MALLORY_V6, "2001:db8:9::9"), (1, 0)),
                ("no-endpoint", self.inner(to=ABSENT_V4), (3, 1)),
                ("ttl-exceeded", self.inner(ttl=1), (11, 0)),
                ("ttl-exceeded", self.inner(ttl=0), (11, 0)),
                ("ttl-exceeded", self.inner(**v6, hop_limit=1), (3, 0))):  # type: ignore[arg-type]
            before = self.counts()
            self.stranger.heard.clear()
            self.stranger.port.send(self.aim.message(session.data(packet)))
            while not (text := session.read(self.next_heard(noise_peer.DATA))):  # a keepalive
                pass
            header, source = (20, text[12:16]) if text[0] >> 4 == 4 else (40, text[8:24])
            self.assertEqual(source, address_bytes(bare(GATEWAY_TUNNEL[0 if header == 20 else 1])))
            self.assertEqual((text[header], text[header + 1]), said, reason)
            total = int.from_bytes(packet[2:4]) if header == 20 else 40 + int.from_bytes(packet[4:6])
            # Before it was found out that the peer is nowhere the TTL was one less already, as the kernel has it.
            sent = after_hop(packet) if reason == "no-endpoint" else packet
            self.assertEqual(text[header + 8:header + 8 + total], sent[:total], reason)
            self.assertEqual(dict(self.counts() - before), {reason: 1})

    def test_frames_from_the_inside(self) -> None:
        inside = RawPort(self.bed.host, "eth0")
        self.addCleanup(inside.close)
        aim = Aim(self.macs["inside"], inside.mac, bare(GATEWAY_INSIDE[0]), bare(GATEWAY_INSIDE[1]), HOST_V4, HOST_V6,
                  LISTEN_PORT)
        _, session = self.handshake()
        # Until she has used the key nothing may be sent under it (paper, 5.4.6).
        early = aim.frame(ETH_IPV4, ip_udp(HOST_V4, MALLORY_V4, 1, 2, b"early"))
        self.expect([Case("held", None, early)], inside)
        self.stranger.port.send(self.aim.message(session.data(b"")))
        self.assertIn(b"early", session.read(self.next_heard(noise_peer.DATA)))
        self.expect([*link_frames(aim, self.pick), *truncated_frames(aim, self.pick), *udp_frames_inside(aim)], inside)

        def forwarded() -> Iterator[Case]:
            def to(destination: str, **fields: int) -> bytes:
                family = ETH_IPV6 if ":" in destination else ETH_IPV4
                return aim.frame(family, ip_udp(HOST_V6 if ":" in destination else HOST_V4, destination, 1, 2,
                                                self.pick.randbytes(32), **fields))

            yield Case("nobody's", "no-allowed-ip", to("10.8.0.200"))
            yield Case("nobody's", "no-allowed-ip", to("fd00:8::200"))
            yield Case("of a peer that is nowhere", "no-endpoint", to(ABSENT_V4))
            yield Case("another host of the link", "not-forwarded", to("10.0.0.77"))
            yield Case("link-local", "not-forwarded", to("fe80::1"))
            yield Case("too old", "ttl-exceeded", to(MALLORY_V4, ttl=1))
            yield Case("too old", "ttl-exceeded", to(MALLORY_V6, hop_limit=0))
            big = ip_udp(HOST_V4, MALLORY_V4, 1, 2, bytes(1421 - 28), fragment=0x4000)
            yield Case("one byte too long", "packet-too-big", aim.frame(ETH_IPV4, big))
            for source in ("127.0.0.1", "0.0.0.0", "224.0.0.1"):
                lie = ip_udp(source, MALLORY_V4, 1, 2, b"x")
                yield Case(f"from {source}", "martian-source", aim.frame(ETH_IPV4, lie))

        self.expect(forwarded(), inside)
        # What may go goes, whole and in order, and nothing is sent under a nonce twice.
        sent = [ip_udp(HOST_V4, MALLORY_V4, 1, 2, self.pick.randbytes(self.pick.randrange(1393))) for _ in range(50)]
        for packet in sent:
            inside.send(aim.frame(ETH_IPV4, packet))
        counters = set()
        for packet in sent:
            message = self.next_heard(noise_peer.DATA)
            while not (text := session.read(message)):  # a keepalive
                message = self.next_heard(noise_peer.DATA)
            counters.add(message[8:16])
            total = int.from_bytes(text[2:4])
            self.assertEqual(text[20:total], packet[20:], f"seed {self.seed}")
            self.assertEqual(text[total:], bytes(len(text) - total), "padding is zero")
        self.assertEqual(len(counters), len(sent))
        # One byte too long, but without DF: two fragments.
        whole = ip_udp(HOST_V4, MALLORY_V4, 1, 2, self.pick.randbytes(1421 - 28))
        inside.send(aim.frame(ETH_IPV4, whole))
        pieces: dict[int, bytes] = {}
        while len(pieces) < 2:
            text = session.read(self.next_heard(noise_peer.DATA))
            if text:
                pieces[int.from_bytes(text[6:8])] = text[20:int.from_bytes(text[2:4])]
        self.assertEqual([len(pieces[field]) for field in (0x2000, 175)], [1400, 1])
        self.assertEqual(pieces[0x2000] + pieces[175], whole[20:])


def udp_frames_inside(aim: Aim) -> Iterator[Case]:
    """For the gateway itself, where no tunnel listens."""
    for port in (LISTEN_PORT, 53):
        packet = ip_udp(aim.source_v4, aim.v4, 1, port, bytes(148))
        yield Case(f"inside, UDP port {port}", "local-unwanted", aim.frame(ETH_IPV4, packet))
    frame = ethernet(BROADCAST, aim.source_mac, ETH_ARP, arp(3, aim.source_mac, aim.source_v4, bytes(6), aim.v4))
    yield Case("inside, ARP operation", "arp-invalid", frame)


if __name__ == "__main__":
    unittest.main(verbosity=2)
