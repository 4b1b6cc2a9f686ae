"""What is at the two ends of the loopback benchmark's cables: the generator at one, turnpiked (or dpdk-testpmd in its place) at
the other."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requirements
from lab import Failed, Lab
from turnpiked import BUILD, Gateway
from wireguard import KeyPair, write_secret

# The generator waits so long for what is missing (loopback_trial.cpp): what a worker holds that was off its core for longer
# is not lost.
DRAINED_US = 200_000
# Memory of the messages sealed beforehand.
STOCK_BYTES = 500_000_000
VIRTIO = "queues=1,queue_size=1024,server=1,packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1"
GENERATOR = str(BUILD / "tests/bench/bench-loopback-generator")

Answer = dict[str, Any]


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


def need_two_cpus() -> None:
    requirements.need(("ip", "wg", "taskset"))
    if len(os.sched_getaffinity(0)) < 2:
        raise requirements.Missing("two CPUs are needed: one for the generator, one for the gateway's worker")


class Cables:
    """Two cables with a generator at one end of both, in a namespace of their own."""

    def __init__(self, lab: Lab, name: str, peers: int) -> None:
        self.lab = lab
        self.peers = peers
        self.space = lab.namespace(name)
        self.dir = lab.dir / name
        self.dir.mkdir(mode=0o700)
        self.cpu = min(os.sched_getaffinity(0))
        self.keys = KeyPair.make()
        self._generator = self._start_generator()

    def _start_generator(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.space.command(GENERATOR, str(self.cpu), str(self.dir), f"{self.lab.tag}g", self.keys.public, str(self.peers)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def _end_generator(self) -> None:
        assert self._generator.stdin is not None and self._generator.stdout is not None
        self._generator.stdin.close()
        self._generator.wait(20)
        self._generator.stdout.close()

    def _meet(self) -> None:
        if not self.ask("up")["ok"]:
            raise Failed("the generator sees nobody at the other ends")

    def device(self, number: int, name: str) -> str:
        """Of DPDK, for the other end of a cable."""
        return f"net_virtio_user{number},path={self.dir}/{name}.sock,mac=02:00:00:00:00:0{number + 1},{VIRTIO}"

    def ask(self, line: str) -> Answer:
        assert self._generator.stdin is not None and self._generator.stdout is not None
        self._generator.stdin.write(line + "\n")
        self._generator.stdin.flush()
        text = self._generator.stdout.readline()
        if not text:
            raise Failed(f"the generator ended at '{line}' with {self._generator.wait(10)}\n{self.lab.logs()}")
        return json.loads(text)

    def stock(self, flow: str, size: int, count: int) -> None:
        if not self.ask(f"stock {flow} {size} {count}")["ok"]:
            raise Failed(f"the generator cannot make packets of {size} bytes")

    def _measured(self, rate: float, worker: Path, effort: Effort) -> Answer:
        """A trial of what is in stock, and how long the worker was kept off its CPU meanwhile."""
        with self._undisturbed(worker, effort):
            waited = ran_and_waited_us(worker)[1]
            answer = self.ask(f"trial {rate:.0f} {effort.seconds}")
            answer["worker_away_us"] = ran_and_waited_us(worker)[1] - waited
        return answer

    @contextlib.contextmanager
    def _undisturbed(self, worker: Path, effort: Effort) -> Iterator[None]:
        """Nobody else gets the two pollers' CPUs: what isolcpus does for good. The other threads, which share the
        generator's, have nothing to do meanwhile. Shorter than the kernel's limit for such threads (0.95 s)."""
        threads = (self._generator.pid, int(worker.name)) if effort.repeats else ()
        time.sleep(0.3 if effort.repeats else 0)  # the limit holds for each second, trials before this one included
        try:
            for thread in threads:
                os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))
            yield
        finally:
            for thread in threads:
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def worker_of(pid: int) -> Path:
    """The thread of a DPDK program that polls."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().startswith(("rte-worker", "lcore-worker")):
            return task
    raise Failed(f"process {pid} has no thread of a DPDK worker")


def ran_and_waited_us(worker: Path) -> tuple[float, float]:
    """How long a thread had its CPU so far, and how long it was ready to run and had not."""
    ran, waited = (worker / "schedstat").read_text().split()[:2]
    return int(ran) / 1000, int(waited) / 1000


