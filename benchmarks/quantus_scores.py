"""Scores of a study's masks by code that is not ours: three measures of Quantus (Hedström et al. 2023).

    .venv-peers/bin/python benchmarks/quantus_scores.py FOLDER [FOLDER ...] --dataset imagenet-s50 --folder PICTURES

It needs an environment of its own (benchmarks/peers.txt), and fits nothing: it reads the masks that `inrexp study`
stored and ranks the pixels by them. Rows go to data/results/quantus.csv, one for each picture and method. An
interrupted run can be started again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import quantus
import torch
from torch import nn
from tqdm import tqdm

from inrexp import Classifier, load_classifier
from inrexp.datasets.lists import LISTS, read_names
from inrexp.datasets.named import load_dataset
from inrexp.files import written_whole
from inrexp.methods import as_image
from inrexp.paper.perturb import blur
from inrexp.study.rows import read_rows
from inrexp.study.store import EQUAL_AREAS, Results

TENTH = EQUAL_AREAS["100"]
STEPS = 84  # of pixel flipping, which takes the three colours of a pixel one by one: 28 steps a colour


class Probabilities(nn.Module):
    """The classifier as Quantus asks for it: pictures (n, 3, h, w) in [0, 1] to probabilities."""

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.classifier, self.model = classifier, classifier.model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier.probabilities(images)


def ranking(masks: Sequence[np.ndarray]) -> np.ndarray:
    """A place for each pixel from a study's masks, (h, w) in (0, 1]: the largest number is the most important one.

    masks: each (h, w) uint8, of one area or of several, or a map. Several are summed, so that pixels of the smallest
    come first. Equal pixels are told apart by how much of the mask, or of the map, lies near them.
    """
    scores = torch.from_numpy(np.stack(masks).astype(np.float32)).mean(0)[None, None]
    near = blur(scores.repeat(1, 3, 1, 1))[:, :1]
    order = np.lexsort((near.flatten().numpy(), scores.flatten().numpy()))  # by score, then by what is near
    places = np.empty(len(order))
    places[order] = np.arange(1, len(order) + 1)
    return (places / len(order)).reshape(scores.shape[-2:])


def scores(
    classifier: Classifier, image: torch.Tensor, target: int, truth: np.ndarray, masks: dict[str, np.ndarray]
) -> dict[str, float]:
    """Quantus's measures of the masks of one picture.

    image: (1, 3, h, w) in [0, 1].  target: class index.  truth: (h, w) bool.  masks: by area, or "map"; (h, w) uint8.

    top_tenth: share of the mask of a tenth that lies on the object (`TopKIntersection`), which is eq. 7 by other code.
    rank_accuracy: the same of as many pixels as the object has, by the ranking of all masks (`RelevanceRankAccuracy`).
    flipping: area under the probability while pixels of this ranking turn black, the highest first (`PixelFlipping`);
        low is good.
    """
    pixels = truth.size
    known = {"model": Probabilities(classifier).eval(), "x_batch": image.numpy(), "y_batch": np.array([target])}
    known |= {"s_batch": truth[None, None], "softmax": False, "device": "cpu"}
    tenth = ranking([masks["map"] if "map" in masks else masks[f"{TENTH:g}"]])
    every = ranking(list(masks.values()))
    quiet = {"disable_warnings": True, "display_progressbar": False, "abs": False, "normalise": False}
    top = quantus.TopKIntersection(k=round(TENTH * pixels), **quiet)
    rank = quantus.RelevanceRankAccuracy(**quiet)
    flipping = quantus.PixelFlipping(features_in_step=3 * pixels // STEPS, return_auc_per_sample=True, **quiet)
    found = {"top_tenth": (top, tenth), "rank_accuracy": (rank, every), "flipping": (flipping, every)}
    measured = {name: float(how(**known, a_batch=one[None, None])[0]) for name, (how, one) in found.items()}
    return measured | {"flipping": measured["flipping"] / (STEPS - 1)}  # its steps count 1 each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="of `inrexp study`")
    parser.add_argument("--dataset", default="imagenet-s50")
    parser.add_argument("--folder", type=Path, help="where it lies")
    parser.add_argument("--samples", type=Path, default=LISTS / "reported.txt", help="one name a line")
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--out", type=Path, default=Path("data/results/quantus.csv"))
    options = parser.parse_args()
    classifier = load_classifier(options.model, device="cpu")
    dataset = load_dataset(options.dataset, folder=options.folder).only(read_names(options.samples))
    samples = {one.name: one for one in dataset.known_to(classifier)}
    rows = pd.read_csv(options.out, dtype={"key": str}) if options.out.is_file() else pd.DataFrame(columns=["key"])
    for folder in options.folders:
        runs = read_rows(folder)
        runs = runs[runs["sample"].isin(samples) & (runs["seed"] == 0) & (runs["iteration"] == 1)]
        runs = runs[(runs["status"] == "finished") & ~runs["key"].isin(rows["key"])]
        with Results(folder, reading=True) as store:
            for run in tqdm(runs.to_dict("records"), desc=str(folder), unit="mask"):
                sample = samples[run["sample"]]
                truth = sample.truth(classifier).object.cpu().numpy()
                image, target = as_image(classifier, sample.picture), sample.target(classifier)
                row = {"picture": run["sample"], "dataset": run["dataset"], "key": run["key"]}
                row |= {"method": f"{run['method']}, {run['preset']}" if run["preset"] else run["method"]}
                row |= scores(classifier, image, target.indices[0], truth, store.masks(run["key"]))
                rows = pd.concat([rows, pd.DataFrame([row])], ignore_index=True)
                with written_whole(options.out) as temporary:
                    rows.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
    print(rows.groupby("method")[["top_tenth", "rank_accuracy", "flipping"]].mean().round(3).to_string())


if __name__ == "__main__":
    main()
