"""Fits the variants of `inrexp.study.variants` to the same pictures with one seed; writes data/results/variants.csv.

    python benchmarks/variants.py [--dataset imagenet-s50 --folder FOLDER] [--samples FILE] [--limit 40]
        [--variants A B ...]

An interrupted run can be started again: a variant that has its rows of a picture, by the same seed, settings and
network, is not fitted to it again; rows by others are replaced, so another seed needs an --out of its own. Several
processes can run at once if each has its own --variants and its own --out file; pandas.concat joins the files.
"""

import argparse
from pathlib import Path

from inrexp import load_classifier
from inrexp.datasets.lists import read_names
from inrexp.datasets.named import load_dataset
from inrexp.study.variants import VARIANTS, run_variants


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="packaged")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--samples", type=Path, help="only those named in this file, one name a line")
    parser.add_argument("--limit", type=int, help="use only so many samples, evenly spread")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path, default=Path("data/results/variants.csv"))
    options = parser.parse_args()
    classifier = load_classifier(device=options.device)
    dataset = load_dataset(options.dataset, folder=options.folder).known_to(classifier)
    if options.samples:
        dataset = dataset.only(read_names(options.samples))
    chosen = {name: VARIANTS[name] for name in options.variants}
    run_variants(dataset.spread(options.limit), classifier, chosen, options.out, seed=options.seed)


if __name__ == "__main__":
    main()
