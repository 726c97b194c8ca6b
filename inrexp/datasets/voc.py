"""Pascal VOC 2007 test, read through torchvision: picture and class pairs, boxes and masks, and the difficult part."""

import json
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from torchvision.datasets import VOCDetection

from inrexp.datasets.samples import Dataset, Sample, Truth, class_ids, truth_of
from inrexp.files import CLASSES, how_to_get, registry
from inrexp.models.classifier import Classifier, Target
from inrexp.models.registry import IMAGENET_LABELS
from inrexp.models.voc_resnet import VOC_CLASSES

VOC = Path("VOCdevkit") / "VOC2007"
IGNORED = 255  # VOC's segmentation masks: the border of an object, and what is too hard to tell


@dataclass(frozen=True)
class Box:
    """One annotated object.  left, top, right, bottom: px, from 1, the last one inside.  flagged: VOC's `difficult`."""

    label: str
    left: int
    top: int
    right: int
    bottom: int
    flagged: bool


@dataclass(frozen=True)
class Annotation:
    """A picture's objects.  size: (width, height) px."""

    name: str
    picture: str
    size: tuple[int, int]
    boxes: tuple[Box, ...]

    def boxes_of(self, label: str) -> tuple[Box, ...]:
        """The boxes of a class, flagged ones included."""
        return tuple(box for box in self.boxes if box.label == label)


def difficult_classes(annotation: Annotation) -> list[str]:
    """The classes of a picture that VOC07-difficult takes, in VOC's order.

    A class is taken when it has an object that is not flagged as difficult, another class has such an object too, and
    the union of all boxes of the class, flagged ones included, covers less than a quarter of the picture. On the whole
    test set this gives exactly the published 2,230 pairs.
    """
    limit = annotation.size[0] * annotation.size[1] / 4
    found = classes_of(annotation, flagged=False)
    if len(found) < 2:
        return []
    return [label for label in found if covered(annotation.boxes_of(label), annotation.size).sum() < limit]


def covered(boxes: tuple[Box, ...], size: tuple[int, int]) -> np.ndarray:
    """The union of boxes in a picture of `size` (width, height) px.  Returns (height, width) bool."""
    inside = np.zeros(size[::-1], dtype=bool)
    for box in boxes:
        inside[box.top - 1 : box.bottom, box.left - 1 : box.right] = True
    return inside


def classes_of(annotation: Annotation, *, flagged: bool = True) -> list[str]:
    """The classes in a picture, in VOC's order.  flagged: count those of which every box is flagged as difficult."""
    present = {box.label for box in annotation.boxes if flagged or not box.flagged}
    return [label for label in VOC_CLASSES if label in present]


def read_annotations(folder: Path) -> list[Annotation]:
    """Every picture of VOC07 test as torchvision lists it.  folder: what holds VOCdevkit/VOC2007.

    Raises FileNotFoundError without the files, ValueError that names a damaged annotation.
    """
    try:
        listed = VOCDetection(str(folder), year="2007", image_set="test")
    except (RuntimeError, OSError) as error:
        raise FileNotFoundError(f"no VOC07 test at {folder / VOC} ({error}). {how_to_get('voc07')}") from error
    return [read_annotation(picture, path) for picture, path in zip(listed.images, listed.annotations, strict=True)]


def read_annotation(picture: str, path: str) -> Annotation:
    if not Path(path).is_file():
        raise FileNotFoundError(f"no annotation at {path} for {picture}")
    try:
        found = VOCDetection.parse_voc_xml(ElementTree.parse(path).getroot())["annotation"]
        size = int(found["size"]["width"]), int(found["size"]["height"])
        boxes = tuple(_box(one) for one in found["object"])
    except (ElementTree.ParseError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no VOC annotation: {type(error).__name__} {error}") from error
    unknown = [box.label for box in boxes if box.label not in VOC_CLASSES]
    if unknown:
        raise ValueError(f"{path} has an object {unknown[0]!r}, which is no VOC class")
    return Annotation(Path(picture).stem, picture, size, boxes)


def _box(found: dict) -> Box:
    left, top, right, bottom = (round(float(found["bndbox"][side])) for side in ("xmin", "ymin", "xmax", "ymax"))
    return Box(found["name"], left, top, right, bottom, flagged=found.get("difficult") == "1")


@dataclass(frozen=True)
class VOCSample(Sample):
    """boxes: the class's own.  mask: SegmentationClass picture, "" where there is none.  size: (width, height) px."""

    boxes: tuple[Box, ...]
    size: tuple[int, int]
    mask: str

    def target(self, classifier: Classifier) -> Target:
        """The class by its own name, or the ImageNet-1k classes that are instances of it, their probabilities added."""
        if classifier.labels is not None and self.label in classifier.labels:
            return Target((classifier.labels.index(self.label),), self.label)
        indices = imagenet_instances()[self.label] if len(classifier.labels or IMAGENET_LABELS) == 1000 else ()
        if not indices:
            raise LookupError(f"{self.name}: {classifier.name} has no class for {self.label}")
        return Target(tuple(indices), self.label)

    def truths(self, classifier: Classifier) -> dict[str, Truth]:
        """The union of the class's boxes, flagged ones too; and the segmentation mask, where the picture has one."""
        inside = covered(self.boxes, self.size)
        found = {"box": truth_of(inside, np.ones_like(inside), self.picture, "its annotation", classifier)}
        if self.mask:
            ids, index = class_ids(self.mask), VOC_CLASSES.index(self.label) + 1
            found["mask"] = truth_of(ids == index, ids != IGNORED, self.picture, self.mask, classifier)
        return found


def imagenet_instances() -> dict[str, list[int]]:
    """VOC class -> ImageNet-1k indices, by their names; [] for person."""
    return json.loads(CLASSES.read_text())["voc"]


def load_voc07(folder: Path, *, difficult: bool = False) -> Dataset:
    """Pairs of a picture and a class in it, by picture, then in VOC's order.  difficult: those of `difficult_classes`.

    Without `difficult` a class is taken even if all its objects are flagged as difficult.
    """
    samples = []
    for annotation in read_annotations(folder):
        mask = folder / VOC / "SegmentationClass" / f"{annotation.name}.png"
        drawn = str(mask) if mask.is_file() else ""
        for label in difficult_classes(annotation) if difficult else classes_of(annotation):
            name, boxes = f"{annotation.name}/{label}", annotation.boxes_of(label)
            samples.append(VOCSample(name, annotation.picture, label, boxes, annotation.size, drawn))
    name = "voc07-difficult" if difficult else "voc07"
    pictures = len({sample.picture for sample in samples})
    fact = f"{len(samples)} pairs of a picture and a class, {pictures} pictures"
    wanted = registry()[name]
    if pictures != wanted["pictures"] or len(samples) != wanted.get("pairs", len(samples)):
        pairs = f" and {wanted['pairs']} pairs" if "pairs" in wanted else ""
        fact += f"; not the published {name}, which has {wanted['pictures']} pictures{pairs}"
    return Dataset(name, tuple(samples), (fact,))
