"""The Linux kernel, with its own WireGuard, in a QEMU guest, driven by shell commands over its serial line.

The guest is Debian's cloud kernel, downloaded and unpacked (never installed: that would touch the boot loader), and an
initramfs of busybox, wg and the modules that they need, made here. It has no disk, and is emulated: to boot takes it
up to a minute or two.
"""

from __future__ import annotations

import dataclasses
import gzip
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from lab import Failed, Lab, Namespace, Process, run, wait_until

_KERNEL_PACKAGE = "linux-image-cloud-amd64"  # names the newest one by its dependency
_MODULES = ("virtio_pci", "virtio_net", "wireguard")
_CARD = "netdev=net,mac=02:00:00:00:0e:01,romfile="
PROGRAMS = ("qemu-system-x86_64", "busybox", "wg", "ip", "apt-get", "dpkg-deb")
_BOOT_SECONDS = 240
_MEMORY_MIB = 256

_INIT = """#!/bin/sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /sbin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for key in accept_dad autoconf; do echo 0 > /proc/sys/net/ipv6/conf/default/$key; done
for module in $(cat /modules/order); do insmod /modules/$module || echo "insmod $module failed"; done
ip link set lo up
ip link set eth0 up
stty -echo -onlcr < /dev/ttyS0
echo @@ready
export PS1= PATH=/bin
exec setsid sh < /dev/ttyS0 > /dev/ttyS0 2>&1
"""


def kernel(cache: Path) -> Path:
    """The unpacked package; downloaded once into `cache`."""
    depends = run("apt-cache", "depends", _KERNEL_PACKAGE).stdout
    found = re.search(r"Depends: (linux-image-\S+-cloud-amd64)\b", depends)
    if found is None:
        raise Failed(f"apt-cache knows no package {_KERNEL_PACKAGE}; run apt-get update\n{depends}")
    directory = cache / found.group(1)
    if not directory.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        scratch = cache / f"{found.group(1)}.{os.getpid()}"
        scratch.mkdir()
        try:
            run("sh", "-c", 'cd "$1" && exec apt-get download "$2"', "sh", str(scratch), found.group(1), timeout=600)
            run("dpkg-deb", "-x", str(next(scratch.glob("*.deb"))), str(scratch / "image"), timeout=120)
            (scratch / "image").rename(directory)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return directory


def _module_files(image: Path) -> list[Path]:
    """Of _MODULES and all that they need, in the order of loading."""
    by_name = {path.stem.replace("-", "_"): path for path in (image / "lib/modules").rglob("*.ko")}
    order: list[Path] = []

    def add(name: str) -> None:
        path = by_name.get(name.replace("-", "_"))
        if path is None:
            raise Failed(f"{image} has no module {name}")
        if path in order:
            return
        needs = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for needed in (needs.group(1).decode().split(",") if needs else []):
            if needed:
                add(needed)
        order.append(path)

    for name in _MODULES:
        add(name)
    return order


def _cpio(entries: list[tuple[str, int, bytes]]) -> bytes:
    """An archive in the format that the kernel reads ("newc")."""
    out = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + "".join(f"{f:08x}" for f in fields).encode() + name.encode() + b"\0"
        out += bytes(-len(out) % 4)
        out += content
        out += bytes(-len(out) % 4)
    return bytes(out)


def _initramfs(image: Path, programs: Sequence[Path]) -> bytes:
    def file(name: str, source: Path, mode: int = 0o755) -> tuple[str, int, bytes]:
        return name, stat.S_IFREG | mode, source.read_bytes()

    modules = _module_files(image)
    wg = Path(shutil.which("wg") or "/usr/bin/wg")
    libraries = sorted({library for program in (wg, *programs)
                        for library in re.findall(r"(?:=>|^)\s*(/\S+)", run("ldd", str(program)).stdout, re.M)})
    directories = {"bin", "modules"}
    for library in libraries:
        parents = [str(p).lstrip("/") for p in Path(library).parents]
        directories |= {p for p in parents if p}
    entries = [(d, stat.S_IFDIR | 0o755, b"") for d in sorted(directories)]
    entries.append(("init", stat.S_IFREG | 0o755, _INIT.encode()))
    entries.append(file("bin/busybox", Path(shutil.which("busybox") or "/bin/busybox")))
    entries.append(("bin/sh", stat.S_IFLNK | 0o777, b"busybox"))
    entries.append(file("bin/wg", wg))
    entries += [file(f"bin/{program.name}", program) for program in programs]
    entries += [file(library.lstrip("/"), Path(library)) for library in libraries]
    entries += [file(f"modules/{m.name}", m, 0o644) for m in modules]
    entries.append(("modules/order", stat.S_IFREG | 0o644, " ".join(m.name for m in modules).encode()))
    return gzip.compress(_cpio(entries), 1)


