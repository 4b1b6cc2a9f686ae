"""The frame of a test in which a stranger on the outside link, or a peer Mallory, breaks rules."""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator

import noise_peer
import requirements
from gateway_case import GatewayCase
from hostile import ANY, Aim, Case, Stranger
from lab import Process
from noise_peer import Initiator, Session, tai64n
from packets import RawPort, ip_udp, mac_bytes, socket_in
from testbed import GATEWAY_OUTSIDE, HOST_V4, HOST_V6, LISTEN_PORT, bare
from turnpiked import Config
from wireguard import KeyPair

MALLORY_V4, MALLORY_V6 = "10.8.0.66", "fd00:8::66"
ABSENT_V4 = "10.8.0.99"
SINK_PORT = 9999
# Hosts tell their groups and look for routers by themselves.
NOISE = {"multicast"}


def padded(packet: bytes) -> bytes:
    return packet + bytes(-len(packet) % 16)


class HostileCase(GatewayCase):
    """A good client that pings, a stranger on the outside link, and a peer Mallory whose key the stranger has."""

    GOOD_CLIENT_PINGS = True
    PORT_LOSS = 0.0  # what the port itself may lose of the good client's packets

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        requirements.need_module("nacl", "python3-nacl")

    def setUp(self) -> None:
        super().setUp()
        self.seed = int(os.environ.get("TURNPIKE_SEED", "0")) or int.from_bytes(os.urandom(4))
        print(f"TURNPIKE_SEED={self.seed}", file=sys.stderr, flush=True)
        self.pick = random.Random(self.seed)
        self.has_session = False
        self.good = self.bed.add_client("good")
        link = json.loads(self.good.client.space.ip("-j", "link", "show", "eth0"))[0]
        self.stranger = Stranger(self.bed, 66, (mac_bytes(link["address"]),))
        self.addCleanup(self.stranger.port.close)
        self.mallory = Initiator(self.bed.keys.public)
        self.start(peers=[self.bed.peer_config(self.good), *self._other_peers()])
        assert self.gateway is not None
        self.macs = {port["name"]: mac_bytes(port["mac"]) for port in self.gateway.show()["ports"]}
        self.stranger.gateway_mac = self.macs["outside"]
        self.aim = Aim(self.macs["outside"], self.stranger.mac, bare(GATEWAY_OUTSIDE[0]), bare(GATEWAY_OUTSIDE[1]),
                       self.stranger.v4, self.stranger.v6, LISTEN_PORT)
        self.assert_pings(self.good.client.space, HOST_V4, HOST_V6)
        self.pings = [self._ping(address) for address in (HOST_V4, HOST_V6) if self.GOOD_CLIENT_PINGS]

    def _other_peers(self) -> list[Config]:
        return [{"name": "mallory", "public_key": self.mallory.public_base64,
                 "allowed_ips": [f"{MALLORY_V4}/32", f"{MALLORY_V6}/128"], **self.mallorys_config()},
                {"name": "absent", "public_key": KeyPair.make().public, "allowed_ips": [f"{ABSENT_V4}/32"]}]

    def mallorys_config(self) -> Config:
        """What else the gateway is told of her."""
        return {}

    def _ping(self, address: str) -> Process:
        return self.good.client.space.start(f"ping-{address}", "ping", "-n", "-i", "0.1", address)

    def tearDown(self) -> None:
        try:
            if self.gateway is not None and getattr(self, "pings", None):
                self.assert_the_good_client_lost_nothing()
        finally:
            super().tearDown()

    def assert_the_good_client_lost_nothing(self) -> None:
        for ping in self.pings:
            ping.signal(signal.SIGINT)
            ping.wait()
            summary = next(line for line in ping.tail().splitlines() if "packets transmitted" in line)
            sent, received = (int(word) for word in summary.split() if word.isdigit())
            self.assertGreater(sent, 0)
            # The one that was under way when it was told to stop may be missing.
            self.assertGreaterEqual(received, sent - max(1, int(sent * self.PORT_LOSS)), summary)

    def counts(self) -> collections.Counter[str]:
        assert self.gateway is not None
        drops = self.gateway.show()["drops"]
        return collections.Counter({reason: count for reason, count in drops.items() if reason not in NOISE})

    def expect(self, cases: Iterable[Case], port: RawPort | None = None) -> int:
        """Sends all of them. Each is dropped as it says, and nothing is answered. Returns how many were dropped."""
        cases = list(cases)
        before = self.counts()
        self.stranger.listen(0)
        self.stranger.heard.clear()
        for number, case in enumerate(cases):
            (port or self.stranger.port).send(case.frame)
            if number % 32 == 31:
                self.stranger.listen(0.01)  # the rings are finite
        wanted = collections.Counter(case.reason for case in cases if case.reason is not None)
        wanted = collections.Counter({reason: n for reason, n in wanted.items() if reason not in NOISE})
        end = time.monotonic() + 15
        while (found := self.counts() - before).total() < wanted.total() and time.monotonic() < end:
            self.stranger.listen(0.1)
        self.stranger.listen(0.2)
        found = self.counts() - before
        unasked = [frame.hex() for frame in self.stranger.heard if not self.has_session or not self._of_timers(frame)]
        what = f"seed {self.seed}: {', '.join(sorted({case.what for case in cases}))[:2000]}"
        if ANY in wanted:
            self.assertEqual(found.total(), wanted.total(), f"{dict(found)} of {what}")
        else:
            self.assertEqual(dict(found), dict(wanted), what)
        self.assertEqual(unasked, [], f"answers to {what}")
        return found.total()

    @staticmethod
    def _of_timers(frame: bytes) -> bool:
        """What a gateway with a session sends by itself, however slow the machine is: keepalives and initiations."""
        payload = frame[14 + 20 + 8:]
        kind, = struct.unpack_from("<I", payload)
        return (kind, len(payload)) in ((noise_peer.DATA, noise_peer.DATA_OVERHEAD_BYTES),
                                        (noise_peer.INITIATION, noise_peer.INITIATION_BYTES))

    def next_heard(self, kind: int, seconds: float = 10) -> bytes:
        """The payload of the next WireGuard message of this type to the stranger."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            while self.stranger.heard:
                payload = self.stranger.heard.popleft()[14 + 20 + 8:]
                if payload[:4] == struct.pack("<I", kind):
                    return payload
            self.stranger.listen(0.02)
        self.fail(f"no message of type {kind} within {seconds} s")

    def handshake(self, timestamp: bytes | None = None, source_port: int = 40000) -> tuple[bytes, Session]:
        """Mallory's, complete. Also gives back her initiation."""
        first = self.mallory.initiation(timestamp or tai64n(time.time_ns()), self.pick.getrandbits(32))
        self.stranger.heard.clear()
        self.stranger.port.send(self.aim.message(first, source_port=source_port))
        self.has_session = True
        return first, self.mallory.finish(self.next_heard(noise_peer.RESPONSE))


