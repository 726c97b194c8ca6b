"""A data set is a sequence of samples: a picture, the class that is explained, and where that class lies."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from inrexp.datasets.pictures import picture_path
from inrexp.models.classifier import Classifier, Target


def to_truth(mask: Image.Image, classifier: Classifier) -> torch.Tensor:
    """A black and white mask of a whole picture as truth (h, w), bool: the picture's resize and crop, nearest pixel."""
    small = F.resize(mask.convert("L"), [classifier.resize], interpolation=InterpolationMode.NEAREST)
    return F.pil_to_tensor(F.center_crop(small, list(classifier.size)))[0].to(classifier.device) > 127


NAMED = 5  # samples that a fact names
ORIENTATION = 0x0112  # EXIF; from 5 on width and height are exchanged


@dataclass(frozen=True)
class Truth:
    """Where the object lies, and which pixels count, in what `classifier.prepare` shows.  Both (h, w) bool."""

    object: torch.Tensor
    counted: torch.Tensor


@dataclass(frozen=True)
class Sample(ABC):
    """One picture and one class in it.

    name: unique in its data set.  picture: as `load_picture` takes it.  label: the class in words.
    """

    name: str
    picture: str
    label: str

    @property
    def has_truth(self) -> bool:
        """Whether a truth is known; without one no pixel counts, and precision is not measured."""
        return True

    @abstractmethod
    def target(self, classifier: Classifier) -> Target:
        """The class among the classifier's own.  Raises LookupError if it has none for it."""

    @abstractmethod
    def truths(self, classifier: Classifier) -> dict[str, Truth]:
        """Every truth that there is, "mask" or "box", the data set's main one first."""

    def truth(self, classifier: Classifier) -> Truth:
        """The data set's main truth: pixel masks, or boxes for VOC07."""
        return next(iter(self.truths(classifier).values()))

    def digest(self, classifier: Classifier) -> str:
        """A hash of everything that a result depends on here; 12 hexadecimal digits.

        It covers the bytes of the picture's file, the indices of the target, and every truth as `classifier` sees it,
        but neither the sample's name nor the place of its files. A part that cannot be read counts by its error:
        a broken sample has a digest too, and another one when its files are mended.
        """
        parts: tuple[Callable[[], bytes], ...] = (
            lambda: picture_path(self.picture).read_bytes(),
            lambda: repr(self.target(classifier).indices).encode(),
            lambda: b"".join(_bytes_of(name, truth) for name, truth in self.truths(classifier).items()),
        )
        return hashlib.sha256(b"".join(_digest_of(part) for part in parts)).hexdigest()[:12]


