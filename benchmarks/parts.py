"""Measures where the time of a fit's step goes, and how much memory it takes.

    python benchmarks/parts.py [--model NAME] [--random] [--preset NAME] [--problems 1] [--device cpu] [--busy]

The parts are the classifier, the field, the filter, the area penalty, the blend and the optimiser. Each is timed
forward and backward on tensors of the step's own shapes. All parts and the whole step are timed in turn, for several
rounds, and the medians are printed. "rest" is the time of the whole step that no part accounts for. "plain classifier"
is the model as given, and "classifier" is the same with its batch norms folded. At the end a short fit with its set-up
is compared with the same number of passes of the plain classifier.

The benchmark runs on the CPU, and on a CUDA GPU if there is one, unless --device names one of them. It was never run
on a GPU. --busy measures processor time instead of the clock's, for a machine that others use; set
OMP_NUM_THREADS=1.
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

OWN = ("field", "filter", "penalty", "blend", "optimiser")  # together at most 0.20 of the classifier, as the goal says
FIT_STEPS = 20


def passes(classifier: Classifier, seen: torch.Tensor) -> Callable[[], None]:
    """A function that runs the classifier forward and backward.  seen: (n, 3, h, w), normalised."""
    return lambda: classifier.scores(leaf(seen), normalised=True).logsumexp(1).sum().backward()


def leaf(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().requires_grad_(True)


def parts_of(loop: _Group, plain: Classifier) -> dict[str, Callable[[], None]]:
    """For each part a function that runs it once, forward and backward."""
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
        "whole step": step,  # leaves the gradients that the optimiser's part needs in the next round
    }


def medians_of(parts: dict[str, Callable[[], None]], repeats: int, clock: Callable[[], float]) -> dict[str, float]:
    """The median seconds of each part.

    In each round every part runs once. Two rounds at the start are not counted, so that the machine is warm.
    """
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
    """The largest memory so far in MiB: on a GPU that of all tensors, on a CPU that of the whole process."""
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
        loop.losses(0)[0].sum().backward()  # the optimiser's part needs gradients
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
