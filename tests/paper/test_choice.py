"""Masks chosen among neighbours: never worse at the areas chosen for, still in their very area, still growing."""

import dataclasses
import itertools
from collections.abc import Callable

import pytest
import torch
from planted import QUICK_FIT, Planted, plant

from inrexp.explanation import Explanation
from inrexp.iterations import Rules, explain_in_turn
from inrexp.methods import explain, explain_batch
from inrexp.models.classifier import Target
from inrexp.paper import fit as fitting
from inrexp.paper.choice import choose, nondecreasing
from inrexp.paper.fit import Problem
from inrexp.paper.inr import MaskField
from inrexp.paper.outcome import Cancelled
from inrexp.paper.presets import PRESETS
from inrexp.paper.settings import CHOICES, FieldSettings, FitConfig, Growth, LatticeSettings, from_plain, plain

STRIPES = Target((1,), "stripes")
OWN = dataclasses.replace(QUICK_FIT, steps=20, sharpness=Growth(1.0, 16.0, until=0.8))
CHOSEN = dataclasses.replace(OWN, source=dataclasses.replace(OWN.source, reach=3))
AREAS = torch.linspace(*OWN.area_range, CHOICES).tolist()


@pytest.fixture(scope="module")
def pair() -> tuple[Explanation, Explanation]:
    """The same fit without and with the choice."""
    planted = plant()
    first, second = (
        explain(planted.classifier, planted.image, STRIPES, preset=config, progress=False) for config in (OWN, CHOSEN)
    )
    return first, second


def test_the_fit_is_the_same_and_some_areas_take_another_s_mask(pair: tuple[Explanation, Explanation]):
    own, chosen = pair
    conditions = chosen.source.state_dict().pop("conditions")[0]
    for name, value in own.source.state_dict().items():
        assert torch.equal(value, chosen.source.state_dict()[name])
    places = (conditions - AREAS[0]) / (AREAS[1] - AREAS[0])
    assert torch.allclose(places, places.round(), atol=1e-4)
    assert (places.diff() > -1e-4).all()
    assert 0.5 < (places - torch.arange(CHOICES)).abs().max() < 3.5


def test_the_sum_of_what_the_masks_keep_grows(pair: tuple[Explanation, Explanation]):
    own, chosen = (one.probability(AREAS) for one in pair)
    assert chosen.sum() > own.sum() + 0.01


def test_every_mask_has_its_very_area_between_the_choices_too(pair: tuple[Explanation, Explanation]):
    between = [(one + other) / 2 for one, other in itertools.pairwise(AREAS)]
    masks = pair[1].mask(AREAS + between)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert masks.mean((1, 2, 3)).tolist() == pytest.approx(AREAS + between, abs=1e-4)


def test_between_two_areas_the_condition_is_between_theirs():
    field = MaskField((112, 112), [0], FieldSettings(reach=2), area_range=(0.1, 0.38))
    field.conditions[0, 3:5] = torch.tensor([0.14, 0.18])
    asked = torch.tensor([[0.1, 0.16, 0.165, 0.175, 0.18, 0.38]])
    assert field.conditions_of(asked)[0].tolist() == pytest.approx([0.1, 0.14, 0.15, 0.17, 0.18, 0.38])


