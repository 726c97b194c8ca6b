"""ReX, which searches a sufficient region without gradients (package rex-xai), on the study's pictures.

    .venv-peers/bin/python benchmarks/rex.py --dataset imagenet-s50 --folder FOLDER

It needs an environment of its own (benchmarks/peers.txt). ReX hides parts of the picture at random, in ever finer
boxes, and gives every part responsibility for the class (Chockler et al.: `rex_xai.responsibility`). Then it adds
pixels in the order of their responsibility until the class is back. Here the hidden pixels are blurred as for every
other method, and the class is back when it is the most probable one and has half of its unmasked probability.
Rows go to --out, one for each picture and budget. An interrupted run can be started again.
"""

import argparse
import contextlib
import io
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from pictures import add_out, add_pictures, chosen
from rex_xai.explanation.explanation import Explanation
from rex_xai.input.config import CausalArgs
from rex_xai.input.input_data import Data
from rex_xai.responsibility.prediction import Prediction
from rex_xai.responsibility.resp_maps import ResponsibilityMaps
from rex_xai.responsibility.responsibility import causal_explanation
from tqdm import tqdm

from inrexp import Classifier
from inrexp.methods import as_image
from inrexp.metrics import precision
from inrexp.models.classifier import Target
from inrexp.paper.perturb import blend, blur
from inrexp.saliency import SaliencyMap
from inrexp.study.peers import OWN_BUDGET
from inrexp.study.scores import at_equal_area
from inrexp.study.shared_rows import add_rows, rows_there

BUDGETS = ("300", "1000", OWN_BUDGET)  # classifier passes of the search; its own is 20 rounds without a limit
ROUNDS = 20  # CausalArgs().iters
KNOWN = ["dataset", "model", "sample", "budget"]  # columns by which a row is found again
BATCH = 64  # pictures in one pass while the region is put together, 10 px each


@dataclass(frozen=True)
class Found:
    """What ReX answers.

    saliency: responsibility of each pixel.  region: (1, 1, h, w), 0 or 1; the smallest part in its order that it found
        to suffice.
    search, extraction: classifier passes of its two parts.  seconds: of both.
    """

    saliency: SaliencyMap
    region: torch.Tensor
    search: int
    extraction: int
    seconds: float


class Counted:
    """The classifier as ReX asks for it, with the number of pictures that it saw."""

    def __init__(self, classifier: Classifier, target: Target):
        self.classifier, self.target, self.passes = classifier, target, 0

    def __call__(self, images: torch.Tensor, target: Prediction | None = None) -> list[Prediction]:
        self.passes += len(images)
        probabilities = self.classifier.probabilities(images)
        kept = probabilities[:, list(self.target.indices)].sum(1)
        return [self._said(one, float(p), target) for one, p in zip(probabilities, kept, strict=True)]

    def _said(self, probabilities: torch.Tensor, kept: float, target: Prediction | None) -> Prediction:
        best = int(probabilities.argmax())
        if best in self.target.indices:  # several classes explained at once are one class to ReX
            return Prediction(self.target.indices[0], kept, target=target, target_confidence=kept)
        return Prediction(best, float(probabilities[best]), target=target, target_confidence=kept)


def rex(classifier: Classifier, image: torch.Tensor, target: Target, *, passes: int | None, seed: int = 0) -> Found:
    """ReX on one image (1, 3, h, w).

    passes: of the classifier, after which its search begins no further round, and cuts the last one short. None is
        ReX's own budget, 20 rounds.  Its extraction comes on top.
    """
    begun, said = time.perf_counter(), Counted(classifier, target)
    options = CausalArgs()
    options.seed, options.progress_bar = seed, False
    options.batch_size, options.minimum_confidence_threshold = BATCH, 0.5
    data = Data(None, image.shape, image.device, mode="RGB")
    data.data, blurred = image, blur(image)
    data.mask_value = lambda mask, whole: torch.where(mask, whole, blurred)
    unmasked = float(classifier.probability(image, target))
    data.target = Prediction(target.indices[0], unmasked)
    maps = _searched(data, options, said, passes)
    search = said.passes
    responsibility = maps.get(target.indices[0])
    if responsibility is None:  # nothing that it tried had the class
        maps.new_map(target.indices[0])
        responsibility = maps.get(target.indices[0])
    found = Explanation(maps, said, data, options, {})
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars cannot be turned off
        found.extract()
    saliency = SaliencyMap(
        torch.as_tensor(responsibility)[None, None].to(image),
        image=image,
        target=target,
        classifier=classifier,
        method="rex",
        seed=seed,
    )
    region = found.sufficiency_mask[:1][None].to(image)
    return Found(saliency, region, search, said.passes - search, time.perf_counter() - begun)


def _searched(data: Data, options: CausalArgs, said: Counted, passes: int | None) -> ResponsibilityMaps:
    """The responsibility of every pixel: one round of the search after another, merged as ReX merges them."""
    maps = ResponsibilityMaps(options.responsibility_style, data.model_height, data.model_width)
    number = 0
    while number < ROUNDS if passes is None else said.passes < passes:
        number += 1
        options.search_limit = None if passes is None else passes - said.passes
        of_class = maps.get(data.target.classification)
        maps.merge(causal_explanation(number, data, options, said, current_map=of_class)[0])
    return maps


def read(path: Path) -> pd.DataFrame:
    """The rows of a file; none for one that is not there yet."""
    return rows_there(path, KNOWN, dtype={"budget": str})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_pictures(parser)
    parser.add_argument("--called", help="what rows call the data set")
    parser.add_argument("--budgets", nargs="+", default=list(BUDGETS), choices=BUDGETS)
    add_out(parser, "rex.csv")
    options = parser.parse_args()
    classifier, dataset, samples = chosen(options)
    done = set(read(options.out)[KNOWN].itertuples(index=False, name=None))
    for budget, sample in tqdm([(budget, one) for budget in options.budgets for one in samples], unit="search"):
        known = (options.called or dataset.name, classifier.name, sample.name, budget)
        if known in done:
            continue
        image, target, truth = as_image(classifier, sample.picture), sample.target(classifier), sample.truth(classifier)
        found = rex(classifier, image, target, passes=None if budget == OWN_BUDGET else int(budget))
        seen = blend(image, blur(image), found.region)
        row = dict(zip(KNOWN, known, strict=True)) | {"search": found.search, "extraction": found.extraction}
        row |= {"seconds": round(found.seconds, 1), "unmasked": found.saliency.unmasked}
        row |= {"region_area": float(found.region.mean())}
        row |= {"region_probability": float(classifier.probability(seen, target))}
        row |= {"region_precision": float(precision(found.region, truth.object, counted=truth.counted))}
        row |= at_equal_area(found.saliency, sample, None)
        add_rows(options.out, pd.DataFrame([row]), in_place_of=KNOWN, read=read)


if __name__ == "__main__":
    main()
