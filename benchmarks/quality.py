"""Quality against classifier passes and seconds, at equal area on the same pictures (`inrexp.study.quality`).

    python benchmarks/quality.py --dataset imagenet-s50 --folder FOLDER [--settings draft crisp] [--limit 20]
        [--out FILE_rows.csv]

The settings are one study in the folder --study, which goes on where it stopped; several processes can share it. At
the end its rows go to --out and its seconds to the file beside it (quality_rows.csv, quality_seconds.csv), where rows
of other runs stay. Then the table of every setting that has rows is printed.  --also: exported rows of another study,
such as data/results/study_rows.csv, whose settings then need not be run again.
"""

import argparse
from pathlib import Path

import pandas as pd
from pictures import add_out, add_pictures, named

from inrexp import load_classifier
from inrexp.study.plan import StudyPlan
from inrexp.study.quality import SETTINGS, quality
from inrexp.study.rows import read_rows, read_seconds
from inrexp.study.run import run_study
from inrexp.study.shared_rows import add_rows, rows_there
from inrexp.study.store import IDENTITY, ROWS, SECONDS


def add_study(study: Path, out: Path) -> None:
    """Add the rows that a study exported to a file, and their seconds to the file beside it, each number as it stands.

    out: NAME_rows.csv or rows.csv, a CSV file whose rows of the same runs give way.
    """
    add_rows(out, _texts(study / ROWS), in_place_of=IDENTITY, read=_texts, float_format=None)

    def still_there(path: Path) -> pd.DataFrame:
        seconds = _texts(path)
        return seconds[seconds["key"].isin(_texts(out)["key"])]  # read again: another study may have added its rows

    beside = out.with_name(out.name.replace(ROWS, SECONDS))
    add_rows(beside, _texts(study / SECONDS), in_place_of=["key"], read=still_there, float_format=None)


def _texts(path: Path) -> pd.DataFrame:
    """A table as text; no rows for a file that is not there yet."""
    return rows_there(path, [*IDENTITY, "key"], dtype=str, keep_default_na=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_pictures(parser)
    parser.add_argument("--called", help="what rows call the data set")
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS), metavar="NAME")
    parser.add_argument(
        "--study", type=Path, default=Path("out/quality"), help="folder of the study (default: %(default)s)"
    )
    add_out(parser, "quality_rows.csv")
    parser.add_argument("--also", type=Path, nargs="*", default=[], metavar="ROWS.csv")
    options = parser.parse_args()
    if not options.out.name.endswith(ROWS):
        parser.error(f"--out must end in {ROWS}, so that {SECONDS} can stand beside it, got {options.out}")
    classifier = load_classifier(options.model, device=options.device)
    samples = named(options)
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
        print(name, run_study(plan, options.study, folder=options.folder, classifier=classifier))
    add_study(options.study, options.out)
    places = [options.study, *options.also]
    own, *others = (read_rows(place) for place in places)
    rows = pd.concat([own, *others]).drop_duplicates("key")
    # another study may hold more: other data sets, later explanations, pictures that are not asked for here
    rows = rows[rows["dataset"].isin(own["dataset"]) & rows["sample"].isin(samples or rows["sample"])]
    rows = rows[rows["iteration"] == 1]
    seconds = pd.concat([found for place in places if (found := read_seconds(place)) is not None])
    print(quality(rows, seconds.drop_duplicates("key")).round(3).to_string())


if __name__ == "__main__":
    main()
