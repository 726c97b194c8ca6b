"""Metrics against numbers that can be counted by hand."""

import math

import pytest
import torch

from inrexp import metrics
from inrexp.models.classifier import Classifier, Target
from inrexp.saliency import SaliencyMap


def boxes(*rectangles: tuple[int, int, int, int], size: tuple[int, int] = (8, 8)) -> torch.Tensor:
    """Binary masks (k, 1, h, w), one for each (top, left, height, width)."""
    masks = torch.zeros(len(rectangles), 1, *size)
    for mask, (top, left, height, width) in zip(masks, rectangles, strict=True):
        mask[0, top : top + height, left : left + width] = 1
    return masks


TRUTH = boxes((0, 0, 4, 4))[0, 0].bool()


def test_the_truth_itself_has_precision_one_and_a_disjoint_mask_zero():
    masks = boxes((0, 0, 4, 4), (4, 4, 4, 4), (1, 1, 2, 2))
    assert metrics.precision(masks, TRUTH).tolist() == [1.0, 0.0, 1.0]


def test_precision_counts_soft_masks_by_their_weight():
    mask = torch.zeros(1, 1, 8, 8)
    mask[0, 0, 0, 0], mask[0, 0, 7, 7] = 0.75, 0.25
    assert metrics.precision(mask, TRUTH).item() == 0.75


def test_an_empty_mask_has_no_precision():
    precisions = metrics.precision(boxes((0, 0, 4, 4), (0, 0, 0, 0), (0, 2, 4, 4)), TRUTH)
    assert precisions.isnan().tolist() == [False, True, False]


def test_area_error_is_real_less_asked():
    errors = metrics.area_error(boxes((0, 0, 4, 4), (0, 0, 8, 8)), [0.25, 0.9])
    assert torch.allclose(errors, torch.tensor([0.0, 0.1]))


def test_masks_that_only_grow_are_monotone_and_nested():
    growing = boxes((0, 0, 1, 1), (0, 0, 2, 2), (0, 0, 4, 4))
    assert metrics.monotonicity(growing) == 1.0
    assert metrics.nestedness(growing).tolist() == [1.0, 1.0]


def test_masks_that_shrink_or_jump_are_not():
    assert metrics.monotonicity(boxes((0, 0, 2, 2), (0, 0, 1, 1), (0, 0, 4, 4))) == 0.5
    jumping = boxes((0, 0, 2, 2), (4, 4, 3, 3), (3, 4, 4, 4))
    assert metrics.nestedness(jumping).tolist() == [0.0, 1.0]
    assert metrics.monotonicity(boxes((0, 0, 2, 2), (4, 4, 2, 2))) == 0.0  # the same area is not a larger one


def test_nestedness_beside_an_empty_mask_is_nan():
    assert metrics.nestedness(boxes((0, 0, 0, 0), (0, 0, 2, 2))).isnan().tolist() == [True]


def test_equal_seeds_agree_and_disjoint_ones_do_not():
    assert metrics.disagreement(boxes((0, 0, 2, 2), (0, 0, 2, 2))) == 0.0
    assert metrics.disagreement(boxes((0, 0, 2, 2), (4, 4, 2, 2))) == 1.0


def test_disagreement_of_three_masks_by_hand():
    masks = boxes((0, 0, 2, 2), (0, 1, 2, 2), (4, 4, 2, 2))  # pairs: 2/6, 0, 0
    assert metrics.disagreement(masks) == pytest.approx(1 - (1 / 3) / 3)
    assert torch.equal(metrics.pairwise_iou(masks).diagonal(), torch.ones(3))


