"""Algorithm 1 on a picture with two patches, either of which is enough; the joint variant."""

import copy
import dataclasses

import pytest
import torch

from inrexp.explanations import Ending, Explanations
from inrexp.iterations import Rules, explain_in_turn
from inrexp.methods import explain, explain_many
from inrexp.models.classifier import Target
from inrexp.paper.algorithm1 import seed_of
from inrexp.paper.fit import Problem, fit, make_source
from inrexp.paper.objectives import dice_overlap
from inrexp.paper.outcome import Cancelled, Outcome
from inrexp.paper.presets import PRESETS
from inrexp.paper.settings import Descent, FieldSettings, FitConfig, Growth

# Log-probability and a growing area weight, as in the default preset, on a small field.
CONFIG = FitConfig(
    steps=150,
    descent=Descent(lr=1e-3),
    areas_per_step=2,
    area_range=(0.05, 0.2),
    area_weight=Growth(1.0, 30.0),
    dice_weight=Growth(1.0, 30.0),
    reward="log_probability",
    source=FieldSettings(grid=12, scale=2.0, area_scale=0.1, bias=1.0, hidden=64),
)
SHORT = dataclasses.replace(CONFIG, steps=3, areas_per_step=1)


def many(planted, config=CONFIG, **options) -> Explanations:
    return explain_many(planted.classifier, planted.image, planted.target, preset=config, progress=False, **options)


def patch_of(planted, mask) -> int:
    """The patch that holds more of the mask."""
    return max(range(2), key=lambda index: float((mask * planted.truths[index]).sum()))


@pytest.fixture(scope="module")
def three():
    from planted import FIRST_BOX, SECOND_BOX, plant

    planted = plant((FIRST_BOX, SECOND_BOX))
    return planted, many(planted, n=3, seed=1, stop=False)


def test_the_first_explanation_is_explain_s_own(planted_pair):
    alone = explain(planted_pair.classifier, planted_pair.image, 1, preset=SHORT, seed=7, progress=False)
    first = many(planted_pair, SHORT, n=2, seed=7, stop=False)[0]
    assert torch.equal(first.mask(0.1), alone.mask(0.1))
    assert first.seed == alone.seed == 7


def test_a_first_explanation_that_is_there_is_not_fitted_again(planted_pair):
    alone = explain(planted_pair.classifier, planted_pair.image, planted_pair.target, preset=SHORT, progress=False)
    called = []
    found = many(planted_pair, SHORT, n=2, stop=False, first=alone, callback=lambda number, *_: called.append(number))
    assert found[0] is alone
    assert set(called) == {2}
    assert torch.equal(found.masks(), many(planted_pair, SHORT, n=2, stop=False).masks())


@pytest.mark.parametrize(
    ("options", "other"),
    [
        ({"seed": 1}, "seed"),
        ({"steps": 4}, "preset"),
        ({"initial": torch.zeros(1, 1, 112, 112)}, "initial or joint"),
        ({"joint": True}, "initial or joint"),
    ],
    ids=["seed", "steps", "initial", "joint"],
)
def test_a_first_explanation_of_another_run_is_refused(planted_pair, options, other):
    alone = explain(planted_pair.classifier, planted_pair.image, planted_pair.target, preset=SHORT, progress=False)
    with pytest.raises(ValueError, match=f"first must.*{other}"):
        many(planted_pair, SHORT, **{"first": alone} | options)


def test_a_first_explanation_of_another_picture_or_class_is_refused(planted_pair):
    image, target = planted_pair.image, planted_pair.target
    dimmed = explain(planted_pair.classifier, 0.9 * image, target, preset=SHORT, progress=False)
    with pytest.raises(ValueError, match="another picture came"):
        many(planted_pair, SHORT, first=dimmed)
    second = explain(planted_pair.classifier, image, 2, preset=SHORT, progress=False)
    with pytest.raises(ValueError, match="another target came"):
        many(planted_pair, SHORT, first=second)


