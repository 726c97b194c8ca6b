"""Execute notebooks, each in a copy; the committed ones stay as they are.

Figures go to figures/ of the repository. Without a name the notebooks are listed.
"""

import argparse
import sys
from pathlib import Path

from inrexp.commands import notebooks
from inrexp.commands.arguments import add_device


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="as listed; all: every one in turn")
    parser.add_argument("-p", dest="given", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
    add_device(parser)
    parser.add_argument("--full", action="store_true", help="the paper's own settings instead of the quick ones")
    parser.add_argument("--out", type=Path, help="folder of copy and figures (default: out/quick, full or tried)")
    parser.add_argument(
        "--execution-timeout", type=float, metavar="SECONDS", help="for a cell (900; with --full, 43200)"
    )
    parser.add_argument("--resume", action="store_true", help="leave out what an earlier run of the same code finished")
    parser.add_argument(
        "--in-place", action="store_true", help="execute the committed notebook itself (before a commit)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Execute the notebooks that were named, or list them.  Raises RuntimeError that names those that failed."""
    there = notebooks.notebooks()
    if not options.names:
        for one in there:
            print(f"{one.name:8}  {one.title}  ({one.minutes} on two CPU cores)")
        return 0
    from inrexp.commands import execution

    given = dict(notebooks.split(text) for text in options.given)
    chosen = there if options.names == ["all"] else [notebooks.find(name, there) for name in options.names]
    prepared = [
        (one, notebooks.settings(one, given, device=options.device, full=options.full)) for one in chosen
    ]  # all of them before the first runs
    if options.in_place and (given or options.full or options.out):
        raise ValueError("--in-place executes the committed notebooks as they stand: no -p, --full or --out")
    timeout = options.execution_timeout or (execution.FULL_TIMEOUT if options.full else execution.QUICK_TIMEOUT)
    folder = options.out or Path("out") / ("tried" if given else "full" if options.full else "quick")
    apart, failed = bool(given or options.out), []
    for one, values in prepared:
        try:
            if options.in_place:
                execution.run_in_place(one, timeout=timeout)
            else:
                print(execution.run(one, values, folder, timeout=timeout, apart=apart, resume=options.resume))
        except RuntimeError as error:  # the others still run
            print(f"inrexp: {error}", file=sys.stderr)
            failed.append(one.name)
    if failed:
        raise RuntimeError(
            f"{len(failed)} of {len(prepared)} notebooks failed: {', '.join(failed)}; run them again with "
            f"`inrexp run {' '.join(failed)}`, on a slow machine with --execution-timeout {4 * timeout:g}"
        )
    return 0