class MalloryCase(HostileCase):
    """With somebody on the host inside who counts what comes through."""

    def setUp(self) -> None:
        super().setUp()
        self.sinks = []
        for family, address in ((socket.AF_INET, HOST_V4), (socket.AF_INET6, HOST_V6)):
            sink = socket_in(self.bed.host, family, socket.SOCK_DGRAM)
            self.addCleanup(sink.close)
            sink.bind((address, SINK_PORT))
            sink.setblocking(False)
            self.sinks.append(sink)

    def delivered(self) -> int:
        """Datagrams that reached the host behind the gateway since the last call."""
        count = 0
        for sink in self.sinks:
            while True:
                try:
                    sink.recv(65536)
                except BlockingIOError:
                    break
                count += 1
        return count

    def inner(self, source: str = MALLORY_V4, to: str = HOST_V4, **fields: int) -> bytes:
        return padded(ip_udp(source, to, 1, SINK_PORT, self.pick.randbytes(self.pick.randrange(64)), **fields))

    def endpoint(self) -> str:
        assert self.gateway is not None
        return self.gateway.peer("mallory")["endpoint"]

    def flipped(self, message: bytes, reasons: dict[int, str]) -> Iterator[Case]:
        """The message with one bit off, from another port: the reason goes by where (below the key)."""
        for offset in range(len(message)):
            changed = bytearray(message)
            changed[offset] ^= 1 << self.pick.randrange(8)
            reason = next(name for end, name in reasons.items() if offset < end)
            yield Case(f"byte {offset}", reason, self.aim.message(bytes(changed), source_port=41000))
