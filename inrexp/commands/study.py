"""Compute methods x pictures x seeds: the rows of tables 1 and 2.

Run the command again on the same folder to resume; finished rows are kept. Several processes may work on one folder.
`inrexp tables FOLDER` makes the tables.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

from inrexp.commands.arguments import PRESETS, add_device

PLACES = "local:N (processes here), slurm:FILE.toml (SLURMCluster's keywords, and jobs = N) or dask:ADDRESS"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options; those of the first group are StudyPlan's fields, with its defaults where none is given."""
    parser.add_argument("results", type=Path, help="folder of the results; run again on it to resume")
    plan = parser.add_argument_group("what is computed", argument_default=argparse.SUPPRESS)
    plan.add_argument("--dataset", help="packaged, imagenet-s50, voc07-difficult, folder, ... (default: packaged)")
    plan.add_argument("--methods", type=lambda text: tuple(text.split(",")), metavar="A,B,...", help="(default: all)")
    plan.add_argument("--seeds", type=int, help="seeds 0 to SEEDS - 1 (default: 5)")
    plan.add_argument("--iterations", type=int, help="explanations of algorithm 1, for table 2 (default: 1)")
    plan.add_argument("--preset", choices=PRESETS, metavar="NAME", help=f"the INR's: {', '.join(PRESETS)}")
    plan.add_argument("--steps", type=int, help="the INR's, other than its preset's")
    plan.add_argument("--extremal-preset", choices=PRESETS, metavar="NAME", help="extremal perturbations'")
    plan.add_argument("--extremal-steps", type=int, help="rescaled: learning rate and growth go with them")
    plan.add_argument("--masks", dest="rise_masks", type=int, help="of RISE (default: 8000)")
    plan.add_argument("--threshold", type=float, help="Phi_0 (default: half of the unmasked probability)")
    plan.add_argument("--cut", type=float, help="where masks are cut to 0/1")
    plan.add_argument("--map-cut", type=float, help="where saliency maps are cut (default: 0.2, VOC 0.5)")
    plan.add_argument("--curve-steps", type=int, help="of insertion and deletion")
    plan.add_argument("--model", help="as for explain")
    plan.add_argument("--limit", type=int, help="this many pictures, evenly spread over the data set")
    plan.add_argument("--batch", type=int, help="INR fits in one call")
    work = parser.add_argument_group("how the work is done")
    work.add_argument("--folder", type=Path, help="where the data set lies")
    work.add_argument("--cluster", metavar="PLACE", help=f"compute on Dask: {PLACES}")
    work.add_argument("--retry-failed", action="store_true", help="try again what failed before")
    add_device(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compute what is missing, say how many rows there are.  Returns 1 if some failed."""
    from inrexp.study import cluster
    from inrexp.study.plan import StudyPlan
    from inrexp.study.run import run_study
    from inrexp.study.store import ROWS

    fields = {field.name for field in dataclasses.fields(StudyPlan)}
    plan = StudyPlan(**{name: value for name, value in vars(options).items() if name in fields})
    counts = run_study(
        plan,
        options.results,
        folder=options.folder,
        device=options.device,
        retry_failed=options.retry_failed,
        executor=cluster.on_cluster(plan, options.cluster, device=options.device) if options.cluster else None,
    )
    said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    print(f"{sum(counts.values())} rows: {said}; {options.results / ROWS}")
    if counts.get("failed"):
        print("inrexp: some rows failed, their error is in the table: --retry-failed tries again", file=sys.stderr)
    return 1 if counts.get("failed") else 0
