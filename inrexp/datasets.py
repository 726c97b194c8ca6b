"""Data sets by name: ImageNet-S50/300/919, VOC07 test and its difficult part, packaged pictures, one's own folder."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from timm.data import ImageNetInfo

from inrexp.classifiers import IMAGENET_LABELS, Classifier, Target
from inrexp.external import external, registry
from inrexp.images import load_picture
from inrexp.packaged import packaged_truth, region_names, to_truth
from inrexp.samples import Dataset, Sample, Truth, class_ids, read_mask, truth_of
from inrexp.voc import load_voc07

__all__ = ["NAMES", "Dataset", "Sample", "Truth", "load_dataset", "packaged_truth", "region_names", "to_truth"]

IMAGENET_S = ("imagenet-s50", "imagenet-s300", "imagenet-s919")
NAMES = ("packaged", *IMAGENET_S, "voc07", "voc07-difficult", "folder")
IGNORED = 1000  # ImageNet-S's class id of pixels that are left out of every count
# Packaged picture -> ImageNet-1k index (EfficientNet-Lite0's top-1 class) and the regions that are its object. The
# astronaut is left out: ImageNet-1k has no class for what she is.
PACKAGED_OBJECTS = {
    "chelsea": (282, ("fur", "ears", "eyes", "nose")),
    "china": (698, ("building",)),
    "coffee": (967, ("cup", "espresso")),
    "flower": (985, ("petals", "centre")),
    "rocket": (657, ("rocket",)),
}


def load_dataset(name: str, folder: "str | Path | None" = None, **options: Any) -> Dataset:
    """A data set by name.

    name: one of `NAMES`.  folder: where it lies, if not at its place under `external.data_folder()`.
    options: those of `voc.load_voc07`, for "voc07" and "voc07-difficult".
    Raises LookupError for an unknown name, FileNotFoundError that says what to get, from whom, and where to put it.
    """
    if name not in NAMES:
        raise LookupError(f"no data set named {name!r}; there are {', '.join(NAMES)}")
    if name.startswith("voc07"):
        return load_voc07(external("voc07", folder), difficult=name == "voc07-difficult", **options)
    if options:
        raise TypeError(f"{name} takes no options, got {', '.join(options)}")
    if name == "packaged":
        return load_packaged()
    if name == "folder":
        if folder is None:
            raise ValueError("folder must be given for the data set 'folder': it holds pictures/ and masks/")
        return load_folder(folder)
    return load_imagenet_s(name, external(name, folder))


@dataclass(frozen=True)
class ImageNetSample(Sample):
    """A picture whose class is one of ImageNet-1k's, or several of them that a data set took together."""

    indices: tuple[int, ...]

    def target(self, classifier: Classifier) -> Target:
        if classifier.labels is not None and len(classifier.labels) != len(IMAGENET_LABELS):
            raise LookupError(
                f"{self.name}: {self.label} is an ImageNet-1k class, and {classifier.name} has "
                f"{len(classifier.labels)} classes of its own; take a classifier of the 1000"
            )
        return Target(self.indices, self.label)


@dataclass(frozen=True)
class PackagedSample(ImageNetSample):
    regions: tuple[str, ...]

    def truths(self, classifier: Classifier) -> dict[str, Truth]:
        inside = packaged_truth(self.picture, self.regions, classifier)
        return {"mask": Truth(inside, inside.new_ones(inside.shape))}


@dataclass(frozen=True)
class ImageNetSSample(ImageNetSample):
    """mask: RGB picture of class ids.  class_id: 1-based row of the set's sorted wnids."""

    mask: str
    class_id: int

    def truths(self, classifier: Classifier) -> dict[str, Truth]:
        ids = class_ids(self.mask)
        return {"mask": truth_of(ids == self.class_id, ids != IGNORED, self.picture, self.mask, classifier)}


@dataclass(frozen=True)
class FolderSample(Sample):
    """wanted: class index or label as text; "" for the classifier's top-1."""

    mask: str
    wanted: str

    def target(self, classifier: Classifier) -> Target:
        return classifier.target(self.wanted or None, classifier.prepare(load_picture(self.picture)))

    def truths(self, classifier: Classifier) -> dict[str, Truth]:
        inside = white(self.mask)
        return {"mask": truth_of(inside, np.ones_like(inside), self.picture, self.mask, classifier)}


def load_packaged() -> Dataset:
    """The pictures that come with scikit-image and scikit-learn, with their hand-drawn regions as truth."""
    samples = tuple(
        PackagedSample(picture, picture, IMAGENET_LABELS[index], (index,), regions)
        for picture, (index, regions) in PACKAGED_OBJECTS.items()
    )
    fact = f"{len(samples)} packaged pictures, masks drawn by hand, classes by EfficientNet-Lite0's top-1"
    return Dataset("packaged", samples, (fact,))


