"""Stores the rows and masks of a study in one SQLite file. A row and its masks are written in one transaction.

After a kill, a full disk or a power cut, the finished rows are there and no row is half-written. Several processes may
work on one folder, because each claims its rows before it computes them. SQLite's rollback journal is used and not its
write-ahead log, since the log needs memory shared between processes, which a network file system cannot offer.
"""

import contextlib
import hashlib
import json
import os
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inrexp.files import written_whole
from inrexp.study.result import Result, from_png, to_csv, to_png

FILE = "results.sqlite"
ROWS, SECONDS = "rows.csv", "seconds.csv"
FORMAT = 2  # of the file, the keys and the rows: raise it when a number is computed in another way
LEASE = 300.0  # s without a sign of life after which another machine's claims are free
BUSY = 60.0  # s to wait while another process writes
# The same measures of every method at the same real area: 2.5, 5, 10 and 20 % of the picture, and the method's own a*.
EQUAL_AREAS = {"025": 0.025, "050": 0.05, "100": 0.1, "200": 0.2}
AT_EQUAL_AREA = tuple(f"{name}_at_{at}" for name in ("probability", "precision") for at in (*EQUAL_AREAS, "star"))
COLUMNS = {
    "key": "TEXT PRIMARY KEY",
    "format": "INTEGER",
    **dict.fromkeys(("dataset", "sample", "label", "model", "method", "preset", "settings"), "TEXT"),
    **dict.fromkeys(("contents", "beside"), "TEXT"),
    **dict.fromkeys(("seed", "iteration"), "INTEGER"),
    **dict.fromkeys(("status", "error"), "TEXT"),
    **dict.fromkeys(("unmasked", "threshold", "area", "area_cut_star", "area_soft", "area_cut"), "REAL"),
    **dict.fromkeys(("probability", "probability_cut", "area_error", "precision"), "REAL"),
    "hit": "INTEGER",
    **dict.fromkeys(("precision_box", "precision_mask", "precision_largest", "insertion", "deletion"), "REAL"),
    **dict.fromkeys((*AT_EQUAL_AREA, "disc_at_star", "object_share", "size"), "REAL"),
    "seconds": "REAL",
}
IDENTITY = ("dataset", "model", "method", "preset", "settings", "sample", "seed", "iteration")  # the table's order
# contents: `Sample.digest`, a hash of picture, target and truth.  beside: a hash of the other fits in the same call.
KEYED = (*IDENTITY, "contents", "beside")
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS rows ({", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())});
CREATE TABLE IF NOT EXISTS masks (key TEXT PRIMARY KEY, names TEXT, png BLOB);
CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, owner TEXT, host TEXT, pid INTEGER, beat REAL);
"""


def key_of(row: Mapping[str, Any]) -> str:
    """The key of a row: a hash of the columns KEYED, in the form in which the exported table holds them."""
    held = [str(row[name]) if row[name] is not None else "" for name in KEYED]
    return hashlib.sha256(json.dumps([FORMAT, *held]).encode()).hexdigest()[:20]


class Results:
    """The results in a folder, open for work. Close it when done, or use it in a `with`.

    reading: only read what is there. Nothing is made or changed, so the folder may be write-protected.
    lease: seconds. Claims of a process on another machine become free after so long without a sign of life. A dead
        process on this machine is noticed at once.
    Raises ValueError for a folder that another version wrote, OSError for one that cannot be written, and for reading
    FileNotFoundError for one without results.
    """

    def __init__(self, folder: "str | Path", *, lease: float = LEASE, reading: bool = False):
        self.folder, self.lease = Path(folder), lease
        self.owner, self.host = uuid.uuid4().hex, socket.gethostname()
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"results must be a folder, {self.folder} is a file: name another")
        self.path, self._reading = self.folder / FILE, reading
        if reading and not self.path.is_file():
            raise FileNotFoundError(
                f"no {FILE} in {self.folder}: wanted a folder that `inrexp study` filled; check its name, or run "
                f"`inrexp study {self.folder}` first"
            )
        if not reading:
            self.folder.mkdir(parents=True, exist_ok=True)
        self._database = _connect(self.path, reading=True) if reading else _connect(self.path)
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        if reading:
            self._database.execute("PRAGMA query_only = ON")
            self._check_version((FORMAT,))
        else:
            self._prepare()
            self._heart.start()

    def _check_version(self, known: tuple[int, ...]) -> None:
        ((version,),) = self._read("PRAGMA user_version")
        if version not in known:
            raise ValueError(f"{self.path} has format {version}, this version writes {FORMAT}: use another folder")

    def _prepare(self) -> None:
        """Make the tables that the file lacks, and the columns."""
        with self._writing() as database:
            self._check_version((0, FORMAT))
            for statement in SCHEMA.split(";")[:-1]:
                database.execute(statement)
            for name in [name for name in COLUMNS if name not in self._columns()]:
                database.execute(f"ALTER TABLE rows ADD COLUMN {name} {COLUMNS[name]}")
            database.execute(f"PRAGMA user_version = {FORMAT}")

    def _columns(self) -> set[str]:
        """The columns that the file has; older rows have no value in a new column."""
        return {column[1] for column in self._read("PRAGMA table_info(rows)")}

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and free the rows that were claimed and not finished."""
        self._ended.set()
        if self._reading:
            self._database.close()
            return
        self._heart.join()
        with contextlib.suppress(OSError), self._writing() as database:  # with a full disk, the claims lapse
            database.execute("DELETE FROM claims WHERE owner = ?", (self.owner,))
        self._database.close()

    def states(self) -> dict[str, str]:
        """The status of every row, by key."""
        return dict(self._read("SELECT key, status FROM rows"))

    def claim(self, keys: Sequence[str]) -> bool:
        """Claim all of these rows for this process, or none.

        Returns False if one of them is finished already, or if another living process has claimed it.
        """
        now = time.time()
        with self._writing() as database:
            marks = ", ".join("?" * len(keys))
            if database.execute(f"SELECT 1 FROM rows WHERE key IN ({marks})", keys).fetchone():
                return False
            held = database.execute(f"SELECT owner, host, pid, beat FROM claims WHERE key IN ({marks})", keys)
            if any(self._lives(*claim) for claim in held.fetchall()):
                return False
            mine = [(key, self.owner, self.host, os.getpid(), now) for key in keys]
            database.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?)", mine)
        return True

    def put(self, results: Sequence[Result]) -> None:
        """Store all of these rows with their masks, or none.  A row that is there already stays as it is."""
        names = ", ".join(COLUMNS)
        values = ", ".join(f":{name}" for name in COLUMNS)
        with self._writing() as database:
            for one in results:
                row = dict.fromkeys(COLUMNS) | one.row
                fresh = database.execute(f"INSERT OR IGNORE INTO rows ({names}) VALUES ({values})", row).rowcount
                if fresh and one.masks is not None:
                    drawn = (row["key"], " ".join(one.names), to_png(one.masks))
                    database.execute("INSERT OR REPLACE INTO masks VALUES (?, ?, ?)", drawn)
                database.execute("DELETE FROM claims WHERE key = ?", (row["key"],))

    def forget(self, keys: Iterable[str]) -> None:
        """Drop rows and their masks."""
        with self._writing() as database:
            for key in keys:
                database.execute("DELETE FROM rows WHERE key = ?", (key,))
                database.execute("DELETE FROM masks WHERE key = ?", (key,))

    def outdated(self, planned: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The stored rows of planned runs that have another key now.

        The picture, its truth, the target, or the fits in the same call have changed since such a row was computed.
        """
        keys = {tuple(row[name] for name in IDENTITY): row["key"] for row in planned}
        names = ("key", "status", *KEYED)
        found = (dict(zip(names, row, strict=True)) for row in self._read(f"SELECT {', '.join(names)} FROM rows"))
        return [row for row in found if keys.get(tuple(row[n] for n in IDENTITY), row["key"]) != row["key"]]

    def rows(self) -> list[dict[str, Any]]:
        """Every row, in the table's order."""
        there = self._columns()
        names = ", ".join(name if name in there else f"NULL AS {name}" for name in COLUMNS)
        found = self._read(f"SELECT {names} FROM rows ORDER BY {', '.join(IDENTITY)}")
        return [dict(zip(COLUMNS, row, strict=True)) for row in found]

    def masks(self, key: str) -> dict[str, np.ndarray]:
        """The masks of a row, each (h, w) uint8, by area or as "map".  A row that failed has none.

        Raises LookupError for a key that no row has.
        """
        found = self._read("SELECT names, png FROM masks WHERE key = ?", (key,))
        if not found:
            if key not in self.states():
                raise LookupError(f"no row {key!r} in {self.path}")
            return {}
        ((names, png),) = found
        return dict(zip(names.split(), from_png(png, len(names.split())), strict=True))

    def export(self) -> tuple[Path, Path]:
        """Write rows.csv and seconds.csv.  Returns their paths.

        The same rows always give the same rows.csv, byte for byte. Times stand apart because they differ between runs.
        """
        paths = self.folder / ROWS, self.folder / SECONDS
        for path, text in zip(paths, self.exported(), strict=True):
            with written_whole(path) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
        return paths

    def exported(self) -> tuple[str, str]:
        """The text of rows.csv and that of seconds.csv, of the rows that are there now."""
        rows = self.rows()
        timed = ["key", "dataset", "sample", "method", "seed", "iteration", "seconds"]
        return to_csv([name for name in COLUMNS if name != "seconds"], rows), to_csv(timed, rows)

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[tuple]:
        with _explained(self.path):
            return self._database.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with _explained(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # with a full disk, SQLite has ended it already
                    self._database.execute("ROLLBACK")
                raise

    def _lives(self, owner: str, host: str, pid: int, beat: float) -> bool:
        if owner == self.owner or time.time() - beat > self.lease:
            return owner == self.owner
        return host != self.host or _runs(pid)

    def _beat(self) -> None:
        """Give a sign of life every fifth of the lease.  This runs in a thread with its own connection."""
        while not self._ended.wait(self.lease / 5):
            # a file that is busy, or a disk that is away for a while, must not end the signs of life
            with contextlib.suppress(OSError, sqlite3.Error), contextlib.closing(_connect(self.path)) as database:
                database.execute("UPDATE claims SET beat = ? WHERE owner = ?", (time.time(), self.owner))


def _connect(path: Path, *, reading: bool = False) -> sqlite3.Connection:
    """A connection to the file, which is made where it is missing, unless it is for reading."""
    with _explained(path):
        place = f"{path.absolute().as_uri()}?mode={'rw' if reading else 'rwc'}"  # rw reads what it may not write
        database = sqlite3.connect(
            place, uri=True, timeout=BUSY, isolation_level=None
        )  # `_writing` begins transactions
        database.execute("PRAGMA synchronous = FULL")
        return database


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise OSError(
            f"{path}: {error}. Finished rows are kept. Mend what the message names, for instance free the disk, "
            "and run the same command again"
        ) from error


def _runs(pid: int) -> bool:
    if os.name != "posix":  # on Windows os.kill(pid, 0) would end the process, so wait for the lease
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