def test_a_first_explanation_of_another_classifier_or_cut_short_is_refused(planted_pair):
    def cancel(*_):
        raise Cancelled

    image, target, config = planted_pair.image, planted_pair.target, dataclasses.replace(SHORT, steps=11)
    whole = explain(planted_pair.classifier, image, target, preset=config, progress=False)
    other = copy.copy(planted_pair.classifier)
    with pytest.raises(ValueError, match="same classifier, picture, .*; another classifier came"):
        explain_many(other, image, target, preset=config, first=whole)
    with pytest.warns(UserWarning, match="interrupted at step 10"):
        begun = explain(planted_pair.classifier, image, target, preset=config, progress=False, callback=cancel)
    with pytest.raises(ValueError, match="a fit that was interrupted at step 10 came"):
        many(planted_pair, config, first=begun)


def test_the_loss_with_a_baseline_is_the_loss_without_plus_the_weighted_dice_term(planted_pair):
    config = dataclasses.replace(SHORT, steps=1, dice_weight=Growth(3.0))
    baseline = planted_pair.truths[0].float()[None, None]
    plain = Problem(planted_pair.image, Target((1,), "stripes"), 5)
    barred = dataclasses.replace(plain, baseline=baseline)
    without, with_it = (
        fit(planted_pair.classifier, [one], config, progress=False)[0].history for one in (plain, barred)
    )
    field = make_source(config, (112, 112), [5])
    with torch.no_grad():
        expected = 3.0 * dice_overlap(field(without["area"][None])[0], baseline)
    assert (with_it["loss"] - without["loss"]).item() == pytest.approx(expected.item(), abs=1e-4)


def test_an_empty_baseline_changes_nothing(planted_pair):
    plain = Problem(planted_pair.image, Target((1,), "stripes"), 5)
    empty = dataclasses.replace(plain, baseline=torch.zeros(1, 1, 112, 112))
    first, second = (fit(planted_pair.classifier, [one], SHORT, progress=False)[0] for one in (plain, empty))
    assert torch.equal(first.history["loss"], second.history["loss"])


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
    found = many(planted, n=5, seed=1)
    assert len(found) == 3
    assert found.keeps == (True, True, False)
    assert found.ending == Ending("nothing more", during=3)
    assert torch.equal(found.masks(), whole.masks())  # order and seeds reproduce
    assert [one.seed for one in found] == [seed_of(1, n) for n in (1, 2, 3)]


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


def test_the_baseline_s_area_is_a_choice(planted_pair):
    assert many(planted_pair, SHORT, n=1, baseline_area=0.08).areas == (0.08,)
    assert many(planted_pair, SHORT, n=1, baseline_area="largest").areas == (0.2,)
    found = many(planted_pair, SHORT, n=1, threshold=0.0)  # everything is enough
    assert found.areas == (0.05,)
    assert many(planted_pair, SHORT, n=1, threshold=1.0).areas == (0.2,)  # nothing is


