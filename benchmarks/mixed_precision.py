"""Does bfloat16 change a fit by more than another seed does? The same seeds are fitted in float32 and in bfloat16.

    python benchmarks/mixed_precision.py [--preset crisp] [--seeds 3] [--data FOLDER --count 4] [--out FILE.csv]

Each quantity gets two numbers. The first is the difference between bfloat16 and float32 for one seed. The second is the
difference between two seeds in float32. Both are means over pictures, seeds (or pairs of seeds) and areas. The
quantities are the probability under the soft mask (computed in float32), the precision against the truth, and 1 - IoU
of the cut masks. FOLDER has the layout of ImageNet-S. data/results/mixed_precision.csv was made on a CPU by the `crisp`
of its commit, from random weights, with `--seeds 2`, from the packaged pictures and four of the ImageNet-S stand-in.
"""

import argparse
import csv
import itertools
from pathlib import Path

import numpy as np
import torch

from inrexp import PAPER_AREAS, PRESETS, load_classifier
from inrexp.datasets.named import load_dataset
from inrexp.datasets.samples import Truth
from inrexp.explanation import Explanation
from inrexp.files import written_whole
from inrexp.methods import as_image
from inrexp.metrics import pairwise_iou, precision
from inrexp.models.folding import folded, in_bfloat16
from inrexp.paper.fit import Problem, fit
from inrexp.paper.presets import with_steps


def numbers(one: Explanation, truth: Truth) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Probability (k,), precision (k,) and cut masks (k, 1, h, w) at the paper's four areas."""
    soft = one.mask(PAPER_AREAS)
    cut = (soft > 0.5).to(soft.dtype)
    return one.probability_of_mask(soft), precision(cut, truth.object, counted=truth.counted), cut


def difference(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> list[float]:
    """How much two answers of `numbers` differ: in probability, in precision, and 1 - IoU; means over areas."""
    apart = [1 - pairwise_iou(torch.stack(pair))[0, 1] for pair in zip(one[2], other[2], strict=True)]
    values = [(one[0] - other[0]).abs(), (one[1] - other[1]).abs(), torch.stack(apart)]
    return [float(value.nanmean()) for value in values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--preset", default="crisp", choices=PRESETS)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--count", type=int, default=4, help="pictures of --data")
    parser.add_argument("--device")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.csv", help="rows go to this file (default: they are only printed)"
    )
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error(f"--seeds must be 2 or more, got {options.seeds}: the difference of two seeds is the measure")
    if options.out and options.out.is_dir():
        parser.error(f"--out must name a file, got the folder {options.out}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is told before the fits
    classifier = load_classifier(options.model, device=options.device)
    config = with_steps(PRESETS[options.preset], options.steps)
    names = ("probability", "precision", "1 - IoU")
    rows = []
    print(f"{options.model}, {options.preset}, {config.steps} steps, {options.seeds} seeds, {classifier.device}")
    samples = load_dataset("packaged").spread(None)
    if options.data:
        samples += load_dataset("imagenet-s50", options.data).known_to(classifier).spread(options.count)
    for sample in samples:
        image, target, truth = (
            as_image(classifier, sample.picture),
            sample.target(classifier),
            sample.truth(classifier),
        )
        problems = [Problem(image, target, seed) for seed in range(options.seeds)]

        found = {}
        for kind, used in (("float32", folded), ("bfloat16", in_bfloat16)):
            fitted = fit(used(classifier, image), problems, config, progress=False)
            explained = [
                Explanation.of_fit(one, classifier, image, target, config, seed) for seed, one in enumerate(fitted)
            ]
            found[kind] = [numbers(one, truth) for one in explained]
        precisions = [difference(*pair) for pair in zip(found["float32"], found["bfloat16"], strict=True)]
        seeds = [difference(*pair) for pair in itertools.combinations(found["float32"], 2)]
        means = {kind: np.nanmean([[float(n[i].nanmean()) for i in (0, 1)] for n in f], 0) for kind, f in found.items()}
        rows.append(
            [sample.name, *np.nanmean(precisions, 0), *np.nanmean(seeds, 0), *means["float32"], *means["bfloat16"]]
        )
        print(f"  {sample.name:24}" + " ".join(f"{value:.3f}" for value in rows[-1][1:]), flush=True)
    table = np.array([row[1:] for row in rows])
    for i, quantity in enumerate(names):
        here, seeds = table[:, i].mean(), table[:, 3 + i].mean()
        print(f"{quantity:12} changed by bfloat16 {here:.4f}, by a seed {seeds:.4f}: {here / seeds:.2f} of it")
    for i, quantity in enumerate(names[:2]):
        shift = table[:, 8 + i] - table[:, 6 + i]
        error = shift.std(ddof=1) / len(shift) ** 0.5 if len(shift) > 1 else float("nan")
        print(
            f"{quantity:12} mean of bfloat16 less mean of float32 {shift.mean():+.4f} +- {error:.4f} (standard error)"
        )
    if options.out:
        header = ["picture", *(f"{q} by bfloat16" for q in names), *(f"{q} by seed" for q in names)]
        header += [f"{q} {kind}" for kind in ("float32", "bfloat16") for q in names[:2]]
        with written_whole(options.out) as temporary, temporary.open("w", newline="") as file:
            csv.writer(file).writerows([header, *([row[0], *(f"{v:.4f}" for v in row[1:])] for row in rows)])


if __name__ == "__main__":
    main()
