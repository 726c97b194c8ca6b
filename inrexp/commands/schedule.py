"""Several notebooks side by side, each in a process of its own: a line for each, the time left, a table at the end."""

import contextlib
import multiprocessing
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from inrexp.commands.notebooks import Notebook
from inrexp.files import written_whole

POLL = 0.5  # seconds between looks at the figures
PATIENCE = 10.0  # seconds that an interrupted notebook has to end its kernel
NUMBERS = {"half a": 0.5, "a": 1.0, "one": 1.0, "two": 2.0, "three": 3.0}


@dataclass
class Record:
    """What became of one notebook.

    status: "waiting", "running", "finished", "kept" (an earlier run had finished it), "left out" (what it reads is not
        there), "failed" or "interrupted".
    seconds: of its execution.  figures: the files it wrote.  error: why it failed or was left out.
    """

    notebook: Notebook
    status: str = "waiting"
    seconds: float = 0.0
    figures: list[str] = field(default_factory=list)
    error: str = ""


@dataclass(frozen=True)
class _Running:
    process: Any
    answer: Connection
    begun: float
    clock: float  # of the file system


def run_side_by_side(
    records: Sequence[Record],
    work: Callable[..., None],
    arguments: Mapping[str, tuple],
    *,
    processes: int,
    figures: Path,
    environment: Mapping[str, str],
    after: Callable[[Record], None] = lambda record: None,
) -> None:
    """Run `work(*arguments[name])` for each record that waits, `processes` at a time; fills the records.

    The first notebook begins first, since its figures are what a reader waits for; then the longest ones do.
    A line is printed as each ends, and one when the first figure of all is written.  after: called with each record
    that finished.  Raises KeyboardInterrupt after Ctrl-C, when every process has ended.
    """
    todo = [record for record in records if record.status == "waiting"]
    todo = todo[:1] + sorted(todo[1:], key=lambda record: -minutes(record.notebook))
    screen, context = _Screen(records, processes), multiprocessing.get_context("spawn")
    running: dict[str, _Running] = {}
    by_name = {record.notebook.name: record for record in records}
    try:
        while todo or running:
            while todo and len(running) < processes:
                record = todo.pop(0)
                here, there = context.Pipe(duplex=False)
                given = (there, work, arguments[record.notebook.name], dict(environment))
                process = context.Process(target=_child, args=given, daemon=True)
                process.start()
                there.close()
                record.status = "running"
                running[record.notebook.name] = _Running(process, here, time.monotonic(), time.time())
            # A long answer fills the pipe, and then its process ends only after the answer was read.
            wait([end for one in running.values() for end in (one.answer, one.process.sentinel)], timeout=POLL)
            for name, one in list(running.items()):
                record = by_name[name]
                over = one.answer.poll() or not one.process.is_alive()
                record.seconds = time.monotonic() - one.begun
                record.figures = _written(record.notebook, figures, one.clock)
                if over:
                    _close(record, one)
                    del running[name]
                    if record.status == "finished":
                        after(record)
                screen.show(record, over=over)
    except KeyboardInterrupt:
        for name, one in running.items():
            by_name[name].status = "interrupted"
            _end(one)
        raise
    finally:
        screen.clear()


def minutes(notebook: Notebook) -> float:
    """The minutes that a notebook says it takes ("2 minutes", "half a minute"); 1 where it says nothing."""
    number = re.match(r"([\d.]+)", notebook.minutes)
    if number:
        return float(number[1])
    return next((value for word, value in NUMBERS.items() if notebook.minutes.startswith(f"{word} ")), 1.0)


def table(records: Sequence[Record], device: str) -> str:
    """What ran, how long, on what device, as a Markdown table."""
    lines = ["| notebook | what became of it | time | device | figures |", "|---|---|---|---|---|"]
    for one in records:
        told = one.status if not one.error else f"{one.status}: {one.error.splitlines()[0][:120].replace('|', '/')}"
        lines.append(
            f"| {one.notebook.name} | {told} | {clock(one.seconds) if one.seconds else ''} | {device} | "
            f"{', '.join(one.figures)} |"
        )
    total = sum(one.seconds for one in records)
    return "\n".join([*lines, f"| {len(records)} notebooks | | {clock(total)} of work | | |"])


