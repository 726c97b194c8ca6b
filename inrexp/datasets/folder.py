"""A folder of one's own: pictures, a mask for each, and the class of each if a table names it."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from inrexp.datasets.pictures import load_picture
from inrexp.datasets.samples import Dataset, Sample, Truth, read_mask, truth_of
from inrexp.files import read_utf8
from inrexp.models.classifier import Classifier, Target


@dataclass(frozen=True)
class FolderSample(Sample):
    """wanted: class index or label as text; "" for the classifier's top-1."""

    mask: str  # "" for a folder without masks
    wanted: str

    @property
    def has_truth(self) -> bool:
        return bool(self.mask)

    def target(self, classifier: Classifier) -> Target:
        return classifier.target(self.wanted or None, classifier.prepare(load_picture(self.picture)))

    def truths(self, classifier: Classifier) -> dict[str, Truth]:
        if not self.has_truth:
            nothing = torch.zeros(classifier.size, dtype=torch.bool)
            return {"mask": Truth(nothing, nothing)}
        inside = white(self.mask)
        return {"mask": truth_of(inside, np.ones_like(inside), self.picture, self.mask, classifier)}


def load_folder(folder: "str | Path") -> Dataset:
    """Reads pictures/NAME.ext with masks/NAME.png, in which the object is white, and labels.csv if there is one.

    Without a folder masks/ there is no truth, and a study leaves every precision empty. labels.csv has the columns name
    and target: the picture's name, and a class index or label. Without that file the classifier's top-1 class is
    explained. Raises FileNotFoundError and ValueError that name every file with a fault.
    """
    dataset, faults = read_folder(folder)
    if faults or dataset is None:
        raise type(faults[0])("\n".join(map(str, faults)))
    return dataset


def read_folder(folder: "str | Path") -> tuple[Dataset | None, list[Exception]]:
    """`load_folder`'s data set of the pictures without a fault, None if there are none; and every fault of the names.

    Raises FileNotFoundError and ValueError for a folder without pictures, or with a labels.csv that has no labels.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder at {folder}: wanted one that holds pictures/NAME.jpg, and masks/NAME.png")
    pictures = [path for path in sorted((folder / "pictures").glob("*")) if path.is_file() and path.name[0] != "."]
    if not pictures:
        raise FileNotFoundError(
            f"no pictures in {folder / 'pictures'}: wanted pictures/NAME.jpg, and masks/NAME.png of the same size in "
            "which the object is white (255). Without a folder masks/ precision is not measured"
        )
    wanted, faults = _labels(folder / "labels.csv")
    known, has_masks = Image.registered_extensions(), (folder / "masks").is_dir()
    there: dict[str, Path] = {}  # by name
    samples: list[Sample] = []
    for path in pictures:
        name, mask = path.stem, folder / "masks" / f"{path.stem}.png"
        found: list[Exception] = []
        if path.suffix.lower() not in known:
            what = f"{folder / 'pictures'} must hold pictures only, move it elsewhere"
            faults.append(ValueError(f"{path} is no picture: {what}"))
            continue
        if name in there:
            found.append(ValueError(f"{path} and {there[name]} would share the mask {mask}: rename one of them"))
        elif has_masks and not mask.is_file():
            what = "draw one of its size with the object in white (255), or take the folder masks/ away"
            found.append(FileNotFoundError(f"no mask at {mask} for {path}: {what}; precision is then not measured"))
        if wanted and name not in wanted:
            what = f"{folder / 'labels.csv'} has no row for {path.name}: its name column lacks {name}"
            found.append(ValueError(what))
        there.setdefault(name, path)
        faults += found
        if not found:
            target, shape = wanted.get(name, ""), str(mask) if has_masks else ""
            samples.append(FolderSample(name, str(path), target or "top-1", shape, target))
    lost = sorted(set(wanted) - set(there))
    faults += [FileNotFoundError(f"{folder / 'labels.csv'} names {name}: no such picture") for name in lost]
    classes = "classes from labels.csv" if wanted else "each classifier's own top-1 class"
    truth = "" if has_masks else ", no masks, so precision is not measured"
    fact = f"{len(samples)} pictures of {folder}, {classes}{truth}"
    return Dataset("folder", tuple(samples), (fact,)) if samples else None, faults


def _labels(path: Path) -> tuple[dict[str, str], list[Exception]]:
    """The class by picture, and the faults of single rows; nothing without the file."""
    if not path.is_file():
        return {}, []
    rows = csv.DictReader(io.StringIO(read_utf8(path), newline=""))
    if not {"name", "target"} <= set(rows.fieldnames or ()):
        raise ValueError(f"{path} must have the columns name,target, got {','.join(rows.fieldnames or ())}")
    found: dict[str, str] = {}
    faults: list[Exception] = []
    for row in rows:
        name, target = ((row[column] or "").strip() for column in ("name", "target"))
        if not name or not target:
            what = f"{path} has no {'target' if name else 'name'} in line {rows.line_num}: wanted both in every row"
            faults.append(ValueError(f"{what}; without the file, each classifier's top-1 class is explained"))
        if name in found:
            what = "a picture has one class, copy it for another"
            faults.append(ValueError(f"{path} has two rows for {name}: {what}"))
        elif name:
            found[name] = target
    if not found and not faults:
        raise ValueError(
            f"{path} has no row below its first line: wanted one for each picture; without the file, each "
            "classifier's top-1 class is explained"
        )
    return found, faults


def white(path: "str | Path") -> np.ndarray:
    """A black and white mask as (h, w) bool; what is transparent counts as black.

    Raises ValueError if nothing is white, as in a mask of 0 and 1, or if everything is.
    """
    drawn = read_mask(path)
    if drawn.has_transparency_data:
        drawn = Image.alpha_composite(Image.new("RGBA", drawn.size, "black"), drawn.convert("RGBA"))
    values = np.asarray(drawn.convert("L"))
    if values.max() <= 127:
        raise ValueError(f"{path} marks nothing: the object must be white (255), its largest value is {values.max()}")
    if values.min() > 127:
        raise ValueError(f"{path} marks the whole picture: all but the object must be black (0) or transparent")
    return values > 127
