#!/usr/bin/env python3
"""The namespaces, the clients and the clean-up that other tests rely on work on this machine, without Turnpike."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import unittest
from pathlib import Path

SUPPORT = Path(__file__).resolve().parents[1] / "support"
sys.path.insert(0, str(SUPPORT))
import requirements
from lab import Failed, Lab, run, wait_until
from wireguard import Client, KeyPair, Peer, iperf, make_preshared_key, ping


def setUpModule() -> None:
    requirements.need(("ip", "ethtool", "wg", "wireguard-go", "ping", "iperf3"), tun=True)


class Harness(unittest.TestCase):
    def test_two_wireguard_go_ping_each_other_and_carry_tcp(self) -> None:
        with Lab("harness") as lab:
            left, right = lab.namespace("left"), lab.namespace("right")
            lab.link(left, "eth0", right, "eth0")
            left.address("eth0", "192.0.2.1/24", "2001:db8:0:1::1/64")
            right.address("eth0", "192.0.2.2/24", "2001:db8:0:1::2/64")
            psk = make_preshared_key()
            a = Client(lab, left, KeyPair.make(), ("10.8.0.1/24", "fd00:8::1/64"), listen_port=51820)
            b = Client(lab, right, KeyPair.make(), ("10.8.0.2/24", "fd00:8::2/64"))
            a.set_peer(Peer(b.keys.public, ("10.8.0.2/32", "fd00:8::2/128"), preshared_key=psk))
            b.set_peer(Peer(a.keys.public, ("10.8.0.1/32", "fd00:8::1/128"), "[2001:db8:0:1::1]:51820", psk))
            self.assertEqual(ping(right, "10.8.0.1"), (3, 3))
            self.assertEqual(ping(left, "fd00:8::2"), (3, 3))
            self.assertGreater(b.status(a.keys.public).last_handshake, 0)
            self.assertGreater(iperf(left, right, "10.8.0.1", seconds=1), 0)
            b.restart()
            self.assertEqual(ping(right, "10.8.0.1"), (3, 3))

    def test_a_wrong_preshared_key_gives_no_answer(self) -> None:
        """Shows that a ping above cannot succeed beside the tunnel."""
        with Lab("harness") as lab:
            left, right = lab.namespace("left"), lab.namespace("right")
            lab.link(left, "eth0", right, "eth0")
            left.address("eth0", "192.0.2.1/24")
            right.address("eth0", "192.0.2.2/24")
            a = Client(lab, left, KeyPair.make(), ("10.8.0.1/24",), listen_port=51820)
            b = Client(lab, right, KeyPair.make(), ("10.8.0.2/24",))
            a.set_peer(Peer(b.keys.public, ("10.8.0.2/32",), preshared_key=make_preshared_key()))
            b.set_peer(Peer(a.keys.public, ("10.8.0.1/32",), "192.0.2.1:51820", make_preshared_key()))
            self.assertEqual(ping(right, "10.8.0.1", count=2, wait=2), (2, 0))

    def test_a_switch_connects_three(self) -> None:
        with Lab("harness") as lab:
            switch = lab.namespace("switch")
            switch.switch()
            hosts = [lab.namespace(f"host{i}") for i in range(3)]
            for i, host in enumerate(hosts):
                lab.link(host, "eth0", switch, f"port{i}")
                switch.switch_port(f"port{i}")
                host.address("eth0", f"192.0.2.{i + 1}/24")
            for other in ("192.0.2.2", "192.0.2.3"):
                self.assertEqual(ping(hosts[0], other), (3, 3))

    def test_nothing_is_left_behind(self) -> None:
        with Lab("harness") as lab:
            space = lab.namespace("one")
            sleeper = space.start("sleeper", "sleep", "1000")
            directory, name, pid = lab.dir, space.full_name, sleeper.pid
            self.assertIn(name, run("ip", "netns", "list").stdout)
        self.assertNotIn(name, run("ip", "netns", "list").stdout)
        self.assertFalse(directory.exists())
        self.assertFalse(Path(f"/proc/{pid}").exists())

    def test_a_failure_inside_cleans_up_and_comes_out(self) -> None:
        with self.assertRaisesRegex(Failed, "exit 3"):
            with Lab("harness") as lab:
                name = lab.namespace("one").full_name
                lab.namespaces[0].run("sh", "-c", "exit 3")
        self.assertNotIn(name, run("ip", "netns", "list").stdout)

    def test_signals_clean_up_too(self) -> None:
        # Short sleeps: Python begins a sleep even when a signal has come just before it, and hears of it afterwards.
        program = ("import sys, time; sys.path.insert(0, sys.argv[1]); from lab import Lab\n"
                   "with Lab('signal') as lab:\n"
                   "    space = lab.namespace('one'); space.start('sleeper', 'sleep', '1000')\n"
                   "    print(space.full_name, lab.dir, flush=True)\n"
                   "    while True: time.sleep(0.1)\n")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number.name):
                child = subprocess.Popen([sys.executable, "-c", program, str(SUPPORT)], text=True,
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                try:
                    assert child.stdout is not None
                    name, directory = child.stdout.readline().split()
                    child.send_signal(number)
                    child.send_signal(number)
                    self.assertNotEqual(child.wait(30), 0)
                finally:
                    child.kill()
                    child.wait()
                    child.stdout.close()
                self.assertNotIn(name, run("ip", "netns", "list").stdout)
                self.assertFalse(os.path.exists(directory))

    def test_processes_end_when_their_lab_is_killed(self) -> None:
        program = ("import sys, time; sys.path.insert(0, sys.argv[1]); from lab import Lab\n"
                   "with Lab('kill') as lab:\n"
                   "    space = lab.namespace('one'); p = space.start('sleeper', 'sleep', '1000')\n"
                   "    print(space.full_name, lab.dir, p.pid, flush=True); time.sleep(1000)\n")
        child = subprocess.Popen([sys.executable, "-c", program, str(SUPPORT)], text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert child.stdout is not None
        name, directory, pid = child.stdout.readline().split()
        child.kill()
        child.wait()
        child.stdout.close()
        try:
            wait_until("the sleeper's end", lambda: not Path(f"/proc/{pid}").exists(), 10)
        finally:
            # SIGKILL leaves the namespace and the directory behind; they are this test's to remove.
            run("ip", "netns", "delete", name)
            run("rm", "-r", directory)


if __name__ == "__main__":
    unittest.main(verbosity=2)
