"""explain_once and explain_many_once: a fit is made once, and nothing that changes an answer is overlooked."""

import dataclasses
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import forked
from planted import QUICK_FIT, Planted, plant
from test_house import FILES, PACKAGES, place

import inrexp
from inrexp import files, saved
from inrexp.models.classifier import Target
from inrexp.paper.outcome import Outcome
from inrexp.saved import explain_many_once, explain_once, key

BRIEF = dataclasses.replace(QUICK_FIT, steps=3)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of the fits that were really made."""
    made: list[int] = []

    def counted(*arguments, **options):
        made.append(options["seed"])
        return explain(*arguments, **options)

    explain = saved.explain
    monkeypatch.setattr(saved, "explain", counted)
    return made


def once(planted: Planted, folder: Path, **options) -> inrexp.Explanation:
    given = {"preset": BRIEF, "progress": False, "folder": folder, **options}
    return explain_once(planted.classifier, given.pop("picture", planted.image), given.pop("target", 1), **given)


def test_the_second_time_nothing_is_fitted_and_the_answer_is_the_same(planted: Planted, tmp_path: Path, fits: list):
    first, second = once(planted, tmp_path), once(planted, tmp_path)
    assert fits == [0]
    assert torch.equal(first.mask([0.1, 0.237, 0.4]), second.mask([0.1, 0.237, 0.4]))
    assert torch.equal(first.history["loss"], second.history["loss"])
    assert (first.seconds, first.seed, first.target, first.preset) == (
        second.seconds,
        second.seed,
        second.target,
        second.preset,
    )
    assert second.classifier is planted.classifier


def test_the_answer_is_that_of_explain(planted: Planted, tmp_path: Path):
    direct = inrexp.explain(planted.classifier, planted.image, 1, preset=BRIEF, progress=False)
    assert torch.equal(direct.mask(0.2), once(planted, tmp_path).mask(0.2))
    assert torch.equal(direct.mask(0.2), once(planted, tmp_path).mask(0.2))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"target": 2},
        {"steps": 4},
        {"preset": dataclasses.replace(BRIEF, reward="probability" if BRIEF.reward != "probability" else "score")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_question_is_another_fit(planted: Planted, tmp_path: Path, fits: list, change: dict):
    once(planted, tmp_path)
    once(planted, tmp_path, **change)
    assert len(fits) == 2


def test_one_pixel_is_enough_to_be_another_picture(planted: Planted, tmp_path: Path, fits: list):
    once(planted, tmp_path)
    other = planted.image.clone()
    other[0, 0, 0, 0] += 1e-6
    once(planted, tmp_path, picture=other)
    assert len(fits) == 2


def test_one_weight_is_enough_to_be_another_model(planted: Planted, tmp_path: Path, fits: list):
    once(planted, tmp_path)
    planted.classifier.model.head.weight.data[2, 0] += 1e-6
    once(planted, tmp_path)
    assert len(fits) == 2


def test_a_buffer_and_the_form_and_the_normalisation_count(planted: Planted):
    keys = {key(planted.classifier, planted.image, saved.Target((1,), "stripes"), BRIEF, 0)}

    def again() -> None:
        keys.add(key(planted.classifier, planted.image, saved.Target((1,), "stripes"), BRIEF, 0))

    planted.classifier.model.norm.running_mean += 1e-6
    again()
    planted.classifier.model.dropout.p = 0.25
    again()
    planted.classifier._mean += 1e-9
    again()
    planted.classifier.activation = "sigmoid"
    again()
    assert len(keys) == 5


def test_a_model_that_computes_something_else_with_the_same_weights_is_another(
    planted: Planted, tmp_path: Path, fits: list, monkeypatch: pytest.MonkeyPatch
):
    once(planted, tmp_path)
    kind = type(planted.classifier.model)
    before = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, images: 1.01 * before(self, images))
    once(planted, tmp_path)
    assert len(fits) == 2


def test_other_code_of_the_package_or_another_number_of_threads_is_another_fit(
    planted: Planted, tmp_path: Path, fits: list, monkeypatch: pytest.MonkeyPatch
):
    once(planted, tmp_path)
    monkeypatch.setattr(saved, "source_digest", lambda **_: "edited")
    once(planted, tmp_path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    once(planted, tmp_path)
    assert len(fits) == 3


def test_the_digest_of_the_source_follows_an_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "room").mkdir()
    module = tmp_path / "room" / "module.py"
    module.write_text("a = 1\n")
    monkeypatch.setattr(files, "PACKAGE", tmp_path)
    before, apart = files.source_digest(), files.source_digest(without=("room",))
    module.write_text("a = 2\n")
    assert files.source_digest() != before
    assert files.source_digest(without=("room",)) == apart


def test_an_edit_of_a_room_above_changes_no_key_and_of_the_paper_each():
    named = {name.split(".")[0] for name in FILES if "." in name or name in PACKAGES}
    assert set(saved.ABOVE) <= named
    assert not set(saved.ABOVE) & {"paper", "models", "baselines", "datasets"}
    assert all(place(room) > place("saved") for room in saved.ABOVE)


def test_a_damaged_file_is_fitted_again_and_replaced(planted: Planted, tmp_path: Path, fits: list):
    once(planted, tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    once(planted, tmp_path)
    once(planted, tmp_path)
    assert len(fits) == 2


def test_a_fit_that_did_not_finish_is_not_stored(
    planted: Planted, tmp_path: Path, fits: list, monkeypatch: pytest.MonkeyPatch
):
    counted = saved.explain

    def collapsed(*arguments, **options):
        found = counted(*arguments, **options)
        found.outcome = Outcome("collapsed", mask="empty")
        return found

    monkeypatch.setattr(saved, "explain", collapsed)
    once(planted, tmp_path)
    once(planted, tmp_path)
    assert len(fits) == 2
    assert not list(tmp_path.glob("*.safetensors"))


def many(planted: Planted, folder: Path, **options) -> inrexp.Explanations:
    given = {"preset": BRIEF, "n": 2, "stop": False, "progress": False, "folder": folder, **options}
    return explain_many_once(planted.classifier, planted.image, 1, **given)


def test_several_explanations_are_those_of_explain_many_and_their_first_is_explain_once_s(
    planted: Planted, tmp_path: Path, fits: list
):
    once(planted, tmp_path)
    found = many(planted, tmp_path)
    assert fits == [0]
    options = {"preset": BRIEF, "n": 2, "stop": False, "progress": False}
    direct = inrexp.explain_many(planted.classifier, planted.image, 1, **options)
    assert torch.equal(found.masks(), direct.masks())
    assert (found.stars, found.areas, found.ending) == (direct.stars, direct.areas, direct.ending)


def test_the_second_run_reads_all_of_its_explanations(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = many(planted, tmp_path)
    for name in ("explain", "explain_many"):
        monkeypatch.setattr(saved, name, None)
    again = many(planted, tmp_path)
    assert torch.equal(first.masks(), again.masks())
    assert (first.stars, first.ending, len(again)) == (again.stars, again.ending, 2)


@pytest.mark.parametrize("change", [{"n": 1}, {"stop": True}, {"seed": 1}], ids=lambda change: next(iter(change)))
def test_another_run_is_another_folder(planted: Planted, tmp_path: Path, change: dict):
    many(planted, tmp_path)
    many(planted, tmp_path, **change)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2


def test_ctrl_c_during_the_first_explanation_stores_nothing(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    counted = saved.explain

    def interrupted(*arguments, **options):
        found = counted(*arguments, **options)
        found.outcome = Outcome("interrupted", step=1)
        return found

    monkeypatch.setattr(saved, "explain", interrupted)
    with pytest.raises(KeyboardInterrupt):
        many(planted, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_numbers_of_numpy_are_stored_like_pythons(planted: Planted, tmp_path: Path, fits: list):
    once(planted, tmp_path, seed=0, steps=3)
    once(planted, tmp_path, seed=np.int64(0), steps=np.int64(3), target=Target((np.int64(1),), "stripes"))
    assert len(fits) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n must be 1 explanation or more, got 0"),
        ({"preset": "extremal_perturbation"}, "several explanations need a field"),
    ],
)
def test_what_several_explanations_cannot_start_with_is_said_before_the_first_fit(
    planted: Planted, tmp_path: Path, fits: list, change: dict, message: str
):
    with pytest.raises(ValueError, match=message):
        many(planted, tmp_path, **change)
    assert fits == []


def _at_once(folder: Path, made: "multiprocessing.Queue") -> None:
    planted = plant()
    explain = saved.explain

    def slow(*arguments, **options):
        made.put(1)
        time.sleep(1)
        return explain(*arguments, **options)

    saved.explain = slow
    once(planted, folder)


def test_two_processes_at_the_same_time_make_one_fit(tmp_path: Path):
    made = multiprocessing.get_context("fork").Queue()
    both = [forked(_at_once, tmp_path, made) for _ in range(2)]
    for one in both:
        one.join(120)
    assert [one.exitcode for one in both] == [0, 0]
    assert made.get(timeout=10) == 1
    assert made.empty()
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_the_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(saved.VARIABLE, str(tmp_path))
    assert saved.default_folder() == tmp_path
    monkeypatch.delenv(saved.VARIABLE)
    assert saved.default_folder().parts[-2:] == ("out", "explanations")
