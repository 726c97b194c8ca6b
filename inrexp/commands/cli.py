"""The command line: inrexp explain PICTURE, inrexp run NOTEBOOK, inrexp study RESULTS."""

import argparse
import dataclasses
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from inrexp import figures
from inrexp.commands import notebooks
from inrexp.datasets.check import check_data
from inrexp.datasets.pictures import PACKAGED, load_picture
from inrexp.explanation import CUT, Explanation
from inrexp.files import written_whole
from inrexp.methods import DEFAULT_PRESET, explain
from inrexp.models.registry import load_classifier
from inrexp.paper import starts as initial
from inrexp.paper.presets import PRESETS
from inrexp.study import cluster
from inrexp.study.plan import StudyPlan
from inrexp.study.run import run_study
from inrexp.study.store import ROWS

STRIP = (0.025, 0.05, 0.1, 0.15, 0.2)
INTERRUPTED = 130  # the shell's exit status for Ctrl-C


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, *_, **__: print(f"inrexp: {message}", file=sys.stderr)
            return options.run(options)
    except (OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
        print(f"inrexp: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("inrexp: interrupted; files that were already written are whole, no other was begun", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="inrexp", description="Visual explanations by implicit neural representations"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("explain", help="masks of one picture: overlay, strip over areas, numbers")
    one.add_argument(
        "picture", nargs="?", default="coffee", help=f"a file, or one of {', '.join(PACKAGED)} (default: coffee)"
    )
    one.add_argument("--model", default="efficientnet_lite0", help="efficientnet_lite0..2 or a torchvision model")
    one.add_argument("--target", help="class index or label (default: the model's top-1)")
    one.add_argument("--area", type=float, help="area of the overlay (default: the smallest that suffices)")
    one.add_argument("--preset", default=DEFAULT_PRESET, choices=list(PRESETS))
    one.add_argument("--steps", type=int, help="other than the preset's")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    one.add_argument("--out", type=Path, default=Path("out"), help="folder for the results (default: out)")
    one.set_defaults(run=_explain)
    many = commands.add_parser("run", help="execute notebooks: fig1, start, ... or all; without a name, list them")
    many.add_argument("names", nargs="*", metavar="NAME", help="as listed; all: every one in turn")
    many.add_argument("-p", dest="given", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
    many.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    many.add_argument("--full", action="store_true", help="the paper's own settings instead of the quick ones")
    many.add_argument("--out", type=Path, help="folder of copy and figures (default: out/quick, full or tried)")
    many.add_argument("--execution-timeout", type=float, metavar="SECONDS", help="for a cell (900; with --full, 43200)")
    many.add_argument("--resume", action="store_true", help="leave out what an earlier run of the same code finished")
    many.add_argument("--in-place", action="store_true", help="execute the committed notebook itself (before a commit)")
    many.set_defaults(run=_run)
    _add_study(commands.add_parser("study", help="methods x pictures x seeds: rows for tables 1 and 2, resumable"))
    both = commands.add_parser("tables", help="tables 1 and 2 and their figures from a study's rows")
    both.add_argument("results", type=Path, help="folder of `inrexp study`, or the CSV file that it exported")
    both.add_argument("--against", metavar="METHOD", help='as the table names it, "INR, paper"; what p is against')
    both.add_argument("--out", type=Path, default=Path("out"), help="folder for table1.csv, .tex, ... (default: out)")
    both.set_defaults(run=_tables)
    start = commands.add_parser("learn", help="a start for fields, learned on a folder of pictures (Reptile)")
    start.add_argument("folder", type=Path, help="pictures; each is explained for the model's top-1 class")
    start.add_argument("--out", type=Path, default=Path("out/initial.safetensors"), help="the weights")
    start.add_argument("--model", default="efficientnet_lite0", help="as for explain")
    start.add_argument(
        "--preset", default="crisp_learned", choices=[n for n in PRESETS if PRESETS[n].source == "field"]
    )
    start.add_argument("--epochs", type=int, default=1, help="times that each picture is fitted")
    start.add_argument("--sure", type=float, default=0.3, help="least top-1 probability of a picture that is used")
    start.add_argument("--seed", type=int, default=0)
    start.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    start.set_defaults(run=_learn)
    data = commands.add_parser("data", help="what data/README.md lists").add_subparsers(
        required=True, metavar="COMMAND"
    )
    check = data.add_parser("check", help="counts, sizes and every file of a copy")
    check.add_argument("name", help="imagenet-s50, voc07, voc07-difficult, resnet50_voc, folder, ...")
    check.add_argument("--folder", type=Path, help="where it lies (default: below $INREXP_DATA or data/external)")
    check.set_defaults(run=_check_data)
    return parser


def _add_study(study: argparse.ArgumentParser) -> None:
    """Options named as StudyPlan's fields fill it; the others say how the work is done."""
    plan = StudyPlan()
    study.add_argument("results", type=Path, help="folder of the results; run again on it to resume")
    study.add_argument("--dataset", default=plan.dataset, help="packaged, imagenet-s50, voc07-difficult, folder, ...")
    study.add_argument("--folder", type=Path, help="where the data set lies")
    study.add_argument("--methods", type=lambda text: tuple(text.split(",")), default=plan.methods, metavar="A,B,...")
    study.add_argument("--seeds", type=int, default=plan.seeds)
    study.add_argument("--iterations", type=int, default=plan.iterations, help="explanations of algorithm 1 (table 2)")
    study.add_argument("--preset", default=plan.preset, choices=list(PRESETS), help="the INR's")
    study.add_argument("--steps", type=int, help="the INR's, other than its preset's")
    study.add_argument("--extremal-preset", default=plan.extremal_preset, choices=list(PRESETS))
    study.add_argument("--extremal-steps", type=int, help="rescaled: learning rate and growth go with them")
    study.add_argument("--masks", dest="rise_masks", type=int, default=plan.rise_masks, help="of RISE")
    study.add_argument("--threshold", type=float, help="Phi_0 (default: half of the unmasked probability)")
    study.add_argument("--cut", type=float, default=plan.cut, help="where masks are cut to 0/1")
    study.add_argument("--map-cut", type=float, help="where saliency maps are cut (default: 0.2, VOC 0.5)")
    study.add_argument("--curve-steps", type=int, default=plan.curve_steps, help="of insertion and deletion")
    study.add_argument("--model", default=plan.model)
    study.add_argument("--limit", type=int, help="this many pictures, evenly spread over the data set")
    study.add_argument("--batch", type=int, default=plan.batch, help="INR fits in one call")
    study.add_argument("--cluster", metavar="PLACE", help=f"compute on Dask: {cluster.PLACES}")
    study.add_argument("--retry-failed", action="store_true", help="try again what failed before")
    study.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    study.set_defaults(run=_study)


def _study(options: argparse.Namespace) -> int:
    plan = StudyPlan(**{field.name: getattr(options, field.name) for field in dataclasses.fields(StudyPlan)})
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


def _learn(options: argparse.Namespace) -> int:
    classifier = load_classifier(options.model, device=options.device)
    problems = initial.problems_in(classifier, options.folder, sure=options.sure)
    state = initial.learn(classifier, problems, PRESETS[options.preset], epochs=options.epochs, seed=options.seed)
    path = initial.write_initial(state, options.out)
    print(f"{path}: learned on {len(problems)} pictures; FitConfig(initial={str(path)!r}, ...) starts there")
    return 0


def _tables(options: argparse.Namespace) -> int:
    from inrexp.figures import tables as study_figures
    from inrexp.study import export as table_text
    from inrexp.study import tables

    rows, seconds = tables.read_rows(options.results), tables.read_seconds(options.results)
    made = [tables.table_1(rows, reference=options.against)]
    figure_of = {"table1_precision": study_figures.precision_by_method, "table1_areas": study_figures.smallest_areas}
    if (rows["iteration"] > 1).any():
        made.append(tables.table_2(rows))
        figure_of["table2_precision"] = study_figures.precision_by_iteration
    written = [path for table in made for path in table_text.write(table, options.out, seconds)]
    quick = bool(table_text.reductions(rows))
    for name, draw in figure_of.items():
        written.append(figures.save_figure(draw(rows), name, quick=quick, folder=options.out))
    print(*written, sep="\n")
    return 0


def _check_data(options: argparse.Namespace) -> int:
    report = check_data(options.name, options.folder)
    print(report)
    return 1 if report.problems else 0


def _explain(options: argparse.Namespace) -> int:
    _check(options)
    picture = load_picture(options.picture)
    classifier = load_classifier(options.model, device=options.device)
    found = explain(classifier, picture, options.target, preset=options.preset, seed=options.seed, steps=options.steps)
    suffices = found.smallest_area(areas=None)
    areas = found.held_areas or [area for area in STRIP if found.area_range[0] <= area <= found.area_range[1]]
    low, high = found.area_range
    area = options.area or suffices or high
    stem = options.out / Path(options.picture).stem
    for kind, figure in (("overlay", figures.overlay(found, area)), ("masks", figures.area_strip(found, areas))):
        with figures.style(), written_whole(f"{stem}_{kind}.png") as temporary:
            figure.savefig(temporary)
    found.save(f"{stem}.safetensors")
    with written_whole(f"{stem}.json") as temporary:
        temporary.write_text(json.dumps(_numbers(found, areas), indent=2) + "\n")
    answer = (
        f"a* = {suffices:.3g}" if suffices else f"no area from {low:g} to {high:g} keeps p at {found.threshold:.2f}"
    )
    print(f"{found.target.label}: p = {found.unmasked:.2f} unmasked; {answer}; {found.seconds:.0f} s; {stem}_*.png")
    if found.status.startswith("interrupted"):
        return INTERRUPTED
    if found.status != "finished":
        usual = PRESETS[options.preset].steps
        raise RuntimeError(
            f"the fit {found.status}: the masks above explain nothing; try another --seed"
            + (f", or more --steps ({options.preset} has {usual})" if (options.steps or usual) < usual else "")
        )
    return 0


def _run(options: argparse.Namespace) -> int:
    there = notebooks.notebooks()
    if not options.names:
        for one in there:
            print(f"{one.name:8}  {one.title}  ({one.minutes} on two CPU cores)")
        return 0
    given = dict(notebooks.split(text) for text in options.given)
    chosen = there if options.names == ["all"] else [notebooks.find(name, there) for name in options.names]
    prepared = [
        (one, notebooks.settings(one, given, device=options.device, full=options.full)) for one in chosen
    ]  # all of them before the first runs
    if options.in_place and (given or options.full or options.out):
        raise ValueError("--in-place executes the committed notebooks as they stand: no -p, --full or --out")
    timeout = options.execution_timeout or (notebooks.FULL_TIMEOUT if options.full else notebooks.QUICK_TIMEOUT)
    folder = options.out or Path("out") / ("tried" if given else "full" if options.full else "quick")
    apart, failed = bool(given or options.out), []
    for one, values in prepared:
        try:
            if options.in_place:
                notebooks.run_in_place(one, timeout=timeout)
            else:
                print(notebooks.run(one, values, folder, timeout=timeout, apart=apart, resume=options.resume))
        except RuntimeError as error:  # the others still run
            print(f"inrexp: {error}", file=sys.stderr)
            failed.append(one.name)
    if failed:
        raise RuntimeError(
            f"{len(failed)} of {len(prepared)} notebooks failed: {', '.join(failed)}; run them again with "
            f"`inrexp run {' '.join(failed)}`, on a slow machine with --execution-timeout {4 * timeout:g}"
        )
    return 0


def _check(options: argparse.Namespace) -> None:
    """What would otherwise fail after the fit."""
    config = PRESETS[options.preset]
    low, high = config.area_range
    if options.area is not None and not low <= options.area <= high:
        raise ValueError(f"--area must lie in the trained range [{low:g}, {high:g}], got {options.area:g}")
    held = config.source_settings.get("areas")
    if options.area is not None and held and options.area not in held:
        raise ValueError(f"--area must be one of {held} with --preset {options.preset}, got {options.area:g}")
    out = options.out.absolute()
    there = next(folder for folder in (out, *out.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ValueError(f"--out must be a folder that can be written to, got {options.out}")


def _numbers(found: Explanation, areas: Sequence[float]) -> dict:
    def rounded(values: torch.Tensor) -> list[float]:
        return [round(float(value), 4) for value in values]

    return {
        "target": {"indices": list(found.target.indices), "label": found.target.label},
        "unmasked_probability": round(found.unmasked, 4),
        "threshold": round(found.threshold, 4),
        "smallest_area": found.smallest_area(areas=None),
        "smallest_area_cut": found.smallest_area(areas=None, cut=CUT),
        "areas": list(areas),
        "probability": rounded(found.probability(areas)),
        "probability_cut": rounded(found.probability(areas, cut=CUT)),
        "area_kept": rounded(found.mask(areas).mean((1, 2, 3))),
        "area_kept_cut": rounded(found.mask(areas, cut=CUT).mean((1, 2, 3))),
        "model": found.classifier_name,
        "preset": found.preset,
        "seed": found.seed,
        "status": found.status,
        "steps": len(found.history["loss"]),
        "seconds": round(found.seconds, 1),
        "versions": found.versions,
    }
