"""Where a step's time goes: classifier, field, filter, penalty, blend, optimiser, as ratios from one run; and memory.

    python benchmarks/parts.py [--model NAME] [--random] [--preset NAME] [--problems 1] [--device cpu] [--busy]

Each part is timed forward and backward on the step's own shapes, rounds interleaved, medians taken; the whole step is
timed in the same rounds, and "rest" is what the parts leave of it. "plain classifier" is the model as given,
"classifier" the same with its batch norms folded. Last, a short fit, set-up included, against as many plain passes.
Runs on the CPU and, where there is one, on a CUDA GPU too (not done yet by anyone), unless --device names one.
--busy: processor time instead of the clock's, for a machine that others use; with OMP_NUM_THREADS=1.
"""

import argparse
import dataclasses
import json
import resource
import statistics
import time
from collections.abc import Callable

import torch

from inrexp import PRESETS, load_classifier, load_picture
from inrexp.models.classifier import Classifier, frozen
from inrexp.models.folding import folded
from inrexp.paper.fit import Problem, _Group, fit
from inrexp.paper.inr import MaskField
from inrexp.paper.objectives import area_penalty

OWN = ("field", "filter", "penalty", "blend", "optimiser")  # what the goal of 0.20 counts
FIT_STEPS = 20


def passes(classifier: Classifier, seen: torch.Tensor) -> Callable[[], None]:
    """Forward and backward of a batch.  seen: (n, 3, h, w), normalised."""
    return lambda: classifier.scores(leaf(seen), normalised=True).logsumexp(1).sum().backward()


def leaf(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().requires_grad_(True)


def parts_of(loop: _Group, plain: Classifier) -> dict[str, Callable[[], None]]:
    """One callable a part, each forward and backward."""
    source = loop.source
    if not isinstance(source, MaskField):
        raise TypeError(f"preset must use a MaskField, got {type(source).__name__}")
    areas = loop.areas[:, 0]
    with torch.no_grad():
        mask, ranked = source.soft(areas)
        seen = loop.shown(mask).flatten(0, 1)
    wanted = areas.repeat_interleave(source.outputs, 1).flatten()
    optimiser = loop.config.descent.over(source.parameters())

    def field() -> None:
        source.zero_grad(set_to_none=True)
        source.values(areas).sum().backward()

    def render() -> None:
        source.zero_grad(set_to_none=True)
        rendered, values = source.soft(areas)
        (rendered.sum() + values.sum()).backward()

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        loop.losses(0)[0].sum().backward()
        optimiser.step()

    return {
        "plain classifier": passes(plain, seen),
        "classifier": passes(loop.classifier, seen),
        "field": field,
        "field and filter": render,
        "penalty": lambda: area_penalty(leaf(ranked).flatten(0, 1), wanted).sum().backward(),
        "blend": lambda: loop.shown(leaf(mask)).sum().backward(),
        "optimiser": optimiser.step,
        "whole step": step,  # after it, gradients for the optimiser to step on
    }


def medians_of(parts: dict[str, Callable[[], None]], repeats: int, clock: Callable[[], float]) -> dict[str, float]:
    """Seconds a part, the median of interleaved rounds; two rounds before them to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for round_ in range(repeats + 2):
        for name, part in parts.items():
            begun = clock()
            part()
            if round_ >= 2:
                seconds[name].append(clock() - begun)
    return {name: statistics.median(times) for name, times in seconds.items()}


def clock_of(device: torch.device, busy: bool) -> Callable[[], float]:
    def after_the_device() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return after_the_device if device.type == "cuda" else time.process_time if busy else time.perf_counter


def peak_mib(device: torch.device) -> float:
    """Largest memory so far: allocated by tensors on a GPU, of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--preset", default="crisp", choices=[name for name in PRESETS if PRESETS[name].is_field])
    parser.add_argument("--problems", type=int, default=1, help="pictures fitted side by side")
    parser.add_argument("--device")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--random", action="store_true", help="random weights: the same time, no download")
    parser.add_argument("--busy", action="store_true", help="processor time; needs OMP_NUM_THREADS=1")
    options = parser.parse_args()
    found = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in [options.device] if options.device else found:
        measure(options, device)


def measure(options: argparse.Namespace, device: str) -> None:
    weights = None if options.random else "IMAGENET1K_V1"
    plain = load_classifier(options.model, weights=weights, device=device)
    clock = clock_of(plain.device, options.busy)
    image = plain.prepare(load_picture("chelsea"))
    target = plain.target(None, image)
    before = peak_mib(plain.device)
    config = PRESETS[options.preset]
    problems = [Problem(image, target, seed) for seed in range(options.problems)]
    loop = _Group(folded(plain, image), problems, config)
    with frozen(plain.model), frozen(loop.classifier.model):
        loop.losses(0)[0].sum().backward()  # gradients for the optimiser to step on
        times = medians_of(parts_of(loop, plain), options.repeats, clock)
    base, used = times["plain classifier"], times["classifier"]
    times["filter"] = times.pop("field and filter") - times["field"]
    times["rest"] = times["whole step"] - used - sum(times[name] for name in OWN)
    masks = loop.areas.shape[0] * loop.areas.shape[-1] * loop.source.outputs
    print(
        f"{options.model}, preset {options.preset}, {masks} mask(s) a step, {plain.device}, "
        f"{torch.get_num_threads()} thread(s), {'processor' if options.busy else 'clock'} time"
    )
    for name in ("plain classifier", "classifier", *OWN, "rest", "whole step"):
        share = f"{times[name] / base:6.3f} x plain classifier  {times[name] / used:6.3f} x the one used"
        print(f"  {name:16s} {1e3 * times[name] / masks:8.2f} ms a mask  {share}")
    own = sum(times[name] for name in OWN)
    print(f"  {' + '.join(OWN)}: {own / base:.3f} x plain classifier, {own / used:.3f} x the one used; goal 0.20")

    short = dataclasses.replace(config, steps=FIT_STEPS)
    whole = medians_of({"fit": lambda: fit(plain, problems, short, max_batch=masks, progress=False)}, 3, clock)["fit"]
    print(
        f"  a fit of {FIT_STEPS} steps, set-up included: {whole:.2f} s, {whole / (FIT_STEPS * base):.2f} x its "
        f"{FIT_STEPS * masks} passes of the plain classifier; {config.steps} steps: about "
        f"{times['whole step'] * config.steps:.0f} s, {times['whole step'] / base:.2f} x"
    )
    print(
        f"  peak memory {peak_mib(plain.device):.0f} MiB, {peak_mib(plain.device) - before:.0f} above the loaded model"
    )
    ratios = {name: round(value / base, 3) for name, value in times.items()}
    print(json.dumps({**ratios, "own parts": round(own / base, 3), "masks": masks}))


if __name__ == "__main__":
    main()
