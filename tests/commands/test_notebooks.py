"""`inrexp run` and nbval's comparison on a notebook of three cells; the committed notebooks without executing them."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from toy_notebook import write_notebook

from inrexp.commands import cli, execution, notebooks, schedule

ROOT = Path(__file__).parents[2]
PARAMETERS = """QUICK = True
DEVICE: str | None = None
STEPS: int | None = None
RATE = 0.5
NAME = "coffee"
AREAS = [0.1, 0.2]
FULL = {"RATE": 1.5, "AREAS": [0.1]}"""
CELLS = [
    PARAMETERS,
    'print(f"rate {RATE:.2f} of {NAME}, took 3.1 s")',
    "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots(1, 2)\naxes[0].imshow([[0, 0], [0, 1]])\n"
    "axes[1].imshow([[1, 0], [0, 0]])",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Notebooks of a clone: 01_tiny_example.ipynb, not executed yet."""
    there = tmp_path / "notebooks"
    there.mkdir()
    write_notebook(there / "01_tiny_example.ipynb", "Tiny", *CELLS)
    return there


@pytest.fixture
def tiny(folder: Path) -> notebooks.Notebook:
    return notebooks.notebooks(folder)[0]


def test_a_notebook_says_what_it_is_and_what_it_takes(tiny: notebooks.Notebook):
    assert (tiny.name, tiny.title, tiny.minutes) == ("tiny", "Tiny", "1 minute")
    assert tiny.defaults["AREAS"] == [0.1, 0.2]
    assert tiny.kinds["STEPS"] == {"int", "NoneType"}


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"STEPS": "20"}, {"STEPS": 20}),
        ({"STEPS": "None"}, {"STEPS": None}),
        ({"RATE": "2"}, {"RATE": 2.0}),
        ({"NAME": "7"}, {"NAME": "7"}),
        ({"AREAS": "[0.5]"}, {"AREAS": [0.5]}),
    ],
)
def test_parameters_are_read_as_the_type_of_their_default(tiny: notebooks.Notebook, given: dict, value: dict):
    assert notebooks.settings(tiny, given) == value


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            {"STEP": "20"},
            LookupError,
            r"no parameter 'STEP' \(did you mean 'STEPS'\?\); it has STEPS, RATE, NAME, AREAS",
        ),
        ({"STEPS": "many"}, TypeError, "STEPS of tiny must be None or int .*, got 'many'"),
        ({"STEPS": "True"}, TypeError, "STEPS"),
        ({"AREAS": "0.1"}, TypeError, r"AREAS of tiny must be list \(its default is -p AREAS='\[0.1, 0.2\]'\)"),
        ({"AREAS": "[15]"}, ValueError, "AREAS takes fractions of the picture, such as 0.15 for 15 %, got"),
        ({"AREAS": "['a tenth']"}, ValueError, "AREAS takes fractions"),
        ({"AREAS": "[]"}, ValueError, "AREAS takes one or more"),
        ({"QUICK": "False"}, ValueError, "use --full"),
        ({"DEVICE": "cuda"}, ValueError, "use --device"),
    ],
)
def test_what_a_notebook_does_not_take_is_an_error(tiny: notebooks.Notebook, given: dict, error: type, message: str):
    with pytest.raises(error, match=message):
        notebooks.settings(tiny, given)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            {"PRESET": "crsp"},
            LookupError,
            r"no preset named 'crsp' \(did you mean 'crisp'\?\); there are crisp, draft",
        ),
        ({"PICTURES": "['monarch', 'macawz']"}, FileNotFoundError, r"no picture at macawz \(did you mean 'macaw'"),
        ({"AREA": "0"}, ValueError, "AREA takes fractions of the picture"),
    ],
)
def test_what_every_notebook_means_by_a_name_is_checked_before_it_runs(given: dict, error: type, message: str):
    with pytest.raises(error, match=message):
        notebooks.settings(notebooks.find("fig3", notebooks.notebooks()), given)


def test_a_number_of_pictures_stays_one():
    add = notebooks.find("add", notebooks.notebooks())
    assert notebooks.settings(add, {"PICTURES": "6"}) == {"PICTURES": 6}


