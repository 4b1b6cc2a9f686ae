#!/usr/bin/env python3
"""turnpiked between two virtio cables, with a generator of our own at their other ends, each on a CPU of its own.

Throughput as the gateway takes packets, interleaved with the `pipeline` benchmark of the same case, with how often the
gateway's ring was found full (where it seldom is, the figure is the generator's) and with how long a cache line takes
from one CPU to the other and back, on which all of it depends. A hypervisor may move CPUs: rounds in which that took more
than FAR times the shortest of the run are figures of their own (.../far), and others are made in their place. What the same
cables carry when nobody encrypts (cable/...): dpdk-testpmd hands frames from one to the other in the gateway's place. The
highest rate without loss by RFC 2544's binary search (trials of a second, not a minute); latency at shares of that rate.
Every packet is accounted for: what was sent and did not come out must be in the gateway's drops, or the benchmark fails.

The control and session threads share the generator's CPU. A trial in which the generator or the worker was kept off its
CPU for longer than MAX_AWAY_US is repeated, and those are counted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from figures import Report
from lab import Failed, Lab
from loopback_ends import FULL, QUICK, Answer, Effort, Forwarder, Loopback, need_two_cpus
from turnpiked import BUILD

MAX_AWAY_US = 300
MAX_REPEATS = 12
FAR = 2
LINE = "pipeline/far/line-there-and-back"
SLEEPING = 0.4  # seconds of nothing, after which a worker sleeps shortly
SHARES = (10, 50, 90)  # per cent of the highest rate without loss


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


def pipeline_figure(name: str, effort: Effort, *wrapper: str) -> float:
    with tempfile.TemporaryDirectory(prefix="turnpike-loopback-") as scratch:
        path = Path(scratch) / "figures.json"
        command = [str(BUILD / "tests/bench/bench-pipeline"), "--json", str(path), "--filter", f"={name}"]
        if effort is QUICK:
            command.append("--quick")
        subprocess.run([*wrapper, *command], check=True, stdout=subprocess.DEVNULL)
        return json.loads(path.read_text())[0]["value"]


class Throughput:
    """As much as goes through, in rounds, beside the figure of `pipeline` called `beside` on the generator's CPU."""

    def __init__(self, report: Report, name: str, beside: str, effort: Effort, distance: Distance, cpu: int) -> None:
        self.report, self.name, self.beside = report, name, beside
        self.effort, self.distance, self.cpu = effort, distance, cpu

    def measure(self, trial: Callable[[], Answer]) -> float:
        """The median of all rounds, in Mpps."""
        rounds: list[Round] = []
        near: list[Round] = []
        far: list[Round] = []
        while len(near) < self.effort.rounds and len(rounds) < self.effort.rounds + self.effort.more_rounds:
            rounds.append(self._round(trial))
            # Where other tests run beside it the distance says nothing.
            near, far = self.distance.parted(rounds) if self.effort.repeats else (rounds, [])
        for name, some in ((self.name, near), (f"{self.name}/far", far)):
            if some:
                self._figures(name, some)
        return statistics.median(r.mpps for r in rounds)

    def _round(self, trial: Callable[[], Answer]) -> Round:
        before = pipeline_figure(LINE, self.effort)
        answer = trial()
        after = pipeline_figure(LINE, self.effort)
        self.distance.saw(min(before, after))
        return Round(mpps=answer["received"] / answer["seconds"] / 1e6,
                     # That CPU is idle now.
                     pipeline_mpps=pipeline_figure(self.beside, self.effort, "taskset", "-c", str(self.cpu)),
                     cycles=answer["tsc_hz"] * answer["seconds"] / answer["received"],
                     ring_full=100 * answer["held_back"] / answer["offers"], line=max(before, after))

    def _figures(self, name: str, rounds: list[Round]) -> None:
        rates = [r.mpps for r in rounds]
        self.report.add(name, statistics.median(rates), "Mpps", rates, self.beside,
                        statistics.median(r.pipeline_mpps for r in rounds),
                        statistics.median(r.mpps / r.pipeline_mpps for r in rounds))
        for what, unit, runs in (("cycles", "cycles/packet", [r.cycles for r in rounds]),
                                 ("ring-full", "% of bursts", [r.ring_full for r in rounds]),
                                 ("line-there-and-back", "cycles", [r.line for r in rounds])):
            self.report.add(f"{name}/{what}", statistics.median(runs), unit, runs)


def least_disturbed(trial: Callable[[], Answer], effort: Effort) -> tuple[Answer, int]:
    """The first trial that nobody disturbed, else the one that was disturbed least; and how many do not count."""
    best: Answer | None = None
    rejected = 0
    for _ in range(MAX_REPEATS):
        answer = trial()
        if not answer.get("counts", True):
            rejected += 1
            time.sleep(1)  # what lies in the gateway's rings comes out
            continue
        away = max(answer["worst_gap_us"], answer["worker_away_us"])
        if best is None or away < best["away"]:
            best = {**answer, "away": away}
        if not effort.repeats or away <= MAX_AWAY_US:
            return best, rejected
        rejected += 1
    if best is None:
        raise Failed(f"in each of {MAX_REPEATS} trials the gateway's worker was off its core for too long")
    return best, rejected


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
        answer, rejected = least_disturbed(lambda: self.loopback.trial(self.flow, self.size, rate, self.effort), self.effort)
        self.rejected += rejected
        return answer

    def throughput(self) -> float:
        return Throughput(self.report, self.name, f"pipeline/{self.suffix}", self.effort, self.distance,
                          self.loopback.cpu).measure(lambda: self.trial(0))

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
    sizes = [size for size in ((1420,) if quick else (64, 1420)) if report.wants(f"loopback/cable/{size}")]
    if sizes:
        requirements.need(("dpdk-testpmd",))
        cable(report, sizes, effort, distance)
    if report.wants("loopback/idle"):
        idle(report, *((2, 0.1) if quick else (15, 1.7)))
    if report.wants("loopback/spread"):
        spread(report, quick)


def cable(report: Report, sizes: list[int], effort: Effort, distance: Distance) -> None:
    """What the cables carry by themselves, beside what `pipeline` makes of packets of that size."""
    with Lab("loopback") as lab:
        forwarder = Forwarder(lab)
        for size in sizes:
            throughput = Throughput(report, f"loopback/cable/{size}", f"pipeline/outbound/{size}/1-peer", effort, distance,
                                    forwarder.cpu)
            throughput.measure(lambda: least_disturbed(lambda: forwarder.trial(size, effort), effort)[0])
        forwarder.close()


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
    need_two_cpus()
    report = Report(arguments.filter)
    run(report, arguments.quick)
    report.write(arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
