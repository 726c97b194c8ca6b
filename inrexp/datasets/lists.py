"""Lists of sample names: the pictures that chose the default preset, and those that chose nothing and are reported.

The pictures on which settings were chosen flatter them. So the lists stand in data/results, one name a line, a study
can be told to take only those of a list (`inrexp study --samples FILE`), and a table's caption says which ones it has.
"""

from collections.abc import Iterable
from pathlib import Path

from inrexp.files import DATA, read_utf8

LISTS = DATA / "results"  # of a clone; a wheel has no results
TUNED = ("tuned",)  # 40 of the 101 stand-in pictures for ImageNet-S50
REPORTED = ("reported", "reported_voc")  # the other 61, and the sample of VOC07-difficult
CHOSE = {
    REPORTED: "that chose nothing",
    TUNED: "that chose the default preset",
}


def read_names(path: "str | Path") -> tuple[str, ...]:
    """The sample names in a text file, one a line; empty lines and lines that begin with # do not count.

    Raises FileNotFoundError without the file, and ValueError for a file without a name or with one twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no list of samples at {path}: wanted a text file with one sample's name a line")
    lines = [line.strip() for line in read_utf8(path).splitlines()]
    names = tuple(line for line in lines if line and not line.startswith("#"))
    if not names:
        raise ValueError(f"{path} names no sample: wanted one name a line, as the column `sample` of a study has them")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{path} names {twice} more than once: wanted each name once")
    return names


def listed(lists: Iterable[str]) -> frozenset[str]:
    """The names of some committed lists, such as REPORTED; empty where the lists are missing, as in a wheel."""
    paths = [LISTS / f"{name}.txt" for name in lists]
    return frozenset(name for path in paths if path.is_file() for name in read_names(path))


def chose(samples: Iterable[str]) -> str:
    """How many of these samples chose nothing, and how many chose the default preset; "" if none is on a list."""
    names = set(samples)
    counts = {words: len(names & listed(lists)) for lists, words in CHOSE.items()}
    said = [f"{count} picture{'s' * (count != 1)} {words}" for words, count in counts.items() if count]
    return " and ".join(said)
