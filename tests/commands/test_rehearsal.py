"""Full mode rehearsed: every line of every notebook's full path runs, in fits of a few steps."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import forked

from inrexp.claims import REHEARSAL
from inrexp.commands import cli, execution, notebooks, rehearsal

ROOT = Path(__file__).parents[2]


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


def test_presets_rise_and_pictures_are_cut_where_nothing_is_given(monkeypatch: pytest.MonkeyPatch):
    from inrexp import methods
    from inrexp.models import registry
    from inrexp.paper.presets import PRESETS

    monkeypatch.setattr(registry, "LITE", dict(registry.LITE))
    monkeypatch.setattr(methods.rise, "__kwdefaults__", dict(methods.rise.__kwdefaults__))
    for name, config in list(PRESETS.items()):
        monkeypatch.setitem(PRESETS, name, config)
    rehearsal.shorten()
    assert {config.steps for config in PRESETS.values()} == {rehearsal.STEPS}
    assert PRESETS["paper"].source.hidden == rehearsal.HIDDEN
    assert PRESETS["paper"].source.grid == "pixel"
    assert methods.rise.__kwdefaults__["masks"] == rehearsal.MASKS
    assert registry.load_classifier(device="cpu").size == (rehearsal.SIDE, rehearsal.SIDE)


def test_a_rehearsal_is_of_a_full_run(capsys: pytest.CaptureFixture):
    assert cli.main(["run", "start", "--rehearse"]) == 2
    assert "--rehearse goes with --full" in capsys.readouterr().err


def apart(do: Callable, *arguments) -> int:
    """The exit code of a function in a forked process: its changes stay there, and torch is not imported once more."""
    process = forked(do, *arguments)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def study(folder: Path) -> None:
    rehearsal.shorten()
    words = "--limit 2 --seeds 2 --iterations 2 --curve-steps 2 --device cpu "
    words += "--option inr.steps=3 --option extremal_perturbation.steps=3 --option rise.masks=8"
    sys.exit(cli.main(["study", str(folder), *words.split()]))


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study as the notebooks of the tables want it, of two pictures in a few steps."""
    folder = tmp_path_factory.mktemp("study")
    assert apart(study, folder) == 0
    return folder


def reads_a_study(notebook: notebooks.Notebook) -> bool:
    return str(notebook.defaults.get("RESULTS")).endswith("rows.csv")


def full_values(notebook: notebooks.Notebook, request: pytest.FixtureRequest) -> dict[str, Any]:
    """RESULTS: the small study where one study is read; where a folder of several is, the committed one."""
    given = {}
    if reads_a_study(notebook):
        given["RESULTS"] = str(request.getfixturevalue("small_study"))
    elif "RESULTS" in notebook.defaults:
        given["RESULTS"] = notebook.defaults["RESULTS"]
    full = notebooks.settings(notebook, given, full=True, device="cpu" if notebook.kinds["DEVICE"] else None)
    return rehearsal.cut(notebook.defaults, full)


def execute(path: Path, values: dict[str, Any], folder: Path) -> None:
    """Every code cell, in a shell of this process; no kernel has to start."""
    from IPython.core.interactiveshell import InteractiveShell
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook
    from traitlets.config import Config

    places = {"INREXP_FIGURES": "figures", "INREXP_EXPLANATIONS": "explanations", "IPYTHONDIR": "ipython"}
    os.environ.update({name: str(folder / place) for name, place in places.items()} | {REHEARSAL: "1"})
    os.chdir(path.parent)
    content = parameterize_notebook(load_notebook_node(str(path)), values, kernel_name="python3", language="python")
    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    for source in (rehearsal.PREAMBLE, *(cell.source for cell in content.cells if cell.cell_type == "code")):
        shell.run_cell(source).raise_error()


def group(path: Path) -> str:
    """Notebooks are tests of their own for two processes; those that share the small study stay together."""
    return "tables" if reads_a_study(notebooks.read(path)) else path.stem


PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=pytest.mark.xdist_group(group(path)), id=path.stem) for path in PATHS]
)
def test_the_full_path_of_a_notebook_runs_to_its_end(path: Path, tmp_path: Path, request: pytest.FixtureRequest):
    import papermill.iorw  # noqa: F401  # it takes seconds: once here, not in each process

    notebook = notebooks.read(path)
    assert apart(execute, path, full_values(notebook, request), tmp_path) == 0
    for name in notebook.figures:
        assert list((tmp_path / "figures").glob(f"{name}*.png")), f"{name} was not drawn"


@pytest.mark.slow
@pytest.mark.xdist_group("tables")
def test_a_rehearsal_in_a_kernel_leaves_an_executed_copy(tmp_path: Path, request: pytest.FixtureRequest):
    notebook = notebooks.find("table2", notebooks.notebooks())
    values = full_values(notebook, request)
    copy = execution.run(notebook, values, tmp_path, timeout=300, figures=tmp_path / "figures", rehearse=True)
    assert REHEARSAL not in copy.read_text()
    assert notebooks.stamp_of(copy)["code"] == notebook.code
    assert notebooks.stamp_of(copy)["values"] == values
    for name in notebook.figures:
        assert list((tmp_path / "figures").glob(f"{name}*.png")), f"{name} was not drawn"
