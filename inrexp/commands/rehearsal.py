"""A notebook's full run in a handful of steps: every line of it is executed, no number of it means anything.

`inrexp run NAME --full --rehearse` gives a notebook the values of its full run, cut down here, and puts `PREAMBLE`
before its first cell. What a notebook says about its results is not judged then (`inrexp.claims.claim`).
"""

from collections.abc import Mapping
from typing import Any

STEPS = 3  # of every fit
COUNT = 2  # of seeds, explanations and the like
MASKS = 8  # of RISE
HIDDEN, FEATURES = 16, 16  # of a field: every pixel of the paper's grid is still asked, at a small part of the cost
SIDE = 112  # px of the pictures that the packaged classifiers see: a quarter of the pixels, and of all that is computed
PREAMBLE = "from inrexp.commands import rehearsal\n\nrehearsal.shorten()"
LIMITS = {"pictures": COUNT, "steps": STEPS, "extremal_steps": STEPS, "masks": MASKS, "seeds": COUNT, "n": COUNT}


def cut(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a full run, with steps, seeds and masks cut to a handful.

    defaults: the notebook's own parameters.  values: what the full run injects.  A parameter counts by its name or by
    the last word of it (LEAK_STEPS, SEEDS, N), inside dictionaries too.  Returns what is to be injected.
    """
    both = {**defaults, **values}
    shortened = {name: _cut(name, value) for name, value in both.items() if name not in ("FULL", "QUICK", "DEVICE")}
    changed = {name: value for name, value in shortened.items() if value != both[name]}
    return {**values, **changed}


def _cut(name: str, value: Any) -> Any:
    limit = LIMITS.get(name.lower().split("_")[-1])
    if isinstance(value, Mapping):
        return {key: _cut(str(key), entry) for key, entry in value.items()}
    if limit is not None and isinstance(value, int) and not isinstance(value, bool):
        return min(value, limit)
    if limit is not None and isinstance(value, list | tuple):
        return value[:limit]
    return value


def shorten() -> None:
    """In this process presets have few steps and narrow fields, RISE few masks, and classifiers see small pictures."""
    import dataclasses

    from inrexp import methods
    from inrexp.models import registry
    from inrexp.paper.presets import PRESETS
    from inrexp.paper.settings import FieldSettings

    for name, config in PRESETS.items():
        source = config.source
        if isinstance(source, FieldSettings):
            features = min(source.feature_count, FEATURES)
            source = dataclasses.replace(source, hidden=min(source.hidden, HIDDEN), feature_count=features)
        PRESETS[name] = dataclasses.replace(config, steps=min(config.steps, STEPS), source=source)
    defaults: dict[str, Any] = methods.rise.__kwdefaults__ or {}
    defaults["masks"] = min(defaults["masks"], MASKS)
    for name, (package, file, digest, side) in registry.LITE.items():
        registry.LITE[name] = (package, file, digest, min(side, SIDE))
