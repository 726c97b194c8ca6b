"""Fits the variants of `inrexp.study.variants` to the same pictures with one seed; writes data/results/variants.csv.

    python benchmarks/variants.py --dataset imagenet-s50 --folder FOLDER [--limit 40] [--variants A B ...]
        [--out FILE.csv]

The pictures are those of --samples, by default the reported ones. An interrupted run can be started again: a variant
that has its rows of a picture, by the same seed, settings and network, is not fitted to it again; rows by others are
replaced, so another seed needs an --out of its own. Several processes can add to one file at once if each has its own
--variants.
"""

import argparse

from pictures import add_out, add_pictures, chosen

from inrexp.study.variants import VARIANTS, run_variants


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_pictures(parser)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    add_out(parser, "variants.csv")
    options = parser.parse_args()
    classifier, _, samples = chosen(options)
    variants = {name: VARIANTS[name] for name in options.variants}
    run_variants(samples, classifier, variants, options.out, seed=options.seed)


if __name__ == "__main__":
    main()
