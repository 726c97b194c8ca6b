"""The paths of the project's data and of fetched data, and a way to write files that are never left half-written."""

import contextlib
import functools
import hashlib
import os
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent
# A wheel carries the repository's data/ as inrexp/data. In a clone data/ stands beside the package, as notebooks/ does.
CLONE = None if (PACKAGE / "data").is_dir() else PACKAGE.parent
DATA = PACKAGE / "data" if CLONE is None else CLONE / "data"
REGISTRY = DATA / "registry.toml"  # what can be fetched, and how many files a complete copy has
PICTURES = DATA / "pictures"  # photographs, where each comes from, and regions drawn by hand
CLASSES = DATA / "class_to_imagenet.json"  # VOC class -> ImageNet-1k classes
VARIABLE = "INREXP_DATA"


def data_folder() -> Path:
    """The folder of fetched data: $INREXP_DATA if it is set, else data/external of the clone, or ~/inrexp-data."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given)
    return Path.home() / "inrexp-data" if CLONE is None else DATA / "external"


@functools.cache
def picture_table() -> dict[str, dict]:
    """For the name of each picture: its file or package, author, source, licence, classes and object.

    The table is data/pictures/pictures.toml, sorted by name. Its first lines explain every entry.
    Raises FileNotFoundError if the file is missing.
    """
    return _table(PICTURES / "pictures.toml")


def credit_of(pictures: Iterable["str | Path"]) -> str:
    """What the licences of packaged pictures ask to be said under a figure of them.

    pictures: their names; other names, and files, are left out.
    Returns words such as "penguins by Ian Duffy, CC BY 2.0", and "" where nothing has to be said.
    """
    entries = {str(name): picture_table().get(str(name), {}) for name in pictures}
    asking = {name: one for name, one in entries.items() if one.get("licence", "").startswith("CC BY")}
    return ", ".join(f"{name} by {one['author']}, {one['licence']}" for name, one in asking.items())


@functools.cache
def registry() -> dict[str, dict]:
    """For the name of each thing to fetch: what it is, source, terms, place, and the facts that a check compares.

    Raises FileNotFoundError if the table is missing.
    """
    return _table(REGISTRY)


def _table(path: Path) -> dict[str, dict]:
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: this copy of inrexp is incomplete; install it again, or clone it whole")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def external(name: str, folder: "str | Path | None" = None) -> Path:
    """The path of fetched data: `folder` if it is given, else the data's place under `data_folder()`.

    Raises FileNotFoundError if nothing is there. The message says what to get, where from, under which terms, and where
    to put it.
    """
    path = Path(folder) if folder is not None else data_folder() / registry()[name]["place"]
    if not path.exists():
        raise FileNotFoundError(f"no {name} at {path}. {how_to_get(name)}")
    return path


def how_to_get(name: str) -> str:
    entry = registry()[name]
    return (
        f"Get {entry['what']} from {entry['source']} ({entry['terms']}) and put it at "
        f"{data_folder() / entry['place']}; ${VARIABLE} or a folder option names another place"
    )


def read_utf8(path: "str | Path") -> str:
    """The text of a file that a reader wrote.  Raises ValueError, naming it, for another encoding such as Latin-1."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text in UTF-8, {error}: save it again in that encoding") from error


@contextlib.contextmanager
def written_whole(path: "str | Path") -> Iterator[Path]:
    """Write a file so that readers see either the old one or the complete new one.

    Yields a temporary path beside `path` with the same suffix, which is renamed to `path` at the end. After an error
    the temporary file is removed and `path` stays as it was.  Raises IsADirectoryError for a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(name)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp's 0600 would hide results from a lab's shared folder
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def source_digest(*, without: tuple[str, ...] = ()) -> str:
    """sha256 of the package's own files: an answer computed by other code is not this code's.

    without: rooms (folders of the package) that the answer cannot depend on.  Returns 16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        if inside.parts[0] not in without:
            digest.update(f"{inside.as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
