"""inrexp study: killed, interrupted, shared, full disks; a picture that fails."""

import contextlib
import dataclasses
import functools
import multiprocessing
import os
import signal
import sqlite3
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import forked
from PIL import Image
from planted import QUICK_FIT, plant
from tqdm import tqdm

from inrexp import iterations
from inrexp.commands import cli, rehearsal
from inrexp.datasets.samples import Dataset, Sample, Truth
from inrexp.methods import explain
from inrexp.models.classifier import Classifier, Target
from inrexp.paper.algorithm1 import seed_of
from inrexp.paper.presets import PRESETS
from inrexp.study import run as study
from inrexp.study import scores
from inrexp.study import store as results
from inrexp.study.plan import StudyPlan, tasks_of
from inrexp.study.rows import read_rows
from inrexp.study.run import compute, run_study
from inrexp.study.store import Results

PLANTED = plant()
PLAN = StudyPlan(
    dataset="packaged",
    methods=("inr", "extremal_perturbation", "grad_cam", "rise"),
    options={
        "inr": {"preset": dataclasses.replace(QUICK_FIT, steps=10)},
        "extremal_perturbation": {"preset": "extremal_perturbation_quick", "steps": 3},
        "rise": {"masks": 32},
    },
    seeds=2,
    iterations=2,
    curve_steps=2,
)


@dataclass(frozen=True)
class PlantedSample(Sample):
    """The planted picture with its patch moved to the right; a file of it, or one that does not exist."""

    shift: int = 0

    def target(self, classifier: Classifier) -> Target:
        return Target((1,), self.label)

    def digest(self, classifier: Classifier) -> str:
        return super().digest(classifier) if isinstance(self.picture, str) else f"{self.shift:012}"

    def truths(self, classifier: Classifier) -> dict[str, Truth]:
        truth = PLANTED.truth.roll(self.shift, -1)
        return {"mask": Truth(truth, torch.ones_like(truth))}


def planted_dataset(*, pictures: int = 3, broken: bool = False) -> Dataset:
    samples = [
        PlantedSample(f"stripes/{index}", PLANTED.image.roll(4 * index, -1), "stripes", 4 * index)
        for index in range(pictures)
    ]
    if broken:
        samples.insert(1, PlantedSample("stripes/broken", "/nowhere.png", "stripes"))
    return Dataset("planted", tuple(samples))


def go(results_folder: Path, plan: StudyPlan = PLAN, **options) -> dict[str, int]:
    options = {"dataset": planted_dataset(), "classifier": PLANTED.classifier, "progress": False, **options}
    return run_study(plan, results_folder, **options)


def rows_in(folder: Path) -> int:
    try:
        with contextlib.closing(sqlite3.connect(folder / results.FILE, timeout=60)) as database:
            return database.execute("SELECT count(*) FROM rows").fetchone()[0]
    except sqlite3.OperationalError:  # not there yet
        return 0


def masks_in(folder: Path) -> dict[str, bytes]:
    with Results(folder) as store:
        return {
            row["key"]: b"".join(mask.tobytes() for mask in store.masks(row["key"]).values()) for row in store.rows()
        }


@functools.cache
def uninterrupted(folder: Path) -> Path:
    """A run of PLAN, once in a process of tests: 3 pictures x (2 x 2 INR + 1 + 1 + 2 RISE)."""
    assert go(folder) == {"finished": 24}
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return uninterrupted(tmp_path_factory.getbasetemp() / "uninterrupted")


def run_of(row: dict) -> tuple:
    return tuple(row[name] for name in results.IDENTITY)


def table(folder: Path) -> bytes:
    return (folder / results.ROWS).read_bytes()


def test_each_method_picture_seed_and_iteration_has_one_row_with_its_masks(whole: Path):
    with Results(whole) as store:
        rows = store.rows()
        masks = {row["key"]: store.masks(row["key"]) for row in rows}
    named = [(row["sample"], row["method"], row["seed"], row["iteration"]) for row in rows]
    assert len(set(named)) == len(named) == 24
    first = sorted(name[1:] for name in named if name[0] == "stripes/0")
    assert first == [
        ("extremal_perturbation", 0, 1),
        ("grad_cam", 0, 1),
        *(("inr", seed, iteration) for seed in (0, 1) for iteration in (1, 2)),
        ("rise", 0, 1),
        ("rise", 1, 1),
    ]
    for row in rows:
        names = {"inr": ["0.1", "0.2", "0.4"], "extremal_perturbation": ["0.025", "0.05", "0.1", "0.2"]}
        assert list(masks[row["key"]]) == names.get(row["method"], ["map"])
        assert all(mask.shape == (112, 112) for mask in masks[row["key"]].values())
        assert row["threshold"] == pytest.approx(row["unmasked"] / 2)


