"""Make tables 1 and 2 and their figures from the rows of a study.

Each table is written as CSV, Markdown and LaTeX, with a list of the runs that have no number. Table 2 needs a study
with several iterations of algorithm 1.
"""

import argparse
from pathlib import Path

from inrexp.commands.arguments import add_plugin, check_out
from inrexp.names import did_you_mean


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("results", type=Path, help="folder of `inrexp study`, or the CSV file that it exported")
    parser.add_argument(
        "--against",
        metavar="METHOD",
        help='what p compares with, as the table names it, such as "INR, crisp" (default: the INR, by the preset '
        "that has the most pictures of the data set)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out"), help="folder for table1.csv, table1.tex, ... (default: %(default)s)"
    )
    add_plugin(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read the rows, write the tables and their figures, print the paths."""
    if not options.results.exists():  # told at once, before torch is imported
        raise FileNotFoundError(
            f"no rows at {options.results}: wanted a folder that `inrexp study` filled, or the CSV file of its rows"
        )
    check_out(options.out)
    from inrexp import figures
    from inrexp.comparison import load_methods
    from inrexp.figures import tables as table_figures
    from inrexp.study import export, tables
    from inrexp.study.rows import read_rows, read_seconds

    for path in options.plugin:
        load_methods(path)
    rows, seconds = read_rows(options.results), read_seconds(options.results)
    there = sorted(set(rows.loc[rows["iteration"] == 1, "variant"]))
    if options.against is not None and options.against not in there:
        raise LookupError(
            f"--against must be a method of these rows as the table names it, got {options.against!r}"
            f"{did_you_mean(options.against, there)}; there are {', '.join(map(repr, there))}"
        )
    made = [tables.table_1(rows, reference=options.against)]
    figure_of = {"table1_precision": table_figures.precision_by_method, "table1_areas": table_figures.smallest_areas}
    if (rows["iteration"] > 1).any():
        made.append(tables.table_2(rows))
        figure_of["table2_precision"] = table_figures.precision_by_iteration
    written = [path for table in made for path in export.write(table, options.out, seconds)]
    for name, draw in figure_of.items():
        said = table_figures.said_of_rows(rows, name.split("_")[0])
        written.append(figures.save_figure(draw(rows), name, folder=options.out, **said))
    print(*written, sep="\n")
    return 0
