"""Algorithm 1 at work: explanations in turn, of many pictures at once; and, beyond the paper, jointly from one fit."""

import contextlib
import dataclasses
import itertools
import warnings
from collections.abc import Callable, Sequence
from numbers import Integral

import torch

from inrexp.explanation import Explanation
from inrexp.explanations import Ending, Explanations, baseline_of, smallest_beside
from inrexp.models.classifier import Classifier
from inrexp.paper.algorithm1 import algorithm_1, seed_of
from inrexp.paper.conditions import checked_number
from inrexp.paper.fit import Fitted, Problem, fit
from inrexp.paper.inr import MaskField
from inrexp.paper.masks import MaskSource
from inrexp.paper.presets import named
from inrexp.paper.settings import FieldSettings, FitConfig
from inrexp.paper.smallest_area import checked_cut, checked_threshold

BASELINE_AREAS = ("smallest", "largest")
NumberedCallback = Callable[[int, int, dict[str, float], MaskSource], None]


@dataclasses.dataclass(frozen=True)
class Rules:
    """How the explanations of algorithm 1 are judged.

    baseline_area: which of a field's masks is M^n. "smallest" is the mask at a*, or at the range's end where there is
        no a*; "largest" is the range's end; a number is that area for every explanation.
    threshold: Phi_0; None is half of the unmasked probability.  cut: judge masks cut to 0/1.
    stop: end at the first explanation that adds nothing which keeps the class.
    """

    baseline_area: str | float = "smallest"
    threshold: float | None = None
    cut: float | None = None
    stop: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.baseline_area, str) and self.baseline_area not in BASELINE_AREAS:
            raise ValueError(f"baseline_area must be one of {BASELINE_AREAS} or a number, got {self.baseline_area!r}")
        if self.threshold is not None:
            checked_threshold(self.threshold)
        if self.cut is not None:
            checked_cut(self.cut)

    def area_of(self, explanation: Explanation, smallest: float | None) -> float:
        """The area of M^n, given its a*."""
        if not isinstance(self.baseline_area, str):
            return float(self.baseline_area)
        searched = self.baseline_area == "smallest" and smallest is not None
        return smallest if searched else explanation.area_range[1]  # type: ignore[return-value]


def explain_in_turn(
    classifier: Classifier,
    problems: Sequence[Problem],
    config: FitConfig,
    *,
    n: int,
    rules: Rules | None = None,
    initial: torch.Tensor | None = None,
    first: Sequence[Explanation] | None = None,
    max_batch: int = 64,
    progress: bool = True,
    callback: NumberedCallback | None = None,
) -> list[Explanations]:
    """Algorithm 1 on many pictures at once: round i fits explanation i of each picture that is not done yet.

    problems: images, targets and first seeds.  initial: M^0, masks (m, 1, h, w) that count as explained already.
    first: the first explanation of each picture, where it was made before; then round 1 fits nothing.
    Ctrl-C and `Cancelled` keep the explanations that were finished.
    """
    rules = rules or Rules()
    check_iterations(n, rules, config)
    check_first(first, classifier, problems, config, alone=initial is None)
    runs = [_Run(classifier, problem, config, initial, rules) for problem in problems]
    rounds = 0

    def train(fresh: list[Problem]) -> Sequence[Fitted | Explanation]:
        nonlocal rounds
        rounds += 1
        number = rounds
        if number == 1 and first is not None:
            return first
        numbered = None if callback is None else (lambda step, report, source: callback(number, step, report, source))
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="The fit was interrupted")  # said below, for the whole run
                fitted = fit(classifier, fresh, config, max_batch=max_batch, progress=progress, callback=numbered)
        except KeyboardInterrupt:
            return []
        return list(itertools.takewhile(lambda one: one.outcome.kind != "interrupted", fitted))  # the first ones, whole

    def generate(index: int, trained: Fitted | Explanation) -> torch.Tensor | None:
        return runs[index].take(trained) if isinstance(trained, Explanation) else runs[index].add(trained)

    with contextlib.suppress(KeyboardInterrupt):  # also while explanations are judged; said below
        algorithm_1([run.problem for run in runs], n, train, generate)
    unfinished = [run for run in runs if run.ending.kind == "finished" and len(run.found) < n]
    if unfinished:
        for run in unfinished:
            run.ending = Ending("interrupted", during=len(run.found) + 1)
        kept = sum(len(run.found) for run in runs)
        where = f"Interrupted during explanation {rounds}"
        warnings.warn(f"{where}: {kept} finished are kept. The first seed was {problems[0].seed}.", stacklevel=3)
    return [run.result() for run in runs]


