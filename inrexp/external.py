"""What is not shipped: data/registry.toml says what to fetch, from whom, under which terms, and where it goes."""

import functools
import os
import tomllib
from pathlib import Path

REGISTRY = Path(__file__).parents[1] / "data" / "registry.toml"
VARIABLE = "INREXP_DATA"


def data_folder() -> Path:
    """Where fetched data stand: $INREXP_DATA, or data/external in the clone (git ignores it)."""
    return Path(os.environ.get(VARIABLE) or REGISTRY.parent / "external")


@functools.cache
def registry() -> dict[str, dict]:
    """Name -> what, source, terms, place and the facts that a check compares.  Raises FileNotFoundError without it."""
    if not REGISTRY.is_file():
        raise FileNotFoundError(f"no {REGISTRY}: it stands in the repository's data/, clone it whole")
    return tomllib.loads(REGISTRY.read_text())


def external(name: str, folder: "str | Path | None" = None) -> Path:
    """The path of something fetched: `folder`, or its place under `data_folder()`.

    Raises FileNotFoundError that says what to get, from whom, under which terms, and where to put it.
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
