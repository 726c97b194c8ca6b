"""Reward, area penalty (eq. 3) and Dice overlap (eq. 6), by hand and against finite differences."""

import math

import pytest
import torch

from inrexp.paper.objectives import REWARDS, area_penalty, dice_overlap, loss, pairwise_overlap, reward


def mask_of(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 2, -1)


def area(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_a_mask_of_exactly_the_area_has_no_penalty():
    assert float(area_penalty(mask_of(1, 0, 0, 0), area(0.25))) == 0
    assert float(area_penalty(mask_of(0, 1, 1, 0), area(0.5))) == 0
    assert float(area_penalty(mask_of(0, 0, 0, 0), area(0.0))) == 0
    assert float(area_penalty(mask_of(1, 1, 1, 1), area(1.0))) == 0


def test_the_penalty_by_hand():
    # sorted 0.1 0.2 0.7 0.9 against 0 0 1 1: (0.01 + 0.04 + 0.09 + 0.01) / 4
    assert float(area_penalty(mask_of(0.9, 0.1, 0.7, 0.2), area(0.5))) == pytest.approx(0.0375)
    # ... against 0 0 0 1: (0.01 + 0.04 + 0.49 + 0.01) / 4
    assert float(area_penalty(mask_of(0.9, 0.1, 0.7, 0.2), area(0.25))) == pytest.approx(0.1375)
    assert float(area_penalty(mask_of(1, 1, 1, 1), area(0.25))) == pytest.approx(0.75)
    assert float(area_penalty(mask_of(0, 0, 0, 0), area(0.25))) == pytest.approx(0.25)


def test_the_number_of_ones_is_rounded():
    # 6 pixels, a = 0.3: 1.8 pixels, so two ones
    assert float(area_penalty(mask_of(1, 1, 0, 0, 0, 0), area(0.3))) == 0


def test_the_penalty_does_not_depend_on_where_the_pixels_are():
    mask = torch.rand(1, 1, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = mask.flatten()[torch.randperm(30, generator=torch.Generator().manual_seed(1))].view(1, 1, 5, 6)
    assert torch.allclose(area_penalty(mask, area(0.2)), area_penalty(moved, area(0.2)))


def test_each_mask_has_its_own_area():
    masks = torch.cat([mask_of(1, 0, 0, 0), mask_of(1, 0, 0, 0)])
    assert area_penalty(masks, area(0.25, 0.75)).tolist() == pytest.approx([0.0, 0.5])


@pytest.mark.parametrize("a", [0.025, 0.05, 0.1, 0.2])
def test_the_published_areas_round_right_on_a_whole_picture_in_single_precision(a: float):
    mask = torch.zeros(1, 1, 224, 224)
    mask.view(-1)[: round(a * 224 * 224)] = 1
    assert float(area_penalty(mask, torch.tensor([a]))) == 0


def test_dice_is_one_for_equal_masks_and_zero_for_disjoint_ones():
    assert float(dice_overlap(mask_of(1, 0, 1, 0), mask_of(1, 0, 1, 0))) == pytest.approx(1)
    assert float(dice_overlap(mask_of(1, 0, 1, 0), mask_of(0, 1, 0, 1))) == 0
    assert float(dice_overlap(mask_of(0, 0, 0, 0), mask_of(0, 0, 0, 0))) == 0


def test_dice_by_hand():
    # 2 (0.5 * 1 + 0.5 * 0) / (0.25 + 0.25 + 1)
    assert float(dice_overlap(mask_of(0.5, 0.5, 0, 0), mask_of(1, 0, 0, 0))) == pytest.approx(2 / 3)


def test_pairwise_overlap_is_the_sum_over_pairs():
    masks = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    apart = sum(dice_overlap(masks[:, i : i + 1], masks[:, j : j + 1]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert torch.allclose(pairwise_overlap(masks), apart)


SCORES = torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 0.5]], dtype=torch.float64)
SECOND = torch.tensor([[0, 1, 0], [0, 1, 0]], dtype=torch.float64)
OUTER = torch.tensor([[1, 0, 1], [1, 0, 1]], dtype=torch.float64)


def test_the_reward_is_the_probability_after_the_softmax():
    assert torch.allclose(reward(SCORES, SECOND, "probability"), SCORES.softmax(1)[:, 1])
    by_hand = math.exp(2) / (math.exp(1) + math.exp(2) + math.exp(3))
    assert float(reward(SCORES, SECOND, "probability")[0]) == pytest.approx(by_hand)


def test_the_probabilities_of_several_classes_add_up():
    assert torch.allclose(reward(SCORES, OUTER, "probability"), SCORES.softmax(1)[:, [0, 2]].sum(1))


def test_the_logarithm_and_the_score():
    assert torch.allclose(reward(SCORES, OUTER, "log_probability"), reward(SCORES, OUTER, "probability").log())
    p = reward(SCORES, OUTER, "probability")
    assert torch.allclose(reward(SCORES, OUTER, "probability_and_log"), p + p.log() / 8)
    assert torch.allclose(reward(SCORES, SECOND, "score"), SCORES[:, 1])


def test_sigmoid_heads_count_by_their_mean():
    assert torch.allclose(reward(SCORES, SECOND, "probability", "sigmoid"), SCORES[:, 1].sigmoid())
    assert torch.allclose(reward(SCORES, OUTER, "probability", "sigmoid"), SCORES[:, [0, 2]].sigmoid().mean(1))


@pytest.mark.parametrize(("kind", "share"), [("log_probability", 1), ("probability_and_log", 1 / 8)])
@pytest.mark.parametrize(("activation", "pair"), [("softmax", (200.0, 0.0)), ("sigmoid", (3.0, -200.0))])
def test_the_logarithm_of_almost_nothing_still_has_a_gradient(activation: str, pair: tuple, kind: str, share: float):
    scores = torch.tensor([pair], requires_grad=True)
    found = reward(scores, torch.tensor([[0.0, 1.0]]), kind, activation)
    found.sum().backward()
    assert found.item() == pytest.approx(-200 * share)
    assert float(scores.grad[0, 1]) == pytest.approx(share)


def test_the_logarithm_of_sigmoids_is_continuous_where_it_is_taken_another_way():
    around = torch.linspace(-72, -66, 13, dtype=torch.float64)  # sigmoid(-69) is 1e-30
    scores = torch.stack([torch.zeros_like(around), around, around - 1], 1)
    wanted = around + math.log((1 + math.exp(-1)) / 2)
    found = reward(scores, torch.tensor([[0.0, 1.0, 1.0]]).expand(13, -1).double(), "log_probability", "sigmoid")
    assert torch.allclose(found, wanted)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"kind": "accuracy"}, "kind must be one of .* got 'accuracy'"),
        ({"activation": "tanh"}, "activation must be one of .* got 'tanh'"),
        ({"kind": "score", "activation": "none"}, "activation must be one of"),
    ],
)
def test_a_wrong_word_is_refused_by_name(words: dict, message: str):
    with pytest.raises(ValueError, match=message):
        reward(SCORES, SECOND, **words)
    masks = mask_of(1, 0, 0, 0).expand(2, -1, -1, -1)
    with pytest.raises(ValueError, match=message):
        loss(SCORES, SECOND, masks, area(0.25, 0.25), **words)


