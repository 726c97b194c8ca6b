"""The numbers of the figures: masks of exactly their area, one judge for all rows, and what made them."""

import dataclasses

import pytest
import torch
from planted import QUICK_FIT, Planted, plant

from inrexp import explain, explain_many, figures, grad_cam
from inrexp.explanation import Explanation
from inrexp.figures.shown import exactly
from inrexp.methods import extremal_perturbation
from inrexp.metrics import pairwise_iou

SHORT = dataclasses.replace(QUICK_FIT, steps=30)


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant()


@pytest.fixture(scope="module")
def found(planted: Planted) -> Explanation:
    return explain(planted.classifier, planted.image, 1, preset=QUICK_FIT, progress=False)


def test_a_binary_mask_of_its_area_stays_as_it_is():
    mask = torch.zeros(1, 1, 40, 40)
    mask[..., :10, :] = 1
    assert torch.equal(exactly(mask, [0.25]), mask)


def test_of_a_soft_mask_the_largest_values_are_kept():
    mask = torch.linspace(0, 1, 1600).reshape(1, 1, 40, 40)
    kept = exactly(mask, [0.25])
    assert kept.mean() == 0.25
    assert (kept == (mask >= mask.flatten().sort().values[1200])).all()


def test_of_equal_values_the_deepest_are_kept():
    mask = torch.zeros(1, 1, 60, 60)
    mask[..., 20:40, 20:40] = 1  # 400 pixels, all equal
    kept = exactly(mask, [100 / 3600])[0, 0]
    assert kept.sum() == 100
    assert kept[27:33, 27:33].all()
    assert not kept[20, 20]


def test_a_mask_of_one_value_is_not_turned_into_an_invented_one():
    empty = torch.zeros(1, 1, 40, 40)
    assert torch.equal(exactly(empty, [0.25]), empty)


def test_what_is_shown_is_what_is_judged(found: Explanation):
    for one, area in zip(figures.shown(found, [0.1, 0.2]), [0.1, 0.2], strict=True):
        assert set(one.mask.unique().tolist()) == {0.0, 1.0}
        assert one.kept == pytest.approx(area, abs=1e-4)
        assert one.probability == pytest.approx(float(found.probability_of_mask(one.mask)))
        assert torch.equal(one.seen, found.blended(one.mask))
        assert one.suffices == (one.probability >= found.threshold)
    (soft,) = figures.shown(found, [0.2], soft=True)
    assert torch.equal(soft.mask, found.mask(0.2))


def test_one_judge_fills_all_rows_alike(found: Explanation, planted: Planted):
    faded = dataclasses.replace(QUICK_FIT, steps=1, perturbation="fade")
    other = explain(planted.classifier, planted.image, 1, preset=faded, progress=False)
    (own,), (judged,) = figures.shown(other, [0.2]), figures.shown(other, [0.2], judge=found)
    assert torch.equal(own.mask, judged.mask)
    assert torch.equal(judged.seen, found.blended(judged.mask))
    assert not torch.equal(own.seen, judged.seen)  # black, and blurred


def test_an_answer_for_another_class_is_asked_for_its_own_class(found: Explanation, planted: Planted):
    other = grad_cam(planted.classifier, planted.image, 2, layer="features")
    (own,) = figures.shown(other, [0.2], judge=found)
    seen = found.blended(own.mask)
    assert own.probability == pytest.approx(float(planted.classifier.probability(seen, other.target)))
    assert own.probability != pytest.approx(float(planted.classifier.probability(seen, found.target)))
    assert (own.label, own.unmasked, own.threshold) == (other.target.label, other.unmasked, other.threshold)


def test_a_saliency_map_comes_along_with_its_mask(found: Explanation, planted: Planted):
    scores = grad_cam(planted.classifier, planted.image, 1, layer="features")
    (one,) = figures.shown(scores, [0.2], judge=found)
    assert torch.equal(one.scores, scores.scaled)
    assert torch.equal(one.mask, scores.mask(0.2))


