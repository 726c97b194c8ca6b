"""Compute methods x pictures x seeds: the rows of tables 1 and 2.

Run the command again on the same folder to resume; finished rows are kept. Several processes may work on one folder.
`inrexp tables FOLDER` makes the tables.
"""

import argparse
import ast
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inrexp.commands.arguments import DATASETS, METHODS, add_device, add_plugin, level, positive
from inrexp.names import did_you_mean

PLACES = "local:N (processes here), slurm:FILE.toml (SLURMCluster's keywords, and jobs = N) or dask:ADDRESS"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options; those of the first group are StudyPlan's fields, with its defaults where none is given."""
    parser.add_argument("results", type=Path, nargs="?", help="folder to write to; run again on it to resume")
    plan = parser.add_argument_group("what is computed", argument_default=argparse.SUPPRESS)
    plan.add_argument("--dataset", choices=DATASETS, metavar="NAME", help=f"{', '.join(DATASETS)} (default: packaged)")
    plan.add_argument("--called", metavar="NAME", help="what rows and tables call the data set")
    plan.add_argument("--methods", type=lambda text: tuple(text.split(",")), metavar="A,B,...", help="(default: all)")
    plan.add_argument("--seeds", type=positive, help="seeds 0 to SEEDS - 1 (default: 5)")
    plan.add_argument("--iterations", type=positive, help="explanations of algorithm 1, for table 2 (default: 1)")
    plan.add_argument("--threshold", type=level, help="Phi_0 of eq. 5 (default: half of the unmasked probability)")
    plan.add_argument("--cut", type=level, help="where masks are cut to 0/1 (default: 0.5)")
    plan.add_argument("--map-cut", type=level, help="where saliency maps are cut (default: 0.2, VOC 0.5)")
    plan.add_argument("--curve-steps", type=positive, help="of insertion and deletion (default: 20)")
    plan.add_argument("--model", help="as for explain (default: efficientnet_lite0)")
    plan.add_argument("--samples", type=Path, metavar="FILE", help="only those named in this file, one name a line")
    plan.add_argument("--limit", type=positive, help="this many pictures, evenly spread (default: all)")
    plan.add_argument("--batch", type=positive, help="fits in one call, of methods that can (default: 1)")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="METHOD.NAME=VALUE",
        help="an option of a method, such as METHOD.steps=400; --list-options says which there are",
    )
    add_plugin(parser)
    parser.add_argument("--list-options", action="store_true", help="list the methods' options, and compute nothing")
    work = parser.add_argument_group("how the work is done")
    work.add_argument("--folder", type=Path, help="where the data set lies, to be read (data/README.md)")
    work.add_argument("--cluster", metavar="PLACE", help=f"compute on Dask: {PLACES}")
    work.add_argument("--retry-failed", action="store_true", help="try again what failed before")
    work.add_argument(
        "--replace", action="store_true", help="drop rows whose picture, truth or class has changed since"
    )
    add_device(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compute what is missing, say how many rows there are.  Returns 1 if some failed."""
    if not options.list_options:
        _check(options)
    from inrexp.comparison import METHODS, load_methods
    from inrexp.datasets.lists import read_names
    from inrexp.study import cluster
    from inrexp.study.plan import StudyPlan
    from inrexp.study.run import run_study
    from inrexp.study.store import ROWS

    for path in options.plugin:
        load_methods(path)
    if options.list_options:
        print(*_described(), sep="\n")
        return 0
    fields = {field.name for field in dataclasses.fields(StudyPlan)}
    given = {name: value for name, value in vars(options).items() if name in fields}
    if "samples" in given:
        given["samples"] = read_names(given["samples"])
    plan = StudyPlan(**{"methods": tuple(METHODS), **given, "options": options_of(options.option)})
    if idle := set(plan.options) - set(plan.methods):
        raise ValueError(
            f"--option names {', '.join(sorted(idle))}, which is not among --methods {','.join(plan.methods)}"
        )
    counts = run_study(
        plan,
        options.results,
        folder=options.folder,
        device=options.device,
        retry_failed=options.retry_failed,
        replace=options.replace,
        executor=cluster.on_cluster(plan, options.cluster, device=options.device) if options.cluster else None,
    )
    said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    total = sum(counts.values())
    print(f"{total} row{'s' * (total != 1)}: {said}; {options.results / ROWS}")
    if counts.get("failed"):
        print("inrexp: some rows failed, their error is in the table: --retry-failed tries again", file=sys.stderr)
    return 1 if counts.get("failed") else 0


def _check(options: argparse.Namespace) -> None:
    """What needs no torch, so that it answers at once."""
    if options.results is None:
        raise ValueError("results must be given: the folder to write to, as in `inrexp study out/mine`")
    unknown = [name for name in getattr(options, "methods", ()) if name not in METHODS]
    if unknown and not options.plugin:  # a plugin may register more, and its names are not known yet
        meant = did_you_mean(unknown[0], METHODS)
        raise ValueError(
            f"--methods must be some of {', '.join(METHODS)}, got {', '.join(map(repr, unknown))}{meant}: one of your "
            "own needs --plugin"
        )


def options_of(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """METHOD.NAME=VALUE, several of them, as method -> name -> value; a value that is no Python literal is text.

    Raises ValueError for text of another form.
    """
    from inrexp.comparison import METHODS

    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        place, equals, value = text.partition("=")
        method, dot, name = place.partition(".")
        if not (equals and dot and method and name):
            raise ValueError(f"--option takes METHOD.NAME=VALUE, such as METHOD.steps=400; got {text!r}")
        if method not in METHODS:
            raise ValueError(f"--option {text}: no method {method!r}; there are {', '.join(METHODS)}")
        found.setdefault(method, {})[name] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _described() -> list[str]:
    """A line a method: its options with their defaults, the published ones and the presets beside them."""
    from inrexp.comparison import METHODS

    lines = []
    for name, method in METHODS.items():
        line = f"{name}: " + (", ".join(f"{key}={value}" for key, value in method.options.items()) or "none")
        published = ", ".join(f"{key}={value}" for key, value in (method.published or {}).items())
        line += f"; published {published}" if published else ""
        lines.append(line + (f"; presets {', '.join(method.presets)}" if method.presets else ""))
    return lines
