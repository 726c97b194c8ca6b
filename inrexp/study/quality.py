"""What an explanation costs and what it is worth: classifier passes and seconds beside quality at equal area.

`benchmarks/quality.py` runs the settings below on the same pictures; `quality` compares each with the default preset.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from inrexp.comparison import METHODS
from inrexp.paper.presets import PRESETS
from inrexp.paper.settings import Descent, FitConfig, Growth, LatticeSettings
from inrexp.paper.smallest_area import PAPER_AREAS
from inrexp.study.equal import KEPT, judged
from inrexp.study.intervals import interval
from inrexp.study.rows import settings_of
from inrexp.study.tables import by_photograph
from inrexp.study.variants import HALF, PUBLISHED_KERNEL

MEASURES = {"found": "a* found", "enough": "areas that suffice", "probability_at_100": "p at 10 %"}
MEASURES |= {"precision_at_100": "precision at 10 %"}


@dataclass(frozen=True)
class Setting:
    """One way to explain a picture.  passes: of the classifier for one picture, where no fit says how many."""

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    passes: int | None = None

    @property
    def classifier_passes(self) -> int:
        """Pictures that the classifier sees; a fit goes back through it from each, RISE from none."""
        if self.passes is not None:
            return self.passes
        record = METHODS[self.method]
        assert record.config is not None
        return record.config(**record.checked(self.options)).passes

    def is_of(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of a study was made by this setting, whatever the study judged it by."""
        wanted = settings_of(json.dumps(METHODS[self.method].settings(self.options)))
        wanted.pop("name", None)  # of a preset; what it was called when a row was made says nothing
        made = settings_of(row["settings"])
        wanted = {name: value for name, value in wanted.items() if value is not None or name in made}  # new since then
        return row["method"] == self.method and wanted.items() <= made.items()


def on_lattices(preset: str) -> FitConfig:
    """A field's preset for extremal perturbations' lattices: its loss, start and number of passes.

    Every step has a mask of each of the paper's four areas. The rate is the best of three on eight tuning pictures.
    """
    config = PRESETS[preset]
    steps = config.passes // len(PAPER_AREAS)
    descent = Descent("adam", lr=0.1, lr_end=0.01, beta2=config.descent.beta2)
    lattices = LatticeSettings(areas=PAPER_AREAS, margin=0, oversample=2, half_width=config.source.half_width)
    return dataclasses.replace(config, name="custom", source=lattices, steps=steps, descent=descent)


# PUBLISHED_KERNEL before p stood beside its logarithm: four times the area and Dice weights; as many passes
LOGARITHM = dataclasses.replace(
    PUBLISHED_KERNEL,
    reward="log_probability",
    area_weight=Growth(3.0, 300.0, until=0.8),
    dice_weight=Growth(1.0, 30.0, until=0.8),
)
MASKS = 4000  # of RISE: half of those published
SETTINGS = {
    "crisp": Setting("inr"),
    "crisp, published kernel": Setting("inr", {"preset": PUBLISHED_KERNEL}),
    "crisp, published kernel, log p alone as reward": Setting("inr", {"preset": LOGARITHM}),
    "crisp, random start": Setting("inr", {"preset": "crisp_random"}),
    "crisp, random start, level at 1/2": Setting("inr", {"preset": HALF}),
    "draft": Setting("inr", {"preset": "draft"}),
    "draft, 150 passes": Setting("inr", {"preset": "draft", "steps": 75}),
    "the paper's setting, on the filter's lattice": Setting("inr", {"preset": "paper_lattice"}),
    "crisp's loss and start on lattices": Setting("extremal_perturbation", {"preset": on_lattices("crisp")}),
    "draft's loss and start on lattices": Setting("extremal_perturbation", {"preset": on_lattices("draft")}),
    "extremal perturbations, short way": Setting("extremal_perturbation", {"preset": "extremal_perturbation_quick"}),
    "extremal perturbations, as published": Setting("extremal_perturbation"),
    "RISE, 400 masks": Setting("rise", {"masks": 400}, 400),
    f"RISE, {MASKS} masks": Setting("rise", {"masks": MASKS}, MASKS),
    "GradCAM": Setting("grad_cam", passes=1),
    "a centred disc": Setting("centred_disc", passes=0),
}


def quality(rows: pd.DataFrame, seconds: pd.DataFrame | None = None, *, against: str = "crisp") -> pd.DataFrame:
    """One line for each of SETTINGS that rows of a study were made by; the rows are of one data set and one iteration.

    pictures; passes of the classifier and mean seconds for one picture; the mean of each of MEASURES over all pictures,
    at exactly the area named. enough: the share of the four areas whose mask keeps half of p.
    And of "areas that suffice", the setting's mean less that of `against`: both is the number of pictures that both
    have, difference the mean over these, low and high its 95 % interval.
    """
    rows = judged(rows)
    rows["enough"] = rows[KEPT].mean(axis=1, skipna=False)
    timed = {} if seconds is None else seconds.set_index("key")["seconds"].to_dict()
    rows["seconds"] = rows["key"].map(timed)
    of_setting = {
        name: runs
        for name, setting in SETTINGS.items()
        if len(runs := rows[[setting.is_of(row) for row in rows[["method", "settings"]].to_dict("records")]])
    }
    lines = {}
    for name, runs in of_setting.items():
        line: dict[str, float] = {"pictures": runs["sample"].nunique(), "passes": SETTINGS[name].classifier_passes}
        line["seconds"] = runs["seconds"].mean()
        line |= {measure: by_photograph(runs, measure).mean() for measure in MEASURES}
        if against in of_setting and name != against:
            both = (by_photograph(runs, "enough") - by_photograph(of_setting[against], "enough")).dropna()
            low, high = interval(both)
            line |= {"both": len(both), "difference": both.mean(), "low": low, "high": high}
        lines[name] = line
    return pd.DataFrame.from_dict(lines, orient="index")