@dataclasses.dataclass(frozen=True)
class Tap:
    """The guest's eth0 on a tap interface of its namespace, which is made for it."""

    name: str

    def attach(self, space: Namespace) -> list[str]:
        space.ip("tuntap", "add", self.name, "mode", "tap")
        space.ip("link", "set", self.name, "up")
        return ["-netdev", f"tap,id=net,ifname={self.name},script=no,downscript=no",
                "-device", f"virtio-net-pci,{_CARD}"]


@dataclasses.dataclass(frozen=True)
class VhostUser:
    """The guest's eth0 on the vhost-user socket of a program, which reads and writes the guest's memory.

    Only for a guest with the memory that it has by default: QEMU wants its size twice.
    """

    socket: Path

    def attach(self, _space: Namespace) -> list[str]:
        return ["-object", f"memory-backend-memfd,id=shared,size={_MEMORY_MIB}M,share=on",
                "-machine", "memory-backend=shared",
                "-chardev", f"socket,id=vhost,path={self.socket}", "-netdev", "vhost-user,id=net,chardev=vhost",
                # No MSI-X: when the guest takes its vectors into use, QEMU (7.2) ends with a segmentation fault without KVM.
                "-device", f"virtio-net-pci,{_CARD},vectors=0"]


class KernelGuest:
    """A booted guest; QEMU runs in `space`, `programs` are in the guest's /bin."""

    def __init__(self, lab: Lab, space: Namespace, eth0: Tap | VhostUser, cache: Path, programs: Sequence[Path] = (),
                 machine: Sequence[str] = ("-m", str(_MEMORY_MIB))) -> None:
        image = kernel(cache)
        initramfs = lab.dir / "initramfs.gz"
        initramfs.write_bytes(_initramfs(image, programs))
        path = lab.dir / "guest.serial"
        self.process: Process = space.start(
            "guest", "qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none", *machine,
            # Emulated: KVM inside of a virtual machine is there too often without working.
            "-machine", "q35,accel=tcg", "-cpu", "max",
            "-kernel", str(next((image / "boot").glob("vmlinuz-*"))), "-initrd", str(initramfs),
            "-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off",
            *eth0.attach(space),
            "-serial", f"unix:{path},server=on,wait=off")
        self._serial = socket.socket(socket.AF_UNIX)

        def connected() -> bool:
            if not self.process.running():
                raise Failed(f"QEMU ended:\n{self.process.tail()}")
            return self._serial.connect_ex(str(path)) == 0

        wait_until("QEMU's serial line", connected)
        self._seen = b""
        self._until(rb"@@ready\r?\n", _BOOT_SECONDS)

    def _until(self, pattern: bytes, seconds: float) -> re.Match[bytes]:
        """What the guest says up to the pattern, which is taken away."""
        end = time.monotonic() + seconds
        while (found := re.search(pattern, self._seen)) is None:
            self._serial.settimeout(max(0.01, end - time.monotonic()))
            try:
                more = self._serial.recv(65536)
            except TimeoutError:
                more = b""
            if not more:
                raise Failed(f"the guest did not say {pattern!r} within {seconds:.0f} s, but:\n"
                             f"{self._seen[-3000:].decode(errors='replace')}\n{self.process.tail()}")
            self._seen += more
        self._seen, said = self._seen[found.end():], self._seen
        del said
        return found

    def run(self, command: str, check: bool = True, seconds: float = 60) -> str:
        """Runs a line of shell in the guest; its output, both streams."""
        self._serial.sendall(f"{{ {command} ; }} 2>&1; echo @@$?@@\n".encode())
        found = self._until(rb"(?s)(.*?)@@(\d+)@@\r?\n", seconds)
        output = found.group(1).decode(errors="replace").replace("\r\n", "\n")
        if check and int(found.group(2)) != 0:
            raise Failed(f"in the guest, {command}: exit {int(found.group(2))}\n{output}")
        return output

    def ping(self, address: str, count: int, size: int = 56) -> int:
        """How many came back."""
        output = self.run(f"ping -q -i 0.2 -c {count} -s {size} -W 10 {address}", check=False, seconds=count + 60)
        found = re.search(r"(\d+) packets received", output)
        if found is None:
            raise Failed(f"ping {address} in the guest said:\n{output}")
        return int(found.group(1))

    def transfer(self) -> tuple[int, int]:
        """(received, sent) bytes of its only peer."""
        fields = self.run("wg show wg0 transfer").split()
        return int(fields[1]), int(fields[2])

    def close(self) -> None:
        self._serial.close()
        self.process.stop(2)
