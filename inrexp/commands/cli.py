"""The command line: `inrexp COMMAND ...`, a module of this room for each command.

Nothing here imports torch, so that help and errors of arguments answer at once; a command imports what it needs when it
runs.
"""

import argparse
import sys
import warnings

import inrexp
from inrexp.commands import claims, data, explain, run, study, tables
from inrexp.commands.arguments import INTERRUPTED
from inrexp.names import did_you_mean

COMMANDS = {
    "explain": (explain, "masks of one picture: overlay, strip over areas, numbers"),
    "run": (run, "execute notebooks: fig1, start, ... or all; without a name, list them"),
    "study": (study, "methods x pictures x seeds: rows for tables 1 and 2, resumable"),
    "tables": (tables, "tables 1 and 2 and their figures from a study's rows"),
    "claims": (claims, "the paper's claims, one by one, with the verdict of the committed rows"),
    "data": (data, "check a copy of the data that data/README.md lists"),
}
EXAMPLES = """examples:
  inrexp run start                  a first notebook: one picture, from classifier to mask
  inrexp run all                    every figure and table, in quick mode
  inrexp explain my_picture.jpg     masks of a picture of yours, written to out/
  inrexp explain --help             every option of a command"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command.  Returns the exit status: 0, 1 for a check that failed, 2 for an error, 130 for Ctrl-C."""
    parser = make_parser()
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        parser.print_help()
        return 0
    options, strange = parser.parse_known_args(given)
    if strange:  # with the command's own usage, where argparse would give that of all
        options.command.error(
            f"unknown: {' '.join(strange)}{did_you_mean(strange[0], options.command._option_string_actions)}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, *_, **__: print(f"inrexp: {message}", file=sys.stderr)
            return options.run(options)
    except (OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
        print(f"inrexp: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("inrexp: interrupted. Finished files are complete; nothing was left half-written.", file=sys.stderr)
        return INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each command's options come from its own module's `add_options`."""
    parser = argparse.ArgumentParser(
        prog="inrexp",
        allow_abbrev=False,  # --rep would be --replace, which drops rows
        description="Visual explanations of image classifiers by implicit neural representations.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"inrexp {inrexp.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module, line) in COMMANDS.items():
        command = commands.add_parser(name, allow_abbrev=False, help=line, description=module.__doc__)
        command.set_defaults(command=command)
        module.add_options(command)
    return parser
