"""The options that the benchmarks share: a data set, some of its pictures, a network, its device, and where rows go."""

import argparse
from pathlib import Path

from inrexp import Classifier, load_classifier
from inrexp.datasets.lists import LISTS, read_names
from inrexp.datasets.named import load_dataset
from inrexp.datasets.samples import Dataset, Sample
from inrexp.files import DATA

RESULTS = DATA / "results"  # the committed rows
REPORTED = {"imagenet-s50": "reported.txt", "voc07-difficult": "reported_voc.txt"}  # pictures that chose no setting


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """--dataset, --folder, --samples, --limit, --model and --device."""
    parser.add_argument("--dataset", default="imagenet-s50", help="default: %(default)s")
    parser.add_argument("--folder", type=Path, help="where it lies")
    parser.add_argument(
        "--samples",
        metavar="FILE",
        help="only those named in this file, one name a line, or all (default: those of data/results/reported.txt, "
        "for voc07-difficult of reported_voc.txt, and all of other data sets)",
    )
    parser.add_argument("--limit", type=int, help="use only so many samples, evenly spread")
    parser.add_argument("--model", default="efficientnet_lite0", help="default: %(default)s")
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")


def add_out(parser: argparse.ArgumentParser, name: str) -> None:
    """--out, the file of rows.  name: of the committed one, to which rows go by default."""
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS / name,
        metavar="FILE.csv",
        help=f"rows go to this file (default: data/results/{name})",
    )


def named(options: argparse.Namespace) -> tuple[str, ...] | None:
    """The names of the samples that the options ask for, before --limit; None is all of them."""
    if options.samples is None:
        return read_names(LISTS / REPORTED[options.dataset]) if options.dataset in REPORTED else None
    return None if options.samples == "all" else read_names(options.samples)


def chosen(options: argparse.Namespace) -> tuple[Classifier, Dataset, tuple[Sample, ...]]:
    """The network, the whole data set, and those of its samples that the options name and the network knows."""
    classifier = load_classifier(options.model, device=options.device)
    dataset, names = load_dataset(options.dataset, folder=options.folder), named(options)
    wanted = dataset if names is None else dataset.only(names)
    return classifier, dataset, wanted.known_to(classifier).spread(options.limit)
