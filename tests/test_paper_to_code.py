"""The table from the paper to the code: each name exists, and says the equation or section that it stands beside."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
TABLE = README.split("<!-- paper to code -->")[1].split("<!-- end of paper to code -->")[0]
ROWS = re.findall(r"^\| (eq\. \d|section [\d.]+|algorithm 1|table \d), [^|]+ \| `([\w.]+)` \|$", TABLE, flags=re.M)


def found(name: str) -> object:
    """A module, or a name in one."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, last = name.rpartition(".")
        return getattr(importlib.import_module(module), last)


def says(value: object) -> str:
    """What a function, class or module says of itself; of a value the source of its module."""
    if inspect.ismodule(value) or callable(value):
        return inspect.getdoc(value) or ""
    (module,) = [one for one in (importlib.import_module("inrexp.paper.presets"),) if value in vars(one).values()]
    return inspect.getsource(module)


def test_every_line_of_the_table_is_read():
    assert len(ROWS) == TABLE.count("\n| ") - 1  # all but its head
    assert {place for place, _ in ROWS} >= {*(f"eq. {number}" for number in range(1, 8)), "algorithm 1", "section 3.4"}


@pytest.mark.parametrize(("place", "name"), ROWS)
def test_what_stands_beside_it_says_so(place: str, name: str):
    said = says(found(name)).lower()
    kind, _, number = place.partition(" ")
    if kind == "eq.":
        assert re.search(rf"\beqs?\.[\s\d,and]*\b{number}\b", said), f"{name} does not name {place}"
    else:
        assert re.search(rf"{kind}s?[\s\d.,and]*\b{re.escape(number)}\b", said), f"{name} does not name {place}"