def test_iterations_start_from_the_seeds_of_algorithm_1(monkeypatch: pytest.MonkeyPatch):
    (task,) = tasks_of(
        dataclasses.replace(PLAN, methods=("inr",), seeds=1), planted_dataset(pictures=1), PLANTED.classifier
    )
    fitted, fit = [], iterations.fit
    monkeypatch.setattr(
        iterations, "fit", lambda model, problems, *a, **b: fitted.append(problems) or fit(model, problems, *a, **b)
    )
    first, second = compute(PLAN, PLANTED.classifier, task)
    assert [[one.seed for one in problems] for problems in fitted] == [[0], [seed_of(0, 2)]]
    alone = explain(PLANTED.classifier, PLANTED.image, 1, preset=PLAN.options["inr"]["preset"], seed=0, progress=False)
    assert np.array_equal(first.masks[-1], (alone.mask(0.4)[0, 0] * 255).round().byte().numpy())
    assert seed_of(0, 2) != 0
    assert not np.array_equal(first.masks, second.masks)


def test_a_process_killed_with_its_progress_bars_lock_stops_no_other():
    def hold() -> None:
        with tqdm.get_lock():
            ready.set()
            time.sleep(600)

    ours = tqdm.get_lock()
    ready = multiprocessing.get_context("fork").Event()
    process = forked(hold)
    assert ready.wait(60)
    process.kill()
    process.join()
    assert all(lock.acquire(timeout=10) for lock in ours.locks)
    ours.release()


def test_a_second_run_computes_nothing(whole: Path, monkeypatch: pytest.MonkeyPatch):
    before = table(whole)
    monkeypatch.setattr(study, "compute", lambda *_: pytest.fail("computed what was there"))
    assert go(whole) == {"finished": 24}
    assert table(whole) == before


@pytest.mark.slow
def test_two_processes_share_the_work_and_do_none_of_it_twice(whole: Path, tmp_path: Path):
    def counted(number: int) -> None:
        def noted(plan, classifier, task, report=None):
            with (tmp_path / f"computed_{number}").open("a") as file:
                file.writelines(f"{key}\n" for job in task for key in job.keys)
            return compute(plan, classifier, task, report)

        study.compute = noted  # in the forked process only
        go(tmp_path)

    processes = [forked(counted, number) for number in (1, 2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    keys = [path.read_text().split() for path in tmp_path.glob("computed_*")]
    assert len(keys) == 2
    assert all(keys)
    assert len(sum(keys, [])) == len(set(sum(keys, []))) == 24
    assert table(tmp_path) == table(whole)


@pytest.mark.slow
def test_a_full_disk_keeps_what_is_finished_and_the_next_run_goes_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    connect = results._connect

    def small(path: Path) -> sqlite3.Connection:
        database = connect(path)
        database.execute("PRAGMA max_page_count = 24")  # of 4 KiB: SQLite's own "database or disk is full"
        return database

    monkeypatch.setattr(results, "_connect", small)
    with pytest.raises(OSError, match=r"disk is full.*run the same command again"):
        go(tmp_path)
    monkeypatch.setattr(results, "_connect", connect)
    kept = rows_in(tmp_path)
    assert 0 < kept < 24
    assert table(tmp_path).count(b"\n") == kept + 1
    assert go(tmp_path) == {"finished": 24}
    assert table(tmp_path) == table(whole)


@pytest.mark.slow
def test_a_file_that_cannot_grow_keeps_what_is_finished(whole: Path, tmp_path: Path):
    resource = pytest.importorskip("resource")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000))
        go(tmp_path)

    process = forked(limited)
    process.join()
    assert process.exitcode == 1
    kept = rows_in(tmp_path)
    assert 0 < kept < 24
    assert go(tmp_path) == {"finished": 24}
    assert table(tmp_path) == table(whole)
    assert masks_in(tmp_path) == masks_in(whole)


@pytest.mark.slow
def test_a_picture_that_fails_is_recorded_and_the_rest_goes_on(whole: Path, tmp_path: Path, capsys):
    assert go(tmp_path, dataset=planted_dataset(broken=True)) == {"finished": 24, "failed": 8}
    with Results(tmp_path) as store:
        failures = [row for row in store.rows() if row["status"] == "failed"]
    assert {row["sample"] for row in failures} == {"stripes/broken"}
    assert all("FileNotFoundError: no picture at /nowhere.png" in row["error"] for row in failures)
    rest = [line for line in table(tmp_path).splitlines() if b"stripes/broken" not in line]
    assert rest == table(whole).splitlines()


