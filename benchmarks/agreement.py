"""How far the masks in a study's folder agree, between methods and from explanation to explanation.

    python benchmarks/agreement.py FOLDER [FOLDER ...] [--out FOLDER/agreement.csv]
    python benchmarks/agreement.py --starts FOLDER

It reads the masks that `inrexp study` stored, and fits nothing. Rows go to --out in place of what the file has, by
default to data/results/agreement.csv. With --starts they go to data/results/starts.csv and say how far the preset
`crisp` moves from GradCAM's ranking, of a study with both (`inrexp study FOLDER --methods inr,grad_cam`, then
`--methods inr --option inr.preset=crisp_random` into the same folder).
"""

import argparse
from pathlib import Path

import pandas as pd
from pictures import RESULTS

from inrexp.files import written_whole
from inrexp.study.agreement import agreement, starts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="of `inrexp study`")
    parser.add_argument("--starts", action="store_true", help="compare fits with what they started from")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.csv",
        help="rows go to this file, in place of what it has (default: data/results/agreement.csv, or starts.csv)",
    )
    options = parser.parse_args()
    compared, name = (starts, "starts.csv") if options.starts else (agreement, "agreement.csv")
    rows = pd.concat([compared(folder) for folder in options.folders], ignore_index=True)
    if rows.empty:
        raise SystemExit(f"no two masks to compare in {', '.join(map(str, options.folders))}: nothing was written")
    with written_whole(options.out or RESULTS / name) as temporary:
        rows.round(4).to_csv(temporary, index=False)
    print(f"{len(rows)} comparisons of masks of {rows['picture'].nunique()} pictures")


if __name__ == "__main__":
    main()
