"""How far the masks in a study's folder agree, between methods and from explanation to explanation.

    python benchmarks/agreement.py FOLDER [FOLDER ...]

It writes data/results/agreement.csv from the masks that `inrexp study` stored, and fits nothing.
"""

import argparse
from pathlib import Path

import pandas as pd

from inrexp.files import written_whole
from inrexp.study.agreement import agreement


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="of `inrexp study`")
    parser.add_argument("--out", type=Path, default=Path("data/results/agreement.csv"))
    options = parser.parse_args()
    rows = pd.concat([agreement(folder) for folder in options.folders], ignore_index=True)
    with written_whole(options.out) as temporary:
        rows.to_csv(temporary, index=False)
    print(f"{len(rows)} pairs of masks of {rows['picture'].nunique()} pictures")


if __name__ == "__main__":
    main()
