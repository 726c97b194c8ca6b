"""The options by which the benchmarks choose a data set, some of its pictures, a network and its device."""

import argparse
from pathlib import Path

from inrexp import Classifier, load_classifier
from inrexp.datasets.lists import LISTS, read_names
from inrexp.datasets.named import load_dataset
from inrexp.datasets.samples import Sample


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """--dataset, --folder, --samples, --limit, --model and --device."""
    parser.add_argument("--dataset", default="imagenet-s50")
    parser.add_argument("--folder", type=Path, help="where it lies")
    parser.add_argument("--samples", type=Path, default=LISTS / "reported.txt", help="one name a line")
    parser.add_argument("--limit", type=int, help="use only so many samples, evenly spread")
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--device")


def chosen(options: argparse.Namespace) -> tuple[Classifier, str, tuple[Sample, ...]]:
    """The network, the data set's name, and the samples that the options name and the network knows."""
    classifier = load_classifier(options.model, device=options.device)
    dataset = load_dataset(options.dataset, folder=options.folder).only(read_names(options.samples))
    return classifier, dataset.name, dataset.known_to(classifier).spread(options.limit)
