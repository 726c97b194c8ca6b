"""What is refused before any work, and the areas that are drawn."""

import dataclasses

import pytest
import torch
from planted import QUICK_FIT

from inrexp.models.classifier import Target
from inrexp.paper.presets import EXTREMAL_PERTURBATION
from inrexp.paper.problems import Problem, check_problems, drawn_areas, stacked_baselines

ONE = Problem(torch.zeros(1, 3, 32, 28), Target((1,), "one"))
MASK = torch.zeros(1, 1, 32, 28)


def test_a_baseline_of_another_size_is_found_in_any_problem():
    wrong = dataclasses.replace(ONE, baseline=torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"baseline must be a mask .*, got \(1, 1, 8, 8\)"):
        check_problems([ONE] * 100 + [wrong], QUICK_FIT, 8)


@pytest.mark.parametrize("config", [QUICK_FIT, EXTREMAL_PERTURBATION])
def test_scores_and_a_start_from_them_go_together(config):
    scores = torch.arange(32.0 * 28).view(1, 1, 32, 28)
    with pytest.raises(ValueError, match="saliency must be given with start='saliency', and only with it"):
        check_problems([dataclasses.replace(ONE, saliency=scores)], config, 8)
    with pytest.raises(ValueError, match="saliency must be given with start='saliency'"):
        check_problems([ONE], dataclasses.replace(QUICK_FIT, start="saliency"), 8)
    check_problems([dataclasses.replace(ONE, saliency=scores)], dataclasses.replace(QUICK_FIT, start="saliency"), 8)


def test_a_lattice_takes_its_own_areas_in_every_step():
    areas = drawn_areas(EXTREMAL_PERTURBATION, [0, 1])
    assert areas.shape == (2, 800, 4)
    assert areas[1, 799].tolist() == pytest.approx([0.025, 0.05, 0.1, 0.2])


def test_a_problem_without_a_baseline_has_an_empty_one_beside_one_that_has():
    images = torch.cat([ONE.image, ONE.image])
    assert stacked_baselines([ONE, ONE], images) is None
    both = stacked_baselines([ONE, dataclasses.replace(ONE, baseline=MASK + 1)], images)
    assert both.shape == (2, 1, 1, 32, 28)
    assert both.mean((1, 2, 3, 4)).tolist() == [0, 1]
