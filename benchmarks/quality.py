"""Quality against classifier passes and seconds, at equal area on the same pictures (`inrexp.study.quality`).

    python benchmarks/quality.py --dataset imagenet-s50 --folder FOLDER [--settings draft crisp] [--limit 20]

Each setting is a study in one results folder, which goes on where it stopped; several processes can share it. At the
end rows and seconds are exported, and the table of every setting that has rows is printed.  --also: exported rows of
another study, such as data/results/study_rows.csv, whose settings then need not be run again.
"""

import argparse
from pathlib import Path

import pandas as pd
from pictures import add_pictures

from inrexp import load_classifier
from inrexp.datasets.lists import read_names
from inrexp.study.plan import StudyPlan
from inrexp.study.quality import SETTINGS, quality
from inrexp.study.rows import read_rows, read_seconds
from inrexp.study.run import run_study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_pictures(parser)
    parser.add_argument("--called", help="what rows call the data set")
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("out/quality"))
    parser.add_argument("--also", type=Path, nargs="*", default=[], metavar="ROWS.csv")
    options = parser.parse_args()
    classifier = load_classifier(options.model, device=options.device)
    samples = read_names(options.samples)
    for name in options.settings:
        setting = SETTINGS[name]
        plan = StudyPlan(
            dataset=options.dataset,
            called=options.called,
            model=options.model,
            methods=(setting.method,),
            options={setting.method: setting.options},
            seeds=1,
            samples=samples,
            limit=options.limit,
        )
        print(name, run_study(plan, options.out, folder=options.folder, classifier=classifier))
    places = [options.out, *options.also]
    own, *others = (read_rows(place) for place in places)
    rows = pd.concat([own, *others]).drop_duplicates("key")
    # another study may hold more: other data sets, later explanations, pictures that are not asked for here
    rows = rows[rows["dataset"].isin(own["dataset"]) & rows["sample"].isin(samples) & (rows["iteration"] == 1)]
    seconds = pd.concat([found for place in places if (found := read_seconds(place)) is not None])
    print(quality(rows, seconds.drop_duplicates("key")).round(3).to_string())


if __name__ == "__main__":
    main()
