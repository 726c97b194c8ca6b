"""Small copies of data sets in their official layouts, and classifiers that need no weights."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

from inrexp.models.classifier import Classifier
from inrexp.models.registry import IMAGENET_LABELS
from inrexp.models.voc_resnet import VOC_CLASSES

ROBIN, HEN = "n01558993", "n01514859"
SIDE = 32


def classifier_of(labels=None, size: tuple[int, int] = (SIDE, SIDE)) -> Classifier:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * size[0] * size[1], len(labels or [0] * 1000)))
    return Classifier(model, size=size, resize=max(size), labels=labels)


IMAGENET = classifier_of(IMAGENET_LABELS)
VOC = classifier_of(VOC_CLASSES)


def write_picture(path: Path, size: tuple[int, int] = (SIDE, SIDE), **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "grey").save(path, **options)


def write_ids(path: Path, ids: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.stack([ids % 256, ids // 256, 0 * ids], -1).astype(np.uint8)).save(path)


def imagenet_s(folder: Path, ids: np.ndarray | None = None, wnids=(HEN, ROBIN)) -> Path:
    """One robin, class id 2 where categories.txt lists two classes; a third of the rows ignored."""
    if ids is None:
        ids = np.zeros((SIDE, SIDE), dtype=int)
        ids[8:16] = 2
        ids[16:24] = 1000
    (folder / "validation" / HEN).mkdir(parents=True)
    (folder / "categories.txt").write_text("\n".join(wnids) + "\n")
    write_picture(folder / "validation" / ROBIN / "one.JPEG")
    write_ids(folder / "validation-segmentation" / ROBIN / "one.png", ids)
    return folder


def voc07(folder: Path, objects: dict[str, list[tuple]], size: tuple[int, int] = (SIDE, SIDE)) -> Path:
    """objects: picture -> (class, xmin, ymin, xmax, ymax, difficult)."""
    root = folder / "VOCdevkit" / "VOC2007"
    for part in ("ImageSets/Main", "Annotations", "SegmentationClass"):
        (root / part).mkdir(parents=True)
    (root / "ImageSets" / "Main" / "test.txt").write_text("".join(f"{name}\n" for name in objects))
    for name, boxes in objects.items():
        write_picture(root / "JPEGImages" / f"{name}.jpg", size)
        drawn = "".join(
            f"<object><name>{label}</name><difficult>{flag}</difficult><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
            f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
            for label, left, top, right, bottom, flag in boxes
        )
        shape = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{shape}{drawn}</annotation>")
    return folder


def own(folder: Path, labels: str | None = None, mask: np.ndarray | None = None, name: str = "a") -> Path:
    write_picture(folder / "pictures" / f"{name}.jpg")
    (folder / "masks").mkdir(exist_ok=True)
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    drawn[:8] = 255
    Image.fromarray(drawn if mask is None else mask).save(folder / "masks" / f"{name}.png")
    if labels is not None:
        (folder / "labels.csv").write_text(labels)
    return folder
