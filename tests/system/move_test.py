#!/usr/bin/env python3
"""Moves of prefixes under traffic, and controllers that edit at once, on a gateway with real clients.

`quick` moves 100 times, `full` (TURNPIKE_TEST_FULL=1) 1,000 times. TURNPIKE_TEST_SEED replays the pauses between moves.
"""

from __future__ import annotations

import datetime
import os
import random
import signal
import sys
import threading
import time
import unittest
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from control_client import Answer, Control
from gateway_case import GatewayCase
from lab import Namespace, wait_until
from numbered_flow import Move, NumberedFlow, Verdict, judge
from testbed import GATEWAY_INSIDE, HOST_V4, Side, bare
from wireguard import KeyPair

FULL = bool(os.environ.get("TURNPIKE_TEST_FULL"))
MOVES = 1000 if FULL else 100
SEED = int(os.environ.get("TURNPIKE_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
ADDRESS = "10.9.0.1"
PREFIX = f"{ADDRESS}/32"
INTERVAL_MS = 4.0  # between two datagrams: slow enough that a pause of a second overflows no queue on the way
REKEY_AFTER_S = 120  # WireGuard paper, section 6.1
CLIENT_PORT = 51821


class MoveCase(GatewayCase):
    """Two clients that both have ADDRESS; the first owns PREFIX."""

    a: Side
    b: Side

    def share_address(self, *sides: Side) -> None:
        for side in sides:
            side.client.space.address(side.client.interface, PREFIX)
        self.bed.host.route("10.9.0.0/24", "via", bare(GATEWAY_INSIDE[0]))

    def control(self) -> Control:
        assert self.gateway is not None
        return self.enterContext(Control(self.gateway.socket))

    def assert_committed(self, answer: Answer) -> Answer:
        self.assertEqual(answer.status, 200, answer.body)
        self.assertTrue(answer.body["committed"] and answer.body["visible"], answer.body)
        return answer

    def flow(self, label: str) -> NumberedFlow:
        return NumberedFlow(self.lab, self.bed.host, [side.client.space for side in (self.a, self.b)], ADDRESS, label)


class MovesUnderTraffic(MoveCase):
    def setUp(self) -> None:
        super().setUp()
        self.a, self.b = self.bed.add_client("client-a"), self.bed.add_client("client-b")
        self.start(peers=[{**self.bed.peer_config(side), "allowed_ips": [f"{side.v4}/32", f"{side.v6}/128", *extra]}
                          for side, extra in ((self.a, [PREFIX]), (self.b, []))])
        self.share_address(self.a, self.b)
        for side in (self.a, self.b):
            self.assert_pings(side.client.space, HOST_V4)

    def sessions(self) -> dict[str, list[float]]:
        """When the sessions of each client began, as the gateway and as wireguard-go know it."""
        found = {}
        for side in (self.a, self.b):
            shown = datetime.datetime.fromisoformat(self.session_of(side.name)["last_handshake"])
            found[side.name] = [shown.timestamp(), float(side.client.status(self.bed.keys.public).last_handshake)]
        return found

    def assert_sessions_kept(self, before: dict[str, list[float]]) -> None:
        """No new handshake but those that the age of the old one asks for."""
        for name, times in self.sessions().items():
            for old, new in zip(before[name], times):
                if new != old:
                    self.assertGreaterEqual(new - old, REKEY_AFTER_S - 1, f"{name} made a new session")

    def what_dropped(self) -> str:
        """Every place on the way that counts what it drops, for somebody who must find a lost packet."""
        assert self.gateway is not None
        shown = self.gateway.show()
        parts = [f"gateway: drops { {k: v for k, v in shown['drops'].items() if v} }",
                 *(f"port {p['name']}: missed {p['missed']}, no_mbuf {p['no_mbuf']}" for p in shown["ports"])]
        for space in (self.bed.host, self.a.client.space, self.b.client.space):
            counters = [line.split() for line in space.run("nstat", "-asz", check=False).stdout.splitlines()]
            parts += [f"{space.name}: {c[0]} {c[1]}" for c in counters
                      if len(c) > 1 and "Udp" in c[0] and "Errors" in c[0] and c[1] != "0"]
        return "\n".join(parts)

    def pass_without_moves(self, owner: Side, datagrams: int) -> None:
        """What the machine does to the same flow by itself; if it loses, a verdict about moves means nothing."""
        flow = self.flow(f"still-{owner.name}")
        flow.start(INTERVAL_MS)
        flow.wait_for(datagrams)
        verdict = judge(*flow.finish(), owner.client.space.name, [])
        if not verdict.flawless:
            self.fail(f"without any move this machine already fails, so moves cannot be judged: {verdict}\n"
                      f"{self.what_dropped()}")

    def assert_flawless(self, verdict: Verdict) -> None:
        self.assertTrue(verdict.flawless, f"seed {SEED}: {verdict}\n{self.what_dropped()}")

    def report(self, moves: list[Move], verdict: Verdict) -> None:
        times = sorted((m.acknowledged_ns - m.asked_ns) / 1e6 for m in moves)
        print(f"{len(moves)} moves, asked to acknowledged: median {times[len(times) // 2]:.2f} ms, "
              f"p99 {times[int(len(times) * 0.99)]:.2f} ms, slowest {times[-1]:.2f} ms; the receiver changed "
              f"{verdict.changes} times; {verdict}", flush=True)

    def move_under_traffic(self, prefixes: Callable[[int], list[str]]) -> None:
        """MOVES moves to and fro while numbered datagrams flow; `prefixes` of each, PREFIX among them."""
        print(f"seed {SEED}", flush=True)
        pauses = random.Random(SEED)
        control = self.control()
        self.pass_without_moves(self.a, 2000 if FULL else 300)
        before = self.sessions()
        flow = self.flow("moving")
        flow.start(INTERVAL_MS)
        flow.wait_for(10)
        moves: list[Move] = []
        sides = (self.a, self.b)
        for number in range(MOVES):
            giver, taker = sides[number % 2], sides[(number + 1) % 2]
            answer = self.assert_committed(control.move(prefixes(number), giver.name, taker.name))
            moves.append(Move(taker.client.space.name, answer.asked_ns, answer.answered_ns))
            # Two datagrams at least, then some part of an interval, so that moves meet them at any point.
            flow.wait_for(pauses.randint(2, 3))
            time.sleep(pauses.random() * INTERVAL_MS / 1000)
        flow.wait_for(10)
        verdict = judge(*flow.finish(), self.a.client.space.name, moves)
        self.report(moves, verdict)
        self.assert_flawless(verdict)
        # Each tenure had two datagrams; some may have waited in the gateway until the next.
        self.assertGreaterEqual(verdict.changes, MOVES // 2)
        self.assert_sessions_kept(before)
        self.assertEqual(control.owner(PREFIX).body["peer"], self.a.name)

    def test_no_packet_is_lost_or_copied_or_goes_to_the_old_owner(self) -> None:
        self.move_under_traffic(lambda _: [PREFIX])

    def test_not_when_a_thousand_prefixes_move_at_once_either(self) -> None:
        many = [f"10.{100 + i // 256}.{i % 256}.0/24" for i in range(1000)]
        self.assert_committed(self.control().commit({"op": "claim", "peer": self.a.name, "prefixes": many}))
        self.move_under_traffic(lambda _: [*many, PREFIX])

    def test_sets_of_wg_that_change_others_lose_nothing_and_keep_sessions(self) -> None:
        assert self.gateway is not None
        before = self.sessions()
        flow = self.flow("sets")
        flow.start(INTERVAL_MS)
        flow.wait_for(10)
        file = self.lab.dir / "wg0.conf"
        file.write_text(self.gateway.space.run("wg", "showconf", "wg0").stdout)
        for number in range(12):
            with file.open("a") as more:
                more.write(f"[Peer]\nPublicKey = {KeyPair.make().public}\nAllowedIPs = 10.40.{number}.0/24\n")
            self.gateway.space.run("wg", ("setconf", "syncconf", "addconf")[number % 3], "wg0", str(file))
            flow.wait_for(5)
        verdict = judge(*flow.finish(), self.a.client.space.name, [])
        print(verdict, flush=True)
        self.assert_flawless(verdict)
        self.assert_sessions_kept(before)
        self.assertEqual(len(self.gateway.show()["peers"]), 14)

    def test_a_release_and_a_claim_apart_do_lose_packets(self) -> None:
        """Shows that the flow sees a gap: every packet in between is lost, and counted as without an owner."""
        control = self.control()
        assert self.gateway is not None
        before = self.gateway.show()["drops"]["no-allowed-ip"]
        flow = self.flow("apart")
        flow.start(INTERVAL_MS)
        moves: list[Move] = []
        for giver, taker in ((self.a, self.b), (self.b, self.a)):
            flow.wait_for(5)
            self.assert_committed(control.commit({"op": "release", "peer": giver.name, "prefixes": [PREFIX]}))
            flow.wait_for(5)
            answer = self.assert_committed(control.commit({"op": "claim", "peer": taker.name, "prefixes": [PREFIX]}))
            moves.append(Move(taker.client.space.name, answer.asked_ns, answer.answered_ns))
        flow.wait_for(5)
        verdict = judge(*flow.finish(), self.a.client.space.name, moves)
        print(verdict, flush=True)
        self.assertGreaterEqual(len(verdict.lost), 2 * 4)
        self.assertEqual(self.gateway.show()["drops"]["no-allowed-ip"] - before, len(verdict.lost))
        self.assertEqual((verdict.twice, verdict.astray), ([], []))


class HeldPackets(MoveCase):
    def test_packets_that_wait_for_a_session_follow_the_owner(self) -> None:
        # The gateway begins with client-a, which does not answer until the prefix has moved on to client-b.
        self.a = self.bed.add_client("client-a", knows_endpoint=False, listen_port=CLIENT_PORT)
        self.b = self.bed.add_client("client-b")
        self.start(peers=[{**self.bed.peer_config(self.a), "endpoint": f"{self.a.outside[0]}:{CLIENT_PORT}",
                           "allowed_ips": [f"{self.a.v4}/32", PREFIX]}, self.bed.peer_config(self.b)])
        self.share_address(self.a, self.b)
        self.assert_pings(self.b.client.space, HOST_V4)
        self.a.client.process.signal(signal.SIGSTOP)
        flow = self.flow("held")
        flow.start(50)
        flow.wait_for(20)
        move = self.assert_committed(self.control().move([PREFIX], self.a.name, self.b.name))
        sent_before = flow.sent
        self.a.client.process.signal(signal.SIGCONT)
        assert self.gateway is not None
        wait_until("the session with client-a", lambda: self.gateway.peer("client-a")["last_handshake"] is not None, 30)
        verdict = judge(*flow.finish(), self.a.client.space.name,
                        [Move(self.b.client.space.name, move.asked_ns, move.answered_ns)])
        print(f"{sent_before} sent until the move; {verdict}", flush=True)
        self.assertTrue(verdict.flawless, str(verdict))
        self.assertEqual(set(verdict.received), {self.b.client.space.name})


class Controllers(MoveCase):
    """Several clients of the control socket. No traffic: peers that never connect are enough."""

    CLIENTS = 100

    def setUp(self) -> None:
        super().setUp()
        self.a, self.b = self.bed.add_client("client-a"), self.bed.add_client("client-b")
        self.start()

    def all_at_once(self, work: Callable[[Control, int], None]) -> None:
        """`work` in CLIENTS threads with a connection each, which begin together."""
        assert self.gateway is not None
        path = self.gateway.socket
        barrier = threading.Barrier(self.CLIENTS)
        errors: list[str] = []

        def body(number: int) -> None:
            try:
                with Control(path) as control:
                    barrier.wait(30)
                    work(control, number)
            except Exception as error:  # noqa: BLE001: whatever it is belongs to the main thread
                errors.append(f"client {number}: {error!r}")

        threads = [threading.Thread(target=body, args=(i,), daemon=True) for i in range(self.CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        self.assertFalse([t.name for t in threads if t.is_alive()], "clients that never ended")
        self.assertEqual(errors, [])

    def test_a_hundred_clients_that_retry_lose_no_update(self) -> None:
        """Each reads the whole list, adds its own prefix and writes the whole list: the textbook lost update."""
        rounds = 5 if FULL else 1
        stale = 0
        generations: list[int] = []

        def work(control: Control, number: int) -> None:
            nonlocal stale
            for turn in range(rounds):
                while True:
                    read = control.peer("client-a")
                    listed = read.body["peers"][0]["allowed_ips"]
                    answer = control.commit(
                        {"op": "replace", "peer": "client-a", "prefixes": [*listed, f"10.20.{number}.{turn}/32"]},
                        if_generation=read.generation)
                    if answer.status == 200:
                        generations.append(answer.body["generation"])
                        break
                    if answer.status != 412:
                        raise AssertionError(answer.body)
                    stale += 1

        control = self.control()
        before = control.peer("client-a")
        self.all_at_once(work)
        after = control.peer("client-a")
        wanted = {f"10.20.{n}.{turn}/32" for n in range(self.CLIENTS) for turn in range(rounds)}
        self.assertEqual(set(after.body["peers"][0]["allowed_ips"]),
                         wanted | set(before.body["peers"][0]["allowed_ips"]))
        # One generation for each acknowledged commit: none was acknowledged twice, none came from elsewhere.
        self.assertEqual(sorted(generations),
                         list(range(before.generation + 1, before.generation + 1 + len(wanted))))
        self.assertEqual(after.generation, generations and max(generations))
        print(f"{len(wanted)} updates, {stale} retries", flush=True)
        self.assertGreater(stale, 0, "the clients never met, so this has shown nothing")

    def test_a_stale_generation_changes_nothing(self) -> None:
        control = self.control()
        read = control.peer("client-a")
        self.assert_committed(control.commit({"op": "claim", "peer": "client-b", "prefixes": [PREFIX]}))
        answer = control.commit({"op": "replace", "peer": "client-a", "prefixes": []}, if_generation=read.generation)
        self.assertEqual((answer.status, answer.body["committed"]), (412, False))
        self.assertEqual(control.peer("client-a").body["peers"][0]["allowed_ips"],
                         read.body["peers"][0]["allowed_ips"])

    def test_of_a_hundred_that_move_the_same_prefix_one_succeeds(self) -> None:
        control = self.control()
        self.assert_committed(control.commit({"op": "claim", "peer": "client-a", "prefixes": [PREFIX]}))
        for giver, taker in (("client-a", "client-b"), ("client-b", "client-a")):
            answers: list[Answer] = []
            self.all_at_once(lambda own, _: answers.append(own.move([PREFIX], giver, taker)))
            self.assertEqual(sorted(a.status for a in answers), [200] + [409] * (self.CLIENTS - 1))
            for answer in answers:
                if answer.status == 409:
                    self.assertEqual([(c["prefix"], c["owner"]) for c in answer.body["conflicts"]], [(PREFIX, taker)])
            self.assertEqual(control.owner(PREFIX).body["peer"], taker)

    def test_a_refusal_names_every_conflict_and_changes_nothing(self) -> None:
        control = self.control()
        before = control.ask("GET", "/v1/show?section=peers")
        taken = [f"{self.a.v4}/32", f"{self.a.v6}/128"]
        answer = control.commit({"op": "claim", "peer": "client-b", "prefixes": ["10.30.0.0/24"]},
                                {"op": "release", "peer": "client-b", "prefixes": [f"{self.b.v4}/32"]},
                                {"op": "claim", "peer": "client-b", "prefixes": taken},
                                {"op": "move", "from": "client-b", "to": "client-a", "prefixes": ["10.31.0.0/24"]})
        self.assertEqual((answer.status, answer.body["committed"]), (409, False))
        found = {(c["edit"], c["prefix"], c["owner"], c["peer"]) for c in answer.body["conflicts"]}
        self.assertEqual({f[:3] for f in found}, {(2, taken[0], "client-a"), (2, taken[1], "client-a"),
                                                  (3, "10.31.0.0/24", None)})
        after = control.ask("GET", "/v1/show?section=peers")
        self.assertEqual(after.body, before.body)
        self.assertEqual(control.owner(f"{self.b.v4}/32").body["peer"], "client-b")
        self.assertIsNone(control.owner("10.30.0.0/24").body["peer"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
