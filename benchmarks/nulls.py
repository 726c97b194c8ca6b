"""How far rounding and seeds move a fit's masks (`inrexp.study.nulls`); writes data/results/nulls.csv.

    python benchmarks/nulls.py --dataset imagenet-s50 --folder FOLDER [--preset crisp] [--limit 20] [--out FILE.csv]

It fits every picture four times: alone, in one batch with the next seed's fit, and on the picture changed by 1e-6. The
pictures are those of --samples, by default the reported ones, evenly spread. An interrupted run can be started again.
Each preset takes a call of its own, all into one file; at the end the table of means is printed.
"""

import argparse

from pictures import add_out, add_pictures, chosen

from inrexp import PRESETS
from inrexp.paper.presets import DEFAULT
from inrexp.study.nulls import null_table, run_nulls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_pictures(parser)
    parser.add_argument("--preset", default=DEFAULT, choices=list(PRESETS))
    add_out(parser, "nulls.csv")
    options = parser.parse_args()
    classifier, _, samples = chosen(options)
    rows = run_nulls(samples, classifier, options.preset, options.out)
    print(null_table(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
