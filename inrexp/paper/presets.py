"""Named settings: the paper's section 3.4, and what this project makes of it."""

from typing import Any

from inrexp.paper.settings import FitConfig

SMOOTH: dict[str, Any] = {"grid": 16, "scale": 2.0, "area_scale": 0.25, "bias": 2.0}  # a field for the 21 px filter
CRISP: dict[str, Any] = {
    "steps": 150,
    "lr": 2e-3,
    "lr_end": 2e-4,
    "warmup": 0.4,
    "areas_per_step": 2,
    "sampling": "stratified",
    "area_weight": 1.0,
    "area_weight_end": 100.0,
    "ramp": 0.8,
    "reward": "log_probability",
    "sharpness": 2.0,
    "sharpness_end": 64.0,
    "harden": True,
    "dice_weight_end": 30.0,
}
PRESETS: dict[str, FitConfig] = {
    # Section 3.4, every number of it: 4000 steps, Adam 1e-4, one uniform area a step, weight 1, every pixel.
    "paper": FitConfig(source_settings={"grid": "pixel"}),
    # The same loss and schedule with the field on the filter's own lattice: what the paper's numbers mean, sooner.
    "paper_lattice": FitConfig(source_settings={"grid": "lattice"}),
    # A laptop's, 300 classifier passes. A growing area weight closes the leak of the constant one, and log-probability
    # keeps a gradient where a saturated softmax has none (README, "Presets", has what was measured). Nothing but the
    # weight holds these soft masks to their area, so that it grows further than crisp's.
    "quick": FitConfig(
        **CRISP | {"area_weight_end": 1000.0, "sharpness": 0.0, "sharpness_end": None, "harden": False},
        source_settings=SMOOTH,
    ),
    # Masks that mean what they show: sharpened to 0/1 while they are fitted, so that nothing is left in between for the
    # class to come through (notebook 09, data/results/variants.csv).
    "crisp": FitConfig(**CRISP, source_settings=SMOOTH),
    # The same in half the passes, from weights learned on other pictures.
    "crisp_learned": FitConfig(**CRISP | {"steps": 75, "warmup": 0.25}, initial="learned", source_settings=SMOOTH),
    # Fong, Patrick, Vedaldi 2019 as published: a free lattice for each area, raw score, eight blur levels, mirroring.
    "extremal_perturbation": FitConfig(
        steps=800,
        lr=0.01,
        optimiser="sgd",
        momentum=0.9,
        dampening=0.9,
        sampling="fixed",
        area_weight=300.0,
        area_weight_growth=1.0035,
        reward="score",
        perturbation="levels",
        flip=True,
        source="lattice",
        source_settings={"areas": (0.025, 0.05, 0.1, 0.2), "margin": 21, "oversample": 7},
    ),
    # The same lattices and the same loss at the end, sooner: Adam, a weight that starts at 10, the fast filter.
    "extremal_perturbation_quick": FitConfig(
        steps=100,
        lr=0.05,
        sampling="fixed",
        area_weight=10.0,
        area_weight_end=300.0 * 1.0035**799,
        reward="score",
        perturbation="levels",
        flip=True,
        source="lattice",
        source_settings={"areas": (0.025, 0.05, 0.1, 0.2), "margin": 21, "oversample": 2},
    ),
}
