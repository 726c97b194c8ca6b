"""Full mode rehearsed: every line of every notebook's full path runs, in fits of a few steps."""

import dataclasses
from pathlib import Path

import pytest

from inrexp.claims import REHEARSAL
from inrexp.commands import cli, execution, notebooks, rehearsal

ROOT = Path(__file__).parents[2]
# What a full run is known to stop at. An entry that is mended has to go: its test fails while it stays.
STOPS: dict[str, str] = {}


def test_steps_seeds_and_masks_are_cut_and_nothing_else():
    defaults = {"QUICK": True, "STEPS": None, "LEAK_STEPS": 300, "AREAS": [0.1, 0.2, 0.3], "MODEL": "lite", "N": 5}
    given = {
        "QUICK": False,
        "SEEDS": [0, 1, 2, 3],
        "LEAK_STEPS": 4000,
        "OPTIONS": {"inr": {"preset": "paper", "steps": 75}, "rise": {"masks": 8000}, "grad_cam": {}},
    }
    assert rehearsal.cut(defaults, given) == {
        "QUICK": False,
        "SEEDS": [0, 1],
        "LEAK_STEPS": 3,
        "N": 2,
        "OPTIONS": {"inr": {"preset": "paper", "steps": 3}, "rise": {"masks": 8}, "grad_cam": {}},
    }


def test_presets_and_rise_are_shortened_where_nothing_is_given(monkeypatch: pytest.MonkeyPatch):
    from inrexp import methods
    from inrexp.paper.presets import PRESETS

    monkeypatch.setattr(methods.rise, "__kwdefaults__", dict(methods.rise.__kwdefaults__))
    for name, config in list(PRESETS.items()):
        monkeypatch.setitem(PRESETS, name, config)
    rehearsal.shorten()
    assert {config.steps for config in PRESETS.values()} == {rehearsal.STEPS}
    assert PRESETS["paper"].source.hidden == rehearsal.HIDDEN
    assert PRESETS["paper"].source.grid == "pixel"
    assert methods.rise.__kwdefaults__["masks"] == rehearsal.MASKS


def test_a_rehearsal_is_of_a_full_run(capsys: pytest.CaptureFixture):
    assert cli.main(["run", "start", "--rehearse"]) == 2
    assert "--rehearse goes with --full" in capsys.readouterr().err


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study as the notebooks of the tables want it, of two pictures in a few steps."""
    folder = tmp_path_factory.mktemp("study")
    words = "--limit 2 --seeds 2 --iterations 2 --curve-steps 2 --device cpu "
    words += "--option inr.steps=3 --option extremal_perturbation.steps=3 --option rise.masks=8"
    assert cli.main(["study", str(folder), *words.split()]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_full_path_of_a_notebook_runs_to_its_end(
    path: Path, tmp_path: Path, small_study: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    notebook = notebooks.read(path)
    if notebook.name in STOPS:
        request.applymarker(pytest.mark.xfail(strict=True, reason=STOPS[notebook.name]))
    given = {"RESULTS": str(small_study)} if "RESULTS" in notebook.defaults else {}
    full = notebooks.settings(notebook, given, full=True, device="cpu" if notebook.kinds["DEVICE"] else None)
    values = rehearsal.cut(notebook.defaults, full)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    copy = execution.run(notebook, values, tmp_path, timeout=300, figures=tmp_path / "figures", rehearse=True)
    text = copy.read_text()
    assert REHEARSAL not in text
    assert dataclasses.asdict(notebook)["code"] == notebooks.stamp_of(copy)["code"]
    for name in notebook.figures:
        assert list((tmp_path / "figures").glob(f"{name}*.png")), f"{name} was not drawn"
