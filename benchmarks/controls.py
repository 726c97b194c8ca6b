"""Controls of the masks of a finished study (`inrexp.study.controls`); writes data/results/controls.csv.

    python benchmarks/controls.py STUDY --dataset imagenet-s50 --folder FOLDER [--out STUDY/controls.csv]

The pictures are those of --samples, by default the reported ones. It needs forward passes only: about a second a
picture and method on a CPU core. An interrupted run can be started again. Studies of several data sets go into one
file, one call each. At the end it prints the table of means.
"""

import argparse
from pathlib import Path

from pictures import add_out, add_pictures, chosen

from inrexp import load_classifier
from inrexp.study.controls import CONTROLS, NETWORKS, control_table, run_controls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path, help="folder that `inrexp study` filled")
    add_pictures(parser)  # data set and network are the study's
    add_out(parser, "controls.csv")
    options = parser.parse_args()
    classifier, dataset, samples = chosen(options)
    networks = {control: load_classifier(name, device=options.device) for control, name in NETWORKS.items()}
    names = [sample.name for sample in samples]
    rows = run_controls(
        options.study, dataset.known_to(classifier), classifier, options.out, samples=names, networks=networks
    )
    means = control_table(rows).pivot(index=["dataset", "area", "method"], columns="control", values="relative")
    print("Probability by control, divided by the whole picture's; means over pictures:")
    print(means[[*CONTROLS, *NETWORKS]].round(2).to_string())


if __name__ == "__main__":
    main()