class Amount(torch.nn.Module):
    """Scores whose softmax gives class 1 the mean of the picture's pixels as its probability."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        p = images.mean((1, 2, 3)).clamp(1e-12, 1 - 1e-12)
        return torch.stack([(1 - p).log(), p.log()], dim=1)


def amount_map(saliency: torch.Tensor, image: torch.Tensor) -> SaliencyMap:
    classifier = Classifier(Amount().double(), mean=[0.0] * 3, std=[1.0] * 3, size=8)
    return SaliencyMap(saliency, image=image, target=Target((1,), "amount"), classifier=classifier, method="by hand")


def test_insertion_and_deletion_of_a_probability_that_is_the_share_of_pixels_seen():
    found = amount_map(torch.rand(1, 1, 8, 8).double(), torch.ones(1, 3, 8, 8).double())
    black = torch.zeros(1, 3, 8, 8).double()
    up, down = metrics.insertion(found, steps=16, perturbed=black), metrics.deletion(found, steps=16, perturbed=black)
    assert torch.allclose(up.probability, up.share, atol=1e-9)
    assert torch.allclose(down.probability, 1 - down.share, atol=1e-9)
    assert up.auc == pytest.approx(0.5)
    assert down.auc == pytest.approx(0.5)


def test_the_right_ranking_inserts_early_and_deletes_early():
    image = boxes((0, 0, 4, 4)).double().expand(1, 3, 8, 8).contiguous()  # all of the class lies in a quarter
    black = torch.zeros_like(image)
    right, wrong = amount_map(image[:, :1], image), amount_map(1 - image[:, :1], image)
    # Rises to 1/4 over the first quarter, then stays: 1/4 - 1/32; the wrong one waits for three quarters: 1/32.
    assert metrics.insertion(right, steps=4, perturbed=black).auc == pytest.approx(7 / 32)
    assert metrics.insertion(wrong, steps=4, perturbed=black).auc == pytest.approx(1 / 32)
    assert metrics.deletion(right, steps=4, perturbed=black).auc == pytest.approx(1 / 32)


def test_a_set_of_classes_is_inserted_and_deleted_by_the_classifiers_own_rule():
    """Several sigmoids are averaged, as in `Classifier.probability`; their sum would reach 2."""

    class Two(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.full((len(images), 3), 4.0, dtype=images.dtype)

    classifier = Classifier(Two(), mean=[0.0] * 3, std=[1.0] * 3, size=8, activation="sigmoid")
    image, several = torch.ones(1, 3, 8, 8), Target((0, 2), "two classes")
    curve = metrics.ranked_curve(classifier, image, several, torch.rand(1, 1, 8, 8), steps=2)
    assert curve.probability.tolist() == pytest.approx([float(classifier.probability(image, several))] * 3)
    assert curve.auc < 1


def test_rank_similarity_by_hand_also_for_ties():
    one, other = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0, 30.0, 20.0])
    assert metrics.rank_similarity(one, other) == pytest.approx(1 - 6 * 2 / (3 * 8))
    assert metrics.rank_similarity(one, one.square()) == pytest.approx(1.0)
    tied = torch.tensor([1.0, 1.0, 2.0])  # ranks 1.5 1.5 3 against 1 2 3
    assert metrics.rank_similarity(tied, one) == pytest.approx(math.sqrt(3) / 2)
    assert math.isnan(metrics.rank_similarity(one, torch.ones(3)))


class OnMps(torch.Tensor):
    """A tensor as on one of Apple's GPUs: what is computed from it stays there until `.cpu()`, without float64."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function in (torch.Tensor.cpu, torch.Tensor.tolist, torch.Tensor.item, torch.Tensor.__float__):
            with torch._C.DisableTorchFunctionSubclass():
                found = function(*args, **(kwargs or {}))
            return found.as_subclass(torch.Tensor) if isinstance(found, torch.Tensor) else found
        found = super().__torch_function__(function, types, args, kwargs or {})
        if isinstance(found, OnMps) and found.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64")
        return found


