"""Algorithm 1 on a picture with two patches, either of which is enough; the joint variant; what is saved."""

import dataclasses
import types

import pytest
import torch

from inrexp import figures
from inrexp.explanation import Explanation
from inrexp.methods import explain, explain_many
from inrexp.models.classifier import Target
from inrexp.paper.algorithm1 import (
    INDEX,
    Explanations,
    _smallest,
    candidate_areas,
    coverage,
    explain_in_turn,
    overlap_share,
    seed_of,
)
from inrexp.paper.fit import Problem, fit
from inrexp.paper.inr import MaskField
from inrexp.paper.objectives import dice_overlap, pairwise_overlap
from inrexp.paper.presets import PRESETS
from inrexp.paper.settings import FitConfig

SMALL = {"grid": 12, "scale": 2.0, "area_scale": 0.1, "bias": 1.0, "hidden": 64}
# Log-probability and a growing area weight, as in the quick preset, on a small field.
CONFIG = FitConfig(
    steps=150,
    lr=1e-3,
    areas_per_step=2,
    sampling="stratified",
    area_range=(0.05, 0.2),
    area_weight_end=30.0,
    reward="log_probability",
    dice_weight_end=30.0,
    source_settings=SMALL,
)
SHORT = dataclasses.replace(CONFIG, steps=3, areas_per_step=1)


def many(planted, config=CONFIG, **options) -> Explanations:
    return explain_many(planted.classifier, planted.image, planted.target, preset=config, progress=False, **options)


def patch_of(planted, mask) -> int:
    """The patch that holds more of the mask."""
    return max(range(2), key=lambda index: float((mask * planted.truths[index]).sum()))


@pytest.fixture(scope="module")
def three():
    from conftest import FIRST_BOX, SECOND_BOX, plant

    planted = plant((FIRST_BOX, SECOND_BOX))
    return planted, many(planted, n=3, stop=False)


def test_the_first_explanation_is_explain_s_own(planted_pair):
    alone = explain(planted_pair.classifier, planted_pair.image, 1, preset=SHORT, seed=7, progress=False)
    first = many(planted_pair, SHORT, n=2, seed=7, stop=False)[0]
    assert torch.equal(first.mask(0.1), alone.mask(0.1))
    assert first.seed == alone.seed == 7


def test_the_dice_term_by_hand():
    mask = torch.tensor([1.0, 0.5, 0.0, 0.0]).view(1, 1, 2, 2)
    other = torch.tensor([0.0, 0.5, 1.0, 0.0]).view(1, 1, 2, 2)
    assert dice_overlap(mask, other).item() == pytest.approx(2 * 0.25 / (1.25 + 1.25))
    assert dice_overlap(mask, mask).item() == pytest.approx(1.0)
    assert dice_overlap(mask, torch.zeros_like(mask)).item() == 0.0
    assert dice_overlap(torch.zeros_like(mask), torch.zeros_like(mask)).item() == 0.0


def test_the_dice_term_of_an_area_inside_a_larger_one_is_small():
    inside, around = torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 20, 20)
    inside[..., :2, :5] = 1  # 10 px of 400
    around[..., :8, :10] = 1  # 80 px
    assert dice_overlap(inside, around).item() == pytest.approx(20 / 90)


