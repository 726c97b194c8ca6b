"""Where a step's time goes: classifier, field, filter, penalty, blend, optimiser, as ratios from one run.

    python benchmarks/parts.py [--model NAME] [--preset NAME] [--device cuda] [--repeats 15]

Each part is timed forward and backward on the step's own shapes, rounds interleaved, medians taken; the whole step is
timed in the same rounds, and "rest" is what the parts leave of it.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from inrexp import PRESETS, load_classifier, load_picture
from inrexp.classifiers import frozen
from inrexp.fields import MaskField
from inrexp.fit import Problem, _Loop
from inrexp.objectives import area_penalty
from inrexp.perturb import blend
from inrexp.smoothing import lattice_size, smooth_max_lattice, smooth_max_pixels, to_pixels


def parts_of(loop: _Loop) -> dict[str, Callable[[], None]]:
    """One callable a part, each forward and backward."""
    config, source = loop.config, loop.source
    if not isinstance(source, MaskField):
        raise TypeError(f"preset must use a MaskField, got {type(source).__name__}")
    areas = loop.areas[:, 0]
    h, w = source.size
    with torch.no_grad():
        mask, ranked = source.render(areas)
        seen = loop._blended(mask, 0).flatten(0, 1)
        values = source.values(areas)
        cells = values if source.grid == "pixel" else values.new_zeros(len(values), 1, *lattice_size(source.size))
    optimiser = torch.optim.Adam(source.parameters(), config.lr)

    def leaf(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach().clone().requires_grad_(True)

    def classifier() -> None:
        loop.classifier.scores(leaf(seen), normalised=True).logsumexp(1).sum().backward()

    def field() -> None:
        source.zero_grad(set_to_none=False)
        source.values(areas).sum().backward()

    def smoothing() -> None:
        given = leaf(cells)
        if source.grid == "pixel":
            smooth_max_pixels(given).sum().backward()
        else:
            to_pixels(smooth_max_lattice(given), (h, w)).sum().backward()

    def penalty() -> None:
        area_penalty(leaf(ranked).flatten(0, 1), areas.flatten()).sum().backward()

    def blending() -> None:
        blend(loop.image, loop.perturbed[0], leaf(mask)).sum().backward()

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        loop._losses(0)[0].sum().backward()
        optimiser.step()

    return {
        "classifier": classifier,
        "field": field,
        "filter": smoothing,
        "penalty": penalty,
        "blend": blending,
        "optimiser": optimiser.step,
        "whole step": step,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--preset", default="quick", choices=[n for n, c in PRESETS.items() if c.source == "field"])
    parser.add_argument("--device")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--random", action="store_true", help="random weights: the same time, no download")
    options = parser.parse_args()
    weights = None if options.random else "IMAGENET1K_V1"
    classifier = load_classifier(options.model, weights=weights, device=options.device)
    image = classifier.prepare(load_picture("chelsea"))
    config = PRESETS[options.preset]
    loop = _Loop(classifier, [Problem(image, classifier.target(None, image))], config)
    parts = parts_of(loop)
    wait = torch.cuda.synchronize if classifier.device.type == "cuda" else lambda: None
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    with frozen(classifier.model):
        loop._losses(0)[0].sum().backward()  # gradients for the optimiser to step on
        for round_ in range(options.repeats + 2):
            for name, part in parts.items():
                wait()
                begun = time.perf_counter()
                part()
                wait()
                if round_ >= 2:  # two rounds to warm up
                    seconds[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    total, own = medians["whole step"], medians["classifier"]
    medians["rest"] = total - sum(value for name, value in medians.items() if name != "whole step")
    masks = loop.areas.shape[-1]
    print(
        f"{options.model}, preset {options.preset}, {masks} mask(s) a step, {classifier.device}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    for name, value in medians.items():
        share = f"{value / total:6.1%} of the step  {value / own:6.2f} x classifier"
        print(f"  {name:11s} {1e3 * value / masks:8.2f} ms a mask  {share}")
    print(f"  all but the classifier: {(total - own) / own:.2f} x classifier")
    print(f"  the preset's {config.steps} steps: {total * config.steps:.0f} s")
    if classifier.device.type == "cuda":
        print(f"  peak memory {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB")
    else:
        import resource

        print(f"  peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")
    print(json.dumps({name: round(value / own, 3) for name, value in medians.items()}))


if __name__ == "__main__":
    main()