def test_a_class_that_the_model_lacks_is_left_out_and_a_target_that_fails_is_recorded(tmp_path: Path):
    class Unknown(PlantedSample):
        def target(self, classifier: Classifier) -> Target:
            raise LookupError(self.label)

    class Damaged(PlantedSample):
        def target(self, classifier: Classifier) -> Target:
            raise TypeError("a damaged picture")

    first = planted_dataset(pictures=1).samples[0]
    samples = (first, Unknown("b", first.picture, "person"), Damaged("c", first.picture, "top-1"))
    plan = dataclasses.replace(PLAN, methods=("grad_cam",))
    with pytest.warns(UserWarning, match="1 of 3 left out: custom has no person"):
        counts = go(tmp_path, plan, dataset=Dataset("planted", samples))
    assert counts == {"finished": 1, "failed": 1}
    with pytest.raises(LookupError, match="nothing of planted is left"):
        go(tmp_path, plan, dataset=Dataset("planted", samples[1:2]))


def test_two_folders_of_a_readers_own_share_no_row(tmp_path: Path):
    plan = dataclasses.replace(PLAN, dataset="folder", methods=("grad_cam",))
    for name in ("cats", "dogs"):
        go(tmp_path / "out", plan, dataset=planted_dataset(pictures=1), folder=tmp_path / name)
    with Results(tmp_path / "out") as store:
        assert [row["dataset"] for row in store.rows()] == ["folder cats", "folder dogs"]


def test_what_failed_is_tried_again_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plan = dataclasses.replace(PLAN, methods=("grad_cam",))
    with monkeypatch.context() as patch:
        patch.setattr(PlantedSample, "truths", lambda *_: 1 / 0)
        assert go(tmp_path, plan, dataset=planted_dataset(pictures=2)) == {"failed": 2}
    assert go(tmp_path, plan, dataset=planted_dataset(pictures=2)) == {"failed": 2}
    assert go(tmp_path, plan, dataset=planted_dataset(pictures=2), retry_failed=True) == {"finished": 2}
    with Results(tmp_path) as store:
        assert {row["error"] for row in store.rows()} == {None}


def test_a_mended_picture_takes_the_place_of_the_row_that_failed(tmp_path: Path):
    plan = dataclasses.replace(PLAN, methods=("grad_cam",))
    dataset = planted_dataset(pictures=1, broken=True)
    assert go(tmp_path, plan, dataset=dataset) == {"finished": 1, "failed": 1}
    mended = dataclasses.replace(dataset.samples[1], picture=PLANTED.image)
    dataset = dataclasses.replace(dataset, samples=(dataset.samples[0], mended))
    assert go(tmp_path, plan, dataset=dataset) == {"finished": 2}
    assert rows_in(tmp_path) == 2


