"""Options that several commands share, and names that help and errors list without importing torch.

`tests/commands/test_cli.py` compares each list with what the package has.
"""

import argparse
import math
from pathlib import Path

from inrexp.files import picture_table

PRESETS = (
    "crisp",
    "draft",
    "crisp_random",
    "paper",
    "paper_lattice",
    "extremal_perturbation",
    "extremal_perturbation_quick",
)
FIELD_PRESETS = tuple(name for name in PRESETS if not name.startswith("extremal"))
DEFAULT_PRESET = "crisp"
INTERRUPTED = 130  # the shell's exit status for Ctrl-C
PICTURES = tuple(picture_table())
METHODS = ("inr", "extremal_perturbation", "grad_cam", "rise", "centred_disc")
DATASETS = ("packaged", "imagenet-s50", "imagenet-s300", "imagenet-s919", "voc07", "voc07-difficult", "folder")


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device, the same words for every command."""
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")


def add_model(parser: argparse.ArgumentParser) -> None:
    """--model, the same words for every command that loads one."""
    parser.add_argument(
        "--model",
        default="efficientnet_lite0",
        help="efficientnet_lite0, 1 or 2, which come as packages, or a torchvision model (default: efficientnet_lite0)",
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """--seed of one fit."""
    parser.add_argument("--seed", type=int, default=0, help="of every random number that is drawn (default: 0)")


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """--plugin, for the commands that know of methods."""
    parser.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.py",
        help="a Python file that registers methods of your own (notebook 13)",
    )


def fraction(text: str) -> float:
    """A part of the picture, in (0, 1], as an argument's type."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(
            f"wanted a fraction of the picture, above 0 and at most 1, such as 0.15 for 15 %, got {text!r}"
        )
    return value


def positive(text: str) -> int:
    """A whole number of 1 or more, as an argument's type."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number of 1 or more, got {text!r}")
    return int(text)
