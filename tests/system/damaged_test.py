#!/usr/bin/env python3
"""A state that cannot be what was committed, of each kind: the daemon refuses to start, in one line that says what is wrong
and what to do, changes nothing, and what it says to do works to the letter."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import struct
import sys
import unittest
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from durable_case import DurabilityCase
from durable_load import random_key

NOBODY = 65534
PAGE = 4096


class DamagedFiles(DurabilityCase):
    """A file and a log as a daemon leaves them that was killed; a copy of both is kept."""

    def setUp(self) -> None:
        super().setUp()
        self.gateway.start()
        with self.control() as control:
            for number in range(32):
                prefixes = [f"10.50.{number}.{host}/32" for host in range(64)]
                answer = control.commit({"op": "peer_add", "peer": random_key(), "prefixes": prefixes})
                self.assertEqual(answer.status, 200, answer.body)
        self.whole = self.content()
        self.kill()
        self.log_file = self.state.with_name(self.state.name + "-wal")
        self.files = (self.state, self.log_file)
        self.copy = self.lab.dir / "copy"
        self.copy.mkdir(mode=0o700)
        for path in self.files:
            shutil.copy2(path, self.copy / path.name)

    def content(self) -> tuple[int, dict[str, list[str]]]:
        shown = self.gateway.show()
        return shown["generation"], {peer["public_key"]: sorted(peer["allowed_ips"]) for peer in shown["peers"]}

    def put_copy_back(self) -> None:
        for path in self.files:
            shutil.copy2(self.copy / path.name, path)

    def move_away(self) -> None:
        for path in self.files:
            if path.exists() or path.is_symlink():
                path.rename(path.with_suffix(path.suffix + ".damaged"))

    def bytes_of_files(self) -> list[bytes]:
        return [path.read_bytes() if path.is_file() else b"" for path in self.files]

    def assert_refused(self, *said: str) -> str:
        before = self.bytes_of_files()
        lines = self.refused_start().splitlines()
        self.assertEqual(len(lines), 1, lines)
        for word in (f"control.state: {self.state} ", *said):
            self.assertIn(word, lines[0])
        self.assertTrue(self.bytes_of_files() == before, "the files are left as they are")
        return lines[0]

    def assert_starts_as_before(self) -> None:
        self.gateway.start()
        self.assertEqual(self.content(), self.whole)
        self.assertEqual(self.gateway.stop(), 0)

    def assert_starts_anew(self) -> None:
        self.gateway.start()
        self.assertEqual(self.gateway.show()["peers"], [], "what the configuration says")
        self.assertEqual(self.gateway.stop(), 0)

    def test_what_cannot_be_a_state_can_be_replaced_or_moved_away(self) -> None:
        noise = random.Random(1)

        def no_log(rest: Callable[[], object]) -> None:
            """As after a clean end: all is in the file."""
            database = sqlite3.connect(self.state)
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.close()
            self.log_file.unlink(missing_ok=True)
            rest()

        def spoil_pages() -> None:
            with self.state.open("r+b") as file:
                for at in range(2 * PAGE, self.state.stat().st_size, PAGE):
                    file.seek(at)
                    file.write(noise.randbytes(PAGE))

        def sql(statement: str) -> None:
            database = sqlite3.connect(self.state)
            database.execute(statement)
            database.commit()
            database.close()

        kinds: dict[str, Callable[[], object]] = {
            "empty": lambda: self.state.write_bytes(b""),
            "empty, without a log": lambda: no_log(lambda: self.state.write_bytes(b"")),
            "text": lambda: no_log(lambda: self.state.write_text("state of a gateway\n" * 500)),
            "text beside a log": lambda: self.state.write_text("state of a gateway\n" * 500),
            "noise": lambda: no_log(lambda: self.state.write_bytes(noise.randbytes(100_000))),
            "pages of noise": lambda: no_log(spoil_pages),
            "cut in the middle": lambda: no_log(lambda: os.truncate(self.state, 4 * PAGE)),
            "cut in a page": lambda: no_log(lambda: os.truncate(self.state, self.state.stat().st_size - 100)),
            "rows that contradict each other": lambda: no_log(lambda: sql("UPDATE claim SET peer = 999")),
            "a table that is gone": lambda: no_log(lambda: sql("DROP TABLE claim")),
        }
        for kind, damage in kinds.items():
            with self.subTest(kind):
                self.put_copy_back()
                damage()
                self.assert_refused("is damaged (", "move it away together with its -wal file")
                self.move_away()
                self.put_copy_back()
                self.assert_starts_as_before()
        self.move_away()
        self.assert_starts_anew()

    def test_a_log_that_is_not_its_own(self) -> None:
        other = self.lab.dir / "other.db"
        with sqlite3.connect(other) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE theirs (a)")
            database.commit()
            theirs = Path(f"{other}-wal").read_bytes()
        database.close()
        for kind, log, said in (("noise", random.Random(2).randbytes(50_000), "is no log of a database"),
                                ("another program's", theirs, "is of another database")):
            with self.subTest(kind):
                self.put_copy_back()
                self.log_file.write_bytes(log)
                self.assert_refused(f"its log {self.log_file} {said}", "Put the right one back")
                shutil.copy2(self.copy / self.log_file.name, self.log_file)
                self.assert_starts_as_before()

    def test_a_kill_between_the_two_writes_of_a_frame_of_the_log(self) -> None:
        """Header and page are written one after the other, and behind the end of the log lie pages of before."""
        log = self.log_file.read_bytes()
        salts, old_page = log[16:24], log[-PAGE:]
        for page in (old_page, b""):
            with self.subTest(len(page)):
                self.put_copy_back()
                with self.log_file.open("ab") as file:
                    file.write(struct.pack(">II", 1, 0) + salts + bytes(8) + page)
                self.assert_starts_as_before()

    def test_a_log_whose_file_is_gone(self) -> None:
        self.state.unlink()
        self.assert_refused(f"is missing, but its log {self.log_file} is there", "put both back, or move the log away")
        self.put_copy_back()
        self.assert_starts_as_before()
        self.put_copy_back()
        self.state.unlink()
        self.move_away()
        self.assert_starts_anew()

    def test_files_that_others_could_read_or_write(self) -> None:
        for path in self.files:
            self.put_copy_back()
            with self.subTest(f"{path.name} of another user"):
                os.chown(path, NOBODY, NOBODY)
                self.assertIn(f"belongs to uid {NOBODY}", self.assert_refused("chown it"))
                os.chown(path, os.geteuid(), os.getegid())
                self.assert_starts_as_before()
            self.put_copy_back()
            with self.subTest(f"{path.name} is a symbolic link"):
                real = path.with_suffix(".real")
                path.rename(real)
                path.symlink_to(real)
                self.assert_refused("is a symbolic link; name the file itself")
                path.unlink()
                real.rename(path)
                self.assert_starts_as_before()
            self.put_copy_back()
            with self.subTest(f"{path.name} is a directory"):
                path.unlink()
                path.mkdir()
                self.assert_refused("is a directory")
                path.rmdir()
        self.put_copy_back()
        for path in self.files:
            path.chmod(0o666)
        self.gateway.start()
        self.assertEqual({path.stat().st_mode & 0o777 for path in self.files if path.exists()}, {0o600})
        self.assertEqual(self.content(), self.whole)


if __name__ == "__main__":
    unittest.main(verbosity=2)