class Loopback(Cables):
    """A gateway and its generator, for so many peers."""

    def __init__(self, lab: Lab, peers: int, idle: str = "poll", keepalive: int = 0) -> None:
        super().__init__(lab, f"p{peers}", peers)
        self.idle = idle
        self.keepalive = keepalive
        self.gateway = self._make_gateway(self.keys)
        self.gateway.start()
        assert self.gateway.process is not None
        self._worker = worker_of(self.gateway.process.pid)
        self._meet()

    def _meet(self) -> None:
        super()._meet()
        self.handshake()
        for flow in ("outbound", "inbound"):  # after which both ends know their neighbours
            self.ask(f"stock {flow} 64 1000")
            self.ask("trial 10000 0.1")

    def restart_generator(self, how: signal.Signals) -> None:
        self._generator.send_signal(how)
        self._end_generator()
        self._generator = self._start_generator()
        self._meet()

    def _make_gateway(self, keys: KeyPair) -> Gateway:
        public = subprocess.run([GENERATOR, "keys", str(self.peers)], capture_output=True, text=True, check=True).stdout.split()
        key = write_secret(self.dir / "gateway.key", keys.private)
        peers = [{"name": f"p{i}", "public_key": k, "persistent_keepalive": self.keepalive,
                  "allowed_ips": [f"100.{64 + (i >> 16)}.{i >> 8 & 255}.{i & 255}/32"]} for i, k in enumerate(public)]
        return Gateway(
            self.lab, self.space, idle=self.idle,
            ports=[{"name": "outside", "device": self.device(0, "outside"), "addresses": ["192.0.2.1/24"], "mtu": 1500,
                    "routes": [{"to": "0.0.0.0/0", "via": "192.0.2.254"}]},
                   {"name": "inside", "device": self.device(1, "inside"), "addresses": ["10.0.0.1/24"], "mtu": 1500}],
            tunnels=[{"name": "wg0", "private_key_file": str(key), "listen_port": 51820, "outside": "outside",
                      "inside": "inside", "mtu": 1420, "peers": peers}])

    def close(self) -> None:
        try:
            self._end_generator()
        finally:
            status = self.gateway.stop()
        if status != 0:
            raise Failed(f"turnpiked ended with {status}\n{self.lab.logs()}")

    def worker_wake_ups(self) -> int:
        """How often the worker slept so far."""
        for line in (self._worker / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                return int(line.split()[1])
        raise Failed(f"{self._worker}/status does not tell how often the worker slept")

    def _drops(self) -> dict[str, int]:
        shown = self.gateway.show()
        ports = {f"{port['name']}-{key}": port[key] for port in shown["ports"] for key in ("missed", "no_mbuf")}
        return {**shown["drops"], **ports}

    def idle_load(self, after: float, seconds: float) -> tuple[float, float]:
        """What the worker takes of its CPU, in per cent, and how often a second it wakes up, when nothing has come for so
        long."""
        time.sleep(after)
        ran, slept, began = ran_and_waited_us(self._worker)[0], self.worker_wake_ups(), time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - began
        return (ran_and_waited_us(self._worker)[0] - ran) / elapsed / 1e4, (self.worker_wake_ups() - slept) / elapsed

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
        self.stock(flow, size, count)
        before = self._drops()
        answer = self._measured(rate, self._worker, effort)
        after = self._drops()
        answer["drops"] = {k: n - before.get(k, 0) for k, n in after.items() if n != before.get(k, 0)}
        answer["lost"] = answer["offered"] - answer["refused"] - answer["received"]
        if not answer["ok"] or answer["wrong"] != 0:
            raise Failed(f"{answer['wrong']} packets came out wrong: {answer}")
        answer["counts"] = answer["lost"] == sum(answer["drops"].values())
        if not answer["counts"] and answer["worker_away_us"] < DRAINED_US:
            raise Failed(f"{answer['lost']} packets did not come out, but the gateway names other drops: {answer}")
        return answer


class Forwarder(Cables):
    """dpdk-testpmd in the gateway's place: what comes in by one cable goes out by the other, untouched."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab, "testpmd", 1)
        worker_cpu = max(os.sched_getaffinity(0))
        self._testpmd = self.space.start(
            "testpmd", "dpdk-testpmd", f"--lcores=0@{self.cpu},1@{worker_cpu}", "--main-lcore=0", "--no-huge", "--no-shconf",
            "--no-pci", "--no-telemetry", "-m", "256", f"--file-prefix={lab.tag}-testpmd", "--force-max-simd-bitwidth=512",
            f"--vdev={self.device(0, 'outside')}", f"--vdev={self.device(1, 'inside')}",
            "--", "--forward-mode=io", "--auto-start", "--stats-period=60", "--rxd=1024", "--txd=1024", "--burst=32",
            "--total-num-mbufs=16384")
        self._meet()
        self._worker = worker_of(self._testpmd.pid)

    def close(self) -> None:
        try:
            self._end_generator()
        finally:
            self._testpmd.stop()

    def trial(self, size: int, effort: Effort) -> Answer:
        self.stock("outbound", size, 1024)
        answer = self._measured(0, self._worker, effort)
        # They are not the messages that the generator looks for.
        answer["received"] += answer["other"]
        if not answer["ok"] or answer["received"] == 0:
            raise Failed(f"nothing came through dpdk-testpmd: {answer}\n{self.lab.logs()}")
        return answer
