"""Is a copy of a data set whole?  Counts, sizes, unreadable files, stray masks, class ids, VOC07-difficult's pairs."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from inrexp.datasets.folder import FolderSample, read_folder, white
from inrexp.datasets.imagenet_s import IGNORED, IMAGENET_S, ImageNetSSample, imagenet_s_classes
from inrexp.datasets.named import NAMES, load_dataset
from inrexp.datasets.packaged import draw_regions
from inrexp.datasets.pictures import load_picture, picture_path
from inrexp.datasets.samples import Dataset, class_ids, turned
from inrexp.datasets.voc import IGNORED as VOC_IGNORED
from inrexp.datasets.voc import VOC, Annotation, difficult_classes, read_annotations
from inrexp.files import PICTURES, external, picture_table, registry
from inrexp.models.registry import IMAGENET_LABELS, VOC_RESNET
from inrexp.models.voc_resnet import VOC_CLASSES, load_voc_resnet
from inrexp.names import did_you_mean

SHOWN = 20  # problems of one kind in a report's text
TERMS = ("shows", "author", "source", "licence")  # what pictures.toml says of every picture
SHIPPED_TERMS = ("sha256", "changes", "evidence")  # and of one whose file is here
PLAIN = (".md", ".toml", ".json")  # files beside the pictures


@dataclass(frozen=True)
class Report:
    """facts: what was found.  problems: what is wrong, each with its file.  A copy without problems is whole."""

    name: str
    facts: tuple[str, ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        lines = [*self.facts, *(f"PROBLEM: {problem}" for problem in self.problems[:SHOWN])]
        if len(self.problems) > SHOWN:
            lines.append(f"... and {len(self.problems) - SHOWN} more problems")
        count = len(self.problems)
        found = f"{count} problem{'s' * (count > 1)}" if count else "ok"
        return "\n".join([*lines, f"{self.name}: {found}"])


def check_data(name: str, folder: "str | Path | None" = None) -> Report:
    """Reads every file of a data set, or of the classifier "resnet50_voc", and compares it with data/registry.toml.

    Raises LookupError for an unknown name, FileNotFoundError if there is nothing to check, and ValueError for a folder
    that nothing would read.
    """
    if name not in (*NAMES, VOC_RESNET):
        raise LookupError(f"no data named {name!r}; there are {', '.join((*NAMES, VOC_RESNET))}")
    if name == VOC_RESNET:
        path = external(name, folder)
        return Report(name, (str(path),), tuple(_raised(lambda: load_voc_resnet(path))))
    if name in IMAGENET_S:
        return _check_imagenet_s(name, external(name, folder))
    if name.startswith("voc07"):
        return _check_voc07(name, external("voc07", folder))
    return _check_packaged(load_dataset(name, folder)) if name == "packaged" else _check_folder(name, folder)


def _check_folder(name: str, folder: "str | Path | None") -> Report:
    if folder is None:
        load_dataset(name)  # raises, and says what to give
    assert folder is not None
    dataset, faults = read_folder(folder)
    problems, facts = [str(fault) for fault in faults], list(dataset.facts) if dataset is not None else []
    for sample in dataset or ():
        assert isinstance(sample, FolderSample)
        facts += _unknown(sample)
        check = partial(_check_pair, sample.picture, sample.mask, white)
        problems += _raised(check if sample.has_truth else partial(load_picture, sample.picture))
    named = {path.stem for path in (Path(folder) / "pictures").iterdir()}
    masks = sorted((Path(folder) / "masks").glob("*.png"))
    problems += [f"{path} has no picture" for path in masks if path.stem not in named]
    return Report(name, tuple(facts), tuple(problems))


def _unknown(sample: FolderSample) -> list[str]:
    """What to say of a class that only a classifier of the reader's own can have; it may be misspelled."""
    known = (*IMAGENET_LABELS, *VOC_CLASSES)
    if not sample.wanted or sample.wanted.isdecimal() or sample.wanted.lower() in map(str.lower, known):
        return []
    return [
        f"{sample.name}: {sample.wanted!r} is a class of neither ImageNet nor VOC{did_you_mean(sample.wanted, known)}"
    ]


def _check_packaged(dataset: Dataset) -> Report:
    """Every picture of the table: it is read, has its size, its regions and its terms; a shipped one has its bytes."""
    table = picture_table()
    problems = [problem for name, entry in table.items() for problem in _problems_of(name, entry)]
    listed = {entry.get("file") for entry in table.values()}
    strays = [path for path in sorted(PICTURES.iterdir()) if path.suffix not in PLAIN and path.name not in listed]
    problems += [f"{path} is not in pictures.toml: its author, source and licence are missing" for path in strays]
    shipped = sum("file" in entry for entry in table.values())
    fact = f"{len(table)} pictures by name: {shipped} in {PICTURES}, the others inside the packages that carry them"
    return Report("packaged", (fact, *dataset.facts), tuple(problems))


def _problems_of(name: str, entry: dict) -> list[str]:
    wanted = TERMS + (SHIPPED_TERMS if "file" in entry else ())
    found = [f"{name} has no {what} in pictures.toml" for what in wanted if not entry.get(what)]
    try:
        path, size = picture_path(name), load_picture(name).size
        regions = draw_regions(name)
    except (OSError, LookupError, TypeError, ValueError) as error:
        return [*found, f"{name}: {error}"]
    if "file" in entry and hashlib.sha256(path.read_bytes()).hexdigest() != entry.get("sha256"):
        found.append(f"{path} has another sha256 than pictures.toml: it was changed or damaged")
    if list(size) != entry.get("size"):
        found.append(f"{path} is {size[0]} x {size[1]} px, pictures.toml has {entry.get('size')}")
    if next(iter(regions.values())).shape != size[::-1]:
        found.append(f"{name}: its regions were drawn at another size than {size[0]} x {size[1]} px")
    missing = set(entry.get("object", ())) - set(regions)
    return found + [f"{name}: its object has the region {region!r}, which was not drawn" for region in sorted(missing)]


