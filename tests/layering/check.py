#!/usr/bin/env python3
"""Fails on an include that goes against the layering, and on what must not be in the sources.

usage: check.py [ROOT]     ROOT is the source tree; this file's own tree by default.

Reads every #include line and compares it with the table in rules.py. Beside that: no clock where time
is an argument, no path of somebody's machine, no marks of work left undone, no file above
rules.MAX_LINES, no test source that its meson.build forgot.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import rules

_INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
_CLOCK = re.compile(r"(?:steady|system|high_resolution)_clock::now|\bclock_gettime\b|\brte_rdtsc|\b__rdtsc")
# Written in pieces, so that this file does not find itself.
_UNDONE = re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b")
_MACHINE_PATH = re.compile(r"(?<![\w.$}])/(?:" + "|".join(["wo" + "rk", "fa" + "rm", "ho" + "me", "ro" + "ot"]) + r")/\w")

_CPP = {".cpp", ".h", ".cc", ".hpp"}
_TEXT = _CPP | {".py", ".build", ".txt", ".md", ".yaml", ".yml", ".sh", ".service", ""}
_SKIPPED_FOLDERS = {".git", "__pycache__", "corpus", "vectors"}
_BUILD_FOLDER = re.compile(r"build(-.*)?$")


def sources(root: Path) -> Iterator[Path]:
    """Every text file of the tree that a person writes, relative to `root`."""
    for folder, below, names in os.walk(root):
        at_top = Path(folder) == root
        below[:] = sorted(f for f in below
                          if f not in _SKIPPED_FOLDERS and not (at_top and _BUILD_FOLDER.match(f)))
        for name in sorted(names):
            path = Path(folder) / name
            # In a git work tree .git is a file.
            if name != ".git" and path.suffix in _TEXT and path.is_file() and not path.is_symlink():
                yield path.relative_to(root)


def folder_of(relative: Path) -> str:
    """The unit of layering that a file belongs to, for example "dataplane/base" or "config"."""
    top = relative.parts[0]
    if top in ("dataplane", "control"):
        return "/".join(relative.parts[:2]) if len(relative.parts) > 2 else top
    return top


def included_path(name: str, includer: Path, root: Path) -> Path | None:
    """Where an include leads inside the tree; None when it leads out of it (a library's header)."""
    if name.split("/")[0] in rules.TOP_FOLDERS:
        return Path(name)
    beside = includer.parent / name
    return beside if (root / beside).exists() else None


def check_include(name: str, includer: Path, root: Path) -> str | None:
    """What is wrong with this include, or None."""
    here = folder_of(includer)
    place = includer.as_posix()
    for prefix, allowed in rules.PRIVATE_HEADERS.items():
        if name.rsplit("/", 1)[-1].startswith(prefix) and not place.startswith(tuple(a + "/" for a in allowed)):
            return f"{name} may be included by {', '.join(allowed)} only"
    target = included_path(name, includer, root)
    if target is None or here == "tests":
        return None
    if ".." in target.parts:
        return f"{name}: write the path from the root of the tree"
    there = folder_of(target)
    if here not in rules.ALLOWED:
        return f"folder {here} is not in tests/layering/rules.py"
    if there != here and there not in rules.ALLOWED[here]:
        return f"{here} may not include {there} ({name})"
    return None


def check_file(relative: Path, root: Path) -> Iterator[str]:
    """Every fault of one file, as `FILE:LINE: what is wrong`."""
    lines = (root / relative).read_text(errors="replace").splitlines()
    is_cpp = relative.suffix in _CPP
    if (is_cpp or relative.suffix == ".py") and len(lines) > rules.MAX_LINES:
        yield f"{relative}:{len(lines)}: above {rules.MAX_LINES} lines, a sign of two nouns in one file"
    clockless = relative.as_posix().startswith(tuple(f + "/" for f in rules.CLOCKLESS))
    for number, line in enumerate(lines, 1):
        where = f"{relative}:{number}"
        if is_cpp and (match := _INCLUDE.match(line)):
            if fault := check_include(match[2], relative, root):
                yield f"{where}: {fault}"
        if is_cpp and clockless and _CLOCK.search(line):
            yield f"{where}: reads a clock; time is an argument here"
        if mark := _UNDONE.search(line):
            yield f"{where}: {mark[0]}: do it or leave it out"
        if match := _MACHINE_PATH.search(line):
            yield f"{where}: {match[0]}...: a path of one machine"


def forgotten_tests(files: list[Path], root: Path) -> Iterator[str]:
    """Test sources that no meson.build of their folder or one above it names, so that they never run."""
    for relative in files:
        if relative.parts[0] != "tests" or not re.search(r"_test\.(cpp|py)$", relative.name):
            continue
        folders = [root / p for p in relative.parents if p.parts[:1] == ("tests",)]
        builds = [f / "meson.build" for f in folders if (f / "meson.build").exists()]
        # A meson.build may list names without their ending and build the paths in a loop.
        stem = relative.name.removesuffix(relative.suffix).removesuffix("_test")
        if not any(re.search(rf"\b{re.escape(stem)}", b.read_text()) for b in builds):
            yield f"{relative}:1: no meson.build names this test, so it never runs"


def check(root: Path) -> list[str]:
    """All faults of a tree."""
    files = list(sources(root))
    faults = [fault for relative in files for fault in check_file(relative, root)]
    return faults + list(forgotten_tests(files, root))


def main(argv: list[str]) -> int:
    root = Path(argv[1]) if len(argv) > 1 else Path(__file__).resolve().parents[2]
    faults = check(root)
    for fault in faults:
        print(fault)
    print(f"layering: {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