def folder_of_one(folder: Path, *, colour: int, truth: int, label: str = "") -> Path:
    """A reader's own data set: one picture, whose mask's left `truth` pixels are white."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    Image.new("RGB", (112, 112), (colour, 90, 90)).save(folder / "pictures" / "one.png")
    mask = np.zeros((112, 112), np.uint8)
    mask[:, :truth] = 255
    Image.fromarray(mask).save(folder / "masks" / "one.png")
    if label:
        (folder / "labels.csv").write_text(f"name,target\none,{label}\n")
    return folder


@pytest.mark.parametrize("change", [{"colour": 20}, {"truth": 40}, {"label": "other"}], ids=str)
def test_a_changed_picture_truth_or_class_gets_no_old_row(change: dict, tmp_path: Path):
    """Also of another folder with the same name, which holds the same sample names."""
    plan = StudyPlan(dataset="folder", methods=("grad_cam",), curve_steps=2)
    given = {"colour": 10, "truth": 30, "label": "stripes"}

    def keys(folder: Path, **options) -> set[str]:
        run_study(plan, tmp_path / "out", folder=folder, classifier=PLANTED.classifier, progress=False, **options)
        with Results(tmp_path / "out") as store:
            return set(store.states())

    first = keys(folder_of_one(tmp_path / "here" / "mine", **given))
    other = folder_of_one(tmp_path / "there" / "mine", **given | change)
    with pytest.raises(
        ValueError, match=r"1 rows of the same runs, .*the first: folder mine, one, grad_cam.*--replace"
    ):
        keys(other)
    assert not first & keys(other, replace=True)
    assert keys(folder_of_one(tmp_path / "here" / "mine", **given), replace=True) == first


def test_in_a_group_the_picture_that_fails_takes_no_other_with_it(tmp_path: Path):
    plan = dataclasses.replace(PLAN, methods=("inr",), batch=4, iterations=1)
    counts = go(tmp_path, plan, dataset=planted_dataset(pictures=2, broken=True))
    assert counts == {"finished": 4, "failed": 2}
    with Results(tmp_path) as store:
        finished = [row["error"] for row in store.rows() if row["status"] == "finished"]
    # one group of four failed; the other, of two, did not
    alone = "fitted alone, since the group failed: FileNotFoundError"
    assert sorted(finished, key=str) == [None, None, alone, alone]
    assert go(tmp_path, plan, dataset=planted_dataset(pictures=2, broken=True)) == counts  # and is not tried again


def test_another_plan_on_the_same_folder_adds_rows_and_changes_none(whole: Path, tmp_path: Path):
    maps = ("grad_cam", "rise")
    go(tmp_path, dataclasses.replace(PLAN, methods=maps))
    before = table(tmp_path).splitlines()
    go(tmp_path, dataclasses.replace(PLAN, methods=maps, map_cut=0.4))
    after = table(tmp_path).splitlines()
    assert set(before) < set(after)
    assert len(after) == 2 * len(before) - 1


@pytest.mark.slow
def test_a_group_of_fits_gives_what_each_gives_alone(whole: Path, tmp_path: Path):
    go(tmp_path, dataclasses.replace(PLAN, methods=("inr",), batch=4))
    with Results(tmp_path) as store, Results(whole) as alone:
        expected = {run_of(row): row for row in alone.rows()}
        for row in store.rows():
            assert row["key"] != expected[run_of(row)]["key"]  # rounding differs beside other fits
            for name in ("precision_largest", "insertion", "deletion"):
                assert row[name] == pytest.approx(expected[run_of(row)][name], abs=5e-3)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished_and_stores_no_half_fit(whole: Path, tmp_path: Path):
    def interrupt(plan, classifier, task, report=None):
        if rows_in(tmp_path) < 8:
            return compute(plan, classifier, task, report)

        def stop(_: dict[str, float]) -> None:
            raise KeyboardInterrupt

        return compute(plan, classifier, task, stop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "compute", interrupt)
        with pytest.warns(UserWarning, match="Interrupted"), pytest.raises(KeyboardInterrupt):
            go(tmp_path)
    assert rows_in(tmp_path) == 8
    assert table(tmp_path).count(b"\n") == 9
    assert go(tmp_path) == {"finished": 24}
    assert table(tmp_path) == table(whole)


def test_a_fit_that_collapsed_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A dead field's mask is full or empty: it has no a*, and a full mask is no mask that suffices."""
    monkeypatch.setattr(scores, "status_of", lambda found: "collapsed to a full mask")
    plan = dataclasses.replace(PLAN, methods=("inr",), iterations=1, seeds=1)
    assert go(tmp_path, plan, dataset=planted_dataset(pictures=1)) == {"collapsed to a full mask": 1}
    with Results(tmp_path) as store:
        (row,) = store.rows()
        assert store.masks(row["key"]) == {}
    measured = (
        "area",
        "area_cut_star",
        "precision",
        "hit",
        "precision_largest",
        "insertion",
        "deletion",
        "probability",
    )
    assert [row[name] for name in measured] == [None] * len(measured)


def test_a_data_set_has_the_name_that_it_was_given(tmp_path: Path):
    plan = dataclasses.replace(PLAN, methods=("grad_cam",), called="imagenet-s50-standin")
    go(tmp_path, plan, dataset=planted_dataset(pictures=1))
    assert set(read_rows(tmp_path)["dataset"]) == {"imagenet-s50-standin"}


def test_a_study_takes_the_samples_that_a_list_names_and_no_other(tmp_path: Path):
    plan = dataclasses.replace(PLAN, methods=("grad_cam",), samples=("stripes/2", "stripes/0"))
    assert go(tmp_path / "some", plan) == {"finished": 2}
    go(tmp_path / "all", dataclasses.replace(plan, samples=None))
    assert set(read_rows(tmp_path / "some")["sample"]) == {"stripes/0", "stripes/2"}
    assert set(read_rows(tmp_path / "some")["key"]) < set(read_rows(tmp_path / "all")["key"])  # the same rows
    with pytest.raises(LookupError, match=r"planted has no sample named stripes/7 \(1 of the 2 names asked for\)"):
        go(tmp_path / "unknown", dataclasses.replace(plan, samples=("stripes/0", "stripes/7")))
    assert not (tmp_path / "unknown").exists()
    with pytest.raises(ValueError, match="samples must hold a name or more"):
        dataclasses.replace(plan, samples=())


