"""The packaged pictures' truth: region masks drawn by hand, shipped in data/masks (the pictures are not)."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from inrexp.classifiers import Classifier
from inrexp.images import written_whole

MASKS = Path(__file__).parents[1] / "data" / "masks"


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


def to_truth(mask: Image.Image, classifier: Classifier) -> torch.Tensor:
    """A black and white mask of a whole picture as truth (h, w), bool: the picture's resize and crop, nearest pixel."""
    small = F.resize(mask.convert("L"), [classifier.resize], interpolation=InterpolationMode.NEAREST)
    return F.pil_to_tensor(F.center_crop(small, list(classifier.size)))[0].to(classifier.device) > 127


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