def test_a_row_is_compared_with_its_first_mask(found: Explanation):
    row = figures.compared(figures.shown(found, [0.2, 0.1, 0.2]))
    iou = pairwise_iou(torch.cat([one.mask for one in row]))
    assert [one.overlap for one in row] == pytest.approx(iou[0].tolist())
    assert row[2].overlap == 1


def test_a_finer_drawing_changes_no_probability(found: Explanation):
    fine = figures.finer(found.classifier, found.image, 2)
    assert fine.shape == (1, 3, 224, 224)
    (coarse,), (drawn,) = figures.shown(found, [0.2]), figures.shown(found, [0.2], fine=fine)
    assert drawn.probability == coarse.probability
    assert drawn.seen.shape == fine.shape
    back = torch.nn.functional.avg_pool2d(drawn.seen, 2)
    assert (back - coarse.seen).abs().mean() < 0.02


def test_explanations_in_turn_say_what_they_share_with_earlier_ones(planted_pair: Planted):
    found = explain_many(planted_pair.classifier, planted_pair.image, 1, n=2, preset=SHORT, stop=False, progress=False)
    first, second = figures.shown_in_turn(found)
    assert first.overlap == 0
    assert second.overlap == pytest.approx(float((first.mask * second.mask).sum() / second.mask.sum()))
    assert (first.accepted, second.accepted) == found.keeps
    assert first.kept == pytest.approx(found.areas[0], abs=1e-4)
    truths = {"first": planted_pair.truths[0], "rest": ~planted_pair.truths[0]}
    around = figures.surrounded(found, truths, ["first"])
    assert around.sizes["first"] + around.sizes["rest"] == pytest.approx(1)
    for share, one in zip(around.shares, around.found, strict=True):
        assert share["first"] == pytest.approx(float((one.mask * planted_pair.truths[0]).sum() / one.mask.sum()))
    with pytest.raises(ValueError, match="objects must name regions among first, rest, got boat"):
        figures.surrounded(found, truths, ["boat"])


def test_a_leak_has_the_soft_mask_and_the_cut_one(found: Explanation):
    soft, cut = figures.shown_leak(found, 0.2)
    assert torch.equal(soft.mask, found.mask(0.2))
    assert torch.equal(cut.mask, found.mask(0.2, cut=0.5))
    assert cut.probability == pytest.approx(float(found.probability(0.2, cut=0.5)))


def test_the_scheme_is_of_an_inr(found: Explanation, planted: Planted):
    steps = figures.scheme_steps(found, 0.2)
    assert torch.equal(steps.shown.mask, found.mask(0.2))
    assert steps.coordinates.shape == (112, 112, 3)
    lattice = extremal_perturbation(planted.classifier, planted.image, 1, areas=(0.1,), steps=2, progress=False)
    with pytest.raises(TypeError, match="explanation must come from an INR"):
        figures.scheme_steps(lattice, 0.1)


def test_what_made_a_figure_is_read_from_its_explanations(found: Explanation, planted: Planted):
    lattice = extremal_perturbation(planted.classifier, planted.image, 1, areas=(0.1, 0.3), steps=2, progress=False)
    other = explain(planted.classifier, planted.image, 1, preset=SHORT, seed=3, progress=False)
    assert figures.made_by(found, pictures=["data/stripes.png"]) == (
        "Made by INR (custom, 300 passes); a custom model; seed 0; picture stripes."
    )
    assert figures.made_by(found, pictures=["penguins", "macaw"]).endswith(
        "pictures penguins, macaw; penguins by Ian Duffy, CC BY 2.0."
    )
    said = figures.made_by(found, other, lattice, pictures=["a", "b"], note="drawn twice")
    assert said == (
        "Made by INR (custom, 300 passes), INR (custom, 60 passes), Extremal perturbations (the published way with "
        "other steps and areas, 4 passes); "
        "a custom model; seeds 0, 3; pictures a, b; drawn twice."
    )
