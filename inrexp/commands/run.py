"""Execute notebooks, each in a copy; the committed ones stay as they are.

Figures go to figures/ of the repository, and with -p to the --out folder. Without a name the notebooks are listed.
Several notebooks run side by side; a table of what ran, for how long and on what device ends the run and stands in the
--out folder as ran.md.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inrexp.commands import notebooks
from inrexp.commands.arguments import add_device, check_out, positive


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="as listed; all: every one")
    parser.add_argument(
        "-p",
        dest="given",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter; with a wrong name the error lists those there are",
    )
    add_device(parser)
    parser.add_argument("--full", action="store_true", help="the paper's own settings instead of the quick ones")
    parser.add_argument("--out", type=Path, help="folder of copy and figures (default: out/quick, full or tried)")
    parser.add_argument("--jobs", type=positive, help="notebooks at a time (default: one a core; on a GPU, one)")
    parser.add_argument(
        "--execution-timeout", type=positive, metavar="SECONDS", help="for a cell (900; with --full, 43200)"
    )
    parser.add_argument("--resume", action="store_true", help="leave out what an earlier run of the same code finished")
    parser.add_argument(
        "--in-place", action="store_true", help="execute the committed notebook itself (before a commit)"
    )
    parser.add_argument(
        "--rehearse", action="store_true", help="with --full: its every line, in fits of a few steps that mean nothing"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Execute the notebooks that were named, or list them.  Raises RuntimeError that names those that failed."""
    there = notebooks.notebooks()
    if not options.names:
        for one in there:
            print(f"{one.name:8}  {one.title}  ({one.minutes} on two CPU cores)")
        return 0
    given = dict(notebooks.split(text) for text in options.given)
    found = there if options.names == ["all"] else [notebooks.find(name, there) for name in options.names]
    chosen = list({one.path: one for one in found}.values())  # `start 00` is one notebook
    if options.in_place and (given or options.full or options.out or options.resume):
        raise ValueError("--in-place executes the committed notebooks as they stand: no -p, --full, --resume or --out")
    if options.rehearse and not options.full:
        raise ValueError("--rehearse goes with --full: a quick run needs no rehearsal")
    if options.out:
        check_out(options.out)
    values = {one.name: notebooks.settings(one, given, device=options.device, full=options.full) for one in chosen}
    lacks = {one.name: notebooks.lacking(one, values[one.name]) for one in chosen}
    if options.names != ["all"] and any(lacks.values()):
        raise FileNotFoundError("; ".join(f"{name} {what}" for name, what in lacks.items() if what))
    with tempfile.TemporaryDirectory() as nowhere:
        return _run(options, chosen, values, lacks, Path(nowhere))


def _run(
    options: argparse.Namespace,
    chosen: Sequence[notebooks.Notebook],
    values: dict[str, dict[str, Any]],
    lacks: dict[str, str],
    nowhere: Path,
) -> int:
    from inrexp.commands import execution, rehearsal
    from inrexp.commands.schedule import Record, clock, run_side_by_side, table, write_table

    timeout = options.execution_timeout or (execution.FULL_TIMEOUT if options.full else execution.QUICK_TIMEOUT)
    mode = "rehearsal" if options.rehearse else "tried" if options.given else "full" if options.full else "quick"
    folder = options.out or Path("out") / mode
    apart = folder / "figures" if options.given or options.out else nowhere if options.rehearse else None
    if options.rehearse:
        values = {one.name: rehearsal.cut(one.defaults, values[one.name]) for one in chosen}
    device = "cpu" if options.in_place else _device(options.device)
    processes = options.jobs or (_cores() if device == "cpu" else 1)
    records = [Record(one) for one in chosen]
    arguments: dict[str, tuple] = {}
    for record in records:
        one = record.notebook
        if options.resume and execution.is_finished(one, values[one.name], folder):
            record.status, record.seconds = "kept", notebooks.stamp_of(execution.copy_of(one, folder)).get("seconds", 0)
            print(f"{one.name:9} {clock(record.seconds):>7}  kept from an earlier run")
        elif lacks[one.name]:
            record.status, record.error = "left out", lacks[one.name]
            print(f"{one.name:9} {'':7}  left out: {lacks[one.name]}")
        arguments[one.name] = (one, values[one.name], folder, timeout, apart, options.rehearse)
    try:
        run_side_by_side(
            records,
            _in_place if options.in_place else _copy,
            arguments,
            processes=min(processes, len(chosen)),
            figures=apart or Path(os.environ.get("INREXP_FIGURES") or chosen[0].path.parent.parent / "figures"),
            environment={"OMP_NUM_THREADS": _threads(len(chosen))} if device == "cpu" else {},
            after=lambda one: None if options.in_place else _noted(one, execution.copy_of(one.notebook, folder)),
        )
    finally:
        if len(records) > 1:
            print(table(records, device))
            if not options.in_place:
                print(write_table(records, device, folder / "ran.md"))
    failed = [record.notebook.name for record in records if record.status == "failed"]
    if failed:
        raise RuntimeError(
            f"{len(failed)} of {len(records)} notebooks failed: {', '.join(failed)}; their lines say why. Then run "
            f"`inrexp run {' '.join(failed)}` again with your options; where a cell took too long, with "
            f"--execution-timeout {4 * timeout}"
        )
    return 0


def _noted(record: Any, copy: Path) -> None:
    """Say which claims do not hold in a run that ended, and write its seconds into its copy."""
    from inrexp.commands import execution

    for said in execution.claims_that_failed(copy):
        print(f"{record.notebook.name:9} {'':7}  {said}")
    execution.note(copy, {"seconds": round(record.seconds, 1)})


def _copy(
    notebook: notebooks.Notebook, values: dict, folder: Path, timeout: int, figures: Path | None, rehearse: bool
) -> None:
    """In a process of its own."""
    from inrexp.commands import execution

    execution.run(notebook, values, folder, timeout=timeout, figures=figures, rehearse=rehearse)


def _in_place(notebook: notebooks.Notebook, values: dict, folder: Path, timeout: int, *_: object) -> None:
    from inrexp.commands import execution

    execution.run_in_place(notebook, timeout=timeout)


def _threads(count: int) -> str:
    """One for each of `count` notebooks, as the committed ones ran: more round differently, and so give other masks.

    Who runs one alone may ask for more.
    """
    return "1" if count > 1 else os.environ.get("OMP_NUM_THREADS", "1")


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _device(wanted: str | None) -> str:
    """The device in words, as the table names it."""
    import torch

    from inrexp.models.registry import choose_device

    device = choose_device(wanted)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