def test_the_bar_says_loss_probability_and_time_left(tmp_path: Path, capsys):
    plan = dataclasses.replace(PLAN, methods=("inr",), iterations=1)
    go(tmp_path, plan, dataset=planted_dataset(pictures=1), progress=True)
    said = capsys.readouterr().err
    assert "loss=" in said
    assert "p=0." in said
    assert "2/2" in said


@pytest.fixture
def planted_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every data set is the planted one, every model its classifier, "brief" a preset."""
    monkeypatch.setattr(study, "load_dataset", lambda name, folder: planted_dataset(pictures=2, broken=True))
    monkeypatch.setattr(study, "load_classifier", lambda name, device: PLANTED.classifier)
    monkeypatch.setitem(PRESETS, "brief", PLAN.options["inr"]["preset"])


def test_the_command_says_what_is_there_and_what_failed(planted_command, tmp_path: Path, capsys):
    words = [
        "study",
        str(tmp_path),
        "--option",
        "inr.preset=brief",
        "--methods",
        "inr,grad_cam",
        "--seeds",
        "1",
        "--limit",
        "2",
    ]
    assert cli.main(words) == 1
    said = capsys.readouterr()
    assert said.out == f"4 rows: 2 failed, 2 finished; {tmp_path / results.ROWS}\n"
    assert "failed: stripes/broken, inr, FileNotFoundError: no picture at /nowhere.png" in said.err
    assert "--retry-failed tries again" in said.err


def test_the_command_reads_the_names_from_a_file(planted_command, tmp_path: Path, capsys):
    words = ["study", str(tmp_path / "out"), "--methods", "grad_cam", "--samples", str(tmp_path / "names.txt")]
    (tmp_path / "names.txt").write_text("# those that count\nstripes/1\n\n")
    assert cli.main(words) == 0
    assert capsys.readouterr().out.startswith("1 row: 1 finished")
    (tmp_path / "names.txt").write_text("stripes/one\n")
    assert cli.main(words) == 2
    assert "planted has no sample named stripes/one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--samples", "nowhere.txt"], "no list of samples at nowhere.txt"),
        (["--methods", "inr,smoothgrad"], "methods must be some of inr"),
        (["--option", "rise.mask=400"], "rise has no option 'mask': its options are masks, cells, keep"),
        (["--option", "rise.masks=many"], "rise.masks must be int (its default is 8000), got 'many'"),
        (["--option", "inr.preset=sharp"], "no preset named 'sharp'"),
        (["--option", "smoothgrad.steps=4"], "no method 'smoothgrad'; there are inr"),
        (["--option", "masks=400"], "--option takes METHOD.NAME=VALUE"),
        (["--methods", "grad_cam", "--option", "inr.steps=9"], "--option names inr, which is not among --methods"),
        (["--plugin", "nowhere.py"], "no file of methods at nowhere.py"),
        (["--cluster", "ssh:host"], "cluster must be local:N"),
    ],
)
def test_the_command_refuses_in_one_line_and_leaves_nothing(words, message, planted_command, tmp_path: Path, capsys):
    assert cli.main(["study", str(tmp_path / "out"), *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("inrexp: ")
    assert said.count("\n") == 1
    assert message in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_killed_interrupted_and_resumed_equals_one_run(tmp_path: Path):
    """Lite0 on two pictures, as a reader's command computes it, but for pictures of a quarter of the pixels."""

    def command(folder: str) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with (tmp_path / "said").open("w") as sys.stderr:
            rehearsal.shorten()
            words = "--methods inr,rise --limit 2 --seeds 2 --iterations 2 --curve-steps 2 --device cpu "
            words += "--option inr.steps=2 --option rise.masks=16"
            sys.exit(cli.main(["study", str(tmp_path / folder), *words.split()]))

    for rows, number in ((2, signal.SIGKILL), (5, signal.SIGINT)):
        process = forked(command, "killed")
        while rows_in(tmp_path / "killed") < rows:
            assert process.is_alive(), (tmp_path / "said").read_text()
            time.sleep(0.02)
        os.kill(process.pid, number)
        process.join()
        assert process.exitcode == (130 if number == signal.SIGINT else -number)
        assert ("inrexp: interrupted" in (tmp_path / "said").read_text()) == (number == signal.SIGINT)
    assert rows_in(tmp_path / "killed") < 12
    for folder in ("killed", "whole"):
        process = forked(command, folder)
        process.join()
        assert process.exitcode == 0
    assert table(tmp_path / "killed") == table(tmp_path / "whole")
    assert masks_in(tmp_path / "killed") == masks_in(tmp_path / "whole")
