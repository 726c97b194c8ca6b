"""ImageNet-S50, 300 and 919 in the official layout: pictures, class ids of their pixels, and the classes' names."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from timm.data import ImageNetInfo

from inrexp.datasets.samples import Dataset, Sample, Truth, class_ids, truth_of
from inrexp.files import registry
from inrexp.models.classifier import Classifier, Target
from inrexp.models.registry import IMAGENET_LABELS

IMAGENET_S = ("imagenet-s50", "imagenet-s300", "imagenet-s919")
IGNORED = 1000  # ImageNet-S's class id of pixels that are left out of every count


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
class ImageNetSSample(ImageNetSample):
    """mask: RGB picture of class ids.  class_id: 1-based row of the set's sorted wnids."""

    mask: str
    class_id: int

    def truths(self, classifier: Classifier) -> dict[str, Truth]:
        ids = class_ids(self.mask)
        return {"mask": truth_of(ids == self.class_id, ids != IGNORED, self.picture, self.mask, classifier)}


@cache
def imagenet_index() -> dict[str, int]:
    """wnid -> ImageNet-1k index, in the order that timm and torchvision share."""
    return {wnid: index for index, wnid in enumerate(ImageNetInfo("imagenet-1k").label_names())}


def imagenet_s_classes(name: str, folder: Path) -> list[str]:
    """The set's sorted wnids, whose 1-based rows are the masks' class ids: categories.txt, or the folders' names.

    Raises ValueError if neither is the whole list, because a class id is a row of the whole list.
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
