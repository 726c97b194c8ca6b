"""Controls of the masks of a finished study (`inrexp.study.controls`); writes data/results/controls.csv.

    python benchmarks/controls.py STUDY --dataset imagenet-s50 --folder FOLDER [--samples data/results/reported.txt]

It needs forward passes only: about a second a picture and method on a CPU core. An interrupted run can be started
again. Studies of several data sets go into one file, one call each. At the end it prints the table of means.
"""

import argparse
from pathlib import Path

from inrexp import load_classifier
from inrexp.datasets.lists import read_names
from inrexp.datasets.named import load_dataset
from inrexp.study.controls import CONTROLS, NETWORKS, control_table, run_controls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path, help="folder that `inrexp study` filled")
    parser.add_argument("--dataset", default="packaged", help="the study's data set")
    parser.add_argument("--folder", type=Path, help="where it lies")
    parser.add_argument("--samples", type=Path, help="only those named in this file, one name a line")
    parser.add_argument("--limit", type=int, help="use only so many samples, evenly spread")
    parser.add_argument("--model", default="efficientnet_lite0", help="the study's")
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path, default=Path("data/results/controls.csv"))
    options = parser.parse_args()
    classifier = load_classifier(options.model, device=options.device)
    networks = {control: load_classifier(name, device=options.device) for control, name in NETWORKS.items()}
    dataset = load_dataset(options.dataset, folder=options.folder).known_to(classifier)
    chosen = dataset.only(read_names(options.samples)) if options.samples else dataset
    names = [sample.name for sample in chosen.spread(options.limit)]
    rows = run_controls(options.study, dataset, classifier, options.out, samples=names, networks=networks)
    means = control_table(rows).pivot(index=["dataset", "area", "method"], columns="control", values="relative")
    print("Probability by control, divided by the whole picture's; means over pictures:")
    print(means[[*CONTROLS, *NETWORKS]].round(2).to_string())


if __name__ == "__main__":
    main()
