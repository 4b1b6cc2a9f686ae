#!/usr/bin/env python3
"""turnpiked between two virtio cables, with a generator of our own at their other ends, each on a CPU of its own.

Throughput as the gateway takes packets, interleaved with the `pipeline` benchmark of the same case, with how often the
gateway's ring was found full (where it seldom is, the figure is the generator's) and with how long a cache line takes
from one CPU to the other and back, on which all of it depends. A hypervisor may move CPUs: rounds in which that took more
than FAR times the shortest of the run are figures of their own (.../far), and others are made in their place. The highest rate without loss by RFC 2544's binary search
(trials of a second, not a minute); latency at shares of that rate. Every packet is accounted for: what was sent and did
not come out must be in the gateway's drops, or the benchmark fails.

The control and session threads share the generator's CPU. A trial in which the generator or the worker was kept off its
CPU for longer than MAX_AWAY_US is repeated, and those are counted.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from figures import Report
from lab import Failed, Lab
from turnpiked import BUILD, Gateway
from wireguard import KeyPair, write_secret

MAX_AWAY_US = 300
MAX_REPEATS = 12
FAR = 2
LINE = "pipeline/far/line-there-and-back"
SLEEPING = 0.4  # seconds of nothing, after which a worker sleeps shortly
SHARES = (10, 50, 90)  # per cent of the highest rate without loss
# The generator waits so long for what is missing (loopback_trial.cpp): what a worker holds that was off its core for longer
# is not lost.
DRAINED_US = 200_000
# Memory of the messages sealed beforehand.
STOCK_BYTES = 500_000_000
VIRTIO = "queues=1,queue_size=1024,server=1,packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1"

Answer = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Round:
    """A trial, and what was measured right beside it."""

    mpps: float
    pipeline_mpps: float
    cycles: float  # a packet
    ring_full: float  # % of bursts
    line: float  # cycles from one CPU to the other and back


class Distance:
    """How far apart the two CPUs are, as a whole run of the benchmark saw it."""

    def __init__(self) -> None:
        self._shortest = float("inf")

    def saw(self, line: float) -> None:
        self._shortest = min(self._shortest, line)

    def is_far(self, line: float) -> bool:
        return line > FAR * self._shortest

    def parted(self, rounds: list[Round]) -> tuple[list[Round], list[Round]]:
        """Near ones and far ones."""
        far = [r for r in rounds if self.is_far(r.line)]
        return [r for r in rounds if not self.is_far(r.line)], far


@dataclasses.dataclass(frozen=True)
class Effort:
    rounds: int
    more_rounds: int  # at most, in place of those whose CPUs were far apart
    seconds: float
    stock_packets: int
    resolution: float  # of the binary search, as a share of the highest rate
    repeats: bool  # of trials that somebody disturbed; and distances count


FULL = Effort(rounds=5, more_rounds=7, seconds=0.5, stock_packets=4_000_000, resolution=0.02,
              repeats=True)
# Shows that it runs; on a machine where other tests run beside it no trial would ever count.
QUICK = Effort(rounds=1, more_rounds=0, seconds=0.05, stock_packets=20_000, resolution=0.4, repeats=False)


class Loopback:
    """A gateway and its generator, for so many peers."""

    def __init__(self, lab: Lab, peers: int, idle: str = "poll", keepalive: int = 0) -> None:
        self.lab = lab
        self.idle = idle
        self.keepalive = keepalive
        self.peers = peers
        self.space = lab.namespace(f"p{peers}")
        self.dir = lab.dir / f"p{peers}"
        self.dir.mkdir(mode=0o700)
        self.cpu = min(os.sched_getaffinity(0))
        self.keys = KeyPair.make()
        self._generator = self._start_generator()
        self.gateway = self._make_gateway(self.keys)
        self.gateway.start()
        self._worker = self._find_worker()
        self._meet()

    def _start_generator(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.space.command(self._program(), str(self.cpu), str(self.dir), f"{self.lab.tag}g", self.keys.public,
                               str(self.peers)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def _meet(self) -> None:
        if not self.ask("up")["ok"]:
            raise Failed("the generator sees no gateway at the other ends")
        self.handshake()
        for flow in ("outbound", "inbound"):  # after which both ends know their neighbours
            self.ask(f"stock {flow} 64 1000")
            self.ask("trial 10000 0.1")

    def _end_generator(self) -> None:
        assert self._generator.stdin is not None and self._generator.stdout is not None
        self._generator.stdin.close()
        self._generator.wait(20)
        self._generator.stdout.close()

    def restart_generator(self, how: signal.Signals) -> None:
        self._generator.send_signal(how)
        self._end_generator()
        self._generator = self._start_generator()
        self._meet()

    @staticmethod
    def _program() -> str:
        return str(BUILD / "tests/bench/bench-loopback-generator")

    def _make_gateway(self, keys: KeyPair) -> Gateway:
        public = subprocess.run([self._program(), "keys", str(self.peers)], capture_output=True, text=True,
                                check=True).stdout.split()
        key = write_secret(self.dir / "gateway.key", keys.private)

        def device(number: int, name: str) -> str:
            return f"net_virtio_user{number},path={self.dir}/{name}.sock,mac=02:00:00:00:00:0{number + 1},{VIRTIO}"

        peers = [{"name": f"p{i}", "public_key": k, "persistent_keepalive": self.keepalive,
                  "allowed_ips": [f"100.{64 + (i >> 16)}.{i >> 8 & 255}.{i & 255}/32"]} for i, k in enumerate(public)]
        return Gateway(
            self.lab, self.space, idle=self.idle,
            ports=[{"name": "outside", "device": device(0, "outside"), "addresses": ["192.0.2.1/24"], "mtu": 1500,
                    "routes": [{"to": "0.0.0.0/0", "via": "192.0.2.254"}]},
                   {"name": "inside", "device": device(1, "inside"), "addresses": ["10.0.0.1/24"], "mtu": 1500}],
            tunnels=[{"name": "wg0", "private_key_file": str(key), "listen_port": 51820, "outside": "outside",
                      "inside": "inside", "mtu": 1420, "peers": peers}])

    def ask(self, line: str) -> Answer:
        assert self._generator.stdin is not None and self._generator.stdout is not None
        self._generator.stdin.write(line + "\n")
        self._generator.stdin.flush()
        text = self._generator.stdout.readline()
        if not text:
            raise Failed(f"the generator ended at '{line}' with {self._generator.wait(10)}\n{self.lab.logs()}")
        return json.loads(text)

    def close(self) -> None:
        try:
            self._end_generator()
        finally:
            status = self.gateway.stop()
        if status != 0:
            raise Failed(f"turnpiked ended with {status}\n{self.lab.logs()}")

    def _find_worker(self) -> Path:
        assert self.gateway.process is not None
        for task in Path(f"/proc/{self.gateway.process.pid}/task").iterdir():
            if (task / "comm").read_text().startswith(("rte-worker", "lcore-worker")):
                return task
        raise Failed("turnpiked has no thread of a DPDK worker")

    def _worker_waited_us(self) -> float:
        """How long the worker was ready to run and did not, so far."""
        return int((self._worker / "schedstat").read_text().split()[1]) / 1000

    def worker_wake_ups(self) -> int:
        """How often the worker slept so far."""
        for line in (self._worker / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                return int(line.split()[1])
        raise Failed(f"{self._worker}/status does not tell how often the worker slept")

    @contextlib.contextmanager
    def _undisturbed(self, effort: Effort) -> Iterator[None]:
        """Nobody else gets the two pollers' CPUs: what isolcpus does for good. The gateway's own threads, which share the
        generator's, have nothing to do meanwhile. Shorter than the kernel's limit for such threads (0.95 s)."""
        threads = (self._generator.pid, int(self._worker.name)) if effort.repeats else ()
        time.sleep(0.3 if effort.repeats else 0)  # the limit holds for each second, trials before this one included
        try:
            for thread in threads:
                os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))
            yield
        finally:
            for thread in threads:
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))

    def _drops(self) -> dict[str, int]:
        shown = self.gateway.show()
        ports = {f"{port['name']}-{key}": port[key] for port in shown["ports"] for key in ("missed", "no_mbuf")}
        return {**shown["drops"], **ports}

    def _worker_ran_us(self) -> float:
        return int((self._worker / "schedstat").read_text().split()[0]) / 1000

    def idle_load(self, after: float, seconds: float) -> tuple[float, float]:
        """What the worker takes of its CPU, in per cent, and how often a second it wakes up, when nothing has come for so
        long."""
        time.sleep(after)
        ran, slept, began = self._worker_ran_us(), self.worker_wake_ups(), time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - began
        return (self._worker_ran_us() - ran) / elapsed / 1e4, (self.worker_wake_ups() - slept) / elapsed

    def burst_from_idle(self, idle_seconds: float) -> Answer:
        """Half a millisecond of a million packets a second, after nothing for so long."""
        self.ask("stock outbound 64 1024")
        before = self._drops()
        time.sleep(idle_seconds)
        answer = self.ask("trial 1000000 0.0005")
        after = self._drops()
        dropped = sum(n - before.get(k, 0) for k, n in after.items())
        if answer["offered"] - answer["refused"] - answer["received"] != dropped:
            raise Failed(f"packets are missing that the gateway does not name: {answer}, {before}, {after}")
        return {**answer, "lost": dropped + answer["refused"]}

    def handshake(self) -> None:
        if not self.ask("handshake")["ok"]:
            raise Failed(f"not every peer got a session\n{self.lab.logs()}")

    def trial(self, flow: str, size: int, rate: float, effort: Effort) -> Answer:
        # An inner packet of 64 bytes makes a frame of 138; an outbound stock may go round.
        count = min(effort.stock_packets, STOCK_BYTES // (size + 74)) if flow == "inbound" else max(1024, self.peers)
        if not self.ask(f"stock {flow} {size} {count}")["ok"]:
            raise Failed(f"the generator cannot make packets of {size} bytes")
        before = self._drops()
        with self._undisturbed(effort):
            waited = self._worker_waited_us()
            answer = self.ask(f"trial {rate:.0f} {effort.seconds}")
            answer["worker_away_us"] = self._worker_waited_us() - waited
        after = self._drops()
        answer["drops"] = {k: n - before.get(k, 0) for k, n in after.items() if n != before.get(k, 0)}
        answer["lost"] = answer["offered"] - answer["refused"] - answer["received"]
        if not answer["ok"] or answer["wrong"] != 0:
            raise Failed(f"{answer['wrong']} packets came out wrong: {answer}")
        answer["counts"] = answer["lost"] == sum(answer["drops"].values())
        if not answer["counts"] and answer["worker_away_us"] < DRAINED_US:
            raise Failed(f"{answer['lost']} packets did not come out, but the gateway names other drops: {answer}")
        return answer


class Case:
    """All figures of one flow, size and number of peers."""

    def __init__(self, loopback: Loopback, report: Report, flow: str, size: int, effort: Effort,
                 distance: Distance) -> None:
        peers = "1-peer" if loopback.peers == 1 else f"{loopback.peers}-peers"
        self.suffix = f"{flow}/{size}/{peers}"
        self.name = f"loopback/{self.suffix}"
        self.loopback, self.report, self.effort = loopback, report, effort
        self.flow, self.size, self.distance = flow, size, distance
        self.rejected = 0
        loopback.handshake()

    def trial(self, rate: float) -> Answer:
        best: Answer | None = None
        for _ in range(MAX_REPEATS):
            answer = self.loopback.trial(self.flow, self.size, rate, self.effort)
            if not answer["counts"]:
                self.rejected += 1
                time.sleep(1)  # what lies in the gateway's rings comes out
                continue
            away = max(answer["worst_gap_us"], answer["worker_away_us"])
            if best is None or away < best["away"]:
                best = {**answer, "away": away}
            if not self.effort.repeats or away <= MAX_AWAY_US:
                return best
            self.rejected += 1
        if best is None:
            raise Failed(f"in each of {MAX_REPEATS} trials the gateway's worker was off its core for too long")
        return best

    def pipeline_mpps(self) -> float:
        """The same case over packets in memory, on the generator's CPU, which is idle now."""
        return self.pipeline_figure(f"pipeline/{self.suffix}", "taskset", "-c", str(self.loopback.cpu))

    def pipeline_figure(self, name: str, *wrapper: str) -> float:
        with tempfile.TemporaryDirectory(prefix="turnpike-loopback-") as scratch:
            path = Path(scratch) / "figures.json"
            command = [str(BUILD / "tests/bench/bench-pipeline"), "--json", str(path),
                       "--filter", f"={name}"]
            if self.effort is QUICK:
                command.append("--quick")
            subprocess.run([*wrapper, *command], check=True, stdout=subprocess.DEVNULL)
            return json.loads(path.read_text())[0]["value"]

    def round(self) -> Round:
        before = self.pipeline_figure(LINE)
        answer = self.trial(0)
        after = self.pipeline_figure(LINE)
        self.distance.saw(min(before, after))
        return Round(mpps=answer["received"] / answer["seconds"] / 1e6, pipeline_mpps=self.pipeline_mpps(),
                     cycles=answer["tsc_hz"] * answer["seconds"] / answer["received"],
                     ring_full=100 * answer["held_back"] / answer["offers"], line=max(before, after))

    def throughput(self) -> float:
        rounds: list[Round] = []
        near: list[Round] = []
        far: list[Round] = []
        while len(near) < self.effort.rounds and len(rounds) < self.effort.rounds + self.effort.more_rounds:
            rounds.append(self.round())
            # Where other tests run beside it the distance says nothing.
            near, far = self.distance.parted(rounds) if self.effort.repeats else (rounds, [])
        for name, some in ((self.name, near), (f"{self.name}/far", far)):
            if some:
                self.figures(name, some)
        return statistics.median(r.mpps for r in rounds)

    def figures(self, name: str, rounds: list[Round]) -> None:
        rates = [r.mpps for r in rounds]
        self.report.add(name, statistics.median(rates), "Mpps", rates, f"pipeline/{self.suffix}",
                        statistics.median(r.pipeline_mpps for r in rounds),
                        statistics.median(r.mpps / r.pipeline_mpps for r in rounds))
        for what, unit, runs in (("cycles", "cycles/packet", [r.cycles for r in rounds]),
                                 ("ring-full", "% of bursts", [r.ring_full for r in rounds]),
                                 ("line-there-and-back", "cycles", [r.line for r in rounds])):
            self.report.add(f"{name}/{what}", statistics.median(runs), unit, runs)

    def without_loss(self, highest: float) -> float:
        """In Mpps; 0 when even the lowest rate that is worth a trial lost something."""
        low, high = 0.0, highest * 1.05
        while high - low > self.effort.resolution * highest:
            rate = (low + high) / 2
            answer = self.trial(rate * 1e6)
            # Lost is also what the ring in front of the gateway had no room for.
            passed = answer["lost"] == 0 and answer["refused"] == 0
            low, high = (rate, high) if passed else (low, rate)
        self.report.add(f"{self.name}/no-loss", low, "Mpps", [low])
        return low

    def latency(self, rate: float) -> None:
        for share in SHARES:
            answer = self.trial(rate * 1e6 * share / 100)
            for key in ("p50", "p99", "p999"):
                value = answer[f"{key}_us"]
                self.report.add(f"{self.name}/latency-{key}/{share}-percent", value, "us", [value])

    def run(self, search: bool) -> None:
        highest = self.throughput()
        if search:
            rate = self.without_loss(highest)
            # Where nothing gets through without loss there is still a latency to see.
            self.latency(rate or highest / 2)
        self.report.add(f"{self.name}/repeated-trials", self.rejected, "trials", [self.rejected])


