"""Notebooks side by side: lines, records, failures, Ctrl-C, and resuming."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy_work
from conftest import hears_ctrl_c
from toy_notebook import write_notebook

from inrexp.commands import schedule
from inrexp.commands.notebooks import Notebook
from inrexp.commands.schedule import Record, clock, run_side_by_side, table


def toy(name: str, minutes: str = "1 minute") -> Notebook:
    return Notebook(Path(f"01_{name}.ipynb"), name, minutes, {}, {}, "code", (f"{name}_one",))


def go(records: list[Record], folder: Path, processes: int = 2) -> None:
    given = {one.notebook.name: (one.notebook.name, folder) for one in records}
    run_side_by_side(records, toy_work.work, given, processes=processes, figures=folder, environment={"TOLD": "so"})


def test_each_notebook_has_a_line_with_its_figures_and_one_that_fails_stops_no_other(
    tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    records = [Record(toy(name)) for name in ("first", "broken", "killed", "last")]
    go(records, tmp_path)
    assert [one.status for one in records] == ["finished", "failed", "failed", "finished"]
    assert [one.figures for one in records] == [["first_one.png"], [], [], ["last_one.png"]]
    assert records[2].error == "killed: its process ended with exit code 7"
    assert (tmp_path / "last_one.png").read_text() == "so"
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 5
    looked_at = [line for line in out.splitlines() if line.endswith("is there to look at")]
    assert len(looked_at) == 1  # the first figure that was written, whichever notebook was faster
    assert looked_at[0].endswith("_one.png is there to look at")
    assert "chatter" not in out + err
    assert err.splitlines() == [
        f"inrexp: {one.error}" for one in sorted(records[1:3], key=lambda one: err.index(one.error))
    ]


@pytest.mark.timeout(60)
def test_an_error_longer_than_a_pipe_holds_ends_the_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    records = [Record(toy("verbose"))]
    go(records, tmp_path)
    assert records[0].status == "failed"
    assert len(records[0].error) > 200_000


@pytest.mark.slow
def test_the_first_begins_first_and_then_the_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    records = [Record(toy("a", "half a minute")), Record(toy("b", "1 minute")), Record(toy("c", "3 minutes"))]
    go(records, tmp_path, processes=1)
    assert sorted("abc", key=lambda name: float((tmp_path / f"{name}.begun").read_text())) == ["a", "c", "b"]


def test_what_an_earlier_run_finished_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    records = [Record(toy("a"), "kept", 9.0), Record(toy("b"))]
    go(records, tmp_path)
    assert [one.status for one in records] == ["kept", "finished"]
    assert not (tmp_path / "a_one.png").exists()


def test_a_figure_of_an_earlier_run_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_one.png").write_bytes(b"old")
    os.utime(tmp_path / "broken_one.png", (1, 1))
    records = [Record(toy("broken"))]
    go(records, tmp_path)
    assert records[0].figures == []


def test_the_table_says_what_ran_how_long_and_on_what():
    records = [Record(toy("a"), "finished", 63.0, ["figures/a.png"]), Record(toy("b"), "failed", 3723.0, [], "no | b")]
    lines = table(records, "cpu").splitlines()
    assert lines[2] == "| a | finished | 1:03 | cpu | figures/a.png |"
    assert lines[3] == "| b | failed: no / b | 1:02:03 | cpu |  |"
    assert "1:03:06 of work" in lines[4]


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0:00"), (59.6, "1:00"), (3600, "1:00:00")])
def test_the_clock(seconds: float, said: str):
    assert clock(seconds) == said


@pytest.mark.parametrize(("told", "value"), [("2 minutes", 2), ("half a minute", 0.5), ("one minute", 1), ("?", 1)])
def test_what_a_notebook_says_it_takes(told: str, value: float):
    assert schedule.minutes(toy("a", told)) == value


def test_the_time_left_follows_the_pace_of_what_is_finished():
    finished = Record(toy("a", "1 minute"), "finished", 120.0)
    records = [finished, Record(toy("b", "2 minutes"), "running", 60.0), Record(toy("c", "4 minutes"))]
    screen = schedule._Screen(records, 2)
    assert screen._left() == "about 6 min left"  # (8 minutes waiting and 3 to go) on two processes
    records[1].status = records[2].status = "finished"
    assert screen._left() == "all done"


PARAMETERS = "QUICK = True\nDEVICE = None\nFULL = {}"
SAVES = "from inrexp.files import written_whole\nwith written_whole('FOLDER/NAME.png') as f: f.write_text('whole')"
RUNNER = """
import sys
from pathlib import Path
from inrexp.commands import cli, notebooks
if __name__ == "__main__":
    there = notebooks.notebooks(Path(sys.argv[1]))
    notebooks.notebooks = lambda folder=None: there
    sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.slow
def test_an_interrupted_run_leaves_nothing_half_written_and_resumes(tmp_path: Path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    flag = tmp_path / "go_on"
    waits = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
    waits += f"while not os.path.exists({str(flag)!r}): time.sleep(0.1)"
    saves = SAVES.replace("FOLDER", str(tmp_path)).replace("NAME", "swift")
    write_notebook(folder / "01_swift.ipynb", "Swift", PARAMETERS, saves)
    write_notebook(folder / "02_slow.ipynb", "Slow", PARAMETERS, waits)
    script = tmp_path / "runner.py"
    script.write_text(RUNNER)
    command = [sys.executable, str(script), str(folder), "run", "all", "--jobs", "2", "--device", "cpu", "--resume"]
    command += ["--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_ctrl_c,
    )
    begun = time.monotonic()
    finished = tmp_path / "out" / "01_swift.ipynb"
    while not (finished.exists() and (tmp_path / "pid").exists()) and time.monotonic() - begun < 240:
        time.sleep(0.2)
    time.sleep(2)  # for the parent to see it
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Finished files are complete; nothing was left half-written" in err
    assert "| slow | interrupted |" in out
    kernel = int((tmp_path / "pid").read_text())
    while Path(f"/proc/{kernel}").exists() and time.monotonic() - begun < 300:
        time.sleep(0.2)  # a kernel ends when its parent has
    assert not Path(f"/proc/{kernel}").exists(), "the kernel goes on"
    left = sorted(path.name for path in (tmp_path / "out").iterdir() if not path.is_dir())
    assert left == ["01_swift.ipynb", "ran.md"]
    before = finished.stat().st_mtime_ns
    flag.touch()
    answer = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert answer.returncode == 0, answer.stderr
    assert "swift" in answer.stdout.splitlines()[0]
    assert "kept from an earlier run" in answer.stdout.splitlines()[0]
    assert finished.stat().st_mtime_ns == before
    assert (tmp_path / "out" / "02_slow.ipynb").exists()
    assert "| swift | kept |" in (tmp_path / "out" / "ran.md").read_text()
