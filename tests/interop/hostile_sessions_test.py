#!/usr/bin/env python3
"""Mallory breaks the rules of sessions: as responder to the gateway's handshakes, with several sessions, with old keys.

See hostile_test.py for strangers, for what she does as initiator, and for what she sends through a session.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
import unittest
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import noise_peer
from hostile import Case
from hostile_case import MALLORY_V4, SINK_PORT, MalloryCase
from lab import wait_until
from noise_peer import LOW_ORDER, Heard, Responder, Session, mac, tai64n, with_macs
from packets import ip_udp, socket_in
from testbed import HOST_V4
from turnpiked import SHORT_KEYS, Config

REKEY_TIMEOUT_S, JITTER_S = 5, 0.334
# Of turnpiked-short-keys.
REJECT_AFTER_S, ERASE_AFTER_S = 9, 27


class Sessions(MalloryCase):
    def say(self, text: bytes) -> None:
        """A datagram from the host inside to Mallory."""
        with socket_in(self.bed.host, socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(text, (MALLORY_V4, 7))

    def hear(self, text: bytes, *sessions: Session) -> Session:
        """The session of hers under which the gateway sends it to her."""
        end = time.monotonic() + 15
        while time.monotonic() < end:
            message = self.next_heard(noise_peer.DATA, 15)
            index, = struct.unpack_from("<I", message, 4)
            session = next(s for s in sessions if s.local_index == index)
            if text in session.read(message):
                return session
        self.fail(f"{text!r} was never sent")


class Responding(Sessions):
    """The gateway begins; what answers it is not what it should be."""

    def setUp(self) -> None:
        self.responder = Responder()
        super().setUp()
        self.mallory.private, self.mallory.public = self.responder.private, self.responder.public
        self.has_session = True  # of timers: it repeats itself every five seconds
        self.where = f"{self.stranger.v4}:40000"

    def _other_peers(self) -> list[Config]:
        return [{"name": "mallory", "public_key": self.responder.public_base64, "allowed_ips": [f"{MALLORY_V4}/32"],
                 "endpoint": f"{self.stranger.v4}:40000"}]

    def begin(self, text: bytes = b"held") -> Heard:
        self.stranger.listen(0)
        self.stranger.heard.clear()
        self.say(text)
        return self.next_initiation()

    def next_initiation(self) -> Heard:
        return self.responder.read(self.next_heard(noise_peer.INITIATION, 15))

    def from_elsewhere(self, what: str, reason: str | None, message: bytes) -> Case:
        return Case(what, reason, self.aim.message(message, source_port=41000))

    def assert_works(self, session: Session) -> None:
        self.say(b"does it work")
        self.hear(b"does it work", session)
        self.expect([Case("data", None, self.aim.message(session.data(self.inner())))])
        self.assertEqual(self.delivered(), 1)
        self.assertEqual(self.endpoint(), self.where)

    def test_its_initiations_are_new_each_time_and_apart(self) -> None:
        first = self.begin()
        began = time.monotonic()
        second = self.next_initiation()
        waited = time.monotonic() - began
        self.assertEqual(first.static, noise_peer.base64.b64decode(self.bed.keys.public))
        self.assertGreaterEqual(waited, REKEY_TIMEOUT_S - 0.1)
        self.assertLess(waited, REKEY_TIMEOUT_S + JITTER_S + 1)  # and what this machine takes
        self.assertGreater(second.timestamp, first.timestamp)
        for heard in (first, second):
            # When exactly it was sent is nobody's business: whole fiftieths of a second.
            self.assertEqual(int.from_bytes(heard.timestamp[8:]) % 20_000_000, 0)
            self.assertEqual(heard.message[132:], bytes(16), "no cookie, no mac2")
        self.assertNotEqual(first.sender_index, second.sender_index)
        self.assertNotEqual(first.message[8:40], second.message[8:40], "a fresh ephemeral")

    def test_responses_that_are_changed_or_of_somebody_else(self) -> None:
        heard = self.begin()
        good, session = self.responder.response(heard, 77)
        stranger = Responder()

        def wrong() -> Iterator[Case]:
            # mac2, at the end, is not looked at.
            yield from (case for case in self.flipped(good, {4: "message-invalid", 76: "mac1-invalid", 92: "mac2"})
                        if case.reason != "mac2")
            for index in (heard.sender_index ^ 1, 0, 0xFFFFFFFF):
                message, _ = self.responder.response(heard, 77, receiver_index=index)
                yield self.from_elsewhere("another receiver", "handshake-invalid", message)
            message, _ = self.responder.response(heard, 77, preshared_key=os.urandom(32))
            yield self.from_elsewhere("another preshared key", "handshake-invalid", message)
            for point in LOW_ORDER:
                message, _ = self.responder.response(heard, 77, low_order=point)
                yield self.from_elsewhere("an ephemeral of low order", "handshake-invalid", message)
            message, _ = stranger.response(heard, 77)  # does not know what the chaining key should be
            mixed = with_macs(message[:44] + os.urandom(16), heard.static)
            yield self.from_elsewhere("nothing that decrypts", "handshake-invalid", mixed)
            # An ephemeral that is not the one that was used.
            other = with_macs(good[:12] + message[12:44] + good[44:60], heard.static)
            yield self.from_elsewhere("another ephemeral", "handshake-invalid", other)

        self.expect(wrong())
        self.assertEqual(self.endpoint(), self.where)
        # None of them has spoilt the handshake: the right one still completes it, and what was held follows.
        self.stranger.port.send(self.aim.message(good))
        self.hear(b"held", session)
        again, _ = self.responder.response(heard, 78)
        self.expect([self.from_elsewhere("replayed", "handshake-invalid", good),
                     self.from_elsewhere("a second answer", "handshake-invalid", again)])
        self.assert_works(session)

    def test_a_response_to_an_earlier_initiation_is_late(self) -> None:
        first = self.begin()
        second = self.next_initiation()
        late, _ = self.responder.response(first, 77)
        self.expect([self.from_elsewhere("late", "handshake-invalid", late)])
        good, session = self.responder.response(second, 78)
        self.stranger.port.send(self.aim.message(good))
        self.hear(b"held", session)
        self.assert_works(session)

    def test_cookie_replies_that_are_forged_late_or_replayed(self) -> None:
        heard = self.begin()
        cookie = os.urandom(16)
        good = self.responder.cookie_reply(heard, cookie)
        bad = "cookie-invalid"

        def wrong() -> Iterator[Case]:
            yield from self.flipped(good, {4: "message-invalid", 64: bad})
            yield self.from_elsewhere("for another index", bad,
                                      self.responder.cookie_reply(heard, cookie, receiver_index=heard.sender_index ^ 1))
            yield self.from_elsewhere("for another message", bad,
                                      self.responder.cookie_reply(heard, cookie, mac1=os.urandom(16)))
            yield self.from_elsewhere("of somebody else", bad, Responder().cookie_reply(heard, cookie))

        self.expect(wrong())
        # It proves no more than that its sender saw the message, so it moves nobody, and is good once.
        self.expect([self.from_elsewhere("good", None, good)])
        self.expect([self.from_elsewhere("replayed", bad, good)])
        self.assertEqual(self.endpoint(), self.where)
        second = self.next_initiation()
        self.assertEqual(second.message[132:], mac(cookie, second.message[:132]))
        self.expect([self.from_elsewhere("for the message before", bad, self.responder.cookie_reply(heard, bytes(16)))])
        response, session = self.responder.response(second, 77)
        self.stranger.port.send(self.aim.message(response))
        self.hear(b"held", session)
        self.assert_works(session)


class Initiating(Sessions):
    def confirm(self, session: Session) -> None:
        """Shows that she has the key; from then on the gateway may use it."""
        self.stranger.port.send(self.aim.message(session.data(self.inner())))
        wait_until("her packet comes through", lambda: self.delivered() == 1)

    def test_a_new_session_is_used_only_when_she_has_shown_that_she_has_it(self) -> None:
        _, first = self.handshake()
        self.confirm(first)
        self.say(b"one")
        self.hear(b"one", first)
        time.sleep(0.05)  # initiations of one peer are 20 ms apart
        _, second = self.handshake()
        for text in (b"two", b"three"):
            self.say(text)
            self.assertIs(self.hear(text, first, second), first)
        # What is under way under the old key is as good as ever, and says nothing of the new one.
        self.confirm(first)
        self.say(b"four")
        self.assertIs(self.hear(b"four", first, second), first)
        # Neither does what is not authentic.
        forged = second.data(self.inner(), key=os.urandom(32), counter=0)
        self.expect([Case("forged", "authentication-failed", self.aim.message(forged))])
        self.say(b"five")
        self.assertIs(self.hear(b"five", first, second), first)
        self.confirm(second)
        self.say(b"six")
        self.assertIs(self.hear(b"six", first, second), second)
        self.confirm(first)

    def test_sessions_beyond_the_last_three_are_forgotten(self) -> None:
        sessions = []
        for _ in range(6):
            _, session = self.handshake()
            self.confirm(session)
            sessions.append(session)
            time.sleep(0.05)
        # Those that were pushed out are received for five seconds more, for what is under way.
        time.sleep(REKEY_TIMEOUT_S + 1)
        self.expect([Case("forgotten", "receiver-index-unknown", self.aim.message(session.data(self.inner())))
                     for session in sessions[:4]])
        self.assertEqual(self.delivered(), 0)
        for session in sessions[4:]:
            self.confirm(session)

    def test_initiations_that_come_too_fast_are_dropped(self) -> None:
        now = time.time_ns()
        messages = [self.mallory.initiation(tai64n(now + i * 20_000_000), i) for i in range(20)]
        before = self.counts()
        self.has_session = True
        for message in messages:
            self.stranger.port.send(self.aim.message(message))
        wait_until("those beyond 50 a second are dropped",
                   lambda: (self.counts() - before).total() >= 1 or self.stranger.listen(0.1))
        self.stranger.listen(0.5)
        found = self.counts() - before
        self.assertEqual(set(found), {"handshake-flood"})
        answered = sum(frame[42:46] == b"\2\0\0\0" for frame in self.stranger.heard)
        self.assertEqual(answered + found["handshake-flood"], len(messages))
        self.assertGreaterEqual(found["handshake-flood"], len(messages) // 2)

    def test_padding_of_any_length_is_cut_off(self) -> None:
        _, session = self.handshake()
        packet = ip_udp(MALLORY_V4, HOST_V4, 1, SINK_PORT, b"x" * 5)
        lengths = [*range(17), 100, 1400 - len(packet)]  # also none, also far more than there need be
        self.expect([Case(f"{length} zeros", None, self.aim.message(session.data(packet + bytes(length))))
                     for length in lengths])
        got = []
        while len(got) < len(lengths):
            got.append(self.sinks[0].recv(2048))
        self.assertEqual(set(got), {b"x" * 5})


class OldKeys(Sessions):
    """A gateway whose keys are short-lived; the good client's live two minutes, and are of no use here."""

    DAEMON = SHORT_KEYS
    GOOD_CLIENT_PINGS = False

    def data(self, session: Session, what: str, reason: str | None) -> None:
        self.expect([Case(what, reason, self.aim.message(session.data(self.inner())))])
        self.assertEqual(self.delivered(), 0 if reason else 1)

    def test_a_key_is_refused_when_it_is_old_and_forgotten_when_it_is_older(self) -> None:
        _, session = self.handshake()
        born = time.monotonic()
        self.data(session, "young", None)
        self.say(b"young")
        self.hear(b"young", session)
        time.sleep(born + REJECT_AFTER_S - 1 - time.monotonic())
        self.data(session, "of some age", None)
        time.sleep(born + REJECT_AFTER_S + 0.2 - time.monotonic())
        self.data(session, "old", "keypair-expired")
        # Nor is anything sent under it: what the host says waits for a new session.
        self.stranger.listen(0)
        self.stranger.heard.clear()
        self.say(b"held")
        self.next_heard(noise_peer.INITIATION)
        self.assertFalse(any(frame[42:46] == b"\4\0\0\0" for frame in self.stranger.heard))
        time.sleep(max(0.0, born + ERASE_AFTER_S + 1.5 - time.monotonic()))
        self.data(session, "forgotten", "receiver-index-unknown")
        _, fresh = self.handshake()
        self.stranger.port.send(self.aim.message(fresh.data(self.inner())))
        self.hear(b"held", fresh)
        self.assertEqual(self.delivered(), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