def test_the_metrics_need_no_float64_on_the_gpu():
    masks = boxes((0, 0, 2, 2), (0, 0, 3, 3), (0, 0, 4, 4)).as_subclass(OnMps)
    with pytest.raises(TypeError, match="float64"):  # the stand-in does refuse
        masks.double()
    scores = metrics.precision(masks, TRUTH.as_subclass(OnMps))
    assert scores.tolist() == [1.0, 1.0, 1.0]
    assert metrics.monotonicity(masks) == 1.0
    assert 0 < metrics.disagreement(masks) < 1
    assert metrics.nestedness(masks).tolist() == [1.0, 1.0]
    assert metrics.rank_similarity(masks, masks) == pytest.approx(1.0)
    assert metrics.area_error(masks, [0.1, 0.2, 0.3]).shape == (3,)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: metrics.precision(torch.ones(8, 8), TRUTH), "mask must be"),
        (lambda: metrics.precision(torch.ones(1, 1, 4, 4), TRUTH), "resize"),
        (lambda: metrics.nestedness(torch.ones(1, 1, 4, 4)), "k >= 2"),
        (lambda: metrics.area_error(torch.ones(3, 1, 4, 4), [0.1, 0.2]), "area must be"),
        (lambda: metrics.rank_similarity(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 5)), "one shape"),
    ],
)
def test_wrong_shapes_are_named(call, word):
    with pytest.raises(ValueError, match=word):
        call()


def test_a_truth_of_0_and_255_is_refused():
    mask, white = torch.ones(1, 1, 8, 8), TRUTH.to(torch.uint8) * 255
    with pytest.raises(TypeError, match=r"truth must be \(h, w\) bool, got torch.uint8: truth > 127"):
        metrics.precision(mask, white)
    with pytest.raises(TypeError, match=r"counted must be \(h, w\) bool, got torch.uint8"):
        metrics.precision(mask, TRUTH, counted=white)
    assert metrics.precision(mask, white > 127).tolist() == [0.25]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"mask": torch.ones(1, 1, 8, 8).numpy()}, r"mask must be a torch tensor, \(k, 1, h, w\) .*got ndarray"),
        ({"truth": TRUTH.numpy()}, r"truth must be a torch tensor, \(h, w\) bool, got ndarray: .*from_numpy"),
        ({"counted": TRUTH.tolist()}, r"counted must be a torch tensor, \(h, w\) bool, got list"),
    ],
)
def test_what_is_no_tensor_is_named_with_what_to_give(given: dict, word: str):
    with pytest.raises(TypeError, match=word):
        metrics.precision(**{"mask": torch.ones(1, 1, 8, 8), "truth": TRUTH} | given)


def test_another_metric_names_an_array_in_place_of_masks_too():
    with pytest.raises(TypeError, match="mask must be a torch tensor.*got ndarray"):
        metrics.nestedness(torch.ones(2, 1, 4, 4).numpy())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("saliency", "error", "word"),
    [
        (torch.rand(1, 1, 8, 1), ValueError, "saliency must be .* interpolate it first"),
        (torch.full((1, 1, 8, 8), torch.nan), ValueError, "saliency must hold finite scores"),
        ([[0.1]], TypeError, "saliency must be a torch tensor.* got list"),
    ],
)
def test_a_curve_needs_a_score_for_every_pixel(saliency, error, word):
    image = torch.ones(1, 3, 8, 8).double()
    found = amount_map(torch.rand(1, 1, 8, 8).double(), image)
    with pytest.raises(error, match=word):
        metrics.ranked_curve(found.needed_classifier(), image, found.target, saliency)


def test_pixels_that_do_not_count_are_left_out_of_both_sums():
    mask = torch.ones(1, 1, 2, 4)
    truth = torch.tensor([[True, False, False, False], [True, False, False, False]])
    counted = torch.tensor([[True, True, False, False], [True, True, False, False]])
    assert metrics.precision(mask, truth).tolist() == [0.25]
    assert metrics.precision(mask, truth, counted=counted).tolist() == [0.5]
    assert metrics.precision(mask, truth, counted=torch.zeros_like(truth)).isnan().all()
    with pytest.raises(ValueError, match=r"counted is \(1, 4\) pixels, truth is \(2, 4\)"):
        metrics.precision(mask, truth, counted=counted[:1])