def write_table(records: Sequence[Record], device: str, path: Path) -> Path:
    """Write `table` to a file, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(table(records, device) + "\n", encoding="utf-8")
    return path


def clock(seconds: float) -> str:
    """63 s as 1:03, 3723 s as 1:02:03."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class _Screen:
    """Lines on stdout; on a terminal also a last line that says what is running."""

    def __init__(self, records: Sequence[Record], processes: int) -> None:
        self.records, self.processes = records, processes
        self.first = True
        self.terminal = sys.stderr.isatty()

    def show(self, record: Record, *, over: bool) -> None:
        if self.first and record.figures:
            self.first = False
            self._line(f"{record.notebook.name:9} {record.figures[0]} is there to look at")
        if over:
            said = ", ".join(record.figures) if record.status == "finished" else record.status
            self._line(f"{record.notebook.name:9} {clock(record.seconds):>7}  {said}  ({self._left()})")
            if record.error:
                print(f"inrexp: {record.error}", file=sys.stderr, flush=True)
        if self.terminal:
            now = ", ".join(f"{r.notebook.name} {clock(r.seconds)}" for r in self.records if r.status == "running")
            width = os.get_terminal_size(sys.stderr.fileno()).columns - 1
            sys.stderr.write(f"\r\033[K{f'running: {now}; {self._left()}'[:width]}" if now else "\r\033[K")
            sys.stderr.flush()

    def clear(self) -> None:
        if self.terminal:
            sys.stderr.write("\r\033[K")

    def _line(self, text: str) -> None:
        self.clear()
        print(text.rstrip(), flush=True)

    def _left(self) -> str:
        """From what each notebook says it takes, corrected by how long those that are finished took."""
        done = [r for r in self.records if r.status in ("finished", "failed")]
        told = sum(minutes(r.notebook) for r in done)
        pace = sum(r.seconds for r in done) / told if told else 60.0  # seconds for a minute that a notebook tells
        waiting = sum(pace * minutes(r.notebook) for r in self.records if r.status == "waiting")
        begun = [max(0.0, pace * minutes(r.notebook) - r.seconds) for r in self.records if r.status == "running"]
        left = max((waiting + sum(begun)) / self.processes, *begun, 0.0, 0.0)
        if not waiting and not begun:
            return "all done"
        return f"about {max(1, round(left / 60))} min left" if left > 45 else "less than a minute left"


def _written(notebook: Notebook, folder: Path, since: float) -> list[str]:
    """The notebook's own figures that were written since, in the order of its code."""
    found = []
    for name in notebook.figures:
        for path in (folder / f"{name}.png", folder / f"{name}.quick.png"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime >= since - 1:
                    found.append(os.path.relpath(path))
    return found


def _close(record: Record, one: _Running) -> None:
    try:
        answer = one.answer.recv()
    except (EOFError, OSError):  # nothing was sent, or a part of it
        answer = None
    one.process.join()
    ended = f"{record.notebook.name}: its process ended with exit code {one.process.exitcode}"
    record.error = ended if answer is None else answer
    record.status = "failed" if record.error else "finished"


def _end(one: _Running) -> None:
    """Ctrl-C at a terminal has reached the process and its kernel already; elsewhere it is told now."""
    one.process.join(1.0)
    if one.process.is_alive():
        one.process.terminate()
        one.process.join(PATIENCE)
    if one.process.is_alive():
        one.process.kill()


def _child(answer: Connection, work: Callable[..., None], arguments: tuple, environment: Mapping[str, str]) -> None:
    """In the process of one notebook: run it quietly, send what went wrong, or ""."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(environment)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # kernels chatter there
        os.dup2(nowhere, stream)
    try:
        work(*arguments)
        answer.send("")
    except Exception as error:
        answer.send(str(error) or type(error).__name__)
    except KeyboardInterrupt:
        sys.exit(130)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
