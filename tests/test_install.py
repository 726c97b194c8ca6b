"""What a fresh clone relies on: declared and pinned packages, commands that exist, a README that is true."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import find_packages
from test_house import imported

import inrexp
from inrexp.commands import cli
from inrexp.files import picture_table
from inrexp.models.registry import LITE

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = {canonicalize_name(Requirement(line).name): Requirement(line) for line in PROJECT["dependencies"]}
TESTING = {
    canonicalize_name(Requirement(line).name): Requirement(line) for line in PROJECT["optional-dependencies"]["test"]
}


def third_party(paths: list[Path]) -> set[str]:
    """Distributions behind the imports of some files."""
    tops = {name.split(".")[0] for path in paths for name in imported(path)}
    tops -= sys.stdlib_module_names | {"inrexp", "conftest", *(path.stem for path in (ROOT / "tests").rglob("*.py"))}
    known = packages_distributions()
    return {canonicalize_name(known[top][0]) for top in tops}


def pins() -> dict[str, list[Requirement]]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    found: dict[str, list[Requirement]] = {}
    for requirement in (Requirement(line) for line in lines if line.strip() and not line.startswith("#")):
        found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def test_every_import_of_the_package_is_declared():
    extra = {canonicalize_name(Requirement(line).name) for line in PROJECT["optional-dependencies"]["cluster"]}
    cluster = ROOT / "inrexp" / "study" / "cluster.py"
    assert third_party([cluster]) <= set(DECLARED) | extra
    assert third_party([one for one in (ROOT / "inrexp").rglob("*.py") if one != cluster]) <= set(DECLARED)


def test_every_import_of_the_tests_is_declared_or_pinned():
    files = [TESTS / "conftest.py", TESTS / "planted.py", *TESTS.rglob("test_*.py")]
    assert third_party(files) <= set(DECLARED) | set(TESTING) | set(pins())


def test_packages_that_carry_weights_and_pictures_are_declared():
    known = packages_distributions()
    carriers = [package for package, *_ in LITE.values()] + [
        one["module"].split(".")[0] for one in picture_table().values() if "module" in one
    ]
    assert {canonicalize_name(known[carrier][0]) for carrier in carriers} <= set(DECLARED)


def test_every_declared_package_is_pinned_to_a_version_that_suits():
    pinned = pins()
    for name, wanted in {**DECLARED, **TESTING}.items():
        assert name in pinned, f"{name} is not in requirements.lock: make lock"
        for pin in pinned[name]:
            (exact,) = pin.specifier
            assert exact.operator == "=="
            assert wanted.specifier.contains(exact.version, prereleases=True), f"{pin} against {wanted}"


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))


def test_the_readmes_make_targets_exist():
    asked = set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", (ROOT / "README.md").read_text(), flags=re.M))
    assert {"figures", "test"} <= asked
    assert asked <= make_targets()


def test_make_help_lists_every_target():
    answer = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    listed = set(re.findall(r"^ *make ([a-z]+)", answer.stdout, flags=re.M))
    assert answer.returncode == 0
    assert listed == make_targets()


def test_make_clean_leaves_a_reader_s_studies(tmp_path: Path):
    for name in ("mine", "full", "quick", "book"):
        (tmp_path / "out" / name).mkdir(parents=True)
    subprocess.run(
        ["make", "-f", ROOT / "Makefile", "clean", "VENV=.venv"], cwd=tmp_path, check=True, capture_output=True
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["full", "mine"]


def test_the_readmes_commands_are_understood():
    lines = re.findall(r"^ {4}(?:\S*/)?inrexp (.+)$", (ROOT / "README.md").read_text(), flags=re.M)
    assert lines
    for line in lines:
        words = line.split("#")[0].split()
        assert cli.make_parser().parse_args(words).run is not None


def test_the_readmes_python_uses_names_that_exist():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    assert blocks
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner = {"inrexp": inrexp, "explanation": inrexp.Explanation, "classifier": inrexp.Classifier}
                if node.value.id in owner:
                    assert hasattr(owner[node.value.id], node.attr), ast.unparse(node)


def test_files_that_the_readme_points_to_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_the_house_is_complete():
    for name in ("LICENSE", "CITATION.cff", "environment.yml", "requirements.lock", "Makefile", ".ci/run"):
        assert (ROOT / name).stat().st_size > 100, name
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    assert "MIT License" in (ROOT / "LICENSE").read_text()
    assert "Byra" in (ROOT / "CITATION.cff").read_text()
    assert "requirements.lock" in (ROOT / "environment.yml").read_text()
    assert PROJECT["version"] == inrexp.__version__


def test_setuptools_is_told_of_every_package_and_of_the_data():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert set(told) == {*find_packages(ROOT, include=["inrexp*"]), "inrexp.data"}


def test_importing_is_silent_and_leaves_the_global_generator_alone():
    script = (
        "import torch; state = torch.random.get_rng_state(); import inrexp; "
        "assert torch.equal(state, torch.random.get_rng_state())"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, cwd="/")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
