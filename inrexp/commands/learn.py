"""Learn a start for fields on a folder of pictures (section 5 of the paper names it as future work; Reptile).

A fit that starts from what was learned needs fewer steps: the preset `crisp_learned` starts from the weights that come
with the project, `FitConfig(initial="out/initial.safetensors", ...)` from your own.
"""

import argparse
from pathlib import Path

import inrexp
from inrexp.commands.arguments import FIELD_PRESETS, add_device, add_model, add_seed, positive


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("folder", type=Path, help="pictures; each is explained for the model's top-1 class")
    parser.add_argument(
        "--out", type=Path, default=Path("out/initial.safetensors"), help="the weights (default: %(default)s)"
    )
    add_model(parser)
    parser.add_argument(
        "--preset", default="crisp_learned", choices=FIELD_PRESETS, metavar="NAME", help=", ".join(FIELD_PRESETS)
    )
    parser.add_argument("--epochs", type=positive, default=1, help="times that each picture is fitted (default: 1)")
    parser.add_argument(
        "--sure",
        type=float,
        default=0.3,
        metavar="P",
        help="a picture is used if its top-1 class has this probability or more (default: 0.3)",
    )
    add_seed(parser)
    add_device(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fit each picture in turn, move the start towards it, write the start."""
    from inrexp.paper import starts

    classifier = inrexp.load_classifier(options.model, device=options.device)
    problems = starts.problems_in(classifier, options.folder, sure=options.sure)
    config = inrexp.PRESETS[options.preset]
    state = starts.learn(classifier, problems, config, epochs=options.epochs, seed=options.seed)
    path = starts.write_initial(state, options.out)
    print(f"{path}: learned on {len(problems)} pictures; FitConfig(initial={str(path)!r}, ...) starts there")
    return 0
