"""Data sets by name: the packaged pictures, ImageNet-S, VOC07 and its difficult part, and a folder of one's own."""

from pathlib import Path

from inrexp.datasets.folder import load_folder
from inrexp.datasets.imagenet_s import IMAGENET_S, load_imagenet_s
from inrexp.datasets.packaged import load_packaged
from inrexp.datasets.samples import Dataset
from inrexp.datasets.voc import load_voc07
from inrexp.files import external

NAMES = ("packaged", *IMAGENET_S, "voc07", "voc07-difficult", "folder")


def load_dataset(name: str, folder: "str | Path | None" = None) -> Dataset:
    """A data set by name; the paper's two stand in section 3.3.2.

    name: one of `NAMES`.  folder: where it lies, if not at its place under `files.data_folder()`.
    Raises LookupError for an unknown name, ValueError for a folder that is missing or that nothing would read, and
    FileNotFoundError that says what to get, from whom, and where to put it.
    """
    if name not in NAMES:
        raise LookupError(f"no data set named {name!r}; there are {', '.join(NAMES)}")
    if name == "packaged":
        if folder is not None:
            raise ValueError(
                f"folder {folder} was given, and the packaged pictures need none: for pictures of your own say "
                "--dataset folder (dataset='folder' in Python)"
            )
        return load_packaged()
    if name == "folder":
        if folder is None:
            raise ValueError(
                "folder must be given for the data set 'folder', on the command line as --folder PATH: it holds "
                "pictures/, and masks/ where there is a truth"
            )
        return load_folder(folder)
    if name in IMAGENET_S:
        return load_imagenet_s(name, external(name, folder))
    return load_voc07(external("voc07", folder), difficult=name == "voc07-difficult")
