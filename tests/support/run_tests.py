"""Builds what the tests need, runs them part by part and closes with one line of counts.

Called by scripts/test, which has installed the packages. The parts, in the order in which they tell most soonest (but
the system tests, which mostly wait, go on beside asan and tsan, which wait for nothing: see run_beside()):
  lint     layering, syntax of scripts
  release  every test of the release build that needs no rights
  asan     unit, property, fuzz and simulation tests under AddressSanitizer and UBSan
  tsan     the tests of publish/ and lookup/ under ThreadSanitizer
  system   processes in network namespaces (root)
  demo     scripts/demo
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import testlog

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_FOLDERS = {"interop", "system"}
SANITIZED_FOLDERS = {"unit", "property", "fuzz", "simulation"}
SKIPPED = 77  # the exit status that Meson and Automake agree on
PARTS = ("lint", "release", "asan", "tsan", "system", "demo")
# Meson's limits are for a quiet machine; sanitizers cost a factor beside that of a busy one.
TIMEOUT_FACTOR = {"release": 6, "asan": 20, "tsan": 20, "system": 4, "alone": 4}
BESIDE = ("asan", "tsan")  # the parts that go on beside the system tests
LANES = 2  # system tests at a time, where Meson's is_parallel allows it: they use a quarter of a CPU each

Arguments = argparse.Namespace


@dataclasses.dataclass
class Test:
    """One entry of `meson introspect --tests`."""

    name: str
    suites: list[str]
    command: list[str]

    @property
    def folder(self) -> str:
        """The folder below tests/ that the program or script comes from; "" when there is none."""
        for word in self.command:
            parts = Path(word).parts
            if "tests" in parts[:-1]:
                return parts[len(parts) - 1 - parts[::-1].index("tests") + 1]
        return ""

    def threaded(self) -> bool:
        """Whether ThreadSanitizer has something to see: the two folders that threads share."""
        return "threads" in self.suites or "publish" in self.name or "lookup" in self.name


Row = tuple[str, testlog.Count, float]  # a part, its tests, seconds
aside = threading.local()  # .output: where a thread's output goes that would mix with another's


def say(text: str) -> None:
    print(text, file=getattr(aside, "output", None), flush=True)


def run(command: list[str], **kwargs) -> int:
    output = getattr(aside, "output", None)
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output,
                          stderr=output and subprocess.STDOUT, check=False, **kwargs).returncode


def build(kind: str, targets: list[str] | None = None) -> bool:
    return run([str(ROOT / "scripts/build"), "--no-install", "--type", kind, *(targets or [])]) == 0


def build_dir(kind: str) -> Path:
    return ROOT / ("build" if kind == "release" else f"build-{kind}")


def known_tests(directory: Path) -> list[Test]:
    listing = subprocess.run(["meson", "introspect", "--tests", str(directory)], cwd=ROOT,
                             capture_output=True, text=True, check=True)
    # Meson puts the project before a suite: "turnpike:full".
    return [Test(t["name"], [suite.rpartition(":")[2] for suite in t["suite"]], t["cmd"])
            for t in json.loads(listing.stdout)]


def in_mode(tests: list[Test], arguments: Arguments) -> list[Test]:
    """`full` runs everything; else what is of the suite "full" stays out, unless asked for by name."""
    if arguments.mode == "full" or arguments.patterns:
        return tests
    return [t for t in tests if "full" not in t.suites]


def test_environment(arguments: Arguments, sanitized: bool = False) -> dict[str, str]:
    """The full counts are the release build's: under a sanitizer the same seeds would take hours."""
    environment = dict(
        os.environ,
        ASAN_OPTIONS="detect_leaks=1:detect_stack_use_after_return=1",
        UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1",
        TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1",
    )
    if arguments.allow_skip:
        environment["TURNPIKE_ALLOW_SKIP"] = "1"
    if arguments.mode == "full" and not sanitized:
        environment["TURNPIKE_TEST_FULL"] = "1"
    return environment


