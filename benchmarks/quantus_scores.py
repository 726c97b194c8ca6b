"""Scores of a study's masks by code that is not ours: three measures of Quantus (Hedström et al. 2023).

    .venv-peers/bin/python benchmarks/quantus_scores.py FOLDER [FOLDER ...] --dataset imagenet-s50 --folder PICTURES

It needs an environment of its own (benchmarks/peers.txt), and fits nothing: it reads the masks that `inrexp study`
stored and ranks the pixels by them. The pictures are those of --samples, by default the reported ones. Rows go to
--out, one for each picture and method, which is called as in the study's tables. A row gives way to that of a run by
the same setting that the study has computed anew. An interrupted run can be started again.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import quantus
import torch
from pictures import add_out, add_pictures, chosen
from torch import nn
from tqdm import tqdm

from inrexp import Classifier
from inrexp.methods import as_image
from inrexp.paper.perturb import blur
from inrexp.study.peers import SCORED, read_scores
from inrexp.study.rows import checked, read_rows, setting_of
from inrexp.study.shared_rows import add_rows
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


def runs_of(folders: Sequence[Path], samples: Iterable[str]) -> pd.DataFrame:
    """The finished first explanations by seed 0 of these samples, with columns folder and setting.

    The names of methods are those of all folders together.  Raises ValueError for a run that is in two of them.
    """
    runs = checked(pd.concat([read_rows(folder).assign(folder=str(folder)) for folder in folders]))
    runs = runs[runs["sample"].isin(list(samples)) & (runs["seed"] == 0) & (runs["iteration"] == 1)]
    runs = runs[runs["status"] == "finished"]
    return runs.assign(setting=[setting_of(run) for run in runs.to_dict("records")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="of `inrexp study`")
    add_pictures(parser)  # data set and network are the study's
    add_out(parser, "quantus.csv")
    parser.set_defaults(device="cpu")
    options = parser.parse_args()
    if options.device != "cpu":
        parser.error(f"--device must be cpu, where Quantus takes its arrays, got {options.device}")
    classifier, _, of_names = chosen(options)
    samples = {one.name: one for one in of_names}
    runs = runs_of(options.folders, samples)
    rows = read_scores(options.out, runs)
    for folder, todo in runs[~runs["key"].isin(rows["key"])].groupby("folder"):
        with Results(folder, reading=True) as store:
            for run in tqdm(todo.to_dict("records"), desc=str(folder), unit="mask"):
                sample = samples[run["sample"]]
                truth = sample.truth(classifier).object.cpu().numpy()
                image, target = as_image(classifier, sample.picture), sample.target(classifier)
                row = {"key": run["key"], "picture": run["sample"], "dataset": run["dataset"], "method": run["variant"]}
                row |= scores(classifier, image, target.indices[0], truth, store.masks(run["key"]))
                new = pd.DataFrame([row | {"setting": run["setting"]}])
                rows = add_rows(options.out, new, in_place_of=SCORED, read=lambda path: read_scores(path, runs))
    print(rows.groupby("method")[["top_tenth", "rank_accuracy", "flipping"]].mean().round(3).to_string())


if __name__ == "__main__":
    main()
