"""Faults of the machine, drawn at random: two processes of one study killed again and again, and a disk that is full.

Short in `make test`; `make soak` kills twenty times or as often as INREXP_SOAK says.
"""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import forked
from test_run import go, masks_in, rows_in, table, uninterrupted

KILLS = int(os.environ.get("INREXP_SOAK") or 3)
ROWS = 24  # of the plan in test_run
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("test_run slow")]  # one undisturbed study for both files
TMPFS = ("mount", "-t", "tmpfs", "-o")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study that nothing disturbed."""
    return uninterrupted(tmp_path_factory.getbasetemp() / "uninterrupted")


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 96 KiB in memory, and what makes it larger.  Mounting one takes root."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    if subprocess.run([*TMPFS, "size=96k", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("this machine mounts no tmpfs")
    try:
        yield place, lambda: subprocess.run([*TMPFS, "remount,size=64m", "tmpfs", str(place)], check=True)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def same(folder: Path, whole: Path) -> bool:
    return table(folder) == table(whole) and masks_in(folder) == masks_in(whole)


def test_two_processes_killed_at_random_give_what_one_undisturbed_gives(whole: Path, tmp_path: Path):
    generator, kills, studies = random.Random(20), 0, 0
    while kills < KILLS:
        studies += 1
        folder = tmp_path / str(studies)
        both = [forked(go, folder) for _ in range(2)]
        while kills < KILLS and rows_in(folder) < ROWS - 4:
            wanted = rows_in(folder) + generator.randint(0, 4)
            begun = time.monotonic()
            while rows_in(folder) < wanted and time.monotonic() - begun < 60:
                time.sleep(0.005)
            time.sleep(0.1 * generator.random())
            victim = generator.randrange(2)
            if not both[victim].is_alive():
                break
            os.kill(both[victim].pid, signal.SIGKILL)
            both[victim].join()
            assert both[victim].exitcode == -signal.SIGKILL
            kills += 1
            both[victim] = forked(go, folder)
        for process in both:
            process.join(300)
        assert [process.exitcode for process in both] == [0, 0]
        assert go(folder) == {"finished": ROWS}
        assert same(folder, whole), f"study {studies} differs after {kills} kills"
        left = {path.name for path in folder.iterdir()}
        assert left == {path.name for path in whole.iterdir()}, "something half-written stayed behind"


def test_a_full_disk_stops_a_study_that_goes_on_when_there_is_room(whole: Path, small_disk):
    place, enlarge = small_disk
    with pytest.raises(OSError, match="full|space"):
        go(place / "study")
    kept = rows_in(place / "study")
    assert 0 < kept < ROWS
    enlarge()
    assert go(place / "study") == {"finished": ROWS}
    assert same(place / "study", whole)
    assert {path.name for path in (place / "study").iterdir()} == {path.name for path in whole.iterdir()}
