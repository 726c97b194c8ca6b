"""The one optimisation loop: many problems at once, any mask source, eqs. 1 to 3 and 6."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from tqdm.auto import tqdm

from inrexp.models.classifier import Classifier, Target, frozen
from inrexp.models.folding import folded
from inrexp.paper.inr import MaskField
from inrexp.paper.masks import MaskSource
from inrexp.paper.objectives import area_penalty, dice_overlap, pairwise_overlap, reward
from inrexp.paper.perturb import blend, blend_levels, blur, blur_levels, fade
from inrexp.paper.settings import LEVELS, FitConfig

EMPTY, FULL = 0.05, 0.95  # a field's largest value, and its mean, beyond which its masks say nothing
REPORT_EVERY = 10  # steps between looks at the device, each of which waits for it


@dataclass(frozen=True)
class Problem:
    """One picture, what to explain in it, and a seed.

    image: (1, 3, h, w) in [0, 1].  baseline: M^b of eq. 6, (1, 1, h, w), or None.
    """

    image: torch.Tensor
    target: Target
    seed: int = 0
    baseline: torch.Tensor | None = None


@dataclass(frozen=True)
class Fitted:
    """What a fit leaves of one problem: its mask source, its history by step and how it ended.

    history: loss, probability (mean over the step's areas), penalty, area (asked, mean), each (steps,).
    status: "finished", "interrupted at step n", "diverged at step n" (the last good state is kept), or "collapsed to an
        empty (full) mask": a field whose sigmoid was driven to 0 (1) at every area, from where no gradient leads back.
    """

    source: MaskSource
    history: dict[str, torch.Tensor]
    status: str
    seconds: float


Callback = Callable[[int, dict[str, float], MaskSource], None]


def fit(
    classifier: Classifier,
    problems: Sequence[Problem],
    config: FitConfig,
    *,
    max_batch: int = 64,
    progress: bool = True,
    callback: Callback | None = None,
    start: dict[str, torch.Tensor] | None = None,
) -> list[Fitted]:
    """Fit one mask source per problem; all problems that fit into one classifier batch advance together.

    A problem's result does not depend on which others are fitted beside it, up to rounding, which a fit amplifies.
    max_batch: pictures in one classifier pass, which bounds memory; more problems run one group after another.
    callback: called every few steps with (step, {"loss", "probability"}, the stacked source); may raise to stop.
    start: a field's state (p = 1) from which every problem starts, in place of `config.initial`.
    Ctrl-C ends the fit, keeps what was fitted so far and says so; problems not begun are missing from the result.
    """
    if not problems:
        raise ValueError("problems must hold at least one Problem, got none")
    if max_batch < 1:
        raise ValueError(f"max_batch must be 1 picture or more, got {max_batch}")
    sizes = {tuple(problem.image.shape) for problem in problems}
    if len(sizes) > 1:
        raise ValueError(f"problems must have images of one size to share a batch, got {sorted(sizes)}")
    (shape,) = sizes
    if len(shape) != 4 or shape[:2] != (1, 3):
        raise ValueError(f"problems must have images (1, 3, h, w), got {shape}: one Problem for each picture")
    classifier = folded(classifier, problems[0].image)  # a copy: the given model is not touched
    per_group = max(1, max_batch // config.masks_per_step)
    fitted: list[Fitted] = []
    for first in range(0, len(problems), per_group):
        group = problems[first : first + per_group]
        try:
            loop = _Loop(classifier, group, config, start)
        except KeyboardInterrupt:
            if not fitted:
                raise
            stopped = "interrupted"
        else:
            fitted += loop.run(progress=progress, callback=callback)
            stopped = loop.interrupted
        if stopped:
            left = len(problems) - len(fitted)
            warnings.warn(f"fit {stopped}; what was fitted is kept, {left} not begun", stacklevel=2)
            break
    for index, one in enumerate(fitted):
        if one.status.startswith("diverged"):
            warnings.warn(
                f"fit of problem {index} {one.status}: the last good state is kept; try a smaller lr", stacklevel=2
            )
        if one.status.startswith("collapsed"):
            warnings.warn(
                f"fit of problem {index} {one.status} at every area: try another seed or a smaller lr", stacklevel=2
            )
    return fitted


class _Loop:
    """The tensors of one group of problems, and the steps over them."""

    interrupted: str = ""  # "interrupted at step n" after Ctrl-C

    def __init__(
        self,
        classifier: Classifier,
        problems: Sequence[Problem],
        config: FitConfig,
        start: dict[str, torch.Tensor] | None = None,
    ):
        self.classifier, self.problems, self.config = classifier, problems, config
        images = torch.cat([problem.image for problem in problems])  # (p, 3, h, w)
        self.source = config.make_source((images.shape[-2], images.shape[-1]), [problem.seed for problem in problems])
        if start is not None and isinstance(self.source, MaskField):
            self.source.start_from(start)
        self.source.to(device=images.device, dtype=images.dtype)
        self.areas = self._draw_areas().to(images)  # (p, steps, k)
        self.baseline = self._stack_baselines(images)
        probabilities = classifier.probabilities(images)  # also checks the model's output before any work is done
        self.target = torch.zeros_like(probabilities)
        for row, problem in zip(self.target, problems, strict=True):
            row[list(problem.target.indices)] = 1
        self.image = classifier.normalise(images)[:, None]  # (p, 1, 3, h, w)
        self.perturbed = [classifier.normalise(one)[:, None] for one in self._perturbed(images)]
        self.levels = classifier.normalise(blur_levels(images, LEVELS)) if config.perturbation == "levels" else None

    def _draw_areas(self) -> torch.Tensor:
        """The areas of every step, each problem's from its own generator."""
        config, (low, high) = self.config, self.config.area_range
        if config.sampling == "fixed":
            areas = torch.tensor(self.source.areas)  # type: ignore[arg-type]
            return areas.expand(len(self.problems), config.steps, -1)
        drawn = []
        for problem in self.problems:
            generator = torch.Generator().manual_seed(problem.seed + 2**32)  # apart from the weights' own stream
            unit = torch.rand(config.steps, config.areas_per_step, generator=generator, dtype=torch.float64)
            if config.sampling == "stratified":
                unit = (unit + torch.arange(config.areas_per_step)) / config.areas_per_step
            drawn.append(low + (high - low) * unit)
        return torch.stack(drawn)

    def _stack_baselines(self, images: torch.Tensor) -> torch.Tensor | None:
        if all(problem.baseline is None for problem in self.problems):
            return None
        empty = torch.zeros(1, 1, *images.shape[-2:])
        stacked = [problem.baseline if problem.baseline is not None else empty for problem in self.problems]
        for one in stacked:
            if one.shape != empty.shape:
                raise ValueError(f"baseline must be a mask {tuple(empty.shape)} like the image, got {tuple(one.shape)}")
        return torch.cat([one.to(images) for one in stacked])[:, None]  # (p, 1, 1, h, w)

    def _perturbed(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What a step's blend shows where the mask is 0; the steps take them by turns."""
        sigma = self.config.blur_sigma
        blurs = {"blur": [sigma], "mixed": [sigma], "varied": [sigma / 2, sigma, 2 * sigma]}
        shown = [blur(images, one) for one in blurs.get(self.config.perturbation, [])]
        return [*shown, fade(images)] if self.config.perturbation in ("fade", "mixed", "varied") else shown

    def run(self, *, progress: bool, callback: Callback | None) -> list[Fitted]:
        config = self.config
        parameters = list(self.source.parameters())
        optimiser = self._optimiser(parameters)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self._lr_share)
        count = len(self.problems)
        history = torch.zeros(4, config.steps, count, device=self.image.device, dtype=self.image.dtype)
        good = [parameter.detach().clone() for parameter in parameters]
        alive = torch.ones(count, dtype=torch.bool, device=self.image.device)
        died = torch.full((count,), config.steps, device=self.image.device)
        done, begun = 0, time.perf_counter()
        title = f"{count} masks" if count > 1 else self.problems[0].target.label
        bar = tqdm(total=config.steps, desc=title, unit="step", disable=not progress, leave=False)
        with frozen(self.classifier.model), bar:
            try:
                for step in range(config.steps):
                    optimiser.zero_grad(set_to_none=True)
                    loss, terms = self._losses(step)
                    alive &= torch.isfinite(loss.detach())
                    died = torch.where(alive, died, died.clamp(max=step))
                    with torch.no_grad():  # these weights gave a finite loss: they are the last good state
                        for kept, parameter in zip(good, parameters, strict=True):
                            torch.where(alive.view(-1, *[1] * (kept.dim() - 1)), parameter, kept, out=kept)
                    loss.sum().backward()
                    optimiser.step()
                    self.source.project()
                    schedule.step()
                    history[:, step] = terms.detach()
                    done = step + 1
                    if done % REPORT_EVERY == 0 or done == config.steps:
                        report = {"loss": float(terms[0].nanmean()), "probability": float(terms[1].nanmean())}
                        bar.set_postfix({"loss": f"{report['loss']:.3f}", "p": f"{report['probability']:.3f}"})
                        bar.update(done - bar.n)
                        if callback is not None:
                            callback(done, report, self.source)
                        if not alive.any():
                            break
            except KeyboardInterrupt:
                self.interrupted = f"interrupted at step {done}"
        finite = [torch.isfinite(parameter.detach()).flatten(1).all(1) for parameter in parameters]
        sound = torch.stack(finite).all(0)  # the last step's update was not seen by any loss
        if not self.interrupted:
            died = torch.where(alive & ~sound, died.clamp(max=done - 1), died)
        self._restore(parameters, good, alive & sound & (not self.interrupted))
        seconds = (time.perf_counter() - begun) / count
        collapsed = self._collapsed()
        if config.harden:
            self.source.set_sharpness(self.source.sharpness, harden=True)
        return [self._fitted(i, history, int(died[i]), done, collapsed[i], seconds) for i in range(count)]

    def _collapsed(self) -> list[str]:
        """What each field's masks are if they say nothing: empty at the largest area or full at the smallest; or ""."""
        if not isinstance(self.source, MaskField):  # a lattice starts full and has no sigmoid to be stuck in
            return [""] * len(self.problems)
        with torch.no_grad():
            ends = torch.tensor(self.config.area_range).to(self.image).expand(len(self.problems), -1)
            ranked = self.source.render(ends)[1].unflatten(1, (2, -1))  # (p, 2, outputs, n)
            empty = ranked[:, 1].flatten(1).amax(1) < EMPTY
            full = ranked[:, 0].mean((1, 2)) > FULL
        return ["empty" if e else "full" if f else "" for e, f in zip(empty.tolist(), full.tolist(), strict=True)]

    def _optimiser(self, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        config = self.config
        if config.optimiser == "sgd":
            return torch.optim.SGD(parameters, config.lr, momentum=config.momentum, dampening=config.dampening)
        return torch.optim.Adam(parameters, config.lr, fused=parameters[0].device.type in ("cpu", "cuda"))

    def _lr_share(self, step: int) -> float:
        config = self.config
        rising = min(1.0, (step + 1) / max(1.0, config.warmup * config.steps))
        if config.lr_end is None:
            return rising
        share = config.lr_end / config.lr
        return rising * (share + (1 - share) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / config.steps))))

    def _losses(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Eq. 2 (eq. 6 with a baseline) for each problem, and what is kept of it.

        Returns the loss to descend, summed over the step's areas, (p,), and the history's row: (4, p).
        """
        config = self.config
        areas = self.areas[:, step]  # (p, k)
        self.source.set_sharpness(config.sharpness_at(step))
        mask, ranked = self.source.render(areas)
        outputs = self.source.outputs
        areas = areas.repeat_interleave(outputs, 1)  # from here on, k counts every output of an area
        seen = self._cut(mask, step)
        scores = self.classifier.scores(self._blended(seen, step).flatten(0, 1), normalised=True)  # (p * k, C)
        problems, k = areas.shape
        target = self.target.repeat_interleave(k, 0)
        activation = self.classifier.activation
        gained = reward(scores, target, config.reward, activation).view(problems, k)
        penalty = area_penalty(ranked.flatten(0, 1), areas.flatten()).view(problems, k)
        loss = config.area_weight_at(step) * penalty - gained
        if self.baseline is not None:
            baseline = self.baseline.expand_as(mask).flatten(0, 1)
            loss = loss + config.dice_weight_at(step) * dice_overlap(mask.flatten(0, 1), baseline).view(problems, k)
        if outputs > 1:
            together = pairwise_overlap(mask.reshape(-1, outputs, *mask.shape[-2:])).view(problems, -1) / outputs
            loss = loss + config.dice_weight_at(step) * together.repeat_interleave(outputs, 1)
        with torch.no_grad():
            p = gained if config.reward == "probability" else reward(scores, target, "probability", activation)
            rows = [loss, p.view(problems, k), penalty, areas]
        return loss.sum(1), torch.stack([row.detach().mean(1) for row in rows])

    def _cut(self, mask: torch.Tensor, step: int) -> torch.Tensor:
        late = step % 2 == 1 and step >= 2 * self.config.steps / 3
        if self.config.cut == "none" or (self.config.cut == "late" and not late):
            return mask
        return mask + ((mask > 0.5).to(mask.dtype) - mask).detach()

    def _blended(self, mask: torch.Tensor, step: int) -> torch.Tensor:
        """Eq. 1 on normalised images.  mask: (p, k, 1, h, w).  Returns (p, k, 3, h, w)."""
        if self.levels is not None:
            blended = blend_levels(self.levels, mask)
        else:
            blended = blend(self.image, self.perturbed[step % len(self.perturbed)], mask)
        return blended.flip(-1) if self.config.flip and step % 2 == 0 else blended

    @staticmethod
    def _restore(parameters: Sequence[torch.Tensor], good: Sequence[torch.Tensor], alive: torch.Tensor) -> None:
        with torch.no_grad():
            for parameter, kept in zip(parameters, good, strict=True):
                parameter.copy_(torch.where(alive.view(-1, *[1] * (kept.dim() - 1)), parameter, kept))

    def _fitted(
        self, index: int, history: torch.Tensor, died: int, done: int, collapsed: str, seconds: float
    ) -> Fitted:
        status = f"collapsed to {'an empty' if collapsed == 'empty' else 'a full'} mask" if collapsed else "finished"
        if died < done:
            status, done = f"diverged at step {died}", died
        elif self.interrupted:
            status = self.interrupted
        names = ("loss", "probability", "penalty", "area")
        kept = {name: row[:done, index].cpu().clone() for name, row in zip(names, history, strict=True)}
        return Fitted(self.source.problem(index), kept, status, seconds)
