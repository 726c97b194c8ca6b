"""A method is its record: nothing else names one, and a reader's own runs and stands in table 1 like the others."""

import ast
import json
import re
from pathlib import Path

import pandas as pd
import pytest

import inrexp
from inrexp import METHODS, Method
from inrexp.commands import cli
from inrexp.comparison import load_methods
from inrexp.method import PACKAGED
from inrexp.methods import grad_cam
from inrexp.models import registry

ROOT = Path(__file__).parents[1]
# What may not name a method: it reads records. study/quality.py may: it is the list of the settings that it compares.
NAMELESS = [*ROOT.glob("inrexp/study/*.py"), *ROOT.glob("inrexp/widgets/*.py"), *ROOT.glob("inrexp/figures/*.py")]
NAMELESS += [
    ROOT / "inrexp" / "commands" / "cli.py",
    ROOT / "inrexp" / "commands" / "study.py",
    ROOT / "inrexp/metrics.py",
]
NAMELESS.remove(ROOT / "inrexp/study/quality.py")


@pytest.fixture(autouse=True)
def methods_come_back():
    before = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(before)


def texts(path: Path) -> list[str]:
    """Every string in a module that is no docstring."""
    tree = ast.parse(path.read_text())
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in said)
    return [node.value for node in strings if isinstance(node.value, str)]


@pytest.mark.parametrize("path", NAMELESS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_method_is_named_where_records_are_read(path: Path):
    names = "|".join([*METHODS, "GradCAM", "RISE"])
    allowed = {"INR, paper"}  # an example in the help of `inrexp tables --against`
    named = [text for text in texts(path) if re.search(rf"\b({names})\b", text)]
    assert [text for text in named if not any(example in text for example in allowed)] == []


def test_a_records_options_are_its_functions_keywords():
    assert METHODS["inr"].options == {"preset": "crisp", "steps": None}
    assert METHODS["grad_cam"].options == {"layer": None}
    assert METHODS["rise"].options["masks"] == METHODS["rise"].published["masks"] == 8000
    assert [name for name, one in METHODS.items() if not one.draws] == [
        "extremal_perturbation",
        "grad_cam",
        "centred_disc",
    ]
    for method in METHODS.values():
        published = method.published or {}
        assert set(published) <= set(method.options)
        method.checked(published)


def test_the_command_lists_every_methods_options(capsys: pytest.CaptureFixture, tmp_path: Path):
    assert cli.main(["study", "--list-options"]) == 0
    alone = capsys.readouterr().out
    assert cli.main(["study", str(tmp_path / "out"), "--list-options"]) == 0
    assert capsys.readouterr().out == alone
    said = dict(line.split(": ", 1) for line in alone.splitlines())
    assert list(said) == list(METHODS)
    for name, method in METHODS.items():
        assert all(f"{option}=" in said[name] for option in method.options)
    assert "published masks=8000" in said["rise"]
    assert "presets crisp, " in said["inr"]
    assert not (tmp_path / "out").exists()


def test_an_option_whose_default_is_none_is_held_to_its_annotation():
    with pytest.raises(ValueError, match=r"inr.steps must be int \| None .its default is None., got 'abc'"):
        METHODS["inr"].checked({"steps": "abc"})
    assert METHODS["inr"].checked({"steps": 7})["steps"] == 7


@pytest.mark.parametrize(
    ("facts", "error", "message"),
    [
        ({"name": "my method"}, ValueError, "name must be one word"),
        ({"answers": "heatmap"}, ValueError, "answers must be 'masks' or 'map', got 'heatmap'"),
        ({"function": lambda classifier, picture: None}, TypeError, "mine must take seed and progress as keyword-only"),
    ],
)
def test_a_record_that_cannot_work_is_refused(facts: dict, error: type, message: str):
    with pytest.raises(error, match=message):
        Method(**{"name": "mine", "label": "Mine", "function": grad_cam} | facts)


def test_a_method_that_answers_with_no_attribution_is_told_what_to_return():
    mine = Method("mine", "Mine", lambda classifier, picture, target=None, *, seed=0, progress=True: [0.5])
    with pytest.raises(TypeError, match="mine must return an Explanation or a SaliencyMap, got list: wrap"):
        mine(None, "coffee")


def test_a_packaged_method_keeps_its_name_and_ones_own_can_be_replaced():
    with pytest.raises(ValueError, match="'rise' belongs to a method of the package"):
        inrexp.register(Method("rise", "Mine", grad_cam))
    for label in ("First", "Second"):
        inrexp.register(Method("mine", label, lambda classifier, picture, target=None, *, seed=0, progress=True: None))
    assert METHODS["mine"].label == "Second"
    for label in ("Third", "Fourth"):  # a function of the package under a name of one's own
        inrexp.register(Method("mine", label, inrexp.grad_cam))
    assert METHODS["mine"].label == "Fourth"
    assert inrexp.register(METHODS["rise"]) is METHODS["rise"]


def test_a_file_without_a_method_is_refused(tmp_path: Path):
    (tmp_path / "nothing.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match="registers no method: it must call inrexp.register"):
        load_methods(tmp_path / "nothing.py")
    with pytest.raises(FileNotFoundError, match="no file of methods"):
        load_methods(tmp_path / "nowhere.py")


def test_every_method_of_the_package_keeps_its_name():
    assert set(METHODS) == PACKAGED


def notebook_13() -> str:
    """Its cells up to the line that registers the method, as the text of a file."""
    cells = json.loads((ROOT / "notebooks" / "13_add_a_method.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    until = next(place for place, text in enumerate(code) if "inrexp.register(" in text)
    wanted = ("import", "STEPS", "def integrated_gradients", "inrexp.register(")
    return "\n\n".join(text for text in code[: until + 1] if any(word in text for word in wanted)) + "\n"


@pytest.mark.slow
def test_the_method_of_notebook_13_runs_in_a_study_and_stands_in_table_1(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    *packed, _ = registry.LITE["efficientnet_lite0"]
    monkeypatch.setitem(registry.LITE, "efficientnet_lite0", (*packed, 96))  # px, so that it takes a quarter as long
    plugin = tmp_path / "mine.py"
    plugin.write_text(notebook_13())
    study = ["study", str(tmp_path / "study"), "--plugin", str(plugin), "--methods", "integrated_gradients,grad_cam"]
    study += ["--option", "integrated_gradients.steps=2", "--limit", "2", "--curve-steps", "2", "--device", "cpu"]
    assert cli.main(study) == 0
    assert "4 rows: 4 finished" in capsys.readouterr().out
    assert cli.main(["tables", str(tmp_path / "study"), "--plugin", str(plugin), "--out", str(tmp_path / "out")]) == 0
    table = pd.read_csv(tmp_path / "out" / "table1.csv")
    assert table["method"].tolist() == ["GradCAM", "Integrated gradients"]
    assert table["precision"].notna().all()
    text = (tmp_path / "out" / "table1.md").read_text()
    assert "Integrated gradients: not a method of the paper" in text
    rows = pd.read_csv(tmp_path / "study" / "rows.csv")
    settings = json.loads(rows[rows["method"] == "integrated_gradients"]["settings"].iloc[0])
    assert settings["steps"] == 2
    assert set(rows["seed"]) == {0}  # it draws no random number
    plugin.write_text(plugin.read_text() + "\n# another version of it\n")
    assert cli.main(study) == 0
    again = pd.read_csv(tmp_path / "study" / "rows.csv")
    assert len(again) == len(rows) + 2  # the changed file's rows are others