def meson_test(kind: str, tests: list[Test], arguments: Arguments, base: str = "",
               processes: int = os.cpu_count() or 1) -> testlog.Count:
    """Runs the named tests of one build and counts them; `base` is the name of the log, where it is not the build's."""
    if not tests:
        return testlog.Count()
    directory = build_dir(kind)
    base = base or kind
    log = directory / "meson-logs" / f"{base}.json"
    log.unlink(missing_ok=True)
    command = ["meson", "test", "-C", str(directory), "--no-rebuild", "--print-errorlogs",
               "--logbase", base, "--timeout-multiplier", str(TIMEOUT_FACTOR[base]),
               "--num-processes", str(processes), *[t.name for t in tests]]
    if kind in ("asan", "tsan"):
        # GCC 12's sanitizers cannot place their shadow where kernels since 6.6 randomise so many bits.
        command = ["setarch", "-R", *command]
    code = run(command, env=test_environment(arguments, sanitized=kind in ("asan", "tsan")))
    if not log.exists():
        return testlog.Count(failed=1, bad=[f"{base}: meson test ended with {code} and no log"])
    count = testlog.read(log)
    if code != 0 and count.failed + count.skipped == 0:
        count.add(testlog.Count(failed=1, bad=[f"{base}: meson test ended with {code}"]))
    return count


def failure(name: str) -> testlog.Count:
    return testlog.Count(failed=1, bad=[name])


def outcome(code: int, name: str) -> testlog.Count:
    return testlog.Count(passed=1) if code == 0 else failure(name)


def run_release(arguments: Arguments) -> testlog.Count:
    tests = [t for t in known_tests(build_dir("release")) if t.folder not in SYSTEM_FOLDERS]
    return meson_test("release", chosen(in_mode(tests, arguments), arguments), arguments)


def system_tests(arguments: Arguments, alone: bool) -> testlog.Count:
    """Those of the Meson suite "alone", one by one; or all others, in lanes."""
    tests = [t for t in known_tests(build_dir("release"))
             if t.folder in SYSTEM_FOLDERS and ("alone" in t.suites) == alone]
    return meson_test("release", chosen(in_mode(tests, arguments), arguments), arguments,
                      "alone" if alone else "system", 1 if alone else LANES)


def run_system(arguments: Arguments) -> testlog.Count:
    count = system_tests(arguments, alone=False)
    count.add(system_tests(arguments, alone=True))
    return count


def run_sanitized(kind: str, wanted: Callable[[Test], bool], arguments: Arguments) -> testlog.Count:
    """Builds only the programs that this sanitizer runs: a whole build more would cost minutes."""
    # The list of tests is the release build's, so that nothing is configured when nothing is wanted. Scripts
    # are run by a program that is not of this build.
    def programs(tests: list[Test]) -> list[Test]:
        return [t for t in in_mode(tests, arguments)
                if t.folder in SANITIZED_FOLDERS and wanted(t) and ROOT in Path(t.command[0]).parents]

    names = {t.name for t in programs(known_tests(build_dir("release")))}
    if not names:
        return testlog.Count()
    directory = build_dir(kind)
    if not build(kind, ["build.ninja"]):
        return failure(f"{kind}: configure")
    tests = [t for t in programs(known_tests(directory)) if t.name in names]
    targets = sorted({os.path.relpath(t.command[0], directory) for t in tests})
    if not build(kind, targets):
        return failure(f"{kind}: build")
    return meson_test(kind, tests, arguments)


def run_demo(arguments: Arguments) -> testlog.Count:
    # Not through scripts/demo, which would ask for a password where we are not root: that is a failure here.
    code = run([sys.executable, str(ROOT / "tests/support/demo.py")], env=test_environment(arguments))
    if code == SKIPPED:
        return testlog.Count(skipped=1, bad=["demo"])
    return outcome(code, "demo")


def chosen(tests: list[Test], arguments: Arguments) -> list[Test]:
    if not arguments.patterns:
        return tests
    return [t for t in tests if any(fnmatch.fnmatch(t.name, f"*{p}*") for p in arguments.patterns)]


def runner(part: str, arguments: Arguments) -> testlog.Count:
    if part == "lint":
        return outcome(run([str(ROOT / "scripts/lint"), "--no-install"]), "lint")
    if part == "release":
        return run_release(arguments)
    if part == "asan":
        return run_sanitized("asan", lambda t: True, arguments)
    if part == "tsan":
        return run_sanitized("tsan", Test.threaded, arguments)
    if part == "system":
        return run_system(arguments)
    return run_demo(arguments)


