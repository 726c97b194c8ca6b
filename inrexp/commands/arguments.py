"""Options that several commands share, and names that help and errors list without importing torch.

`tests/commands/test_cli.py` compares each list with what the package has.
"""

import argparse
import math
import tempfile
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
    parser.add_argument("--seed", type=whole, default=0, help="of every random number that is drawn (default: 0)")


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
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(
            f"wanted a fraction of the picture, above 0 and at most 1, such as 0.15 for 15 %, got {text!r}"
        )
    return value


def level(text: str) -> float:
    """A level that values in [0, 1] are compared with, in [0, 1), as an argument's type."""
    value = _number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"wanted a number of 0 or more and below 1, such as 0.5, got {text!r}")
    return value


def _number(text: str) -> float:
    """NaN, which lies in no range, for text that is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def positive(text: str) -> int:
    """A whole number of 1 or more, as an argument's type."""
    return _at_least(1, text)


def whole(text: str) -> int:
    """A whole number of 0 or more, as an argument's type."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    if not text.strip().isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"wanted a whole number of {least} or more, got {text!r}")
    return int(text)


def check_out(out: Path) -> None:
    """Raises ValueError unless --out is a folder that can be written to, or can be made: told before the work."""
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    try:
        tempfile.TemporaryDirectory(dir=there).cleanup()
    except OSError as error:
        raise ValueError(f"--out must be a folder that can be written to, got {out}: {error.strerror}") from error
