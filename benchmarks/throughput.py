"""Measures how many classifier passes (forward and backward) a second a fit makes, with many fields side by side.

    python benchmarks/throughput.py [--problems 32] [--steps 20] [--bfloat16] [--compile] [--device cuda]

The goal is 3000 passes a second for ResNet50 at 224 px on an H100. README has the numbers of a run on an H200:

    python benchmarks/throughput.py --device cuda --problems 128 --steps 50 [--bfloat16 [--compile]]

The default preset starts at random weights: `crisp` would add GradCAM's passes to the set-up, one picture after the
other. Three rates are printed. The first is that of the whole fit, with its set-up. The second is that of the same
classifier alone on the same batch, which the fit cannot exceed. The third is that of the plain float32 classifier
alone. Then the time to load a picture is compared with the time of 4000 passes. Channels-last memory and folded batch
norms are always used. --compile uses torch.compile with CUDA graphs (mode "reduce-overhead") and needs a C compiler.
The weights are random, so that nothing is downloaded; they do not change the time.
"""

import argparse
import copy
import dataclasses
import time
import warnings

import torch
from parts import clock_of, medians_of, passes, peak_mib

from inrexp import PRESETS, load_classifier, load_picture
from inrexp.models.classifier import frozen
from inrexp.models.folding import folded, in_bfloat16
from inrexp.paper.fit import Problem, fit

GOAL = 3000  # passes a second
PAPER_STEPS = 4000
PICTURES = ("chelsea", "coffee", "rocket", "china")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument(
        "--preset", default="crisp_random", choices=[name for name in PRESETS if PRESETS[name].is_field]
    )
    parser.add_argument("--problems", type=int, default=32, help="pictures fitted side by side")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device")
    options = parser.parse_args()
    plain = load_classifier(options.model, weights=None, device=options.device)
    clock = clock_of(plain.device, busy=False)
    config = dataclasses.replace(PRESETS[options.preset], steps=options.steps)
    masks = options.problems * config.masks_per_step

    begun = time.perf_counter()
    images = [plain.prepare(load_picture(name)) for name in PICTURES]
    loading = (time.perf_counter() - begun) / len(images)
    used = (in_bfloat16 if options.bfloat16 else folded)(plain, images[0])
    if options.compile:
        used = copy.copy(used)
        used.model = torch.compile(used.model, mode="reduce-overhead")  # type: ignore[assignment]
    target = plain.target(0, images[0])
    problems = [Problem(images[seed % len(images)], target, seed) for seed in range(options.problems)]
    seen = torch.randn(masks, 3, *plain.size, device=plain.device)

    parts = {
        "inside the fit": lambda: fit(used, problems, config, max_batch=masks, progress=False),
        "classifier alone": passes(used, seen),
        "plain classifier alone": passes(plain, seen),
    }
    with frozen(plain.model), frozen(used.model), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # so short a fit of random weights may collapse
        seconds = medians_of(parts, options.repeats, clock)  # type: ignore[arg-type]
    print(
        f"{options.model}, preset {options.preset}, {options.problems} fields, {masks} masks a step, {plain.device}, "
        f"bfloat16 {options.bfloat16}, compiled {options.compile}, {torch.get_num_threads()} thread(s)"
    )
    seconds["inside the fit"] /= options.steps
    rates = {name: masks / value for name, value in seconds.items()}
    for name, rate in rates.items():
        print(f"  {name:22s} {rate:8.1f} passes/s  {rate / rates['plain classifier alone']:5.2f} x the plain one's")
    inside = rates["inside the fit"]
    print(f"  goal on an H100 {GOAL} passes/s inside the fit: {inside / GOAL:.3f} of it here")
    amortised = PAPER_STEPS / inside  # the paper draws one area a step
    print(
        f"  {PAPER_STEPS} passes a picture: {amortised:.1f} s amortised; loading one: {1e3 * loading:.0f} ms on one "
        f"thread, {loading / amortised:.1%} of that"
    )
    print(f"  peak memory {peak_mib(plain.device):.0f} MiB")


if __name__ == "__main__":
    main()
