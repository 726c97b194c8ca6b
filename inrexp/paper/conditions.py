"""What a setting may be: a condition on its value, and the same in words for the error."""

import itertools
import math
from collections.abc import Callable
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

import numpy as np

Condition = tuple[Callable[[Any], object], str]

ONE_OR_MORE: Condition = (lambda value: value >= 1, "1 or more")


def one_of(names: tuple[str, ...]) -> Condition:
    """That the value is one of these names."""
    return names.__contains__, f"one of {names}"


def rising(values: Any) -> bool:
    """Whether it is a tuple of rising numbers in [0, 1], one or more."""
    if not isinstance(values, tuple) or not values or not all(isinstance(value, Real) for value in values):
        return False
    return values[0] >= 0 and values[-1] <= 1 and all(one < other for one, other in itertools.pairwise(values))


def rising_pair(values: Any) -> bool:
    """Whether it is a tuple of two rising numbers in [0, 1]."""
    return rising(values) and len(values) == 2


def check_settings(section: Any, **conditions: Condition) -> None:
    """Raises ValueError that names the first wrong setting, what was wanted and what came.

    section: a dataclass. Its fields of type int must hold whole numbers, and those of type float finite ones; this is
    asked before the conditions. Numbers of numpy become Python's, which JSON takes.
    """
    for one in fields(section):
        value = _plain(getattr(section, one.name))
        object.__setattr__(section, one.name, value)
        if one.type is int and (isinstance(value, bool) or not isinstance(value, Integral)):
            raise ValueError(f"{one.name} must be a whole number, got {value!r}")
        real = one.type is float or (one.type == float | None and value is not None)
        if real and not (isinstance(value, Real) and math.isfinite(value)):
            raise ValueError(f"{one.name} must be a finite number, got {value!r}")
    for name, (holds, wanted) in conditions.items():
        if not holds(value := getattr(section, name)):
            raise ValueError(f"{name} must be {wanted}, got {value!r}")


def checked_number(value: object, name: str) -> float:
    """A number, or a tensor of one number, as Python's float.  Raises TypeError, by its name, for anything else."""
    try:
        if isinstance(value, str | bool):
            raise TypeError
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a number, got {value!r}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value