def made_up(keeps: Callable[[torch.Tensor], float], reach: int) -> torch.Tensor:
    """The places chosen where `keeps` says what a mask (1, h, w) keeps, by a field whose blob moves with the area."""

    class Moving(MaskField):
        def soft(self, areas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            across = torch.linspace(0, 1, 112).expand(112, 112)
            masks = torch.exp(-((across - (areas[..., None, None] - 0.1) / 0.3).square()) * 50)[:, :, None]
            return masks, masks.flatten(2)

    field = Moving((112, 112), [0], FieldSettings(reach=reach), area_range=(0.1, 0.4))
    choose(field, lambda masks: torch.tensor([[keeps(masks[0, 0])]]))
    return ((field.conditions[0] - 0.1) / 0.3 * (CHOICES - 1)).round().int()


def test_the_best_neighbour_within_reach_is_taken():
    """A mask keeps the class where it covers the middle column, on which the blob of place 7 is centred."""

    def covers(mask: torch.Tensor) -> float:
        return float(mask[0, :, 56].mean())

    assert made_up(covers, reach=CHOICES - 1).tolist() == [7] * 8 + [8] + [9] * 6  # the larger, the farther away
    near = [0, 1, 2, 3, 6, 6, 6, 7, 8, 9, 9, 9, 12, 13, 14]  # no mask in reach covers it at either end
    assert made_up(covers, reach=2).tolist() == near


def test_where_nothing_is_won_an_area_keeps_its_own_mask():
    assert made_up(lambda mask: 0.3, reach=3).tolist() == list(range(CHOICES))


def test_the_best_path_is_the_best_of_all_that_do_not_fall():
    worth = torch.rand(5, 5, generator=torch.Generator().manual_seed(0))
    worth[0, 0] = -torch.inf
    paths = [path for path in itertools.product(range(5), repeat=5) if list(path) == sorted(path)]
    best = max(paths, key=lambda path: sum(float(row[i]) for row, i in zip(worth, path, strict=True)))
    assert nondecreasing(worth) == list(best)


def test_problems_beside_each_other_choose_alone(planted: Planted):
    batch = explain_batch(planted.classifier, [planted.image], [STRIPES], preset=CHOSEN, seeds=[0, 1], progress=False)
    for seed, one in enumerate(batch):
        alone = explain(planted.classifier, planted.image, STRIPES, preset=CHOSEN, seed=seed, progress=False)
        assert torch.allclose(one.source.conditions, alone.source.conditions)


def test_it_is_kept_in_the_file(pair: tuple[Explanation, Explanation], planted: Planted, tmp_path):
    for one in pair:
        again = Explanation.load(one.save(tmp_path / "one.safetensors"), classifier=planted.classifier)
        assert again.config == one.config
        assert torch.equal(again.mask(AREAS), one.mask(AREAS))


def test_a_later_explanation_is_chosen_by_what_it_adds(planted: Planted, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def watched(source: MaskField, judge: Callable[[torch.Tensor], torch.Tensor]) -> None:
        everything = torch.ones(1, 1, 1, 112, 112)
        seen.append(float(judge(everything)))
        choose(source, judge)

    monkeypatch.setattr(fitting, "choose", watched)
    rules = Rules("largest", None, None, False)
    (found,) = explain_in_turn(
        planted.classifier, [Problem(planted.image, STRIPES)], CHOSEN, n=2, rules=rules, progress=False
    )
    assert len(found) == 2
    assert seen[0] == pytest.approx(found[0].unmasked, abs=1e-4)
    assert seen[1] < seen[0] - 0.01  # the whole picture without the first mask


def test_an_interrupted_fit_chooses_nothing(planted: Planted):
    def stop(step: int, report: dict, source: MaskField) -> None:
        raise Cancelled

    with pytest.warns(UserWarning, match="interrupted"):
        one = explain(planted.classifier, planted.image, STRIPES, preset=CHOSEN, progress=False, callback=stop)
    assert one.source.conditions[0].tolist() == pytest.approx(AREAS)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (FieldSettings, {"reach": -1}, "reach must be 0 to 14"),
        (FieldSettings, {"reach": 15}, "reach must be 0 to 14"),
        (FieldSettings, {"reach": 1, "outputs": 2}, "0 for several outputs"),
        (
            FitConfig,
            {"source": FieldSettings(reach=1)},
            "sharpness must be above 0, or None for a source",
        ),
        (LatticeSettings, {"reach": 1}, "unexpected keyword argument 'reach'"),
    ],
)
def test_settings_that_do_not_fit(section: type, values: dict, message: str):
    with pytest.raises((ValueError, TypeError), match=message):
        section(**values)


def test_settings_without_a_reach_are_written_as_they_were():
    assert "reach" not in plain(PRESETS["crisp"])["source"]
    assert plain(PRESETS["crisp_chosen"])["source"]["reach"] == 3
    for config in PRESETS.values():
        assert from_plain(plain(config)) == config


def test_passes_count_the_masks_that_are_judged(planted: Planted, monkeypatch: pytest.MonkeyPatch):
    counted = []
    field = MaskField((112, 112), [0], CHOSEN.source, area_range=CHOSEN.area_range)
    choose(field, lambda masks: counted.append(len(masks)) or torch.zeros(1, 1))  # type: ignore[func-returns-value]
    assert CHOSEN.passes == OWN.passes + sum(counted)
