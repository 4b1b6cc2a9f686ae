"""What a system test needs from the machine; what is missing is named, never silently passed over."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import unittest

# Programs of the tests and the Debian packages that bring them.
PACKAGES = {
    "apt-get": "apt",
    "buildah": "buildah",
    "busybox": "busybox-static",
    "debootstrap": "debootstrap",
    "dpkg-deb": "dpkg",
    "dpdk-dumpcap": "dpdk",
    "dpdk-telemetry.py": "dpdk",
    "dpdk-testpmd": "dpdk-dev",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "iperf3": "iperf3",
    "mkfs.ext4": "e2fsprogs",
    "ping": "iputils-ping",
    "prlimit": "util-linux",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "tcpdump": "tcpdump",
    "wg": "wireguard-tools",
    "wireguard-go": "wireguard-go",
}


class Missing(Exception):
    """A requirement that the machine does not meet, in one sentence that says what to do."""


def find_program(name: str) -> str | None:
    # Debian keeps ip and ethtool where only root's PATH looks.
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def find_missing(programs: tuple[str, ...] = (), namespaces: bool = True, tun: bool = False) -> list[str]:
    """One sentence for each requirement that is not met."""
    missing = []
    for program in programs:
        if find_program(program) is None:
            missing.append(f"program {program} is missing (Debian package {PACKAGES.get(program, program)})")
    if namespaces:
        if os.geteuid() != 0:
            missing.append("root is needed to make network namespaces (run it with sudo)")
        elif subprocess.run(["unshare", "--net", "--mount", "true"], check=False,
                            capture_output=True).returncode != 0:
            missing.append("this system does not allow network namespaces (in a container: --privileged)")
    if tun and not os.path.exists("/dev/net/tun"):
        missing.append("/dev/net/tun is missing (modprobe tun; in a container: --device /dev/net/tun)")
    return missing


def need_module(name: str, package: str) -> None:
    """Like need(), of a Python module and the Debian package that brings it."""
    if importlib.util.find_spec(name) is not None:
        return
    text = f"Python module {name} is missing (Debian package {package})"
    if os.environ.get("TURNPIKE_ALLOW_SKIP"):
        raise unittest.SkipTest(text)
    raise Missing(text)


def need(programs: tuple[str, ...] = (), namespaces: bool = True, tun: bool = False) -> None:
    """Raises when something is missing: unittest.SkipTest under --allow-skip, else Missing."""
    missing = find_missing(programs, namespaces, tun)
    if not missing:
        return
    text = "; ".join(missing)
    if os.environ.get("TURNPIKE_ALLOW_SKIP"):
        raise unittest.SkipTest(text)
    raise Missing(text)
