"""Without a clone: the package built as a wheel, unpacked into an empty folder and used from another one."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = {
    "explain": ["explain", "coffee", "--steps", "5", "--device", "cpu"],
    "check": ["data", "check", "packaged"],
    "missing": ["data", "check", "voc07"],
    "run": ["run", "fig1"],
}
# In one process, since importing torch takes longer than most of it.
SCRIPT = """
import contextlib, io, json, sys
import inrexp
from inrexp import files
from inrexp.commands.cli import main
from inrexp.datasets import load_dataset

answers = {}
for name, words in json.loads(sys.argv[1]).items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    answers[name] = [code, out.getvalue(), err.getvalue()]
classifier = inrexp.load_classifier(device="cpu")
seen = [sample.name for sample in load_dataset("packaged") if sample.truth(classifier).object.any()]
print(json.dumps({**answers, "paths": [str(files.PACKAGE), str(files.DATA), str(files.data_folder())], "seen": seen}))
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the clone keeps no build folder."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "external")
    for name in ("inrexp", "data"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(out), str(source)], check=True, timeout=300)
    (built,) = out.glob("inrexp-*.whl")
    return built


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the installed package is used; nothing of the clone is here."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def answers(wheel: Path, folder: Path) -> dict[str, list]:
    """The wheel's contents, first on the path of another process: what each command answered there."""
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "installed")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("INREXP_")}
    environment |= {"PYTHONPATH": str(folder / "installed"), "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, json.dumps(COMMANDS)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_wheel_holds_the_code_and_the_data_that_the_code_reads(wheel: Path):
    held = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    code = {path for path in (ROOT / "inrexp").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    data = {path for path in (ROOT / "data").rglob("*") if path.is_file()}
    shipped = {path for path in data if path.relative_to(ROOT / "data").parts[0] not in ("results", "external")}
    assert {path.relative_to(ROOT) for path in code} <= held
    assert {Path("inrexp") / path.relative_to(ROOT) for path in shipped} <= held
    assert [path for path in held if path.match("*.data/data/etc/jupyter/jupyter_nbconvert_config.json")]
    assert not [path for path in held if "results" in path.parts or "external" in path.parts or "tests" in path.parts]


def test_the_installed_package_is_used_and_not_the_clone(answers: dict[str, list], folder: Path):
    package = folder / "installed" / "inrexp"
    assert answers["paths"] == [str(package), str(package / "data"), str(folder / "inrexp-data")]


def test_without_a_clone_a_picture_is_explained(answers: dict[str, list], folder: Path):
    _, printed, complaint = answers["explain"]
    assert "espresso: p = 0.9" in printed, complaint
    assert (folder / "out" / "coffee_overlay.png").is_file()


def test_without_a_clone_the_packaged_data_set_is_whole(answers: dict[str, list]):
    code, printed, complaint = answers["check"]
    assert (code, printed.splitlines()[-1:]) == (0, ["packaged: ok"]), complaint
    assert "coffee" in answers["seen"]


def test_without_a_clone_missing_data_say_where_to_put_them(answers: dict[str, list], folder: Path):
    code, _, complaint = answers["missing"]
    assert code == 2
    assert f"put it at {folder / 'inrexp-data'}" in complaint


def test_without_a_clone_the_command_run_says_to_clone(answers: dict[str, list], folder: Path):
    code, _, complaint = answers["run"]
    assert code == 2
    assert f"no notebooks in {folder / 'notebooks'}" in complaint
    assert "Clone the repository and run `inrexp run` in the clone" in complaint
