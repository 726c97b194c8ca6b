"""A CSV file of rows that several processes add to at the same time, such as data/results/nulls.csv."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import filelock
import pandas as pd

from inrexp.files import written_whole


def rows_there(path: Path, columns: Sequence[str], **options: Any) -> pd.DataFrame:
    """The rows of a CSV file, by `pandas.read_csv` with these options; none, with these columns, without the file."""
    return pd.read_csv(path, **options) if path.is_file() else pd.DataFrame(columns=list(columns))


def add_rows(
    path: "str | Path",
    new: pd.DataFrame,
    *,
    in_place_of: Sequence[str],
    read: Callable[[Path], pd.DataFrame],
    float_format: str | None = "%.6f",
) -> pd.DataFrame:
    """Add rows to a file, and return all rows that it then has.

    in_place_of: columns; a row of the file that is like a new one in all of them gives way to it.
    read: gives the file's rows, with these columns; no rows for a file that is not there yet.
    float_format: of the numbers in the file; None writes every digit.
    The file is read again, merged and written whole while other processes wait, so that none loses the rows of another.
    They wait at an empty file beside it, .NAME.lock, which stays. An error, in `read` too, leaves the file as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_name(f".{path.name}.lock")):
        there = read(path)
        same = [pd.MultiIndex.from_frame(rows[list(in_place_of)]) for rows in (there, new)]
        kept = there[~same[0].isin(same[1])]
        rows = pd.concat([kept, new], ignore_index=True) if len(kept) else new
        with written_whole(path) as temporary:
            rows.to_csv(temporary, index=False, float_format=float_format, lineterminator="\n")
    return rows