def run(report: Report, quick: bool) -> None:
    effort = QUICK if quick else FULL
    distance = Distance()
    for peers in (1,) if quick else (1, 1000):
        sizes = (64, 1420) if quick else (64, 512, 1420)
        cases = [(flow, size) for flow in ("outbound", "inbound") for size in sizes
                 if report.wants(f"loopback/{flow}/{size}/{peers}-peer")]
        if not cases:
            continue
        with Lab("loopback") as lab:
            loopback = Loopback(lab, peers)
            for flow, size in cases:
                Case(loopback, report, flow, size, effort, distance).run(search=peers == 1 and size != 512)
            loopback.close()
    if report.wants("loopback/idle"):
        idle(report, *((2, 0.1) if quick else (15, 1.7)))
    if report.wants("loopback/spread"):
        spread(report, quick)


def idle(report: Report, bursts: int, seconds: float) -> None:
    """`idle: adaptive`: the first packet waits for the worker to wake up, none is lost, and until then the CPU is free. After
    a second of nothing the worker waits for an interrupt; SLEEPING is before that."""
    with Lab("loopback") as lab:
        loopback = Loopback(lab, 1, idle="adaptive")
        for where, after in (("/sleeping", SLEEPING), ("", seconds)):
            answers = [loopback.burst_from_idle(after) for _ in range(bursts)]
            idle_figures(report, f"loopback/idle{where}", answers)
            shares, wake_ups = [], []
            for _ in range(3):
                loopback.ask("trial 1000 0.01")
                cpu, count = loopback.idle_load(after, SLEEPING)
                shares.append(cpu)
                wake_ups.append(count)
            report.add(f"loopback/idle{where}/cpu", statistics.median(shares), "%", shares)
            report.add(f"loopback/idle{where}/wake-ups", statistics.median(wake_ups), "1/s", wake_ups)
        loopback.close()


