"""How far rounding and seeds move a fit's masks (`inrexp.study.nulls`); writes data/results/nulls.csv.

    python benchmarks/nulls.py --dataset imagenet-s50 --folder FOLDER [--preset crisp] [--limit 20]

It fits every picture four times: alone, in one batch with the next seed's fit, and on the picture changed by 1e-6. The
pictures are those of --samples, by default the reported ones, evenly spread. An interrupted run can be started again.
Each preset takes a call of its own, all into one file; at the end the table of means is printed.
"""

import argparse
from pathlib import Path

from inrexp import PRESETS, load_classifier
from inrexp.datasets.lists import LISTS, read_names
from inrexp.datasets.named import load_dataset
from inrexp.paper.presets import DEFAULT
from inrexp.study.nulls import null_table, run_nulls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="imagenet-s50")
    parser.add_argument("--folder", type=Path, help="where it lies")
    parser.add_argument("--samples", type=Path, default=LISTS / "reported.txt", help="one name a line")
    parser.add_argument("--limit", type=int, help="use only so many samples, evenly spread")
    parser.add_argument("--preset", default=DEFAULT, choices=list(PRESETS))
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path, default=Path("data/results/nulls.csv"))
    options = parser.parse_args()
    classifier = load_classifier(options.model, device=options.device)
    dataset = load_dataset(options.dataset, folder=options.folder).only(read_names(options.samples))
    samples = dataset.known_to(classifier).spread(options.limit)
    rows = run_nulls(samples, classifier, options.preset, options.out)
    print(null_table(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
