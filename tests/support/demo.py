"""What scripts/demo runs: a gateway with two real WireGuard clients and a host, in network namespaces.

Everything it makes lies in namespaces of its own and in one temporary directory, so it runs beside an
installed Turnpike and beside itself. It ends with 0 only when every step worked.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import unittest

import requirements
import scenario
from lab import Failed, Interrupted, Lab
from report import print_look_around, print_summary
from testbed import GATEWAY_INSIDE, GATEWAY_OUTSIDE, GATEWAY_TUNNEL, HOST, Testbed
from turnpiked import Gateway, program

PROGRAMS = ("ip", "ethtool", "wg", "wireguard-go", "ping", "iperf3")


class Screen:
    """Says what happens while it happens, with the time since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def title(self, text: str) -> None:
        print(f"\n{text}", flush=True)

    def line(self, text: str) -> None:
        print(f"  [{time.monotonic() - self._start:6.1f} s] {text}", flush=True)


def run_steps(bed: Testbed, gateway: Gateway, screen: Screen) -> list[str]:
    """Runs the scenario; the titles of the steps that did not work."""
    failed = []
    for step in scenario.steps(bed, *bed.sides):
        screen.line(f"{step.title} ...")
        try:
            screen.line(f"    works: {step.run()}")
        except Failed as error:
            failed.append(step.title)
            screen.line(f"    FAILED: {error}")
            gateway.check_alive()  # without a gateway the other steps tell nothing more
    return failed


def start(lab: Lab, screen: Screen) -> tuple[Testbed, Gateway]:
    """Namespaces, clients and the gateway, up to where traffic can begin."""
    screen.title("Network namespaces")
    bed = Testbed(lab)
    screen.line(f"switch, gateway and host made, all named {lab.tag}-...; the host inside is {', '.join(HOST)}")
    for name, options in (("client-a", {"preshared": True}), ("client-b", {"over_ipv6": True})):
        side = bed.add_client(name, **options)
        detail = ("with a preshared key, reaches the gateway over IPv4" if side.preshared_key
                  else "reaches the gateway over IPv6")
        screen.line(f"{name}: wireguard-go, {side.v4} and {side.v6}, {detail}")

    screen.title("The gateway")
    gateway = bed.gateway()
    screen.line(f"outside {', '.join(GATEWAY_OUTSIDE)}; inside {', '.join(GATEWAY_INSIDE)}; "
                f"tunnel {', '.join(GATEWAY_TUNNEL)}")
    screen.line("both ports are DPDK's net_af_packet on veths; one worker")
    gateway.start()
    assert gateway.process is not None
    screen.line(f"turnpiked runs as process {gateway.process.pid} with {gateway.config_file}")
    return bed, gateway


def wait_for_signal(screen: Screen) -> None:
    screen.title("Everything stays up until Ctrl-C (or SIGTERM).")
    try:
        while True:
            signal.pause()
    except Interrupted:
        print("", flush=True)


def demo(keep: bool) -> int:
    screen = Screen()
    requirements.need(PROGRAMS, tun=True)
    program("turnpiked"), program("turnpike")  # name what is missing before anything is made
    with Lab("demo") as lab:
        try:
            bed, gateway = start(lab, screen)
            screen.title("Traffic")
            failed = run_steps(bed, gateway, screen)
            print_summary(bed, gateway)
        except Failed as error:
            print(f"\nThe demo failed: {error}\n\n{lab.logs()}", file=sys.stderr, flush=True)
            return 1
        if failed:
            print(f"\n{lab.logs()}\n\nFAILED: " + "; ".join(failed), file=sys.stderr, flush=True)
        if keep:
            print_look_around(bed, gateway)
            wait_for_signal(screen)
        status = gateway.stop()
        if status != 0:
            failed.append("a clean stop")
            print(f"turnpiked ended with {status} on SIGTERM:\n{gateway.process.tail()}", file=sys.stderr)
    print("\nStopped and cleaned up." + ("" if failed else " All of it worked."), flush=True)
    return 1 if failed else 0


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Real WireGuard clients through Turnpike, "
                                     "in network namespaces; ends by itself, 0 when all of it worked.")
    parser.add_argument("--keep", action="store_true", help="leave everything up afterwards and say how to look at it")
    parser.add_argument("--no-build", action="store_true", help="use build/ as it is")
    arguments = parser.parse_args(argv)
    try:
        return demo(arguments.keep)
    except (requirements.Missing, Failed) as error:
        print(f"scripts/demo: {error}", file=sys.stderr)
        return 1
    except unittest.SkipTest as error:  # scripts/test --allow-skip
        print(f"scripts/demo: skipped: {error}", file=sys.stderr)
        return 77
    except Interrupted as error:
        print(f"\nscripts/demo: {error}: stopped and cleaned up", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
