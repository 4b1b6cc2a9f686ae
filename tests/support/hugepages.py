"""Hugepages that are reserved for one test, mounted in its own directory, and given back."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

from lab import Failed, Lab, run

RESERVED = Path("/proc/sys/vm/nr_hugepages")
PAGE_KIB = 2048


def pages_of(mib: int) -> int:
    return mib * 1024 // PAGE_KIB


def free() -> int:
    """What nobody uses and nobody has been promised."""
    counts = dict(re.findall(r"^HugePages_(\w+): +(\d+)$", Path("/proc/meminfo").read_text(), re.M))
    return int(counts["Free"]) - int(counts["Rsvd"])


def _reserve(pages: int) -> None:
    RESERVED.write_text(str(pages))
    got = int(RESERVED.read_text())
    if got != pages:
        raise Failed(f"{pages} hugepages were to be reserved, the kernel has {got}")


def provide(test: unittest.TestCase, lab: Lab, pages: int) -> list[str]:
    """So many are free, whatever others have reserved or use. Gives the EAL's argument that leads to them."""
    before = int(RESERVED.read_text())
    test.addCleanup(_reserve, before)
    _reserve(before - free() + pages)
    test.assertEqual(free(), pages)
    mounted = lab.dir / "hugepages"
    mounted.mkdir(mode=0o700)
    run("mount", "-t", "hugetlbfs", "none", str(mounted))
    test.addCleanup(run, "umount", "--lazy", str(mounted))
    return [f"--huge-dir={mounted}"]