class _Run:
    """One picture's way through algorithm 1: its explanations, their areas and a*."""

    def __init__(
        self,
        classifier: Classifier,
        problem: Problem,
        config: FitConfig,
        initial: torch.Tensor | None,
        rules: Rules,
    ):
        self.classifier, self.config, self.initial, self.rules = classifier, config, initial, rules
        self.baseline = baseline_of(initial, problem.image)
        self.problem = dataclasses.replace(problem, baseline=None if initial is None else self.baseline)
        if rules.threshold is None:
            self.threshold = 0.5 * float(classifier.probability(problem.image, problem.target))
        else:
            self.threshold = rules.threshold
        self.found: list[Explanation] = []
        self.areas: list[float] = []
        self.stars: list[float | None] = []
        self.ending = Ending()

    def add(self, fitted: Fitted) -> torch.Tensor | None:
        """Take in a trained network.  Returns its mask M^n, or None where the run ends with it."""
        seed = seed_of(self.problem.seed, len(self.found) + 1)
        explanation = Explanation.of_fit(
            fitted, self.classifier, self.problem.image, self.problem.target, self.config, seed
        )
        return self.take(explanation)

    def take(self, explanation: Explanation) -> torch.Tensor | None:
        """Take in an explanation.  Returns its mask M^n, or None where the run ends with it."""
        smallest = smallest_beside(explanation, self.threshold, self.rules.cut, self.baseline)
        area = self.rules.area_of(explanation, smallest)
        mask = explanation.mask(area)
        if not explanation.explains:  # a fit that failed bars nothing, and is no sign of nothing more
            mask = torch.zeros_like(mask)
        self.baseline = (self.baseline + mask).clamp(0, 1)
        self.found.append(explanation)
        self.areas.append(area)
        self.stars.append(smallest)
        if smallest is None and self.rules.stop and explanation.explains:
            self.ending = Ending("nothing more", during=len(self.found))
            return None
        return mask

    def result(self, way: str = "in turn") -> Explanations:
        return Explanations(
            self.found,
            self.areas,
            self.stars,
            image=self.problem.image,
            threshold=self.threshold,
            initial=self.initial,
            cut=self.rules.cut,
            way=way,
            ending=self.ending,
        )


def explain_jointly(
    classifier: Classifier,
    problem: Problem,
    config: FitConfig,
    *,
    n: int,
    rules: Rules | None = None,
    initial: torch.Tensor | None = None,
    progress: bool = True,
    callback: NumberedCallback | None = None,
) -> Explanations:
    """n masks from one fit (beyond the paper): one field with n outputs, held apart by `pairwise_overlap`.

    The fit starts at random weights: outputs that start from one ranking would end at one mask.
    A step sees n masks of one area, so it costs n classifier passes. The result is in the order of a*, then of
    probability. `rules.stop` has no effect, since the one fit gives all n masks. An interrupted fit is kept as it
    stands, as in `explain`: the ending and each explanation's outcome say so.
    """
    rules = rules or Rules()
    check_iterations(n, rules, config)
    config = named(dataclasses.replace(config, start=None))
    assert isinstance(config.source, FieldSettings)
    joint = dataclasses.replace(config, source=dataclasses.replace(config.source, outputs=n))
    run = _Run(classifier, problem, joint, initial, dataclasses.replace(rules, stop=False))
    numbered = None if callback is None else (lambda step, report, source: callback(1, step, report, source))
    (fitted,) = fit(
        classifier, [run.problem], joint, max_batch=joint.masks_per_step, progress=progress, callback=numbered
    )
    assert isinstance(fitted.source, MaskField)
    found = []
    for index in range(n):
        share = dataclasses.replace(fitted, source=fitted.source.output(index), seconds=fitted.seconds / n)
        one = Explanation.of_fit(share, classifier, problem.image, problem.target, config, problem.seed)
        smallest = smallest_beside(one, run.threshold, rules.cut, run.baseline)
        kept = float(one.probability(rules.area_of(one, smallest), cut=rules.cut))
        found.append((smallest or 1.0, -kept, index, one))
    for *_, one in sorted(found):
        run.take(one)
    if fitted.outcome.kind == "interrupted":
        run.ending = Ending("interrupted", during=1)
    return run.result("joint")


def check_iterations(n: int, rules: Rules, config: FitConfig) -> None:
    """Raises TypeError or ValueError for what a run of several explanations cannot start with."""
    if isinstance(n, bool) or not isinstance(n, Integral) or n < 1:
        raise ValueError(f"n must be 1 explanation or more, got {n!r}")
    if not config.is_field:
        raise ValueError(f"several explanations need a field, and {config.name!r} fits a lattice: give another preset")
    low, high = config.area_range
    at = rules.baseline_area
    if not isinstance(at, str) and not low <= checked_number(at, "baseline_area") <= high:
        raise ValueError(f"baseline_area must lie in the fitted range [{low:g}, {high:g}], got {at}")


def check_first(
    first: Sequence[Explanation] | None,
    classifier: Classifier,
    problems: Sequence[Problem],
    config: FitConfig,
    *,
    alone: bool,
) -> None:
    """Raises ValueError for first explanations that a run would not have fitted itself, or not to the end.

    classifier: the very object that was explained; of a saved explanation the one that `Explanation.load` was given.
    alone: whether its first fit is that of `explain`, with no mask before it and none beside it.
    """
    if first is None:
        return
    if not alone:
        raise ValueError("first must be None where initial or joint is given: their first fit is another one")
    wanted = "first must be what explain gives for the same classifier, picture, target, preset and seed"
    for one, problem in zip(first, problems, strict=True):
        same = {
            "classifier": one.classifier is classifier,
            "picture": torch.equal(one.image.to(problem.image), problem.image),
            "target": one.target == problem.target,
            "preset": one.config == config,
            "seed": one.seed == problem.seed,
        }
        if differs := [name for name, holds in same.items() if not holds]:
            raise ValueError(f"{wanted}; another {differs[0]} came")
        if one.outcome.kind == "interrupted":
            raise ValueError(f"{wanted}; a fit that was {one.outcome} came")