def _check_imagenet_s(name: str, folder: Path) -> Report:
    dataset, wnids = load_dataset(name, folder), imagenet_s_classes(name, folder)
    problems = _counted(registry()[name], {"pictures": len(dataset), "classes": len(wnids)}, name)
    for sample in dataset:
        assert isinstance(sample, ImageNetSSample)
        read = partial(_ids, classes=len(wnids), ignored=IGNORED, own=sample.class_id)
        problems += _raised(partial(_check_pair, sample.picture, sample.mask, read))
    named = {sample.name for sample in dataset}
    masks = sorted((folder / "validation-segmentation").glob("*/*.png"))
    problems += [f"{path} has no picture" for path in masks if f"{path.parent.name}/{path.stem}" not in named]
    others = [path for path in sorted((folder / "validation").iterdir()) if path.name not in wnids]
    problems += [f"{path} is none of the {len(wnids)} classes" for path in others]
    return Report(name, (str(folder), *dataset.facts), tuple(problems))


def _check_voc07(name: str, folder: Path) -> Report:
    annotations = read_annotations(folder)
    facts = [str(folder), f"{len(annotations)} pictures, {sum(len(a.boxes) for a in annotations)} objects"]
    masks = {path.stem: path for path in (folder / VOC / "SegmentationClass").glob("*.png")}
    drawn = sum(annotation.name in masks for annotation in annotations)
    problems = _counted(registry()["voc07"], {"pictures": len(annotations), "masks": drawn}, "voc07")
    for annotation in annotations:
        problems += _check_voc_picture(annotation, masks.get(annotation.name))
    known = {path.stem for path in (folder / VOC / "JPEGImages").glob("*.jpg")}
    problems += [f"{masks[stem]} has no picture" for stem in sorted(set(masks) - known)]
    if name == "voc07-difficult":
        more, wrong = difficult_counts(annotations)
        facts += more
        problems += wrong
    return Report(name, tuple(facts), tuple(problems))


def _check_voc_picture(annotation: Annotation, mask: Path | None) -> list[str]:
    width, height = annotation.size
    found = [
        f"{annotation.name}: {box} is not inside {width} x {height} px"
        for box in annotation.boxes
        if not (1 <= box.left <= box.right <= width and 1 <= box.top <= box.bottom <= height)
    ]
    found += _raised(
        lambda: _check_pair(annotation.picture, mask, lambda path: _ids(path, len(VOC_CLASSES), VOC_IGNORED))
    )
    found += _raised(lambda: turned(Image.new("1", annotation.size), annotation.picture, "its annotation"))
    return list(dict.fromkeys(found))  # a damaged picture once


def _check_pair(picture: str, mask: "str | Path | None", read: Callable[[str | Path], np.ndarray]) -> None:
    """Raises what is wrong with a picture, with its mask if it has one, or with their sizes."""
    load_picture(picture)
    if mask:
        turned(Image.new("1", read(mask).shape[::-1]), picture, mask)


def _ids(path: "str | Path", classes: int, ignored: int, own: int | None = None) -> np.ndarray:
    ids = class_ids(path)
    found = set(np.unique(ids).tolist())
    outside = sorted(found - {*range(classes + 1), ignored})
    if outside:
        raise ValueError(f"{path} has the class id {outside[0]}: wanted 0 to {classes}, or {ignored}")
    if own is not None and own not in found:
        raise ValueError(f"{path} has no pixel of its own class, {own}")
    return ids


def _raised(call: Callable[[], object]) -> list[str]:
    try:
        call()
    except (OSError, TypeError, ValueError) as error:
        return [str(error)]
    return []


def _counted(wanted: dict, found: dict[str, int], name: str) -> list[str]:
    return [
        f"{count} {what}, {name} has {wanted[what]}: not the whole set (data/README.md: what to get)"
        for what, count in found.items()
        if count != wanted[what]
    ]


def difficult_counts(annotations: list[Annotation]) -> tuple[list[str], list[str]]:
    """(facts, problems): counts of VOC07-difficult; a whole copy must have the published ones, by class."""
    published = registry()["voc07-difficult"]
    chosen = [difficult_classes(annotation) for annotation in annotations]
    labels = [label for found in chosen for label in found]
    pairs = [labels.count(label) for label in VOC_CLASSES]
    pictures = sum(bool(found) for found in chosen)
    fact = f"voc07-difficult: {pictures} pictures, {len(labels)} pairs"
    if len(annotations) != registry()["voc07"]["pictures"]:
        return [f"{fact}; the published counts are of the whole set, so a part is not compared with them"], []
    problems = [
        f"{found} difficult pairs of {label}, the published list has {wanted}"
        for label, found, wanted in zip(VOC_CLASSES, pairs, published["pairs_by_class"], strict=True)
        if found != wanted
    ]
    if pictures != published["pictures"]:
        problems.append(f"{pictures} pictures with a difficult pair, the published list has {published['pictures']}")
    return [fact], problems
