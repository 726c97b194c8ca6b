"""Compares the methods at an equal number of classifier passes, and prints the seconds that each one takes.

    python benchmarks/equal_passes.py [--passes 300] [--pictures coffee rocket china] [--device cuda]

GradCAM needs one forward and backward pass whatever --passes says. Extremal perturbations fit four areas, so they get a
quarter of the passes as steps. They keep the published constants, except that the learning rate is raised so that the
short run comes as far as 800 steps would (`methods.rescaled_to`). All masks are measured under the INR's blur.
Printed for areas of 2.5, 5, 10 and 20 %: "kept" is the real area of the mask, "p" is the probability under the mask,
"cut" is the probability under the mask cut to 0/1, and "nested" is how much of each mask lies inside the next one.
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
