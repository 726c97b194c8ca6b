"""The one optimisation loop: many problems at once, any mask source, eqs. 1 to 3 and 6."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from tqdm.auto import tqdm

from inrexp.models.classifier import Classifier, frozen
from inrexp.models.folding import folded
from inrexp.models.recording import recorded
from inrexp.paper.inr import MaskField
from inrexp.paper.lattice import MaskLattice
from inrexp.paper.masks import RANKED, MaskSource, area_level, sharpen
from inrexp.paper.objectives import area_penalty, loss, pairwise_overlap, reward
from inrexp.paper.outcome import Cancelled, FitFailed, Outcome
from inrexp.paper.perturb import Perturbation
from inrexp.paper.problems import Problem, check_problems, drawn_areas, stacked_baselines
from inrexp.paper.settings import FitConfig, LatticeSettings
from inrexp.paper.starts import start_sources

EMPTY, FULL = 0.05, 0.95  # a field's largest value, and its mean, beyond which its masks say nothing
REPORT_EVERY = 10  # steps between looks at the device, each of which waits for it
HISTORY = ("loss", "probability", "penalty", "area")


@dataclass(frozen=True)
class Fitted:
    """What a fit leaves of one problem.

    source: its masks.  history: loss, probability (mean over the step's areas), penalty and area, by step, each
    (steps,).  outcome: how it ended.  seconds: of the fit, shared equally between problems that were fitted together.
    """

    source: MaskSource
    history: dict[str, torch.Tensor]
    outcome: Outcome
    seconds: float


Callback = Callable[[int, dict[str, float], MaskSource], None]


def make_source(config: FitConfig, size: tuple[int, int], seeds: Sequence[int]) -> MaskSource:
    """What the settings fit, before it is fitted: a problem for each seed, for pictures of `size` (h, w) px."""
    if isinstance(config.source, LatticeSettings):
        source: MaskSource = MaskLattice(size, len(seeds), config.source)
    else:
        source = MaskField(size, seeds, config.source, area_range=config.area_range)
    source.hard = config.sharpness is not None
    return source


def fit(
    classifier: Classifier,
    problems: Sequence[Problem],
    config: FitConfig,
    *,
    max_batch: int = 64,
    progress: bool = True,
    callback: Callback | None = None,
) -> list[Fitted]:
    """Fit one mask source per problem; all problems that fit into one classifier batch advance together.

    Batching should not change a result, but tiny rounding differences can grow during the fit.
    max_batch: pictures in one classifier pass, which bounds memory; more problems run one group after another.
    callback: called every few steps with (step, {"loss", "probability"}, the stacked source).
    Ctrl-C and `Cancelled` in a callback end the fit: what was fitted is kept, problems not begun are missing.
    Raises ValueError for problems without a common size or with a baseline of another size.
    """
    check_problems(problems, config, max_batch)
    classifier = folded(classifier, problems[0].image)  # a copy: the given model is not touched
    per_group = max(1, max_batch // config.masks_per_step)
    fitted: list[Fitted] = []
    for first in range(0, len(problems), per_group):
        try:
            group = _Group(classifier, problems[first : first + per_group], config)
            fitted += group.descend(progress=progress, callback=callback)
            stopped = str(group.stopped or "")
        except KeyboardInterrupt:  # between two groups
            if not fitted:
                raise
            stopped = "interrupted"
        if stopped:
            kept = f"What was fitted is kept; {len(problems) - len(fitted)} not begun."
            seed = problems[len(fitted) - 1].seed  # Python shows a text of one place once
            warnings.warn(f"The fit was {stopped}. {kept} The last seed was {seed}.", stacklevel=2)
            break
    for index, (one, problem) in enumerate(zip(fitted, problems, strict=False)):
        if one.outcome.failed:
            cures = {"diverged": "Try a smaller learning rate (FitConfig.descent)"}
            cure = cures.get(one.outcome.kind, "Try another seed, or more steps if they were cut down")
            which = f"seed {problem.seed}" + (f", number {index} of the batch" if len(problems) > 1 else "")
            what = f"The fit of {problem.target.label!r} ({which})"
            warnings.warn(f"{what} {one.outcome}. {cure}.", FitFailed, stacklevel=2)
    return fitted


class _Group:
    """The tensors of problems that are fitted together, and the steps over them."""

    stopped: Outcome | None = None  # how Ctrl-C or Cancelled ended it

    def __init__(self, classifier: Classifier, problems: Sequence[Problem], config: FitConfig):
        self.problems, self.config = problems, config
        images = torch.cat([problem.image for problem in problems])  # (p, 3, h, w)
        size = (images.shape[-2], images.shape[-1])
        self.source = make_source(config, size, [problem.seed for problem in problems])
        self.source.to(device=images.device, dtype=images.dtype)
        self.areas = drawn_areas(config, [problem.seed for problem in problems]).to(images)  # (p, steps, k)
        self.baseline = stacked_baselines(problems, images)
        probabilities = classifier.probabilities(images)  # also checks the model's output before any work is done
        self.target = torch.zeros_like(probabilities)
        for row, problem in zip(self.target, problems, strict=True):
            row[list(problem.target.indices)] = 1
        start_sources(self.source, classifier, problems, config)
        outside = classifier.mean_colour.to(images)
        shown = Perturbation(images, config.perturbation, config.blur_sigma, outside=outside)
        self.shown = shown.mapped(classifier.normalise)  # once: it commutes with eq. 1
        self.classifier = recorded(classifier, (len(problems) * config.masks_per_step, 3, *size))

    def descend(self, *, progress: bool, callback: Callback | None) -> list[Fitted]:
        """All steps of the fit, and what they leave of each problem."""
        steps, count = self.config.steps, len(self.problems)
        parameters = list(self.source.parameters())
        optimiser = self.config.descent.over(parameters)
        history = self.areas.new_zeros(len(HISTORY), steps, count)
        good = [parameter.detach().clone() for parameter in parameters]
        alive = self.areas.new_ones(count, dtype=torch.bool)
        died = self.areas.new_full((count,), steps, dtype=torch.int64)
        done, begun = 0, time.perf_counter()
        title = f"{count} masks" if count > 1 else self.problems[0].target.label
        bar = tqdm(total=steps, desc=title, unit="step", disable=not progress, leave=False)
        with frozen(self.classifier.model), bar:
            try:
                for step in range(steps):
                    for group in optimiser.param_groups:
                        group["lr"] = self.config.descent.rate(step, steps)
                    optimiser.zero_grad(set_to_none=True)
                    value, terms = self.losses(step)
                    alive &= torch.isfinite(value.detach())
                    died = torch.where(alive, died, died.clamp(max=step))
                    _keep(good, parameters, alive)  # these weights gave a finite loss
                    value.sum().backward()
                    optimiser.step()
                    self.source.project()
                    history[:, step] = terms
                    done = step + 1
                    if done % REPORT_EVERY == 0 or done == steps:
                        report = {"loss": float(terms[0].nanmean()), "probability": float(terms[1].nanmean())}
                        bar.set_postfix(
                            {"loss": f"{report['loss']:.3f}", "p": f"{report['probability']:.3f}"}, refresh=False
                        )
                        bar.update(done - bar.n)
                        if callback is not None:
                            callback(done, report, self.source)
                        if not alive.any():
                            break
            except (KeyboardInterrupt, Cancelled):
                self.stopped = Outcome("interrupted", step=done)
        finite = [torch.isfinite(parameter.detach()).flatten(1).all(1) for parameter in parameters]
        sound = torch.stack(finite).all(0)  # the last step's update was not seen by any loss
        if self.stopped is None:
            died = torch.where(alive & ~sound, died.clamp(max=done - 1), died)
        _keep(parameters, good, ~(alive & sound) | (self.stopped is not None))
        seconds = (time.perf_counter() - begun) / count
        return self._fitted(history.cpu(), died.tolist(), done, seconds)

    def losses(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Eq. 2 (eq. 6 with a baseline) for each problem, and what is kept of it.

        Returns the loss to descend, summed over the step's areas, (p,), and the history's row, (4, p).
        """
        config, steps = self.config, self.config.steps
        mask, ranked = self.source.soft(self.areas[:, step])
        outputs = self.source.outputs
        areas = self.areas[:, step].repeat_interleave(outputs, 1)  # (p, k): k counts every output of an area
        if config.sharpness is not None:
            beta = config.sharpness.at(step, steps)
            inside = ranked if config.is_field else mask.flatten(2)  # a lattice ranks its margin too
            level = self._level(inside, areas, step, beta)
            mask, ranked = sharpen(mask.flatten(0, 1), beta, level).view_as(mask), sharpen(ranked, min(beta, RANKED))
        seen = self.shown(mask)
        if config.flip and step % 2 == 0:
            seen = seen.flip(-1)
        scores = self.classifier.scores(seen.flatten(0, 1), normalised=True)  # (p * k, C)
        if torch.is_grad_enabled() and not scores.requires_grad:
            raise ValueError(
                f"model of {self.classifier.name} must give scores that can be differentiated by the picture, got "
                "scores without a gradient: take torch.no_grad, detach or numpy out of its forward"
            )
        (problems, k), activation = areas.shape, self.classifier.activation
        target, dice_weight = self.target.repeat_interleave(k, 0), config.dice_weight.at(step, steps)
        value = loss(
            scores,
            target,
            mask.flatten(0, 1),
            areas.flatten(),
            area_weight=config.area_weight.at(step, steps),
            baseline=None if self.baseline is None else self.baseline.expand_as(mask).flatten(0, 1),
            dice_weight=dice_weight,
            kind=config.reward,
            activation=activation,
            ranked=ranked.flatten(0, 1)[:, None],
        ).view(problems, k)
        if outputs > 1:
            together = pairwise_overlap(mask.reshape(-1, outputs, *mask.shape[-2:])).view(problems, -1) / outputs
            value = value + dice_weight * together.repeat_interleave(outputs, 1)
        with torch.no_grad():
            p = reward(scores, target, "probability", activation).view(problems, k)
            penalty = area_penalty(ranked.flatten(0, 1)[:, None], areas.flatten()).view(problems, k)
            terms = torch.stack([row.mean(1) for row in (value, p, penalty, areas)])
        return value.sum(1), terms

    def _level(self, values: torch.Tensor, areas: torch.Tensor, step: int, beta: float) -> torch.Tensor | None:
        """The level of the sharpening, on its way from 1/2 to the area's own.

        values: (p, k, n).  areas: (p, k).  Returns (p * k,), or None while it is at 1/2.
        """
        moved = self.config.level_at(step)
        if moved == 0:
            return None
        return (1 - moved) / 2 + moved * area_level(values.flatten(0, 1), areas.flatten(), beta)

    def _fitted(self, history: torch.Tensor, died: list[int], done: int, seconds: float) -> list[Fitted]:
        fitted = []
        for index, collapsed in enumerate(self._collapsed()):
            outcome, kept = Outcome(), done
            if died[index] < done:
                outcome, kept = Outcome("diverged", step=died[index]), died[index]
            elif self.stopped is not None:
                outcome = self.stopped
            elif collapsed:
                outcome = Outcome("collapsed", mask=collapsed)
            rows = {name: row[:kept, index].clone() for name, row in zip(HISTORY, history, strict=True)}
            fitted.append(Fitted(self.source.problem(index), rows, outcome, seconds))
        return fitted

    def _collapsed(self) -> list[str]:
        """What each field's masks are if they say nothing: empty at the largest area or full at the smallest; or ""."""
        if not isinstance(self.source, MaskField):  # a lattice starts full and has no sigmoid to be stuck in
            return [""] * len(self.problems)
        with torch.no_grad():
            ends = torch.tensor(self.config.area_range).to(self.areas).expand(len(self.problems), -1)
            ranked = self.source.soft(ends)[1].unflatten(1, (2, -1))  # (p, 2, outputs, n)
            if self.config.sharpness is not None:
                ranked = sharpen(ranked, RANKED)
            empty = ranked[:, 1].flatten(1).amax(1) < EMPTY
            full = ranked[:, 0].mean((1, 2)) > FULL
        return ["empty" if e else "full" if f else "" for e, f in zip(empty.tolist(), full.tolist(), strict=True)]


def _keep(kept: Sequence[torch.Tensor], fresh: Sequence[torch.Tensor], which: torch.Tensor) -> None:
    """Overwrite `kept` with `fresh` for the problems that `which` (p,) names, in place."""
    with torch.no_grad():
        for old, new in zip(kept, fresh, strict=True):
            old.copy_(torch.where(which.view(-1, *[1] * (old.dim() - 1)), new, old))
