"""A file that several writers add to: each row stays, unless a newer one of its kind takes its place."""

import multiprocessing
from pathlib import Path

import pandas as pd
import pytest

from inrexp.study.shared_rows import add_rows

KIND = ["picture", "preset"]


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=[*KIND, "iou"])


def rows(picture: str, *values: float, preset: str = "crisp") -> pd.DataFrame:
    return pd.DataFrame({"picture": picture, "preset": preset, "iou": values})


def test_rows_of_one_kind_give_way_together_and_the_others_stay(tmp_path: Path):
    out = tmp_path / "new" / "rows.csv"
    for new in (rows("a", 0.1, 0.2), rows("b", 0.3), rows("a", 0.4, preset="draft")):
        add_rows(out, new, in_place_of=KIND, read=read)
    found = add_rows(out, rows("a", 0.5), in_place_of=KIND, read=read)
    assert found["iou"].tolist() == [0.3, 0.4, 0.5]
    assert out.read_text() == "picture,preset,iou\nb,crisp,0.300000\na,draft,0.400000\na,crisp,0.500000\n"


def test_an_error_leaves_the_file_as_it_was_and_the_next_writer_free(tmp_path: Path):
    out = tmp_path / "rows.csv"
    add_rows(out, rows("a", 0.1), in_place_of=KIND, read=read)
    before = out.read_bytes()

    def refuse(path: Path) -> pd.DataFrame:
        raise ValueError("rows of another study")

    with pytest.raises(ValueError, match="rows of another study"):
        add_rows(out, rows("b", 0.2), in_place_of=KIND, read=refuse)
    assert out.read_bytes() == before
    assert len(add_rows(out, rows("b", 0.2), in_place_of=KIND, read=read)) == 2


def test_a_second_writer_waits_for_the_first_and_no_row_is_lost(tmp_path: Path):
    """The second writer begins when the first has read the file and has not yet written it."""
    context, out = multiprocessing.get_context("fork"), tmp_path / "rows.csv"
    begun = context.Event()

    def write_second() -> None:
        begun.set()
        add_rows(out, rows("b", 0.2), in_place_of=KIND, read=read)

    second = context.Process(target=write_second)

    def read_first(path: Path) -> pd.DataFrame:
        there = read(path)
        second.start()
        assert begun.wait(60)
        second.join(0.5)
        assert second.is_alive()  # it waits
        return there

    add_rows(out, rows("a", 0.1), in_place_of=KIND, read=read_first)
    second.join(60)
    assert second.exitcode == 0
    assert read(out)["picture"].tolist() == ["a", "b"]


def test_many_writers_lose_no_row(tmp_path: Path):
    out, context = tmp_path / "rows.csv", multiprocessing.get_context("fork")

    def write(name: str) -> None:
        for number in range(10):
            add_rows(out, rows(f"{name}{number}", 0.1), in_place_of=KIND, read=read)

    writers = [context.Process(target=write, args=(name,)) for name in "abcd"]
    for one in writers:
        one.start()
    for one in writers:
        one.join(120)
    assert sorted(read(out)["picture"]) == sorted(f"{name}{number}" for name in "abcd" for number in range(10))
