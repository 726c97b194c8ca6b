"""Check a copy of a data set or of published weights: counts, sizes and every file.

data/README.md lists what can be fetched, from whom and under which terms. None of it is needed for the packaged
pictures and models.
"""

import argparse
from pathlib import Path

NAMES = "imagenet-s50, voc07, voc07-difficult, resnet50_voc, folder, ..."


def add_options(parser: argparse.ArgumentParser) -> None:
    """`inrexp data check NAME`, the only thing to do with data so far."""
    actions = parser.add_subparsers(required=True, metavar="COMMAND")
    check = actions.add_parser(
        "check", allow_abbrev=False, help="counts, sizes and every file of a copy", description=__doc__
    )
    check.add_argument("name", help=NAMES)
    check.add_argument("--folder", type=Path, help="where it lies (default: below $INREXP_DATA or data/external)")
    check.set_defaults(run=run, command=check)


def run(options: argparse.Namespace) -> int:
    """Print the report.  Returns 1 if the copy has problems."""
    from inrexp.datasets.check import check_data

    report = check_data(options.name, options.folder)
    print(report)
    return 1 if report.problems else 0
