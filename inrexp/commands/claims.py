"""The paper's claims, one by one, from the committed rows: each with its verdict and its key number, as Markdown.

With --write, the table goes between the two marks of a file such as README.md. Where rows are missing, the
commands that make them are named: in these RESULTS is the folder for --results, and PICTURES that of the data set.
"""

import argparse
import sys
from pathlib import Path

from inrexp import files


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--results", type=Path, help="folder of rows, or of a study (default: data/results)")
    parser.add_argument("--full", action="store_true", help="a block for each claim, with its sentence and all numbers")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="replace the table in this file")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table, or write it."""
    if options.full and options.write:
        raise ValueError("--write takes the short table: give it without --full")
    folder = options.results or files.DATA / "results"
    if not options.results and not folder.is_dir():
        raise FileNotFoundError(
            f"no rows at {folder}: they are part of the repository and not of the installed package. Clone the "
            "repository and run `inrexp claims --results data/results` in the clone"
        )
    if options.write and not options.write.is_file():
        raise FileNotFoundError(
            f"--write must name a file with the table's two marks, there is none at {options.write}"
        )
    from inrexp.study import ledger
    from inrexp.study.evidence import read_evidence
    from inrexp.study.tables import family

    rows = read_evidence(folder)
    if options.results and rows.empty:
        raise FileNotFoundError(
            f"{options.results} has no table of rows: wanted a folder such as data/results, or one that `inrexp study` "
            "filled"
        )
    strange = sorted({name for name in rows.study.get("dataset", ()) if not family(name)})
    if strange:
        print(
            f"inrexp: no claim is judged on the rows of {', '.join(map(repr, strange))}: the paper's are about "
            "pictures of imagenet-s50 and voc07-difficult. `inrexp tables` shows all rows of a study",
            file=sys.stderr,
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