@pytest.mark.parametrize("wrong", [-0.1, 1.5, math.nan])
def test_an_area_that_is_no_fraction_is_refused(wrong: float):
    with pytest.raises(ValueError, match=r"area must lie in \[0, 1\] .* got \[0.25, "):
        area_penalty(mask_of(1, 0, 0, 0).expand(2, -1, -1, -1), area(0.25, wrong))


def test_beside_p_the_logarithm_leads_where_p_is_small_and_p_where_the_class_can_be_won():
    def steepness(kind: str, p: float) -> float:  # by the class's score
        scores = torch.tensor([[0.0, math.log(p / (1 - p))]], dtype=torch.float64, requires_grad=True)
        reward(scores, torch.tensor([[0.0, 1.0]], dtype=torch.float64), kind).sum().backward()
        return float(scores.grad[0, 1])

    ratio = {p: steepness("probability_and_log", p) / steepness("log_probability", p) for p in (0.001, 0.5)}
    assert ratio[0.001] == pytest.approx(0.126)
    assert ratio[0.5] == pytest.approx(0.625)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("kind", REWARDS)
def test_gradients_of_every_reward(kind: str, activation: str):
    scores = SCORES.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: reward(s, OUTER, kind, activation), scores)


def test_gradients_of_the_penalty_and_of_dice():
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(2, 1, 4, 5, generator=generator, dtype=torch.float64).requires_grad_()
    other = torch.rand(2, 1, 4, 5, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda m: area_penalty(m, area(0.2, 0.55)), mask)
    assert torch.autograd.gradcheck(lambda m: dice_overlap(m, other), mask)


def test_the_dice_term_of_an_area_inside_a_larger_one_is_small():
    inside, around = torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 20, 20)
    inside[..., :2, :5] = 1  # 10 px of 400
    around[..., :8, :10] = 1  # 80 px
    assert dice_overlap(inside, around).item() == pytest.approx(20 / 90)


def test_the_loss_is_equation_two_and_with_a_baseline_equation_six():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    target = torch.tensor([[0, 1, 0, 0], [0, 0, 1, 0]])
    mask, other = torch.rand(2, 2, 1, 5, 4, generator=generator, dtype=torch.float64)
    area = torch.tensor([0.1, 0.3], dtype=torch.float64)
    phi = scores.softmax(1)[target.bool()]
    two = -phi + 7 * area_penalty(mask, area)
    assert torch.allclose(loss(scores, target, mask, area, area_weight=7.0), two)
    six = two + 5 * dice_overlap(mask, other)
    assert torch.allclose(loss(scores, target, mask, area, area_weight=7.0, baseline=other, dice_weight=5.0), six)


def test_section_3_4_weighs_all_terms_by_one():
    scores = torch.zeros(1, 2)
    target, mask = torch.tensor([[1, 0]]), torch.ones(1, 1, 2, 2)
    value = loss(scores, target, mask, torch.tensor([0.5]), baseline=mask)
    assert value.item() == pytest.approx(-0.5 + 0.5 + 1.0)  # -Phi, half of the pixels off by one, a whole overlap
