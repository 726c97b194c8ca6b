"""How the house is built: rooms and modules import downwards, stay short, and each keeps to its own work."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Each room, or module that stands alone, imports only from itself and from those before it. Pictures are loaded from
# everywhere, so that module of `datasets` comes first.
ORDER = (
    "files",
    "names",
    "claims",
    "seeds",
    "models",
    "baselines",
    "paper",
    "attribution",
    "explanation",
    "saliency",
    "explanations",
    "iterations",
    "datasets.pictures",
    "datasets",
    "method",
    "methods",
    "saved",
    "comparison",
    "metrics",
    "study",
    "figures",
    "widgets",
    "commands",
)
DRAWS = ("figures", "widgets", "commands")  # rooms that may draw
DRAWING = {"matplotlib", "seaborn", "ipywidgets", "anywidget"}
SHORTEST, LONGEST = 50, 300  # lines of a module
# What does not hold yet. An entry that is mended has to go: the tests below fail while it stays.
TOO_LONG: set[str] = set()
TOO_SHORT = {
    "claims",
    "names",
    "seeds",
    "paper.smallest_area",
    "paper.outcome",
    "study.shared_rows",
    "baselines.gradient",
    "datasets.named",
    "models.randomise",
}
UPWARDS: set[tuple[str, str]] = set()
# Beside those that are named after a module or a room; two modules are called claims, and no two tests may be.
TESTS_OF_SEVERAL = {"figures/test_drawn_claims", "study/test_faults", "widgets/test_browser"}


def dotted(path: Path) -> str:
    """inrexp/paper/fit.py is `paper.fit`, inrexp/figures/__init__.py is `figures`."""
    parts = path.relative_to(ROOT / "inrexp").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {dotted(path): path for path in sorted((ROOT / "inrexp").rglob("*.py"))}
PACKAGES = {name for name, path in FILES.items() if path.name == "__init__.py"}
MODULES = sorted(set(FILES) - PACKAGES)


def imported(path: Path) -> set[str]:
    """Dotted names of everything that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def used_by(name: str) -> set[str]:
    """The package's own modules that a module imports, inside functions too."""
    own = {one.removeprefix("inrexp.") for one in imported(FILES[name]) if one.startswith("inrexp.")}
    return {one for one in own if one in FILES} - {name}


def place(module: str) -> int:
    """The module's place in ORDER: its own if it has one, else its room's."""
    wanted = module if module in ORDER else module.split(".")[0]
    assert wanted in ORDER, f"{module} has no place in the order yet"
    return ORDER.index(wanted)


@pytest.mark.parametrize("module", sorted(set(FILES) - {""}))
def test_rooms_import_downwards_only(module: str):
    upwards = {other for other in used_by(module) if place(other) > place(module)}
    assert upwards == {other for name, other in UPWARDS if name == module}


def test_modules_of_a_room_import_downwards_only():
    TopologicalSorter({name: used_by(name) - PACKAGES for name in MODULES}).prepare()  # raises CycleError


def test_the_order_names_what_there_is():
    assert {name.split(".")[0] for name in set(FILES) - {""}} == {name.split(".")[0] for name in ORDER}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_short_and_holds_something(module: str):
    lines = len(FILES[module].read_text().splitlines())
    assert (lines > LONGEST) == (module in TOO_LONG), f"{module} has {lines} lines: split it, or take it off TOO_LONG"
    short = lines < SHORTEST and not module.startswith("commands.")  # a command may be a few options and a call
    assert short == (module in TOO_SHORT), f"{module} has {lines} lines: join it, or take it off TOO_SHORT"


def test_the_lists_of_what_does_not_hold_yet_name_modules_that_exist():
    assert TOO_LONG | TOO_SHORT | {name for pair in UPWARDS for name in pair} <= set(MODULES)


@pytest.mark.parametrize("module", [name for name in FILES if name.split(".")[0] not in DRAWS])
def test_what_computes_does_not_draw(module: str):
    assert not {name.split(".")[0] for name in imported(FILES[module])} & DRAWING


@pytest.mark.parametrize("module", sorted(FILES))
def test_nothing_seeds_or_draws_from_the_global_generator(module: str):
    source = FILES[module].read_text()
    assert not re.search(r"torch\.manual_seed|np\.random\.(seed|rand)|random\.seed|seed_everything", source)


def test_no_two_modules_of_tests_have_one_name():
    """pytest imports them by their name alone, and stops where a second one has it."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py")]
    assert sorted(set(names)) == sorted(names)


def test_the_tests_mirror_the_tree():
    rooms = PACKAGES - {""}
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders == rooms
    for path in (ROOT / "tests").glob("*/test_*.py"):
        room, tested = path.parent.name, path.stem.removeprefix("test_")
        known = tested == room or f"{room}.{tested}" in MODULES or f"{room}/{path.stem}" in TESTS_OF_SEVERAL
        assert known, f"{path.relative_to(ROOT)} is named after no module of inrexp/{room}"
