"""Files are written whole or not at all."""

import stat
from pathlib import Path

import pytest

from inrexp.files import credit_of, written_whole


def test_only_a_licence_that_asks_for_a_name_gets_one():
    assert credit_of(["monarch", "my/penguins.jpg"]) == ""
    said = "china by danielbuechele, CC BY 2.0, penguins by Ian Duffy, CC BY 2.0"
    assert credit_of(["china", "macaws", "penguins"]) == said


def test_a_written_file_is_whole_and_readable_by_others(tmp_path: Path):
    path = tmp_path / "deep" / "numbers.json"
    with written_whole(path) as temporary:
        assert temporary.suffix == ".json"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "numbers.json"
    path.write_text("old")

    def write_half() -> None:
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
