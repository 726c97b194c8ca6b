"""The packaged pictures: regions drawn over each by hand, and the data set of those whose object the network knows."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from inrexp.datasets.imagenet_s import ImageNetSample
from inrexp.datasets.samples import Dataset, Truth, to_truth
from inrexp.files import PICTURES, picture_table
from inrexp.models.classifier import Classifier
from inrexp.models.registry import IMAGENET_LABELS

REGIONS = PICTURES / "regions.json"


def region_names(picture: str, *, drawings: "str | Path" = REGIONS) -> tuple[str, ...]:
    """The hand-drawn regions of a packaged picture, backmost first; together they cover every pixel once.

    Raises LookupError for a picture without any, FileNotFoundError without the drawings.
    """
    return tuple(dict.fromkeys(layer["region"] for layer in _drawing(picture, drawings)["layers"]))


def packaged_truth(
    picture: str,
    region: "str | list[str] | tuple[str, ...]",
    classifier: Classifier,
    *,
    drawings: "str | Path" = REGIONS,
) -> torch.Tensor:
    """Where a region (or several together) lies in what `classifier.prepare` makes of the picture: truth (h, w), bool.

    The mask goes through the picture's own resize and centre crop, with nearest neighbours.
    Raises LookupError for an unknown picture or region, FileNotFoundError without the drawings.
    """
    regions = draw_regions(picture, drawings=drawings)
    names = (region,) if isinstance(region, str) else tuple(region)
    for name in names:
        if name not in regions:
            raise LookupError(f"{picture} has no region {name!r}; it has {', '.join(regions)}")
    drawn = np.any([regions[name] for name in names], axis=0)
    return to_truth(Image.fromarray(drawn), classifier)


def draw_regions(picture: str, *, drawings: "str | Path" = REGIONS) -> dict[str, np.ndarray]:
    """The polygons as masks at the picture's own size: region -> (h, w) bool; later layers cover earlier ones."""
    drawing, names = _drawing(picture, drawings), region_names(picture, drawings=drawings)
    labels = Image.new("L", tuple(drawing["size"]))
    for layer in drawing["layers"]:
        for polygon in layer["polygons"]:
            points = [(x, y) for x, y in polygon]
            ImageDraw.Draw(labels).polygon(points, fill=names.index(layer["region"]))
    return {name: np.asarray(labels) == index for index, name in enumerate(names)}


def _drawing(picture: str, drawings: "str | Path") -> dict:
    path = Path(drawings)
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: this copy of inrexp is incomplete; install it again, or clone it whole")
    found = json.loads(path.read_text(encoding="utf-8"))
    if picture not in found:
        raise LookupError(f"no regions were drawn for {picture!r}; there are some for {', '.join(found)}")
    return found[picture]


@dataclass(frozen=True)
class PackagedSample(ImageNetSample):
    """regions: those in which the object lies."""

    regions: tuple[str, ...]

    def truths(self, classifier: Classifier) -> dict[str, Truth]:
        inside = packaged_truth(self.picture, self.regions, classifier)
        return {"mask": Truth(inside, inside.new_ones(inside.shape))}


def load_packaged() -> Dataset:
    """The packaged pictures whose object EfficientNet-Lite0 knows, with hand-drawn regions as truth.

    Left out are those of which the network names nothing that is there, such as the astronaut or the tulips. The class
    is the network's top-1; of the sails it is the twelve classes of boats together.
    """
    known = {name: entry for name, entry in picture_table().items() if "classes" in entry}
    samples = tuple(
        PackagedSample(
            name,
            name,
            entry.get("label", IMAGENET_LABELS[entry["classes"][0]]),
            tuple(entry["classes"]),
            tuple(entry["object"]),
        )
        for name, entry in known.items()
    )
    fact = f"{len(samples)} packaged pictures with masks drawn by hand, classes chosen by EfficientNet-Lite0's answer"
    return Dataset("packaged", samples, (fact,))