def test_one_notebook_may_be_given_threads_and_several_have_one_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    given = []
    monkeypatch.setattr(schedule, "run_side_by_side", lambda *_, environment, **__: given.append(dict(environment)))
    for threads, names in ((None, ["fig2"]), ("2", ["fig2"]), ("2", ["fig2", "fig3"])):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if threads:
            monkeypatch.setenv("OMP_NUM_THREADS", threads)
        assert cli.main(["run", *names, "--device", "cpu", "--out", str(tmp_path)]) == 0
    assert [one["OMP_NUM_THREADS"] for one in given] == ["1", "2", "1"]


def test_a_picture_of_the_reader_s_is_found_from_where_the_command_runs(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Image.new("RGB", (32, 32)).save("mine/cat.png")
    fig3 = notebooks.find("fig3", notebooks.notebooks())
    values = notebooks.settings(fig3, {"PICTURES": "['monarch', 'mine/cat.png']"})
    assert values == {"PICTURES": ["monarch", str(tmp_path / "mine" / "cat.png")]}
    beside = notebooks.settings(fig3, {"PICTURES": "['../data/pictures/monarch.jpg']"})["PICTURES"]
    assert Path(beside[0]).is_absolute()
    assert Path(beside[0]).is_file()


def test_a_full_run_takes_what_full_says_and_then_what_the_reader_says(tiny: notebooks.Notebook):
    values = notebooks.settings(tiny, {"RATE": "3.0"}, full=True, device="cpu")
    assert values == {"QUICK": False, "RATE": 3.0, "AREAS": [0.1], "DEVICE": "cpu"}


def test_a_device_that_is_not_there_is_an_error_before_anything_runs(tiny: notebooks.Notebook):
    with pytest.raises(RuntimeError, match="not available here"):
        notebooks.settings(tiny, {}, device="mps")


def test_an_unknown_notebook_is_an_error_that_names_the_near_ones(tiny: notebooks.Notebook):
    with pytest.raises(LookupError, match=r"no notebook 'tinny' .did you mean 'tiny'\?.; there are tiny"):
        notebooks.find("tinny", [tiny])
    for name in ("tiny", "01", "tiny_ex", "01_tiny_example.ipynb"):
        assert notebooks.find(name, [tiny]) is tiny


def test_the_figures_and_tables_of_the_paper_have_their_names():
    names = [one.name for one in notebooks.notebooks()]
    assert {"start", *(f"fig{number}" for number in range(1, 7))} <= set(names)
    assert len(set(names)) == len(names)


def test_without_a_name_the_notebooks_are_listed(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [one.name for one in notebooks.notebooks()]
    assert not [line for line in lines if "(?" in line], "each first cell says `About N minutes on two CPU cores`"


def test_every_notebook_was_executed_as_it_stands():
    edited = [one.name for one in notebooks.notebooks() if notebooks.is_stale(one)]
    assert not edited, f"edited after they were executed: inrexp run {' '.join(edited)} --in-place"


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_can_run_in_full(path: Path):
    notebook = notebooks.read(path)
    assert {"QUICK", "DEVICE", "FULL"} <= set(notebook.defaults)
    assert notebooks.settings(notebook, {}, full=True)["QUICK"] is False


def test_a_full_run_without_the_rows_that_it_reads_is_left_out_of_all_and_an_error_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_notebook(tmp_path / "01_tables.ipynb", "Tables", 'QUICK = True\nROWS = "rows"\nFULL = {"ROWS": "../none"}')
    monkeypatch.setattr(notebooks, "notebooks", lambda: [notebooks.read(tmp_path / "01_tables.ipynb")])
    said = "needs none; its first cell says how to make it"
    assert cli.main(["run", "all", "--full", "--out", str(tmp_path / "out")]) == 0
    assert f"left out: {said}" in capsys.readouterr().out
    assert cli.main(["run", "tables", "--full", "--out", str(tmp_path / "out")]) == 2
    assert f"tables {said}" in capsys.readouterr().err
    assert not (tmp_path / "out" / "01_tables.ipynb").exists()


def test_a_notebook_that_is_named_twice_runs_once(
    tiny: notebooks.Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(notebooks, "notebooks", lambda: [tiny])
    run: list[str] = []
    monkeypatch.setattr(
        schedule, "run_side_by_side", lambda records, *_, **__: run.extend(r.notebook.name for r in records)
    )
    assert cli.main(["run", "tiny", "01", "01_tiny_example.ipynb", "--device", "cpu", "--out", str(tmp_path)]) == 0
    assert run == ["tiny"]


@pytest.mark.slow
def test_a_run_leaves_the_committed_notebook_and_a_quick_one_the_full_figure(
    folder: Path, tiny: notebooks.Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("INREXP_FIGURES", str(tmp_path / "figures"))
    saves = "\nfrom inrexp import figures\nfigures.save_figure(figure, 'tiny', quick=QUICK)"
    write_notebook(tiny.path, "Tiny", *CELLS[:-1], CELLS[-1] + saves)
    tiny, before = notebooks.read(tiny.path), tiny.path.read_bytes()

    def run(**options) -> Path:
        values = notebooks.settings(tiny, {}, full=options.pop("full", False))
        return execution.run(tiny, values, tmp_path / "out" / options.pop("to"), timeout=300)

    full = run(to="full", full=True)
    values = notebooks.settings(tiny, {}, full=True)
    assert execution.is_finished(tiny, values, tmp_path / "out" / "full")
    assert not execution.is_finished(tiny, values | {"RATE": 1.6}, tmp_path / "out" / "full")
    assert not execution.is_finished(dataclasses.replace(tiny, code="other"), values, tmp_path / "out" / "full")
    assert "Run with `QUICK = False`, `RATE = 1.5`, `AREAS = [0.1]`" in full.read_text()
    assert "Run with" not in run(to="quick").read_text()
    assert tiny.path.read_bytes() == before
    assert "rate 1.50" in full.read_text()
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["tiny.png", "tiny.quick.png"]
    said = [Image.open(tmp_path / "figures" / name).info["inrexp-run"] for name in ("tiny.png", "tiny.quick.png")]
    assert said == ["full", "quick"]
    with pytest.raises(RuntimeError, match=r"tiny failed in cell \d+: .*failed.ipynb"):
        execution.run(tiny, {"RATE": "word"}, tmp_path / "out" / "quick", timeout=300, figures=tmp_path / "apart")
    assert "rate 0.50" in (tmp_path / "out" / "quick" / tiny.path.name).read_text()  # the earlier copy stays
    assert "ValueError" in (tmp_path / "out" / "quick" / "01_tiny_example.failed.ipynb").read_text()
    assert not list((tmp_path / "out").rglob(".*")), "nothing unfinished stays behind"


def test_a_copy_tells_which_claims_do_not_hold_in_its_run(tmp_path: Path):
    said = {"output_type": "stream", "name": "stdout", "text": ["p = 0.5\n", "does not hold in this run: they agree\n"]}
    picture = {"output_type": "display_data", "data": {"image/png": ""}, "metadata": {}}
    cells = [{"cell_type": "code", "outputs": [said, picture]}, {"cell_type": "markdown", "source": ""}]
    (tmp_path / "copy.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}}))
    assert execution.claims_that_failed(tmp_path / "copy.ipynb") == ["does not hold in this run: they agree"]


@pytest.mark.slow
def test_a_notebook_whose_code_no_longer_gives_its_numbers_or_its_picture_fails(folder: Path, tmp_path: Path):
    shutil.copy(ROOT / "notebooks" / "conftest.py", folder)
    first = folder / "01_tiny_example.ipynb"
    execution.run_in_place(notebooks.read(first), timeout=300)
    assert not notebooks.is_stale(notebooks.read(first))

    def edited(name: str, *changes: tuple[str, str], **stamp: str) -> notebooks.Notebook:
        content = json.loads(first.read_text())
        content["metadata"]["inrexp"] |= stamp
        for cell in content["cells"]:
            for old, new in changes:
                cell["source"] = "".join(cell["source"]).replace(old, new)
        (folder / name).write_text(json.dumps(content))
        return notebooks.read(folder / name)

    number, seconds = ("RATE = 0.5", "RATE = 0.52"), ("took 3.1 s", "took 9.9 s")
    stale = edited("02_stale.ipynb", number, ("[[1, 0], [0, 0]]", "[[1, 0], [1, 0]]"))
    assert notebooks.is_stale(stale)
    edited("03_seconds.ipynb", seconds)
    edited("04_elsewhere.ipynb", number, arithmetic="another CPU's")
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", "-q", "--rootdir", tmp_path, folder],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    failed = [line.split(" ")[1:3] for line in answer.stdout.splitlines() if line.startswith("FAILED")]
    assert failed == [["notebooks/02_stale.ipynb::Cell", "1"], ["notebooks/02_stale.ipynb::Cell", "2"]], answer.stdout
    assert "0.50 is committed, 0.52 now" in answer.stdout
    assert "a picture differs in" in answer.stdout
    assert "04_elsewhere.ipynb was executed with another arithmetic" in answer.stdout