@dataclass(frozen=True)
class Dataset:
    """Samples under a name.  facts: what it is and how it differs from the published set, one sentence each."""

    name: str
    samples: tuple[Sample, ...]
    facts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError(f"{self.name} has no samples: {'; '.join(self.facts) or 'the folder is empty'}")

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def known_to(self, classifier: Classifier) -> "Dataset":
        """The samples that can be explained and judged: the classifier has the class, and its crop shows the object.

        The facts say how many were left out for each reason. A sample that fails in another way, such as a damaged
        picture, stays: whoever works on it reports it. Every truth is read, and a sample without a label is classified.
        Raises LookupError, with the facts, if nothing is left.
        """
        known = [_has_target(sample, classifier) for sample in self.samples]
        shown = [has and _is_shown(sample, classifier) for sample, has in zip(self.samples, known, strict=True)]
        if all(shown):
            return self
        facts, samples = [], list(zip(self.samples, known, shown, strict=True))
        if not all(known):
            missing = dict.fromkeys(sample.label for sample, has, _ in samples if not has)
            facts.append(f"{known.count(False)} of {len(self)} left out: {classifier.name} has no {', '.join(missing)}")
        outside = [sample.name for sample, has, seen in samples if has and not seen]
        if outside:
            named = ", ".join(outside[:NAMED]) + (", ..." if len(outside) > NAMED else "")
            facts.append(
                f"{len(outside)} of {len(self)} left out: their object lies outside the crop that "
                f"{classifier.name} is shown ({named})"
            )
        if not any(shown):
            raise LookupError(f"nothing of {self.name} is left: {'; '.join(facts)}. Choose another model")
        kept = tuple(sample for sample, _, seen in samples if seen)
        return replace(self, samples=kept, facts=(*self.facts, *facts))

    def only(self, names: Sequence[str]) -> "Dataset":
        """The samples of these names, in the data set's order.  Raises LookupError, naming them, for unknown names."""
        there = {sample.name for sample in self.samples}
        unknown = [name for name in names if name not in there]
        if unknown:
            shown = ", ".join(unknown[:NAMED]) + (", ..." if len(unknown) > NAMED else "")
            raise LookupError(
                f"{self.name} has no sample named {shown} ({len(unknown)} of the {len(names)} names asked for); its "
                f"own names are such as {self.samples[0].name}"
            )
        kept = tuple(sample for sample in self.samples if sample.name in set(names))
        fact = f"{len(kept)} of {len(self)} samples, chosen by name"
        return self if len(kept) == len(self) else replace(self, samples=kept, facts=(*self.facts, fact))

    def spread(self, limit: int | None) -> tuple[Sample, ...]:
        """`limit` of the samples, evenly spread over the data set, which is sorted by class; None is all of them."""
        count = len(self)
        wanted = count if limit is None else min(limit, count)
        return tuple(self.samples[index * count // wanted] for index in range(wanted))


def _digest_of(part: Callable[[], bytes]) -> bytes:
    try:
        return hashlib.sha256(part()).digest()
    except (OSError, LookupError, TypeError, ValueError) as error:
        return hashlib.sha256(f"{type(error).__name__}: {error}".encode()).digest()


def _bytes_of(name: str, truth: Truth) -> bytes:
    layers = torch.stack([truth.object, truth.counted]).cpu().numpy()
    return repr((name, layers.shape)).encode() + np.packbits(layers).tobytes()


def _has_target(sample: Sample, classifier: Classifier) -> bool:
    try:
        sample.target(classifier)
    except LookupError:
        return False
    except Exception:  # such as a damaged picture whose top-1 class is asked for
        return True
    return True


def _is_shown(sample: Sample, classifier: Classifier) -> bool:
    if not sample.has_truth:
        return True
    try:
        truth = sample.truth(classifier)
    except Exception:  # such as a missing mask: the study's row says so
        return True
    return bool((truth.object & truth.counted).any())


def class_ids(path: "str | Path") -> np.ndarray:
    """Class ids of a mask picture, (h, w) int.  RGB: R + 256 G (ImageNet-S); palette or grey: the index (VOC).

    Raises FileNotFoundError, and TypeError for what PIL cannot read.
    """
    values = np.asarray(read_mask(path)).astype(np.int64)
    return values[..., 0] + 256 * values[..., 1] if values.ndim == 3 else values


def read_mask(path: "str | Path") -> Image.Image:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no mask at {path}")
    try:
        with Image.open(path) as mask:
            mask.load()
            return mask
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise TypeError(f"{path} is not a mask that PIL can read: {error}") from error


def truth_of(
    inside: np.ndarray, counted: np.ndarray, picture: str, mask: "str | Path", classifier: Classifier
) -> Truth:
    """Masks (h, w) bool at the picture's own size, through the resize and crop that the picture itself takes.

    A mask drawn over the stored pixels of a photograph that its EXIF turns is turned with it, where the mask's size
    shows that it was drawn so (`turned`).
    Raises ValueError, naming both files, if the sizes differ.
    """
    layers = [Image.fromarray(layer.astype(np.uint8) * 255) for layer in (inside, counted)]
    return Truth(*(to_truth(turned(layer, picture, mask), classifier) for layer in layers))


def turned(drawn: Image.Image, picture: str, mask: "str | Path") -> Image.Image:
    """A mask as upright as `load_picture` makes its picture.

    A mask of the stored picture's size and not of the upright one's is turned by a quarter, as EXIF says. A photograph
    that EXIF turns by half or mirrors, and a square one, has one size either way: its mask is taken as upright.
    Raises ValueError, naming both files, if their sizes differ.
    """
    with Image.open(picture) as stored:
        orientation = stored.getexif().get(ORIENTATION, 1)
        upright = stored.size[::-1] if orientation >= 5 else stored.size
        if drawn.size != upright and drawn.size == stored.size:
            drawn.getexif()[ORIENTATION] = orientation
            return ImageOps.exif_transpose(drawn)
    if drawn.size != upright:
        raise ValueError(
            f"{mask} is {drawn.width} x {drawn.height} px, its picture {picture} is {upright[0]} x {upright[1]}: "
            "a mask has its picture's size"
        )
    return drawn