def test_pairwise_overlap_sums_the_dice_term_over_pairs():
    masks = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pairs = sum(dice_overlap(masks[:, i : i + 1], masks[:, j : j + 1]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert torch.allclose(pairwise_overlap(masks), pairs)


def test_overlap_share_by_hand():
    mask = torch.tensor([1.0, 0.5, 0.5, 0.0]).view(1, 1, 2, 2)
    other = torch.tensor([1.0, 0.0, 1.0, 1.0]).view(1, 1, 2, 2)
    assert overlap_share(mask, other).item() == pytest.approx(1.5 / 2)
    assert overlap_share(torch.zeros_like(mask), other).isnan().all()


def test_the_loss_with_a_baseline_is_the_loss_without_plus_the_weighted_dice_term(planted_pair):
    config = dataclasses.replace(SHORT, steps=1, dice_weight=3.0, dice_weight_end=None)
    baseline = planted_pair.truths[0].float()[None, None]
    plain = Problem(planted_pair.image, Target((1,), "stripes"), 5)
    barred = dataclasses.replace(plain, baseline=baseline)
    without, with_it = (
        fit(planted_pair.classifier, [one], config, progress=False)[0].history for one in (plain, barred)
    )
    field = config.make_source((112, 112), [5])
    with torch.no_grad():
        expected = 3.0 * dice_overlap(field(without["area"][None])[0], baseline)
    assert (with_it["loss"] - without["loss"]).item() == pytest.approx(expected.item(), abs=1e-4)


def test_an_empty_baseline_changes_nothing(planted_pair):
    plain = Problem(planted_pair.image, Target((1,), "stripes"), 5)
    empty = dataclasses.replace(plain, baseline=torch.zeros(1, 1, 112, 112))
    first, second = (fit(planted_pair.classifier, [one], SHORT, progress=False)[0] for one in (plain, empty))
    assert torch.equal(first.history["loss"], second.history["loss"])


def test_the_dice_weight_grows_to_its_end():
    config = dataclasses.replace(SHORT, steps=11, ramp=1.0, dice_weight=0.5, dice_weight_end=50.0)
    assert config.dice_weight_at(0) == pytest.approx(0.5)
    assert config.dice_weight_at(5) == pytest.approx(5.0)
    assert config.dice_weight_at(10) == pytest.approx(50.0)
    assert PRESETS["paper"].dice_weight_at(3999) == 1.0


@pytest.mark.slow
def test_two_patches_give_two_explanations_and_the_third_is_none(three):
    planted, found = three
    assert len(found) == 3
    assert found.keeps == (True, True, False)
    patches = [patch_of(planted, mask) for mask in found.masks()[:2]]
    assert sorted(patches) == [0, 1]
    rows = found.table()
    assert [row["none"] for row in rows] == [False, False, True]
    assert rows[1]["overlap"] < 0.1
    assert rows[2]["own"] < found.threshold
    assert [row["number"] for row in rows] == [1, 2, 3]


@pytest.mark.slow
def test_both_patches_have_to_be_removed_before_the_class_goes(three):
    _, found = three
    left, left_cut = found.remaining(), found.remaining(cut=0.5)
    assert left.shape == (4,)
    assert left[0].item() == pytest.approx(found[0].unmasked, abs=1e-5)
    assert left[1] > 0.9
    assert left[2] < 0.5 * left[1]
    assert left_cut[1] > 0.9
    assert left_cut[2] < 0.5 * left_cut[1]


@pytest.mark.slow
def test_the_run_stops_where_there_is_nothing_more(three):
    planted, whole = three
    found = many(planted, n=5)
    assert len(found) == 3
    assert found.keeps == (True, True, False)
    assert "nothing more" in found.status
    assert torch.equal(found.masks(), whole.masks())  # order and seeds reproduce
    assert [one.seed for one in found] == [seed_of(0, number) for number in range(3)]


def test_another_seed_gives_another_field(planted_pair):
    first, second = (many(planted_pair, SHORT, n=1, seed=seed).masks() for seed in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.slow
def test_a_given_mask_is_avoided(three):
    planted, found = three
    first = patch_of(planted, found.masks()[:1])
    barred = found.masks()[:1]
    again = many(planted, n=1, initial=barred)
    assert patch_of(planted, again.masks()) == 1 - first
    assert again.keeps == (True,)
    assert again.table()[0]["overlap"] < 0.1
    assert torch.equal(again.union(first=0), barred)


def test_the_union_is_the_clamped_sum(planted_pair):
    found = many(planted_pair, SHORT, n=2, stop=False, initial=0.25 * torch.ones(2, 1, 112, 112))
    masks = found.masks()
    assert torch.allclose(found.union(), (0.5 + masks.sum(0, keepdim=True)).clamp(0, 1))
    assert torch.allclose(found.union(first=1), (0.5 + masks[:1]).clamp(0, 1))
    with pytest.raises(ValueError, match="first must lie in 0 to 2"):
        found.union(first=3)


def test_the_baseline_s_area_is_a_choice(planted_pair):
    assert many(planted_pair, SHORT, n=1, baseline_area=0.08).areas == (0.08,)
    assert many(planted_pair, SHORT, n=1, baseline_area="largest").areas == (0.2,)
    found = many(planted_pair, SHORT, n=1, threshold=0.0)  # everything is enough
    assert found.areas == (0.05,)
    assert many(planted_pair, SHORT, n=1, threshold=1.0).areas == (0.2,)  # nothing is


@pytest.mark.parametrize(("shared_too", "star"), [(0.9, 0.1), (0.1, None)])
def test_a_mask_must_keep_the_class_itself_and_not_only_by_what_it_adds(shared_too: float, star: float | None):
    baseline = torch.tensor([1.0, 0, 0, 0]).view(1, 1, 2, 2)
    mask = torch.tensor([1.0, 1, 0, 0]).view(1, 1, 2, 2)  # half of it lies on the baseline; the rest keeps 0.9
    found = types.SimpleNamespace(
        area_range=(0.1, 0.2),
        mask=lambda areas, cut: mask.expand(len(areas), -1, -1, -1),
        probability_of_mask=lambda masks: torch.where(masks[:, 0, 0, 0] == 1, shared_too, 0.9),
    )
    assert _smallest(found, 0.5, None, baseline) == star


def test_candidate_areas_reach_the_range_s_end():
    assert candidate_areas((0.025, 0.2)) == [0.025, 0.05, 0.1, 0.2]
    assert candidate_areas((0.025, 0.6)) == [0.025, 0.05, 0.1, 0.2, 0.6]
    assert candidate_areas((0.3, 0.4)) == [0.4]


def test_an_interrupted_run_keeps_the_finished_explanations(planted_pair):
    config = dataclasses.replace(SHORT, steps=20)

    def press_ctrl_c(number, step, report, source):
        if number == 3:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted during explanation 3: 2 finished are kept"):
        found = many(planted_pair, config, n=4, stop=False, callback=press_ctrl_c)
    assert len(found) == 2
    assert found.status == "interrupted during explanation 3"
    whole = many(planted_pair, config, n=2, stop=False)
    assert torch.equal(found.masks(), whole.masks())


def test_a_run_interrupted_at_once_is_empty_and_says_so(planted_pair):
    def press_ctrl_c(*_):
        raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="0 finished are kept"):
        found = many(planted_pair, dataclasses.replace(SHORT, steps=10), callback=press_ctrl_c)
    assert len(found) == 0
    assert found.table() == []
    with pytest.raises(ValueError, match="nothing to measure or save"):
        found.remaining()


def test_several_pictures_advance_together_as_they_would_alone(planted_pair):
    target = planted_pair.classifier.target(1, planted_pair.image)
    images = [planted_pair.image, planted_pair.image.flip(-1)]
    problems = [Problem(image, target, seed) for seed, image in enumerate(images)]
    together = explain_in_turn(
        planted_pair.classifier, problems, SHORT, n=2, preset="custom", stop=False, progress=False
    )
    for problem, found in zip(problems, together, strict=True):
        alone = explain_many(
            planted_pair.classifier, problem.image, 1, n=2, seed=problem.seed, preset=SHORT, stop=False, progress=False
        )
        assert torch.allclose(found.masks(), alone.masks(), atol=1e-4)


def test_saved_explanations_come_back(planted_pair, tmp_path):
    barred = torch.zeros(1, 1, 112, 112)
    barred[..., :30, :30] = 1
    found = many(planted_pair, SHORT, n=2, stop=False, initial=barred, cut=0.5)
    folder = found.save(tmp_path / "run")
    again = Explanations.load(folder, classifier=planted_pair.classifier)
    assert torch.equal(again.masks(), found.masks())
    assert torch.equal(again.union(), found.union())
    assert (again.areas, again.status, again.cut, again.way) == (found.areas, found.status, 0.5, "in turn")
    assert again.table() == found.table()
    assert (again.stars, again.keeps, repr(again)) == (found.stars, found.keeps, repr(found))
    assert repr(Explanations.load(folder)) == repr(found)  # without the classifier it still says what it holds
    fewer = many(planted_pair, SHORT, n=1)
    fewer.save(folder)  # replaces the longer run whole
    assert len(Explanations.load(folder, classifier=planted_pair.classifier)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_folder_that_is_something_else_is_left_alone(planted_pair, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    found = many(planted_pair, SHORT, n=1)
    with pytest.raises(FileExistsError, match="no saved explanations"):
        found.save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"
    with pytest.raises(FileNotFoundError, match=INDEX):
        Explanations.load(tmp_path)
    (tmp_path / INDEX).write_text("{}")
    with pytest.raises(ValueError, match="not an index"):
        Explanations.load(tmp_path)


def test_a_save_that_fails_leaves_the_earlier_one(planted_pair, tmp_path, monkeypatch):
    found = many(planted_pair, SHORT, n=2, stop=False)
    found.save(tmp_path / "run")

    def disk_full(self, path):
        raise OSError("no space left on device")

    monkeypatch.setattr(Explanation, "save", disk_full)
    with pytest.raises(OSError, match="no space"):
        many(planted_pair, SHORT, n=1).save(tmp_path / "run")
    monkeypatch.undo()
    assert len(Explanations.load(tmp_path / "run", classifier=planted_pair.classifier)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n must be"),
        ({"n": True}, "n must be"),
        ({"baseline_area": "middle"}, "baseline_area must be"),
        ({"baseline_area": 0.3}, "fitted range"),
        ({"threshold": 2.0}, "threshold must be"),
        ({"initial": torch.zeros(1, 1, 8, 8)}, "initial must be masks"),
        ({"initial": 2 * torch.ones(1, 1, 112, 112)}, r"\[0, 1\]"),
    ],
)
def test_bad_input_is_named(planted_pair, options, message):
    with pytest.raises(ValueError, match=message):
        many(planted_pair, SHORT, **options)


def test_a_lattice_cannot_give_several(planted_pair):
    with pytest.raises(ValueError, match="need a field"):
        many(planted_pair, PRESETS["extremal_perturbation"])


def test_a_baseline_of_another_size_is_refused(planted_pair):
    problem = Problem(planted_pair.image, Target((1,), "stripes"), 0, torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="baseline must be a mask"):
        fit(planted_pair.classifier, [problem], SHORT, progress=False)


def test_an_output_is_the_same_mask_as_in_the_field_of_several():
    field = MaskField((42, 35), [0, 1], outputs=3, grid="lattice", hidden=16)
    areas = torch.tensor([[0.03, 0.1], [0.05, 0.2]])
    with torch.no_grad():
        together = field(areas).view(2, 2, 3, 1, 42, 35)
        for index in range(3):
            assert torch.allclose(field.output(index)(areas), together[:, :, index], atol=1e-6)
    with pytest.raises(ValueError, match="index must be an output"):
        field.output(3)
    with pytest.raises(ValueError, match="outputs must be 1 or more"):
        MaskField((42, 35), [0], outputs=0)


@pytest.mark.slow
def test_the_joint_variant_finds_both_patches(planted_pair):
    config = dataclasses.replace(CONFIG, dice_weight=3.0, dice_weight_end=None)
    found = many(planted_pair, config, n=3, joint=True)
    assert found.way == "joint"
    kept = [mask[None] for mask, keeps in zip(found.masks(), found.keeps, strict=True) if keeps]
    assert sorted(patch_of(planted_pair, mask) for mask in kept) == [0, 1]
    assert found.remaining()[-1] < 0.5 * found.remaining()[0]


def test_joint_explanations_are_ordinary_ones(planted_pair, tmp_path):
    found = many(planted_pair, SHORT, n=2, joint=True)
    assert all(one.source.outputs == 1 for one in found)
    again = Explanations.load(found.save(tmp_path / "joint"), classifier=planted_pair.classifier)
    assert torch.equal(again.masks(), found.masks())
    assert again.way == "joint"


def test_coverage_names_what_a_mask_covers():
    mask = torch.tensor([1.0, 0.5, 0.5, 0.0]).view(1, 1, 2, 2)
    left = torch.tensor([[True, False], [True, False]])
    shares = coverage(torch.cat([mask, torch.zeros_like(mask)]), {"left": left, "right": ~left})
    assert shares[0] == {"left": pytest.approx(0.75), "right": pytest.approx(0.25)}
    assert all(value != value for value in shares[1].values())  # an empty mask covers nothing: NaN


def test_figures_5_and_6_have_a_panel_for_each_explanation(planted_pair):
    found = many(planted_pair, SHORT, n=2, stop=False)
    five = figures.several([found, found], columns=3, names=["a", "b"])
    assert len(five.axes) == 8
    shares = coverage(found.masks(), {"first": planted_pair.truths[0], "second": planted_pair.truths[1]})
    six = figures.surroundings(found, shares)
    assert [len(panel.patches) for panel in six.axes[2:]] == [2, 2]
    assert six.axes[2].patches[0].get_width() == pytest.approx(shares[0]["first"])
    with pytest.raises(ValueError, match="one entry per explanation"):
        figures.surroundings(found, shares[:1])


def test_a_fit_that_failed_does_not_end_the_run(planted_pair, monkeypatch):
    """A field that collapsed to an empty mask is none, but no sign that there is nothing more."""
    import inrexp.many

    def collapsed(*arguments, **options):
        return [dataclasses.replace(one, status="collapsed to an empty mask") for one in fit(*arguments, **options)]

    monkeypatch.setattr(inrexp.many, "fit", collapsed)
    found = many(planted_pair, SHORT, n=2, threshold=1.0)
    assert len(found) == 2
    assert found.keeps == (False, False)
    assert [row["status"] for row in found.table()] == ["collapsed to an empty mask"] * 2
    monkeypatch.undo()
    assert len(many(planted_pair, SHORT, n=2, threshold=1.0)) == 1
