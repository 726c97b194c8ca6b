"""Notebooks as programs: found by a short name, their parameters checked against their own cell."""

import ast
import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inrexp.commands.arguments import PRESETS
from inrexp.files import CLONE
from inrexp.names import did_you_mean

RESERVED = {"QUICK": "--full", "FULL": "--full", "DEVICE": "--device"}  # the option that sets each
STAMP = "inrexp"  # the key of our notes in a notebook's metadata


@dataclass(frozen=True)
class Notebook:
    """A committed notebook.

    defaults: the names and values of its cell tagged `parameters`.  kinds: for each, the names of the types that it may
    take: those of its annotation, else of its default and of FULL's value; empty if both are None.
    """

    path: Path
    title: str
    minutes: str
    defaults: Mapping[str, Any]
    kinds: Mapping[str, frozenset[str]]
    code: str  # digest of the code cells
    figures: tuple[str, ...] = ()  # names that its code gives to `save_figure`

    @property
    def name(self) -> str:
        """03_fig3_seeds.ipynb is `fig3`."""
        return self._long.split("_")[0]

    @property
    def _long(self) -> str:
        return self.path.stem.split("_", 1)[-1]

    def is_called(self, name: str) -> bool:
        return name in (self.path.stem, self.path.name, str(self.path), self.path.stem.split("_")[0]) or (
            self._long.startswith(name) and bool(name)
        )


def notebooks(folder: Path | None = None) -> list[Notebook]:
    """Every notebook of a folder in order; default the clone's own, without a clone ./notebooks.

    Raises FileNotFoundError where there are none: an installed package carries no notebooks.
    """
    folder = folder or (CLONE or Path.cwd()) / "notebooks"
    found = [read(path) for path in sorted(folder.glob("*.ipynb"))]
    if not found:
        raise FileNotFoundError(
            f"no notebooks in {folder.resolve()}: they are part of the repository and not of the installed package. "
            "Clone the repository and run `inrexp run` in the clone"
        )
    return found


def find(name: str, among: list[Notebook]) -> Notebook:
    """By short name (fig3, table1, start), number or file name.  Raises LookupError that names the near ones."""
    exact = [one for one in among if one.name == name]
    found = exact or [one for one in among if one.is_called(name)]
    if len(found) == 1:
        return found[0]
    names = [one.name for one in (found or among)]
    why = f"{name!r} may be any of" if found else f"no notebook {name!r}{did_you_mean(name, names)}; there are"
    raise LookupError(f"{why} {', '.join(names)}")


def read(path: Path) -> Notebook:
    """Title, minutes and parameters from the file; nothing is executed."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = next(("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"), path.stem)
    minutes = re.search(r"[Aa]bout ([^.;:]*minutes?)", text.replace("\n", " "))
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{path.name} must have one cell tagged `parameters`, it has {len(tagged)}")
    defaults, kinds = _parameters("".join(tagged[0]["source"]), path.name)
    title = text.splitlines()[0].lstrip("# ")
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    saved = tuple(dict.fromkeys(re.findall(r"save_figure\([^\"()]*(?:\([^()]*\))?[^\"()]*\"([^\"]+)\"", code)))
    return Notebook(path, title, minutes[1] if minutes else "?", defaults, kinds, digest(cells), saved)


def digest(cells: list[dict[str, Any]]) -> str:
    """sha256 of the code cells' text: what an executed notebook's outputs belong to."""
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:16]


def _parameters(source: str, where: str) -> tuple[dict[str, Any], dict[str, frozenset[str]]]:
    defaults: dict[str, Any] = {}
    written: dict[str, frozenset[str]] = {}
    for line in ast.parse(source).body:
        target = line.targets[0] if isinstance(line, ast.Assign) else getattr(line, "target", None)
        if not isinstance(line, ast.Assign | ast.AnnAssign) or not isinstance(target, ast.Name) or line.value is None:
            raise ValueError(f"{where}: the `parameters` cell takes lines of NAME = literal, got {ast.unparse(line)}")
        try:
            defaults[target.id] = ast.literal_eval(line.value)
        except ValueError as error:
            raise ValueError(f"{where}: {target.id} must be a literal, got {ast.unparse(line.value)}") from error
        if isinstance(line, ast.AnnAssign):
            written[target.id] = frozenset(re.findall(r"\w+", ast.unparse(line.annotation).replace("None", "NoneType")))
    full = defaults.get("FULL", {})
    if strange := set(full) - set(defaults):
        raise ValueError(f"{where}: FULL names {sorted(strange)}, which are no parameters")
    kinds = {
        name: written.get(name) or frozenset(type(v).__name__ for v in (default, full.get(name, default)))
        for name, default in defaults.items()
    }
    return defaults, {name: frozenset() if kind == {"NoneType"} else kind for name, kind in kinds.items()}


def settings(notebook: Notebook, given: Mapping[str, str], *, device: str | None = None, full: bool = False) -> dict:
    """What is injected: `given` texts as values of the right type, over FULL's for a full run.

    Raises LookupError for a name that the notebook lacks, TypeError for a value of another type, ValueError for a
    device that is not there or a notebook without a full run.
    """
    values: dict[str, Any] = {}
    if full:
        _must_have(notebook, ("QUICK", "FULL"), "--full")
        values = {"QUICK": False, **notebook.defaults["FULL"]}
    if device is not None:
        _must_have(notebook, ("DEVICE",), "--device")
        from inrexp.models.registry import choose_device

        values["DEVICE"] = str(choose_device(device))
    return values | {name: _checked(notebook, name, _value(notebook, name, text)) for name, text in given.items()}


def lacking(notebook: Notebook, values: Mapping[str, Any]) -> str:
    """What a full run reads that other commands make first, and that is not there yet, in words; "" if nothing is.

    values: what is injected. Those that are relative paths ("../out/study_full") count from the notebook's folder.
    """
    paths = [value for value in values.values() if isinstance(value, str) and value.startswith("../")]
    missing = [path for path in paths if not (notebook.path.parent / path).exists()]
    return f"needs {missing[0].removeprefix('../')}; its first cell says how to make it" if missing else ""


def split(text: str) -> tuple[str, str]:
    """NAME=VALUE as (name, value)."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"-p takes NAME=VALUE, got {text!r}")
    return name, value