@cache
def imagenet_index() -> dict[str, int]:
    """wnid -> ImageNet-1k index, in the order that timm and torchvision share."""
    return {wnid: index for index, wnid in enumerate(ImageNetInfo("imagenet-1k").label_names())}


def imagenet_s_classes(name: str, folder: Path) -> list[str]:
    """The set's sorted wnids, whose 1-based rows are the masks' class ids: categories.txt, or the folders' names.

    Raises ValueError if neither can be the whole list: a part of it would shift the ids.
    """
    listed = folder / "categories.txt"
    if listed.is_file():
        wnids = listed.read_text().split()
    else:
        wnids = sorted(entry.name for entry in (folder / "validation").iterdir() if entry.is_dir())
        wanted = registry()[name]["classes"]
        if len(wnids) != wanted:
            raise ValueError(
                f"{folder / 'validation'} has {len(wnids)} class folders, {name} has {wanted}: the masks' class ids "
                f"are rows of the whole sorted list, so put it, one wnid a line, into {listed}"
            )
    unknown = [wnid for wnid in wnids if wnid not in imagenet_index()]
    if unknown or wnids != sorted(set(wnids)):
        wrong = f"{unknown[0]} is no ImageNet-1k wnid" if unknown else "they are not sorted, each once"
        raise ValueError(f"the classes of {folder} must be sorted ImageNet-1k wnids: {wrong}")
    return wnids


def load_imagenet_s(name: str, folder: Path) -> Dataset:
    """validation/<wnid>/*.JPEG with validation-segmentation/<wnid>/*.png, in the official layout and order."""
    facts = registry()[name]
    if not (folder / "validation").is_dir() or not (folder / "validation-segmentation").is_dir():
        raise FileNotFoundError(f"{folder} must hold validation/ and validation-segmentation/: wrong --folder?")
    wnids = imagenet_s_classes(name, folder)
    samples = []
    for class_id, wnid in enumerate(wnids, start=1):
        indices = tuple(imagenet_index()[one] for one in (wnid, facts.get("merged", {}).get(wnid)) if one)
        label = " + ".join(IMAGENET_LABELS[index] for index in indices)
        for path in sorted((folder / "validation" / wnid).glob("*.JPEG")):
            mask = folder / "validation-segmentation" / wnid / f"{path.stem}.png"
            samples.append(ImageNetSSample(f"{wnid}/{path.stem}", str(path), label, indices, str(mask), class_id))
    fact = f"{len(samples)} pictures of {len(wnids)} classes"
    if (len(samples), len(wnids)) != (facts["pictures"], facts["classes"]):
        fact += f"; not the published {name}, which has {facts['pictures']} of {facts['classes']}"
    return Dataset(name, tuple(samples), (fact,))


def load_folder(folder: "str | Path") -> Dataset:
    """A reader's own: pictures/NAME.ext with masks/NAME.png (white is the object), and labels.csv if classes are given.

    labels.csv: columns name,target; a class index or label each.  Without it the classifier's top-1 is explained.
    Raises FileNotFoundError and ValueError that name the file.
    """
    folder = Path(folder)
    pictures = [path for path in sorted((folder / "pictures").glob("*")) if path.is_file() and path.name[0] != "."]
    if not pictures:
        raise FileNotFoundError(f"no pictures in {folder / 'pictures'}: wanted pictures/NAME.jpg and masks/NAME.png")
    wanted = _labels(folder / "labels.csv")
    samples: dict[str, Sample] = {}
    for path in pictures:
        name, mask = path.stem, folder / "masks" / f"{path.stem}.png"
        if name in samples:
            raise ValueError(f"{path} and {samples[name].picture} would share the mask {mask}: rename one of them")
        if not mask.is_file():
            raise FileNotFoundError(f"no mask at {mask} for {path}")
        if wanted and name not in wanted:
            raise ValueError(f"{folder / 'labels.csv'} has no row for {path.name}: its name column lacks {name}")
        target = wanted.get(name, "")
        samples[name] = FolderSample(name, str(path), target or "top-1", str(mask), target)
    if set(wanted) - set(samples):
        raise FileNotFoundError(f"{folder / 'labels.csv'} names {min(set(wanted) - set(samples))}: no such picture")
    classes = "classes from labels.csv" if wanted else "each classifier's own top-1 class"
    return Dataset("folder", tuple(samples.values()), (f"{len(samples)} pictures of {folder}, {classes}",))


def _labels(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if not {"name", "target"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path} must have the columns name,target, got {','.join(rows.fieldnames or ())}")
        return {row["name"].strip(): (row["target"] or "").strip() for row in rows}


def white(path: "str | Path") -> np.ndarray:
    """A black and white mask as (h, w) bool.  Raises ValueError for one without white, such as one of 0 and 1."""
    values = np.asarray(read_mask(path).convert("L"))
    if values.max() <= 127:
        raise ValueError(f"{path} marks nothing: the object must be white (255), its largest value is {values.max()}")
    return values > 127
