"""The INR against extremal perturbations at equal classifier passes, every method's time beside it, in one run.

    python benchmarks/equal_passes.py [--passes 300] [--pictures coffee rocket china] [--device cuda]

Extremal perturbations keep the published constants; with passes / 4 steps for the four areas, their learning rate and
weight growth are scaled so that the short run goes as far as 800 steps would (`methods.in_steps`). All masks
are judged under the INR's blur. Kept: soft area; p: soft mask; cut: the mask cut to 0/1.
"""

import argparse

import torch

from inrexp import METHODS, PAPER_AREAS, load_classifier
from inrexp.metrics import nestedness


def row(values: torch.Tensor) -> str:
    return " ".join(f"{float(value):.3f}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--passes", type=int, default=300)
    parser.add_argument("--pictures", nargs="+", default=["coffee", "rocket", "china"])
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--device")
    options = parser.parse_args()
    classifier = load_classifier(options.model, device=options.device)
    extremal = options.passes // len(PAPER_AREAS)
    runs = {
        "inr": {"steps": options.passes // 2},
        "extremal_perturbation": {"steps": extremal},
        "rise": {"masks": options.passes},
        "grad_cam": {},
    }
    print(f"{options.model}, {classifier.device}, {torch.get_num_threads()} threads, areas {PAPER_AREAS}")
    for picture in options.pictures:
        found = {
            name: METHODS[name](classifier, picture, progress=False, **chosen)  # type: ignore[arg-type]
            for name, chosen in runs.items()
        }
        judge = found["inr"]
        print(f"{picture}: {judge.target.label}, p = {judge.unmasked:.3f} unmasked")
        for name, one in found.items():
            masks = one.mask(PAPER_AREAS)
            cut = (masks > 0.5).to(masks.dtype)
            print(
                f"  {name:22} {one.seconds:6.1f} s  kept {row(masks.mean((1, 2, 3)))}  "
                f"p {row(judge.probability_of_mask(masks))}  cut {row(judge.probability_of_mask(cut))}  "
                f"nested {row(nestedness(masks))}",
                flush=True,
            )


if __name__ == "__main__":
    main()