def _must_have(notebook: Notebook, names: tuple[str, ...], option: str) -> None:
    missing = [name for name in names if name not in notebook.defaults]
    if missing:
        raise ValueError(
            f"{notebook.name} has no {' and no '.join(missing)} among its parameters: run without {option}"
        )


def _value(notebook: Notebook, name: str, text: str) -> Any:
    if name in RESERVED:
        raise ValueError(f"-p {name}: use {RESERVED[name]} instead")
    if name not in notebook.defaults:
        names = [name for name in notebook.defaults if name not in RESERVED]
        raise LookupError(
            f"{notebook.name} has no parameter {name!r}{did_you_mean(name, names)}; it has {', '.join(names)}"
        )
    kinds = notebook.kinds[name]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if type(value).__name__ in kinds or not kinds:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and "float" in kinds:
        return float(value)
    if "str" in kinds:
        return text
    wanted = " or ".join(sorted(kinds)).replace("NoneType", "None")
    default = notebook.defaults[name]
    typed = shlex.quote(json.dumps(default) if isinstance(default, list) else repr(default))
    raise TypeError(f"-p {name} of {notebook.name} must be {wanted} (its default is -p {name}={typed}), got {text!r}")


def _checked(notebook: Notebook, name: str, value: Any) -> Any:
    """The value of a parameter whose name means the same in every notebook, checked before a kernel starts.

    AREA and AREAS are fractions, PRESET, PRESETS and EP_PRESET names of presets; of PICTURE and PICTURES a file of the
    reader's is returned by its whole path. Other values come back as they are.
    Raises ValueError for an area that is no fraction, FileNotFoundError for a picture, LookupError for a preset that
    there is not.
    """
    several = value if isinstance(value, list) else [value]
    if name in ("AREA", "AREAS", "PICTURES", "PRESETS") and not several:
        raise ValueError(f"-p {name} takes one or more, got an empty list")
    if name in ("AREA", "AREAS") and not all(type(one) in (int, float) and 0 < one <= 1 for one in several):
        raise ValueError(f"-p {name} takes fractions of the picture, such as 0.15 for 15 %, got {value}")
    if name in ("PRESET", "PRESETS", "EP_PRESET"):
        for one in several:
            if one not in PRESETS:
                meant = did_you_mean(str(one), PRESETS)
                raise LookupError(f"-p {name}: no preset named {one!r}{meant}; there are {', '.join(PRESETS)}")
    if name in ("PICTURE", "PICTURES") and all(isinstance(one, str) for one in several):  # 13 counts its PICTURES
        found = [_picture(notebook, one) for one in several]
        return found if isinstance(value, list) else found[0]
    return value


def _picture(notebook: Notebook, source: str) -> str:
    """A packaged name as it is; a file by its whole path, counted from here or else from the notebook's folder."""
    from inrexp.datasets.pictures import picture_path

    for path in (Path(source), notebook.path.parent / source):
        if path.is_file():
            return str(path.absolute())
    picture_path(source)  # raises for what is no packaged name
    return source


def is_stale(notebook: Notebook) -> bool:
    """Whether the code cells were edited after `run_in_place` last executed them, or never were."""
    return stamp_of(notebook.path).get("code") != notebook.code


def stamp_of(path: Path) -> dict[str, Any]:
    """What the execution of a notebook noted in it: the digest of its code, the version, the arithmetic."""
    return json.loads(path.read_text(encoding="utf-8"))["metadata"].get(STAMP, {})
