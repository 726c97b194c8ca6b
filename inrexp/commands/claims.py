"""The paper's claims, one by one, from the committed rows: each with its verdict and its key number, as Markdown.

With --write, the table goes between the two marks of a file such as README.md.
"""

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--results", type=Path, help="folder of rows, or of a study (default: data/results)")
    parser.add_argument("--full", action="store_true", help="a block for each claim, with its sentence and all numbers")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="replace the table in this file")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table, or write it."""
    from inrexp.files import DATA
    from inrexp.study import ledger
    from inrexp.study.evidence import read_evidence

    if options.full and options.write:
        raise ValueError("--write takes the short table: give it without --full")
    rows = read_evidence(options.results or DATA / "results")
    if options.results and rows.empty:
        raise FileNotFoundError(
            f"{options.results} has no table of rows: wanted a folder such as data/results, or one that `inrexp study` "
            "filled"
        )
    found = ledger.assessed(rows)
    if options.full:
        print("\n\n---\n\n".join(ledger.block(one, place) for place, one in enumerate(found, 1)))
        return 0
    table = ledger.summary(found)
    if options.write is None:
        print(table)
        return 0
    changed = ledger.write_between_marks(options.write, table)
    print(f"{options.write}: {'written' if changed else 'up to date'}")
    return 0
