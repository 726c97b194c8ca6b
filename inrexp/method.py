"""What is known of a method beside its function, and how a reader's own method joins the others.

A study, a table, the command line and the widgets read a method's record and never its name, so a new method needs no
line in any of them.
"""

import dataclasses
import hashlib
import inspect
import json
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inrexp.attribution import Attribution
from inrexp.paper.settings import FitConfig

NO_OPTION = ("seed", "progress", "callback", "batch", "saliency")  # keywords that do not change a method's answer
ANSWERS = ("masks", "map")
Scores = tuple[float, float | None]  # precision and hit rate; None where the paper's text gives none


@dataclass(frozen=True)
class Method:
    """A method of the comparison. Calling it calls its function.

    name: how METHODS, rows and the command line call it.  label: how tables and figures call it.
    function: (classifier, picture, target, *, seed, progress, ...) -> Explanation or SaliencyMap. The other
        keyword-only parameters are its options, and their defaults are what a study uses unless it is told otherwise.
    answers: "masks" of an area, which are cut at a mask value, or a "map", which is cut at a value of the map.
    draws: whether it draws random numbers; without them a single seed says all.
    published: the options of its publication, which a table's caption compares with; {} for the defaults, None for a
        method that is not in the paper.
    seeds: how many seeds section 3.3.1 has for it.
    presets: the names that its option `preset` takes.
    config: the fit's settings for its options, of a method that is fitted.
    in_turn: algorithm 1 for several pictures, targets and seeds in one call, of a method that has it:
        (classifier, pictures, targets, *, seeds, n, threshold, callback, **options) -> a list of Explanations.
    scores: what the paper's text gives for it, by the first letters of a data set's name.
    scores_in_turn: the same for the explanations of algorithm 1 (table 2), by iteration.
    version: of its code, a part of every row's key; `load_methods` sets it to the file's digest. Raise it by hand when
        the function changes in a notebook and old rows must not be used.
    """

    name: str
    label: str
    function: Callable[..., Attribution]
    answers: str = "map"
    draws: bool = True
    published: Mapping[str, Any] | None = None
    seeds: int = 1
    presets: tuple[str, ...] = ()
    config: Callable[..., FitConfig] | None = None
    in_turn: Callable[..., list] | None = None
    scores: Mapping[str, Scores] = field(default_factory=dict)
    scores_in_turn: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)
    version: str = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"name must be one word of letters, digits and _, got {self.name!r}")
        if self.answers not in ANSWERS:
            raise ValueError(f"answers must be 'masks' or 'map', got {self.answers!r}")
        missing = {"seed", "progress"} - set(self._keywords())
        if missing:
            raise TypeError(
                f"function of {self.name} must take seed and progress as keyword-only parameters, as in "
                f"def {self.name}(classifier, picture, target=None, *, seed=0, progress=True); it lacks "
                f"{' and '.join(sorted(missing))}"
            )

    def __call__(self, *arguments: Any, **options: Any) -> Attribution:
        return self.function(*arguments, **options)

    @property
    def options(self) -> dict[str, Any]:
        """Each option with its default."""
        return {name: value for name, value in self._keywords().items() if name not in NO_OPTION}

    def checked(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """All options, the chosen ones among them.

        Raises LookupError for one that the method does not have, ValueError for a value of another kind.
        """
        every = self.options
        for name, value in chosen.items():
            if name not in every:
                there = f"its options are {', '.join(every)}" if every else "it has none"
                raise LookupError(f"{self.name} has no option {name!r}: {there}")
            if not _fits(value, every[name]):
                raise ValueError(
                    f"{self.name}.{name} must be of the kind of its default {every[name]!r}, got {value!r}"
                )
        found = every | dict(chosen)
        if self.config is not None:
            self.config(**found)  # refuses what cannot be fitted
        return found

    def settings(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """What its answer depends on beside picture, target and seed, as values that JSON knows."""
        options = self.checked(chosen)
        found = {"fit": dataclasses.asdict(self.config(**options))} if self.config is not None else options
        try:
            json.dumps(found)
        except TypeError as error:
            raise ValueError(f"{self.name}: a study keeps its options in a table, so {error}: give a name") from error
        return found | ({"version": self.version} if self.version else {})

    def preset(self, chosen: Mapping[str, Any]) -> str | None:
        """The name of its preset; "custom" for settings of the reader's own, None for a method without presets."""
        value = self.checked(chosen).get("preset")
        return value if value is None or isinstance(value, str) else "custom"

    def _keywords(self) -> dict[str, Any]:
        parameters = inspect.signature(self.function).parameters.values()
        return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}


def _fits(value: Any, default: Any) -> bool:
    if default is None or value is None:
        return True
    if isinstance(default, str):
        return isinstance(value, str | FitConfig)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


METHODS: dict[str, Method] = {}  # name -> record, in the order of tables; the paper's own stands first


def register(method: Method) -> Method:
    """Let a method join the others under its name: in studies, tables and on the command line.

    A cell may be run again: the newer record replaces the older.  Raises ValueError for the name of a packaged method.
    """
    there = METHODS.get(method.name)
    if there is not None and there.function.__module__.startswith("inrexp.") and there is not method:
        raise ValueError(f"name {method.name!r} belongs to a method of the package: choose another")
    METHODS[method.name] = method
    return method


def load_methods(path: "str | Path") -> list[Method]:
    """Run a Python file that registers methods; the digest of its text becomes their version.

    Raises FileNotFoundError, and ValueError for a file that registers none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file of methods at {path}")
    before = dict(METHODS)
    runpy.run_path(str(path))
    version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    found = [one for name, one in METHODS.items() if before.get(name) is not one]
    if not found:
        raise ValueError(
            f"{path} registers no method: it must call inrexp.register(inrexp.Method(name, label, function))"
        )
    return [register(dataclasses.replace(one, version=version)) for one in found]