def test_an_interrupted_run_keeps_the_finished_explanations(planted_pair):
    config = dataclasses.replace(SHORT, steps=20)

    def press_ctrl_c(number, step, report, source):
        if number == 3:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Interrupted during explanation 3: 2 finished are kept"):
        found = many(planted_pair, config, n=4, stop=False, callback=press_ctrl_c)
    assert len(found) == 2
    assert found.ending == Ending("interrupted", during=3)
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
    together = explain_in_turn(planted_pair.classifier, problems, SHORT, n=2, rules=Rules(stop=False), progress=False)
    for problem, found in zip(problems, together, strict=True):
        alone = explain_many(
            planted_pair.classifier, problem.image, 1, n=2, seed=problem.seed, preset=SHORT, stop=False, progress=False
        )
        assert torch.allclose(found.masks(), alone.masks(), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n must be"),
        ({"n": True}, "n must be"),
        ({"baseline_area": "middle"}, "baseline_area must be"),
        ({"baseline_area": 0.3}, "fitted range"),
        ({"threshold": 2.0}, "threshold must be"),
        ({"cut": 2.0}, r"cut must be a level in \[0, 1\), above which a mask becomes 1, got 2.0"),
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


@pytest.mark.slow
def test_the_joint_variant_finds_both_patches(planted_pair):
    """Of seeds 0 to 4 all but seed 0 part them; that one's first mask holds both, and nothing is left to find."""
    config = dataclasses.replace(CONFIG, dice_weight=Growth(3.0))
    found = many(planted_pair, config, n=3, joint=True, seed=1)
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


def test_a_joint_run_that_was_interrupted_says_so_and_keeps_all_masks(planted_pair):
    def cancel(*_):
        raise Cancelled

    with pytest.warns(UserWarning, match="interrupted at step 10"):
        found = many(planted_pair, dataclasses.replace(SHORT, steps=11), n=2, joint=True, callback=cancel)
    assert found.ending == Ending("interrupted", during=1)
    assert [str(one.outcome) for one in found] == ["interrupted at step 10"] * 2
    whole = many(planted_pair, SHORT, n=2, joint=True, stop=True, threshold=1.0)  # nothing keeps the class: no stop
    assert (len(whole), whole.ending) == (2, Ending())


def test_a_joint_fit_starts_at_random_weights_and_says_so(planted_pair):
    found = many(planted_pair, dataclasses.replace(SHORT, start="grad_cam"), n=2, joint=True)
    plain = many(planted_pair, SHORT, n=2, joint=True)
    assert {one.config.start for one in found} == {None}
    assert torch.equal(found.masks(), plain.masks())


def test_a_fit_that_failed_is_none_bars_nothing_and_does_not_end_the_run(planted_pair):
    """A field that collapsed to a full mask keeps the class at every area, and says nothing about the picture."""
    stuck = dataclasses.replace(SHORT, source=dataclasses.replace(SHORT.source, bias=100.0))
    with pytest.warns(UserWarning, match="collapsed to a full mask"):
        found = many(planted_pair, stuck, n=2)
    assert len(found) == 2
    assert found.keeps == (False, False)
    assert found.ending == Ending()
    assert [row["outcome"] for row in found.table()] == ["collapsed to a full mask"] * 2
    assert [row["a_star"] for row in found.table()] == [None, None]
    assert float(found.union().max()) == 0
    assert len(many(planted_pair, SHORT, n=2, threshold=1.0)) == 1  # a sound fit that finds nothing ends it


def test_cancelled_keeps_the_finished_explanations_as_ctrl_c_does(planted_pair):
    def cancel(number, *_):
        if number == 2:
            raise Cancelled

    with pytest.warns(UserWarning, match="Interrupted during explanation 2: 1 finished"):
        found = many(planted_pair, dataclasses.replace(SHORT, steps=10), n=2, stop=False, callback=cancel)
    assert len(found) == 1
    assert found.ending == Ending("interrupted", during=2)


def test_an_interrupted_round_gives_no_picture_another_one_s_field(planted_pair, monkeypatch):
    """Ctrl-C while the first of two is under way and the second has diverged: neither is taken."""
    import inrexp.iterations

    def ended(*arguments, **options):
        first, second = fit(*arguments, **options)
        stopped, broken = Outcome("interrupted", step=3), Outcome("diverged", step=1)
        return [dataclasses.replace(first, outcome=stopped), dataclasses.replace(second, outcome=broken)]

    monkeypatch.setattr(inrexp.iterations, "fit", ended)
    target = planted_pair.classifier.target(1, planted_pair.image)
    problems = [Problem(image, target) for image in (planted_pair.image, planted_pair.image.flip(-1))]
    with pytest.warns(UserWarning, match="Interrupted during explanation 1: 0 finished are kept"):
        found = explain_in_turn(planted_pair.classifier, problems, SHORT, n=2, progress=False)
    assert [len(one) for one in found] == [0, 0]


def test_ctrl_c_while_an_explanation_is_judged_keeps_the_earlier_ones(planted_pair, monkeypatch):
    import inrexp.iterations

    judged = []

    def press_ctrl_c(*arguments):
        judged.append(arguments)
        if len(judged) == 2:
            raise KeyboardInterrupt
        return 0.1

    monkeypatch.setattr(inrexp.iterations, "smallest_beside", press_ctrl_c)
    with pytest.warns(UserWarning, match="Interrupted during explanation 2: 1 finished"):
        found = many(planted_pair, SHORT, n=3, stop=False)
    assert len(found) == 1
    assert found.ending == Ending("interrupted", during=2)
