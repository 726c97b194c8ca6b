"""The record of a method: its function and what else must be known of it. Readers add their own with `register`.

Studies, tables, the command line and the widgets read this record and never ask for a method by its name. A new method
therefore needs no change in any of them.
"""

import dataclasses
import hashlib
import inspect
import json
import runpy
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inrexp.attribution import Attribution
from inrexp.paper.settings import FitConfig

NO_OPTION = ("seed", "progress", "callback", "saliency")  # keywords that are no options of a study
ANSWERS = ("masks", "map")
Scores = tuple[float, float | None]  # precision and hit rate; None where the paper's text gives none


@dataclass(frozen=True)
class Method:
    """A method of the comparison. Calling the record calls its function.

    name: what METHODS, rows and the command line call the method.  label: what tables and figures call it.
    function: (classifier, picture, target, *, seed, progress, ...) -> Explanation or SaliencyMap. Its other
        keyword-only parameters are the method's options. A study uses their defaults unless its plan changes them.
    answers: "masks" if the method gives a mask for an area, which is cut at a mask value; "map" if it gives a saliency
        map, which is cut at a value of the map.
    draws: whether the method draws random numbers. If it does not, a study runs it with a single seed.
    published: the options in the method's publication. A table's caption names where a study differs from them. {}
        means the defaults, and None means that the method is not in the paper.
    seeds: the number of seeds that section 3.3.1 uses for the method.
    shown: for a method that fits nothing, what it shows the classifier in place of the pixels that it removes. A fitted
        method's settings say that.
    presets: the names that its option `preset` accepts.
    config: for a fitted method, the function that turns its options into the settings of the fit.
    check: for another method, a function of its options that raises for values that the method refuses.
    in_turn: for a method with algorithm 1, the function that runs it for several pictures, targets and seeds at once:
        (classifier, pictures, targets, *, seeds, n, threshold, callback, **options) -> a list of Explanations.
    scores: the paper's precision and hit rate for the method, by the first letters of a data set's name.
    scores_in_turn: the same for the explanations of algorithm 1 (table 2), by iteration.
    version: the version of the method's code, a part of every row's key. `load_methods` sets it to the digest of the
        file. If the function changes in a notebook and old rows must not be used again, change the version by hand.
    Raises ValueError for a bad name or kind of answer, and TypeError for a function without `seed` or `progress`.
    """

    name: str
    label: str
    function: Callable[..., Attribution]
    answers: str = "map"
    draws: bool = True
    published: Mapping[str, Any] | None = None
    seeds: int = 1
    shown: str = ""
    presets: tuple[str, ...] = ()
    config: Callable[..., FitConfig] | None = None
    check: Callable[..., object] | None = None
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
        """The function's answer.  Raises TypeError for one that is no `Attribution`."""
        found = self.function(*arguments, **options)
        if not isinstance(found, Attribution):
            raise TypeError(
                f"function of {self.name} must return an Explanation or a SaliencyMap, got {type(found).__name__}: "
                "wrap scores (1, 1, h, w) in inrexp.SaliencyMap"
            )
        return found

    @property
    def options(self) -> dict[str, Any]:
        """The default of each option, by name."""
        return {name: value for name, value in self._keywords().items() if name not in NO_OPTION}

    def checked(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """All options: the chosen values, and the defaults of the others.

        Raises LookupError for an option that the method does not have, and ValueError for a value of the wrong kind.
        """
        every = self.options
        for name, value in chosen.items():
            if name not in every:
                there = f"its options are {', '.join(every)}" if every else "it has none"
                raise LookupError(f"{self.name} has no option {name!r}: {there}")
            if not _fits(value, every[name], self._annotations().get(name, "")):
                kind = self._annotations().get(name) or "of its default's kind"
                raise ValueError(f"{self.name}.{name} must be {kind} (its default is {every[name]!r}), got {value!r}")
        found = every | dict(chosen)
        for check in (self.config, self.check):  # either raises for values with which nothing can be computed
            if check is not None:
                check(**found)
        return found

    def settings(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that an answer depends on apart from picture, target and seed, as values that JSON can hold.

        Raises ValueError for an option that JSON cannot hold.
        """
        options = self.checked(chosen)
        found = {"fit": dataclasses.asdict(self.config(**options))} if self.config is not None else options
        try:
            json.dumps(found)
        except TypeError as error:
            raise ValueError(
                f"{self.name}: a study keeps its options as JSON, but {error}: give a name instead of the object"
            ) from error
        return found | ({"version": self.version} if self.version else {})

    def preset(self, chosen: Mapping[str, Any]) -> str | None:
        """The name of the chosen preset; "custom" for the reader's own settings, None for a method without presets."""
        value = self.checked(chosen).get("preset")
        return value if value is None or isinstance(value, str) else "custom"

    def _annotations(self) -> dict[str, str]:
        """What each keyword-only parameter says that it takes, as text such as "int | None"."""
        parameters = inspect.signature(self.function).parameters.values()
        kinds = {one.name: one.annotation for one in parameters if one.annotation is not one.empty}
        return {name: kind.__name__ if isinstance(kind, type) else str(kind) for name, kind in kinds.items()}

    def _keywords(self) -> dict[str, Any]:
        parameters = inspect.signature(self.function).parameters.values()
        return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}


def _fits(value: Any, default: Any, annotation: str) -> bool:
    """Whether a value is of its default's kind; where the default is None, of the annotation's."""
    if value is None:
        return default is None or "None" in annotation or "Optional" in annotation
    if default is None:
        kinds = {"int": int, "float": int | float, "str": str}
        wanted = kinds.get(annotation.replace("None", "").strip(" |"))
        return wanted is None or (isinstance(value, wanted) and not isinstance(value, bool))
    if isinstance(default, str):
        return isinstance(value, str | FitConfig)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


METHODS: dict[str, Method] = {}  # name -> record, in the order of tables; the paper's own stands first
PACKAGED: set[str] = set()  # the names of the package's own, which `comparison` registers


def register(method: Method) -> Method:
    """Add a method to METHODS, so that studies, tables and the command line know it by its name.

    A second record of the same name replaces the first, so that a notebook's cell may be run again.  Raises ValueError
    for the name of a method of the package.
    """
    if method.name in PACKAGED and METHODS.get(method.name) is not method:
        raise ValueError(f"name {method.name!r} belongs to a method of the package: choose another")
    METHODS[method.name] = method
    return method


def load_methods(path: "str | Path") -> list[Method]:
    """Run a Python file that registers methods.  Returns their records.

    The digest of the file becomes the version of its methods, so that a changed file does not get the rows of the old.
    Raises FileNotFoundError without the file, RuntimeError with the file, the line and the cause for one that ends in
    an error, and ValueError for a file that registers no method.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file of methods at {path}")
    before = dict(METHODS)
    try:
        runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise RuntimeError(f"{path} could not be run, line {_line_of(error, path)}: {cause}") from error
    version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    found = [one for name, one in METHODS.items() if before.get(name) is not one]
    if not found:
        raise ValueError(
            f"{path} registers no method: it must call inrexp.register(inrexp.Method(name, label, function))"
        )
    return [register(dataclasses.replace(one, version=version)) for one in found]


def _line_of(error: BaseException, path: Path) -> int | str:
    """The line of a file on which an error arose, or from which the call that raised it came; "?" without one."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or "?"
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == str(path)]
    return lines[-1] if lines else "?"
