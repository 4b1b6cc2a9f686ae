#!/usr/bin/env python3
"""The images of docker/ build, and their entry points carry traffic as compose.yaml puts them together."""

from __future__ import annotations

import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from image import Images
from lab import Lab, Namespace, wait_until
from wireguard import ping


def setUpModule() -> None:
    requirements.need(("ip", "ethtool", "ping", "buildah", "debootstrap"), tun=True)


class Containers(unittest.TestCase):
    def wire(self, lab: Lab) -> dict[str, Namespace]:
        """What a container engine does: namespaces with addresses that it chose, names in no order."""
        spaces = {name: lab.namespace(name) for name in ("switch", "gateway", "client-a", "client-b", "host")}
        spaces["switch"].switch()
        for name, interface, address in (("gateway", "eth1", "192.0.2.1/24"), ("client-a", "eth0", "192.0.2.11/24"),
                                         ("client-b", "eth0", "192.0.2.12/24")):
            lab.link(spaces[name], interface, spaces["switch"], name)
            spaces["switch"].switch_port(name)
            spaces[name].address(interface, address)
        lab.link(spaces["gateway"], "eth0", spaces["host"], "eth0")
        spaces["gateway"].address("eth0", "10.0.0.1/24")
        spaces["host"].address("eth0", "10.0.0.10/24")
        return spaces

    def test_the_images_build_and_the_gateway_carries_traffic(self) -> None:
        lab = self.enterContext(Lab("container"))
        images = Images(lab)
        self.addCleanup(images.close)
        print("debootstrap", flush=True)
        images.make_base()
        for target in ("turnpike", "peer"):
            print(f"building {target}", flush=True)
            images.build(target)

        spaces = self.wire(lab)
        for name in ("gateway", "client-a", "client-b", "host"):
            images.container(name, "turnpike" if name == "gateway" else "peer")
        config, state = lab.dir / "config", lab.dir / "state"
        config.mkdir(mode=0o700)
        state.mkdir(mode=0o700)
        spaces["host"].run(*images.command("host", "make-config", "/config", volumes={config: "/config"}))

        gateway = images.start(spaces["gateway"], "gateway", "turnpike-gateway", "--config",
                               "/etc/turnpike/turnpike.yaml",
                               volumes={config: "/etc/turnpike", state: "/var/lib/turnpike"},
                               environment={"TURNPIKE_PORTS": "wan0=192.0.2.1 lan0=10.0.0.1"})
        show = images.command("gateway", "turnpike", "show", "--json")

        def answers() -> bool:
            self.assertTrue(gateway.running(), gateway.tail())
            return spaces["gateway"].run(*show, check=False).returncode == 0

        wait_until("turnpiked in its container", answers, 60, every=1)
        peers = [images.start(spaces[name], name, "peer", "client", name, volumes={config: "/config"})
                 for name in ("client-a", "client-b")]
        peers.append(images.start(spaces["host"], "host", "peer", "host", volumes={config: "/config"}))
        for peer in peers:
            wait_until(f"{peer.name} is ready", lambda p=peer: "ready" in p.tail(), 30)

        for source, address in (("client-a", "10.0.0.10"), ("client-a", "fd00:1::10"), ("client-b", "10.0.0.10"),
                                ("client-a", "10.8.0.3"), ("host", "10.8.0.2"), ("host", "fd00:8::3")):
            with self.subTest(source=source, address=address):
                self.assertEqual(ping(spaces[source], address), (3, 3), gateway.tail())
        shown = json.loads(spaces["gateway"].run(*show).stdout)
        self.assertTrue(all(peer["last_handshake"] for peer in shown["peers"]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
