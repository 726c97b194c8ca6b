"""The packaged pictures' truth: region masks drawn by hand, shipped in data/masks (the pictures are not)."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from inrexp.datasets.imagenet_s import ImageNetSample
from inrexp.datasets.samples import Dataset, Truth, to_truth
from inrexp.files import MASKS, written_whole
from inrexp.models.classifier import Classifier
from inrexp.models.registry import IMAGENET_LABELS


def region_names(picture: str, *, folder: "str | Path" = MASKS) -> tuple[str, ...]:
    """The hand-drawn regions of a packaged picture, backmost first; together they cover every pixel once.

    Raises FileNotFoundError without the masks, LookupError for a picture without any.
    """
    layers = _drawings(folder, picture)["layers"]
    return tuple(dict.fromkeys(layer["region"] for layer in layers))


def packaged_truth(
    picture: str, region: "str | list[str] | tuple[str, ...]", classifier: Classifier, *, folder: "str | Path" = MASKS
) -> torch.Tensor:
    """Where a region (or several together) lies in what `classifier.prepare` makes of the picture: truth (h, w), bool.

    The mask goes through the picture's own resize and centre crop, with nearest neighbours.
    Raises LookupError for an unknown picture or region, FileNotFoundError without the masks.
    """
    names = (region,) if isinstance(region, str) else tuple(region)
    known = region_names(picture, folder=folder)
    truth = torch.zeros(classifier.size, dtype=torch.bool, device=classifier.device)
    for name in names:
        if name not in known:
            raise LookupError(f"{picture} has no region {name!r}; it has {', '.join(known)}")
        path = Path(folder) / mask_file(picture, name)
        if not path.is_file():
            raise FileNotFoundError(f"no mask at {path}: git checkout data/masks, or write_region_masks()")
        with Image.open(path) as mask:
            truth |= to_truth(mask, classifier)
    return truth


def mask_file(picture: str, region: str) -> str:
    return f"{picture}_{region.replace(' ', '_')}.png"


def draw_regions(picture: str, *, folder: "str | Path" = MASKS) -> dict[str, np.ndarray]:
    """The polygons as masks at the picture's own size: region -> (h, w) bool; later layers cover earlier ones."""
    drawing = _drawings(folder, picture)
    labels = Image.new("L", tuple(drawing["size"]))
    names = region_names(picture, folder=folder)
    for layer in drawing["layers"]:
        for polygon in layer["polygons"]:
            points = [(x, y) for x, y in polygon]
            ImageDraw.Draw(labels).polygon(points, fill=names.index(layer["region"]))
    return {name: np.asarray(labels) == index for index, name in enumerate(names)}


def write_region_masks(folder: "str | Path" = MASKS) -> list[Path]:
    """polygons.json -> <picture>_<region>.png, 255 inside: the command after a change of the polygons."""
    written = []
    for picture in _read(folder):
        for region, mask in draw_regions(picture, folder=folder).items():
            with written_whole(Path(folder) / mask_file(picture, region)) as temporary:
                Image.fromarray(mask).save(temporary, optimize=True)
            written.append(Path(folder) / mask_file(picture, region))
    return written


def _drawings(folder: "str | Path", picture: str) -> dict:
    drawings = _read(folder)
    if picture not in drawings:
        raise LookupError(f"no regions were drawn for {picture!r}; there are some for {', '.join(drawings)}")
    return drawings[picture]


def _read(folder: "str | Path") -> dict:
    path = Path(folder) / "polygons.json"
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: the hand-drawn masks stand in the repository's data/masks, clone it whole")
    return json.loads(path.read_text())


# Packaged picture -> ImageNet-1k index (EfficientNet-Lite0's top-1 class) and the regions that are its object. The
# astronaut is left out: ImageNet-1k has no class for what she is.
PACKAGED_OBJECTS = {
    "chelsea": (282, ("fur", "ears", "eyes", "nose")),
    "china": (698, ("building",)),
    "coffee": (967, ("cup", "espresso")),
    "flower": (985, ("petals", "centre")),
    "rocket": (657, ("rocket",)),
}


@dataclass(frozen=True)
class PackagedSample(ImageNetSample):
    regions: tuple[str, ...]

    def truths(self, classifier: Classifier) -> dict[str, Truth]:
        inside = packaged_truth(self.picture, self.regions, classifier)
        return {"mask": Truth(inside, inside.new_ones(inside.shape))}


def load_packaged() -> Dataset:
    """The pictures that come with scikit-image and scikit-learn, with their hand-drawn regions as truth."""
    samples = tuple(
        PackagedSample(picture, picture, IMAGENET_LABELS[index], (index,), regions)
        for picture, (index, regions) in PACKAGED_OBJECTS.items()
    )
    fact = f"{len(samples)} packaged pictures, masks drawn by hand, classes by EfficientNet-Lite0's top-1"
    return Dataset("packaged", samples, (fact,))
