"""Where a fit starts: at the nested masks of a ranking, GradCAM's or a reader's; and what ranks nothing."""

import dataclasses
import warnings

import pytest
import torch
from planted import FIRST_BOX, QUICK_FIT, SECOND_BOX, Planted, plant, precision
from torch import nn

from inrexp.methods import explain, explain_batch
from inrexp.models.classifier import Classifier, Target
from inrexp.paper import starts
from inrexp.paper.fit import Problem, fit
from inrexp.paper.inr import MaskField
from inrexp.paper.lattice import MaskLattice
from inrexp.paper.masks import keep_largest
from inrexp.paper.settings import FitConfig, LatticeSettings
from inrexp.paper.starts import checked_saliency, model_ranking, ranking, start_from_rankings, start_lattices

STRIPES = Target((1,), "stripes")
STARTED = dataclasses.replace(QUICK_FIT, steps=1, start="grad_cam")
AREAS = torch.tensor([0.1, 0.2, 0.4])


def blob(top: int, left: int) -> torch.Tensor:
    """Scores that fall off from a point, (1, 1, 112, 112)."""
    y, x = torch.meshgrid(torch.arange(112.0), torch.arange(112.0), indexing="ij")
    return -torch.hypot(y - top, x - left)[None, None]


def test_a_ranking_is_the_share_of_better_pixels():
    scores = torch.tensor([5.0, 9.0, -1.0, 9.0]).view(1, 1, 2, 2)
    assert ranking(scores).flatten().tolist() == [0.5, 0.0, 0.75, 0.25]  # of the two nines the upper left first


def test_the_lowest_scores_are_ranked_by_what_is_near():
    scores = torch.zeros(1, 1, 64, 64)
    scores[..., 44:52, 44:52] = torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) + 1
    ranked = ranking(scores)
    assert float(ranked[scores > 0].max()) == 63 / 4096  # the named ones come first, whatever is near
    ring = keep_largest(-ranked, torch.tensor([0.1]))[0, 0].nonzero()
    assert int(ring.min()) > 24  # the next ones surround them; by place alone they would lie along the upper edge
    assert torch.unique(ranked).numel() == 4096


def test_a_map_that_is_no_tensor_is_refused_by_name(planted: Planted):
    with pytest.raises(TypeError, match=r"saliency must be .*\.saliency"):
        checked_saliency(torch.rand(1, 1, 112, 112).numpy(), planted.image)


@pytest.mark.parametrize(
    ("saliency", "message"),
    [
        (torch.zeros(1, 1, 8, 8), r"saliency must be \(1, 1, 112, 112\) like the image, got \(1, 1, 8, 8\)"),
        (torch.ones(1, 1, 112, 112), "got a constant map"),
        (torch.full((1, 1, 112, 112), torch.nan), "got NaN or infinite"),
    ],
)
def test_a_map_that_ranks_nothing_is_refused(planted: Planted, saliency: torch.Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        checked_saliency(saliency, planted.image)
    with pytest.raises(ValueError, match=message):
        explain(planted.classifier, planted.image, 1, preset=QUICK_FIT, saliency=saliency, progress=False)


def test_settings_that_no_fit_can_start_from_are_named():
    with pytest.raises(ValueError, match=r"start must be None, or one of \('grad_cam', 'saliency'\) .*'occlusion'"):
        FitConfig(start="occlusion")
    with pytest.raises(ValueError, match="level must be"):
        FitConfig(level=(0.2, 0.6))  # nothing is sharpened


def test_a_lattice_starts_at_the_nested_masks_of_its_ranking():
    lattice = MaskLattice((112, 112), 2, LatticeSettings(areas=(0.1, 0.4), margin=0))
    start_lattices(lattice, [None, ranking(blob(30, 30))])
    full, started = lattice.values.detach()
    assert (full == 1).all()  # without a ranking it starts as it did
    kept = started.mean((1, 2))
    assert kept.tolist() == pytest.approx([0.1 + 0.8 * 0.1, 0.1 + 0.8 * 0.4], abs=0.01)  # clamped to [0.1, 0.9]
    assert started[0, 4, 4] == pytest.approx(0.9)  # 7 px a cell: the blob's own cell
    assert started[0, -1, -1] == pytest.approx(0.1)
    assert (started[1] >= started[0] - 1e-6).all()


def test_a_lattice_that_starts_from_grad_cam_lies_on_the_object_before_the_first_step(planted: Planted):
    lattices = dataclasses.replace(STARTED, source=LatticeSettings(areas=(0.1,), margin=0, oversample=2))
    (started,) = fit(planted.classifier, [Problem(planted.image, STRIPES)], lattices, progress=False)
    best = keep_largest(started.source.soft(torch.tensor([[0.1]]))[0][0].detach(), torch.tensor([0.1]))
    assert precision(best, planted.truth) > 0.6


def test_the_fields_first_masks_are_those_of_the_ranking():
    field = MaskField((112, 112), [0, 1], QUICK_FIT.source, area_range=(0.1, 0.4))
    maps = [blob(30, 30), blob(80, 70)]
    start_from_rankings(field, [ranking(one) for one in maps], [0, 1])
    field.hard = True
    masks = field(AREAS.expand(2, -1))
    for mask, saliency in zip(masks, maps, strict=True):
        wanted = keep_largest(saliency, AREAS)
        overlap = torch.minimum(mask, wanted).sum((1, 2, 3)) / wanted.sum((1, 2, 3))
        assert float(overlap.min()) > 0.75
    assert all(parameter.grad is None for parameter in field.parameters())


def test_a_problem_without_a_ranking_keeps_its_random_weights_beside_one_that_has_it():
    fresh = MaskField((112, 112), [0, 1], QUICK_FIT.source)
    field = MaskField((112, 112), [0, 1], QUICK_FIT.source)
    start_from_rankings(field, [None, ranking(blob(30, 30))], [0, 1])
    for mine, before in zip(field.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(mine[0], before[0])
        assert not torch.equal(mine[1], before[1])


def test_grad_cam_s_start_lies_on_the_object_before_the_first_step(planted: Planted):
    (started,) = fit(planted.classifier, [Problem(planted.image, STRIPES)], STARTED, progress=False)
    (random,) = fit(planted.classifier, [Problem(planted.image, STRIPES)], dataclasses.replace(STARTED, start=None))
    on_the_object = []
    for one in (started, random):
        one.source.hard = True
        on_the_object.append(precision(one.source(torch.tensor([[0.1]]))[0], planted.truth))
    assert on_the_object[0] > 0.6 > on_the_object[1]


def test_seeds_still_differ_from_one_ranking(planted: Planted):
    found = explain_batch(planted.classifier, [planted.image], [1], seeds=[0, 1], preset=STARTED, progress=False)
    assert not torch.equal(found[0].mask(0.2), found[1].mask(0.2))


def test_a_reader_s_own_map_comes_before_grad_cam_s(planted: Planted):
    (one,) = explain_batch(
        planted.classifier, [planted.image], [1], saliencies=[blob(16, 90)], preset=STARTED, progress=False
    )
    mask = keep_largest(one.mask(0.1), torch.tensor([0.1]))
    assert float((mask * keep_largest(blob(16, 90), torch.tensor([0.1]))).sum() / mask.sum()) > 0.6


def test_the_next_explanation_starts_beside_the_last_one():
    planted = plant((FIRST_BOX, SECOND_BOX))
    for own, other in ((0, 1), (1, 0)):
        barred = planted.truths[own][None, None].float()
        found = model_ranking(planted.classifier, planted.image, STRIPES, barred, STARTED)
        best = keep_largest(-found, torch.tensor([0.1]))
        assert precision(best, planted.truths[other]) > 0.6


class Flat(nn.Module):
    """No layer with a grid.  part: the pixels that it looks at, of 32 x 32; the second class is their sum."""

    def __init__(self, part: torch.Tensor):
        super().__init__()
        self.register_buffer("part", part)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = (images * self.part).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(seen), seen], dim=1)


