"""Fits the variants of `inrexp.study.variants` to the same pictures with one seed; writes data/results/variants.csv.

    python benchmarks/variants.py [--dataset imagenet-s50 --folder FOLDER] [--samples FILE] [--limit 40]
        [--variants A B ...]

An interrupted run can be started again: a variant that has its rows of a picture is not fitted to it again. Several
processes can run at once if each has its own --variants and its own --out file; pandas.concat joins the files.
"""

import argparse
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from inrexp import explain, load_classifier, load_picture
from inrexp.datasets.lists import read_names
from inrexp.datasets.named import load_dataset
from inrexp.files import written_whole
from inrexp.study.variants import VARIANTS, measured


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
    samples = dataset.spread(options.limit)
    rows = pd.read_csv(options.out) if options.out.is_file() else pd.DataFrame(columns=["variant", "picture"])
    done = set(zip(rows["variant"], rows["picture"], strict=True))
    todo = [(s, v) for v in options.variants for s in samples if (v, s.name) not in done]
    for sample, variant in tqdm(todo, unit="fit"):
        found = explain(
            classifier,
            load_picture(sample.picture),
            sample.target(classifier),
            preset=VARIANTS[variant],
            seed=options.seed,
            progress=False,
        )
        new = measured(found, sample.truth(classifier))
        new.insert(0, "variant", variant)
        new.insert(1, "picture", sample.name)
        rows = pd.concat([rows, new.round(4)], ignore_index=True)
        with written_whole(options.out) as temporary:
            rows.to_csv(temporary, index=False)


if __name__ == "__main__":
    main()
