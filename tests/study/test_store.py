"""The store: claims, masks that come back, files that are refused."""

import io
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import forked
from PIL import Image

from inrexp.study import result
from inrexp.study import store as results
from inrexp.study.store import Result, Results


def test_a_living_processs_claim_holds_and_a_dead_ones_does_not(tmp_path: Path):
    def claim() -> None:
        Results(tmp_path).claim(["a", "b"])
        time.sleep(60)

    process = forked(claim)
    with Results(tmp_path) as store:
        begun = time.monotonic()
        while not store._read("SELECT 1 FROM claims") and time.monotonic() - begun < 30:
            time.sleep(0.01)
        assert not store.claim(["b", "c"])
        assert store.claim(["c"])
        process.kill()
        process.join()
        assert store.claim(["b"])


def test_a_claim_of_another_machine_lapses_with_its_lease(tmp_path: Path):
    with Results(tmp_path, lease=50.0) as store, Results(tmp_path) as other:
        other.host = "another"
        assert other.claim(["a"])
        assert not store.claim(["a"])
        other._database.execute("UPDATE claims SET beat = beat - 60")
        assert store.claim(["a"])


def test_a_claim_at_work_is_renewed(tmp_path: Path):
    with Results(tmp_path, lease=0.5) as store:
        assert store.claim(["a"])
        ((first,),) = store._read("SELECT beat FROM claims")
        begun = time.monotonic()
        while store._read("SELECT beat FROM claims") == [(first,)] and time.monotonic() - begun < 30:
            time.sleep(0.05)
        ((later,),) = store._read("SELECT beat FROM claims")
    assert later > first


def test_a_claim_stays_alive_when_the_disk_was_away_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    connect, failures = results._connect, []

    def away(path: Path) -> sqlite3.Connection:
        if len(failures) < 3:
            failures.append(path)
            raise OSError("the disk is away")
        return connect(path)

    with Results(tmp_path, lease=0.5) as store:
        assert store.claim(["a"])
        ((first,),) = store._read("SELECT beat FROM claims")
        monkeypatch.setattr(results, "_connect", away)
        begun = time.monotonic()
        while store._read("SELECT beat FROM claims") == [(first,)] and time.monotonic() - begun < 30:
            time.sleep(0.05)
        ((later,),) = store._read("SELECT beat FROM claims")
    assert len(failures) == 3
    assert later > first


def test_a_mistyped_folder_is_not_made_by_reading_it(tmp_path: Path):
    for folder in (tmp_path / "tpyo", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no results.sqlite in .*run `inrexp study .*` first"):
            Results(folder, reading=True)
    assert not list(tmp_path.iterdir())


def test_reading_changes_no_byte_and_refuses_to_write(tmp_path: Path):
    with Results(tmp_path) as store:
        store.put([Result({"key": "a", "status": "finished"})])
        store._database.execute("ALTER TABLE rows DROP COLUMN object_share")
    before = (tmp_path / results.FILE).read_bytes()
    with Results(tmp_path, reading=True) as store:
        assert store.states() == {"a": "finished"}
        assert store.rows()[0]["object_share"] is None
        with pytest.raises(OSError, match="readonly"):
            store.claim(["b"])
    assert (tmp_path / results.FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [results.FILE]


def test_masks_come_back_as_they_were_put(tmp_path: Path):
    masks = np.random.default_rng(0).integers(0, 256, (2, 5, 7), dtype=np.uint8)
    with Results(tmp_path) as store:
        store.put(
            [
                Result({"key": "a", "status": "finished"}, ("0.1", "0.2"), masks),
                Result({"key": "b", "status": "failed"}),
            ]
        )
        again = store.masks("a")
        assert list(again) == ["0.1", "0.2"]
        assert np.array_equal(np.stack(list(again.values())), masks)
        assert store.masks("b") == {}
        with pytest.raises(LookupError, match="no row 'c'"):
            store.masks("c")


def test_binary_masks_are_stored_with_one_bit_a_pixel():
    binary = np.random.default_rng(0).integers(0, 2, (3, 16, 24), dtype=np.uint8) * 255
    with Image.open(io.BytesIO(result.to_png(binary))) as drawn:
        assert (drawn.mode, drawn.size) == ("1", (24, 48))
    assert np.array_equal(result.from_png(result.to_png(binary), 3), binary)
    soft = np.where(binary == 0, np.uint8(127), binary)
    with Image.open(io.BytesIO(result.to_png(soft))) as drawn:
        assert drawn.mode == "L"
    assert np.array_equal(result.from_png(result.to_png(soft), 3), soft)


def test_results_of_another_version_are_refused(tmp_path: Path):
    Results(tmp_path).close()
    with sqlite3.connect(tmp_path / results.FILE) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match="has format 99, this version writes 2"):
        Results(tmp_path)


def test_a_file_that_is_no_database_is_said_so(tmp_path: Path):
    (tmp_path / results.FILE).write_text("not a database, but long enough to be read as the header of one " * 20)
    with pytest.raises(OSError, match="not a database"):
        Results(tmp_path)


def test_results_from_before_a_column_get_it_without_a_value(tmp_path: Path):
    with Results(tmp_path) as store:
        store.put([Result({"key": "old", "status": "finished"})])
        store._database.execute("ALTER TABLE rows DROP COLUMN object_share")
    with Results(tmp_path) as store:
        store.put([Result({"key": "new", "status": "finished", "object_share": 0.25})])
        assert {row["key"]: row["object_share"] for row in store.rows()} == {"old": None, "new": 0.25}