def test_a_model_without_a_layer_for_grad_cam_starts_from_its_gradient_and_says_so():
    part = torch.zeros(32, 32)
    part[4:12, 4:12] = 1
    classifier = Classifier(Flat(part), size=32)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    said = (
        r"GradCAM gives no ranking to start from .*The fit of 'one' \(seed 4\) starts from the ranking by the gradient"
    )
    with pytest.warns(UserWarning, match=said):
        found = model_ranking(classifier, image, Target((1,), "one"), None, STARTED, seed=4)
    assert found is not None
    assert found[..., 4:12, 4:12].mean() < found.mean() / 2  # low ranks are the best


def test_a_model_that_no_map_ranks_starts_at_random_and_says_so():
    classifier = Classifier(Flat(torch.zeros(32, 32)), size=32)
    problem = Problem(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)), Target((1,), "one"))
    with pytest.warns(
        UserWarning, match="GradCAM gives no .*the gradient gives no .*starts at random weights; .*crisp_random"
    ):
        (one,) = fit(classifier, [problem], STARTED, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (plain,) = fit(classifier, [problem], dataclasses.replace(STARTED, start=None), progress=False)
    assert torch.equal(one.source.weights[0], plain.source.weights[0])


def test_a_picture_that_grad_cam_cannot_rank_starts_from_the_gradient_of_what_is_left(
    monkeypatch: pytest.MonkeyPatch,
):
    planted = plant((FIRST_BOX, SECOND_BOX))
    monkeypatch.setitem(starts.RANKERS, "GradCAM", lambda classifier, image, target: torch.zeros(1, 1, 112, 112))
    barred = planted.truths[0][None, None].float()
    with pytest.warns(UserWarning, match="GradCAM gives no ranking .*constant.*from the ranking by the gradient"):
        found = model_ranking(planted.classifier, planted.image, STRIPES, barred, STARTED)
    assert found is not None
    assert precision(keep_largest(-found, torch.tensor([0.05])), planted.truths[1]) > 0.5


def test_an_error_inside_a_map_does_not_end_a_fit(planted: Planted, monkeypatch: pytest.MonkeyPatch):
    def broken(*_):
        raise RuntimeError("hooks met an in-place layer")

    monkeypatch.setitem(starts.RANKERS, "GradCAM", broken)
    with pytest.warns(UserWarning, match="GradCAM gives no ranking .*in-place layer"):
        (one,) = fit(planted.classifier, [Problem(planted.image, STRIPES)], STARTED, progress=False)
    assert one.outcome.finished
