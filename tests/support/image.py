"""Builds the images of docker/ where no container engine runs, and runs them in namespaces of a Lab.

buildah with chroot isolation needs no daemon and no registry; the base image is made by debootstrap.
Images and containers live in a directory of their own and go with it.
"""

from __future__ import annotations

import re
from pathlib import Path

from lab import Lab, Namespace, Process, run
from turnpiked import ROOT

BASE = "localhost/turnpike-test-base"
_DEFAULT_MIRROR = "http://deb.debian.org/debian"
# What compose.yaml gives the gateway and the clients.
_CAPABILITIES = ("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_SYS_NICE")


def host_mirror() -> str:
    """The Debian mirror that this machine uses, which may be the only one that it reaches."""
    apt = Path("/etc/apt")
    for source in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]:
        for line in source.read_text().splitlines() if source.is_file() else []:
            if match := re.match(r"\s*(?:URIs:|deb(?:\s+\[[^]]*\])?)\s+(https?://\S+)", line):
                if "security" not in match[1]:
                    return match[1]
    return _DEFAULT_MIRROR


class Images:
    """A buildah store below the lab's directory. close() before the lab's directory is removed."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._store = lab.dir / "containers"
        self._mounted: list[str] = []

    def _buildah(self, *words: str) -> list[str]:
        return ["buildah", "--root", str(self._store / "root"), "--runroot", str(self._store / "run"),
                "--storage-driver", "overlay", *words]

    def make_base(self) -> None:
        """Debian 12 from its packages, with this machine's way to a mirror."""
        tree = self._lab.dir / "base"
        mirror = host_mirror()
        run("debootstrap", "--variant=minbase", "bookworm", str(tree), mirror, timeout=1200)
        # Proxies and the like, so that apt works inside as it works outside; hooks of other packages do not.
        settings = [line for line in run("apt-config", "dump", "Acquire").stdout.splitlines()
                    if re.match(r'Acquire::(https?|Check)\S* "', line)]
        (tree / "etc/apt/apt.conf.d/90-host").write_text("\n".join(settings) + "\n")
        (tree / "etc/apt/sources.list").write_text(
            "".join(f"deb {mirror} {suite} main\n" for suite in ("bookworm", "bookworm-updates")))
        container = run(*self._buildah("from", "scratch")).stdout.strip()
        run(*self._buildah("add", "--quiet", container, str(tree), "/"), timeout=300)
        run(*self._buildah("commit", "--quiet", "--rm", container, BASE), timeout=300)
        run("rm", "-rf", "--one-file-system", str(tree))

    def build(self, target: str) -> None:
        """One target of docker/Dockerfile; what an earlier target built is not built again."""
        run(*self._buildah("build", "--isolation", "chroot", "--layers", "--build-arg", f"BASE={BASE}",
                           "--target", target, "--tag", target, "--file", str(ROOT / "docker/Dockerfile"), str(ROOT)),
            timeout=3600)

    def container(self, name: str, image: str) -> str:
        """A container of an image; mounted here, so that each run() in its own mount namespace sees it."""
        run(*self._buildah("from", "--pull=never", "--name", name, image), timeout=120)
        run(*self._buildah("mount", name))
        self._mounted.append(name)
        return name

    def command(self, container: str, *command: str, volumes: dict[Path, str] | None = None,
                environment: dict[str, str] | None = None) -> list[str]:
        words = ["run", "--isolation", "chroot"]
        for capability in _CAPABILITIES:
            words += ["--cap-add", capability]
        for source, place in (volumes or {}).items():
            words += ["--volume", f"{source}:{place}"]
        for key, value in (environment or {}).items():
            words += ["--env", f"{key}={value}"]
        return self._buildah(*words, container, "--", *command)

    def start(self, space: Namespace, container: str, *command: str, volumes: dict[Path, str] | None = None,
              environment: dict[str, str] | None = None) -> Process:
        return space.start(f"container-{container}",
                           *self.command(container, *command, volumes=volumes, environment=environment))

    def close(self) -> None:
        """Unmounts and removes everything. Nothing may be mounted when the directory is deleted."""
        for name in self._mounted:
            run(*self._buildah("umount", name), check=False)
        run(*self._buildah("rm", "--all"), check=False, timeout=120)
        run(*self._buildah("rmi", "--all", "--force"), check=False, timeout=120)
        # buildah leaves the overlay directory mounted on itself.
        below = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()
                 if line.split()[4].startswith(str(self._store))]
        for place in sorted(below, key=len, reverse=True):
            run("umount", place, check=False)