def run_part(part: str, arguments: Arguments) -> Row:
    say(f"== {part}")
    began = time.monotonic()
    count = runner(part, arguments)
    return part, count, time.monotonic() - began


def run_beside(parts: list[str], arguments: Arguments) -> list[Row]:
    """Runs `parts` on what the system tests leave of the CPUs, and last the system tests that want to be alone.

    Where both want a CPU the system tests get nine tenths: no less for them, since packets are lost where a program comes
    late, and no more, since there are limits of seconds among the tests of the parts, too. What the parts print appears
    when they are through.
    """
    rows: list[Row] = []

    def run_parts() -> None:
        aside.output = output
        os.nice(10)  # this thread and what it starts
        for part in parts:
            try:
                rows.append(run_part(part, arguments))
            except Exception as error:  # it would end in this thread, and nobody would miss the part
                rows.append((part, failure(f"{part}: {error!r}"), 0.0))

    with tempfile.TemporaryFile("w+", errors="replace") as output:
        others = threading.Thread(target=run_parts, daemon=True)
        others.start()
        say(f"== system, beside {' and '.join(parts)}")
        began = time.monotonic()
        system = system_tests(arguments, alone=False)
        took = time.monotonic() - began
        say(f"== {' and '.join(parts)} began with them")
        others.join()
        output.seek(0)
        say(output.read())
    say("== system, alone")
    began = time.monotonic()
    system.add(system_tests(arguments, alone=True))
    return [*rows, ("system", system, took + time.monotonic() - began)]


def parse(argv: list[str]) -> Arguments:
    parser = argparse.ArgumentParser(
        prog="scripts/test", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="scripts/test [quick|full] [NAME...] [--allow-skip]")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="quick (default) or full; of it only the parts from above that are named, or the tests "
                             "whose names have this piece")
    parser.add_argument("--allow-skip", action="store_true",
                        help="a missing requirement (root, namespaces, a package) skips instead of failing")
    parser.add_argument("--list", action="store_true", help="only list the tests")
    arguments = parser.parse_args(argv)
    names = arguments.names or ["quick"]
    arguments.mode = "full" if "full" in names else "quick"
    arguments.patterns = [n for n in names if n not in ("quick", "full", *PARTS)]
    arguments.parts = [p for p in PARTS if p in names]
    if not arguments.parts and not arguments.patterns:
        arguments.parts = list(PARTS)
    if arguments.patterns:
        arguments.parts = sorted({*arguments.parts, "release", "system"}, key=PARTS.index)
    return arguments


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    total = testlog.Count()
    rows: list[Row] = []
    start = time.monotonic()

    if arguments.parts != ["lint"]:
        say("== build: release")
        built = build("release")
        rows.append(("build", testlog.Count() if built else failure("build: release"), time.monotonic() - start))
        if not built:
            arguments.parts = [p for p in arguments.parts if p == "lint"]
    if arguments.list:
        for test in known_tests(build_dir("release")):
            say(f"{test.folder:12} {test.name}  ({', '.join(test.suites)})")
        return 0

    beside = [p for p in arguments.parts if p in BESIDE] if "system" in arguments.parts else []
    for part in arguments.parts:
        if part in beside:
            continue
        if part == "system" and beside:
            rows += run_beside(beside, arguments)
        else:
            rows.append(run_part(part, arguments))
    for _, count, _ in rows:
        if not arguments.allow_skip:
            count.forbid_skips()
        total.add(count)
    if total.passed + total.failed + total.skipped == 0:
        total.add(failure(f"no test matches {' '.join(arguments.names)}"))

    say("")
    say(f"{'part':10}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for part, count, seconds in rows:
        say(f"{part:10}{count.passed:8}{count.failed:8}{count.skipped:9}{seconds:9.0f}")
    say(f"{'total':10}{total.passed:8}{total.failed:8}{total.skipped:9}{time.monotonic() - start:9.0f}")
    for name in total.bad:
        say(f"{'failed' if total.failed else 'skipped'}: {name}")
    say(total.line())
    return 1 if total.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