def idle_figures(report: Report, prefix: str, answers: list[Answer]) -> None:
    # The slowest probe of a burst is its first packet.
    for name, key, unit in (("wake-up", "p999_us", "us"), ("lost-of-burst", "lost", "packets")):
        runs = [float(answer[key]) for answer in answers]
        value = max(runs) if key == "lost" else statistics.median(runs)
        report.add(f"{prefix}/{name}", value, unit, runs)
    longest = max(float(answer["p999_us"]) for answer in answers)
    report.add(f"{prefix}/wake-up/longest", longest, "us", [longest])


def spread(report: Report, quick: bool) -> None:
    """What it costs where workers share out the frames of a port among themselves."""
    with tempfile.TemporaryDirectory(prefix="turnpike-loopback-") as scratch:
        path = Path(scratch) / "figures.json"
        command = [str(BUILD / "tests/bench/bench-loopback-spread"), "--json", str(path), *(["--quick"] if quick else [])]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for figure in json.loads(path.read_text()):
            baseline = figure["baseline"] or {"name": "", "value": 0}
            report.add(figure["name"], figure["value"], figure["unit"], figure["runs"], baseline["name"],
                       baseline["value"], figure["ratio"] or 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", metavar="FILE", type=Path)
    parser.add_argument("--filter", metavar="TEXT", default="")
    arguments = parser.parse_args()
    requirements.need(("ip", "wg", "taskset"))
    if len(os.sched_getaffinity(0)) < 2:
        raise requirements.Missing("two CPUs are needed: one for the generator, one for the gateway's worker")
    report = Report(arguments.filter)
    run(report, arguments.quick)
    report.write(arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
