"""What tests each claim, on rows whose answer is known."""

import json
from pathlib import Path

import pytest
from ledger_rows import OF_PAPER, STANDIN, VOC, controls, fitted, nulls, run, write

from inrexp.comparison import METHODS
from inrexp.study import judging, measures, turns
from inrexp.study.evidence import HALF, LATTICES, PAPER, Evidence, read_evidence
from inrexp.study.judging import FAILS, HOLDS, UNMEASURED, UNTESTED, Number, measured

MEASURES = {
    name: value
    for room in (measures, turns)
    for name, value in vars(room).items()
    if callable(value) and not name.startswith("_") and value.__module__ == room.__name__
}
OTHERS = ("extremal_perturbation", "grad_cam", "rise", "centred_disc")
PICTURES = [f"x/{number}" for number in range(20)]
COLUMN = "in the paper's column"


@pytest.fixture(autouse=True)
def two_pictures_decide(monkeypatch: pytest.MonkeyPatch):
    """The toys have two or three pictures; `test_judging` holds how many decide."""
    monkeypatch.setattr(judging, "FEWEST", 2)


def judged(name: str, found: Evidence) -> list[Number]:
    return [one for one in measured(MEASURES[name](found)) if one.part.rule is not None]


def says(name: str, found: Evidence) -> list[str]:
    return [one.says for one in judged(name, found)]


def compared(folder: Path, dataset: str, **precisions: tuple[float, float]) -> Evidence:
    """Every method on eight pictures, with its precision in the paper's column and at equal area, a little spread."""
    study = [
        run(f"{number:06d}/cat", method, own + 0.002 * number, equal=equal + 0.002 * number, dataset=dataset)
        for method, (own, equal) in precisions.items()
        for number in range(8)
    ]
    return read_evidence(write(folder, study=study))


@pytest.mark.parametrize("name", MEASURES)
def test_without_rows_every_measure_is_missing_and_none_is_an_error(name: str, tmp_path: Path):
    numbers = measured(MEASURES[name](read_evidence(tmp_path)))
    assert numbers
    assert all(one.pictures == 0 for one in numbers)
    assert {one.says for one in numbers if one.part.rule} <= {UNMEASURED}


def test_outperforming_is_judged_in_the_papers_column_and_at_equal_area(tmp_path: Path):
    scores = dict.fromkeys(OTHERS, (0.4, 0.6))
    found = compared(tmp_path, STANDIN, inr=(0.7, 0.5), **scores)  # ahead of their own sizes, behind at the same size
    numbers = [one for one in judged("imagenet", found) if one.part.what.startswith("INR, crisp less")]
    assert [one.says for one in numbers] == [FAILS] * 3 + [HOLDS] * 3
    # of the field the paper's column takes the mask at its a* among four areas, not the 0.7 at its a* among all
    assert [round(one.mean, 2) for one in numbers] == [-0.1] * 3 + [0.1] * 3
    everything = {one.part.what: one for one in measured(measures.imagenet(found))}
    assert everything["INR, crisp less a centred disc: precision at equal area"].mean == pytest.approx(-0.1)
    # the field's mask of that column has 2.5 %, since all four areas suffice; the others' own size is a tenth
    sizes = [
        everything[f"{one}: share of the picture in the mask of that column"].mean for one in ("INR, crisp", "RISE")
    ]
    assert sizes == pytest.approx([0.025, 0.1])


def test_outperforming_is_judged_by_the_papers_setting_too(tmp_path: Path):
    study = [
        run(name, method, 0.6 + 0.001 * n, equal=0.6 + 0.001 * n)
        for n, name in enumerate(PICTURES)
        for method in ("inr", *OTHERS)
    ]
    study += [run(name, "inr", 0.3 - 0.001 * n, equal=0.9, **OF_PAPER) for n, name in enumerate(PICTURES[:10])]
    found = {one.part.what: one for one in judged("imagenet", read_evidence(write(tmp_path, study=study)))}
    assert len(found) == 12
    at_equal, own = (found[f"the paper's setting less GradCAM: precision {at}"] for at in ("at equal area", COLUMN))
    assert (at_equal.says, at_equal.pictures, own.says) == (HOLDS, 10, FAILS)
    assert own.mean == pytest.approx(-0.309)  # its own soft mask's, where a sharp field is asked for one of four areas


def test_rows_of_format_1_leave_the_equal_areas_unmeasured(tmp_path: Path):
    study = [run(name, method, p) for name in PICTURES for method, p in (("inr", 0.7), *((o, 0.4) for o in OTHERS))]
    study += [run(name, "inr", 0.7, **OF_PAPER) for name in PICTURES]
    assert says("imagenet", read_evidence(write(tmp_path, study=study))) == [UNMEASURED] * 6 + [HOLDS] * 6


def test_without_rows_of_the_papers_setting_imagenet_is_not_measured_yet_and_voc_is(tmp_path: Path):
    scores = {"inr": (0.7, 0.7), **dict.fromkeys(OTHERS, (0.4, 0.4))}
    numbers = judged("imagenet", compared(tmp_path / "imagenet", STANDIN, **scores))
    setting = [one.says for one in numbers if one.part.what.startswith("the paper's setting less")]
    assert setting == [UNMEASURED] * 6
    assert judging.verdict(numbers) == UNMEASURED
    numbers = judged("voc_maps", compared(tmp_path / "voc", VOC, **scores))
    assert len(numbers) == 4
    assert judging.verdict(numbers) == HOLDS


def test_level_on_voc_needs_a_narrow_interval(tmp_path: Path):
    found = compared(tmp_path / "level", VOC, inr=(0.5, 0.5), extremal_perturbation=(0.5, 0.5))
    assert says("voc_level", found) == [HOLDS, HOLDS]
    found = compared(tmp_path / "behind", VOC, inr=(0.5, 0.48), extremal_perturbation=(0.6, 0.5))
    assert says("voc_level", found) == [FAILS, FAILS]


def test_pairs_that_the_network_does_not_recognise_stand_apart(tmp_path: Path):
    study = [
        run(f"{n:06d}/cat", method, 0.5, equal=0.9 if n < 2 and method == "inr" else 0.5, dataset=VOC, unmasked=p)
        for method in ("inr", "rise", "grad_cam")
        for n, p in enumerate((0.9, 0.5, 0.05, 0.01))
    ]
    numbers = measured(measures.voc_maps(read_evidence(write(tmp_path, study=study))))
    (one,) = [n for n in numbers if "RISE" in n.part.what and "0.1 or more" in n.part.what]
    assert (one.pictures, one.mean) == (2, pytest.approx(0.4))


def test_figure_1_is_judged_at_the_papers_setting_and_by_reported_pictures_only(tmp_path: Path):
    chosen, reported = PICTURES[:10], PICTURES[10:]
    rows = [row for name in PICTURES for row in fitted(LATTICES, name, nested=(0.6, 0.6, 0.6))]
    rows += [row for name in reported for row in fitted(PAPER, name, nested=(0.3, 0.3, 0.3))]
    rows += [row for name in chosen for row in [*fitted("crisp", name), *fitted(PAPER, name)]]
    assert says("continuity", read_evidence(write(tmp_path, variants=rows, tuned=chosen))) == [FAILS, UNMEASURED]
    rows += [row for name in reported for row in fitted("crisp", name)]
    assert says("continuity", read_evidence(write(tmp_path, variants=rows, tuned=chosen))) == [FAILS, HOLDS]


def test_lengths_that_are_all_0_count_no_pictures(tmp_path: Path):
    rows = [row for name in PICTURES for variant in ("crisp", LATTICES) for row in fitted(variant, name)]
    found = {one.part.what: one for one in measured(measures.area_error(read_evidence(write(tmp_path, variants=rows))))}
    assert (found["crisp: area missed by"].low, found["crisp: area missed by"].high) == (0.0, 0.0)


def test_a_jump_is_a_step_that_keeps_less_than_half_of_the_smaller_mask(tmp_path: Path):
    rows = fitted(LATTICES, "x/a", nested=(0.9, 0.49, 0.9)) + fitted(LATTICES, "x/b", nested=(0.5, 0.9, 0.9))
    (number,) = judged("jumps", read_evidence(write(tmp_path, variants=rows)))
    assert (number.mean, number.pictures) == (0.5, 2)


def test_an_area_that_is_missed_by_a_tenth_is_not_well_behaved(tmp_path: Path):
    missed = (0.15, 0.17, 0.2, 0.3)
    rows = [row for name in PICTURES for row in [*fitted(PAPER, name, soft=missed), *fitted(LATTICES, name)]]
    assert says("area_error", read_evidence(write(tmp_path, variants=rows))) == [FAILS, FAILS]


def test_seeds_part_by_more_than_rounding_or_not(tmp_path: Path):
    apart = [
        row for n, name in enumerate(PICTURES) for row in nulls(name, seed=0.01 + 0.001 * n, noise=0.6, beside=0.8)
    ]
    found = read_evidence(write(tmp_path, nulls=apart))
    assert says("seeds", found) == [HOLDS, HOLDS]
    assert judged("seeds", found)[1].mean == pytest.approx(0.7 - 0.0195)
    ranked = [row | {"preset": "crisp"} for row in apart]  # the paper's fits start at random
    assert says("seeds", read_evidence(write(tmp_path, nulls=ranked))) == [UNMEASURED, UNMEASURED]
    same = [row for name in PICTURES for row in nulls(name, seed=0.01, noise=0.01, beside=0.01)]
    assert says("seeds", read_evidence(write(tmp_path, nulls=same))) == [HOLDS, FAILS]


def test_a_mask_is_enough_if_other_fills_keep_the_class_too(tmp_path: Path):
    fills = {"black": 0.8, "grey": 0.8, "blur_half": 0.7, "blur_double": 0.6, "other_picture": 0.1}
    tables = {
        "study": [run(name) for name in PICTURES],
        "variants": [row for name in PICTURES for row in fitted(PAPER, name, cut=0.01)],
        "controls": [row for name in PICTURES for row in controls(name, kept=0.8, **fills)],
    }
    found = says("sufficiency", read_evidence(write(tmp_path, **tables)))
    assert found == [FAILS, HOLDS, HOLDS, HOLDS, HOLDS, HOLDS, FAILS]


def test_a_number_names_the_setting_that_was_run(tmp_path: Path):
    study = [run(name, preset="draft") for name in PICTURES]
    rows = [row | {"method": "INR, draft"} for name in PICTURES for row in controls(name, kept=0.8, black=0.8)]
    found = read_evidence(write(tmp_path, study=study, controls=rows))
    whats = [one.part.what for one in measured(measures.sufficiency(found)) if one.pictures]
    assert whats == ["INR, draft: pictures that have an a*", "INR, draft: a mask that is enough is so under black"]


def test_a_part_is_important_if_only_its_own_place_carries_the_class(tmp_path: Path):
    good = [row for name in PICTURES for row in controls(name, kept=0.8, moved=0.1, deleted=0.2)]
    assert says("importance", read_evidence(write(tmp_path, controls=good))) == [HOLDS, HOLDS]
    anywhere = [row for name in PICTURES for row in controls(name, kept=0.8, moved=0.8, deleted=0.8)]
    assert says("importance", read_evidence(write(tmp_path, controls=anywhere))) == [FAILS, FAILS]


def in_turn(*precisions: float | None, seed: int = 0, pictures: list[str] = PICTURES) -> list[dict]:
    return [
        run(name, precision=p, equal=p, iteration=number, seed=seed)
        for name in pictures
        for number, p in enumerate(precisions, 1)
    ]


def test_explanations_in_turn(tmp_path: Path):
    found = read_evidence(write(tmp_path, study=[*in_turn(0.9, 0.6, 0.2), run("alone", precision=0.1)]))
    assert says("several", found) == [HOLDS]
    assert says("falling", found) == [HOLDS] * 2
    assert says("surroundings", found) == [HOLDS]
    assert says("outside", found) == [HOLDS]
    assert says("best_of_three", found) == [UNTESTED]  # none of 20 pictures, so at most 17 %
    assert judged("several", found)[0].pictures == len(PICTURES)  # the picture without a second one is not asked


def test_a_mask_larger_than_the_object_is_neither_on_it_nor_beside_it(tmp_path: Path):
    larger = [row | {"size": 0.4} if row["iteration"] == 3 else row for row in in_turn(0.9, 0.6, 0.2)]
    assert judged("surroundings", read_evidence(write(tmp_path, study=larger)))[0].mean == 0.0


def test_a_later_mask_without_an_area_explains_nothing(tmp_path: Path):
    found = read_evidence(write(tmp_path, study=in_turn(0.9, None, None)))
    assert says("several", found) == [UNTESTED]  # none of 20 pictures, so at most 17 %
    assert judged("surroundings", found)[0].mean == 0.0


def test_one_picture_with_two_explanations_is_enough_and_the_shares_stand_beside(tmp_path: Path):
    first, second, *others = ([one] for one in PICTURES)
    study = in_turn(0.9, 0.6, None, pictures=first) + in_turn(0.9, None, 0.6, pictures=second)
    study += in_turn(0.9, None, None, pictures=sum(others, []))
    two, *beside = measured(turns.several(read_evidence(write(tmp_path, study=study))))
    assert (two.mean, two.says) == (0.1, HOLDS)
    assert [(n.part.what, n.mean, n.says) for n in beside] == [
        ("pictures whose second explanation keeps the class", 0.05, ""),
        ("pictures whose third explanation keeps the class", 0.05, ""),
    ]


def test_explanations_of_two_seeds_are_no_several_explanations_of_one_fit(tmp_path: Path):
    study = [row for seed, p in enumerate((0.9, 0.2)) for row in in_turn(p, p, seed=seed)]
    found = read_evidence(write(tmp_path / "apart", study=study))
    assert judged("surroundings", found)[0].mean == 0.0  # one seed's masks lie on the object, the other's beside it
    study = [row for seed, p in enumerate((None, 0.9)) for row in in_turn(p, 0.9 if p is None else None, seed=seed)]
    found = read_evidence(write(tmp_path / "one each", study=study))
    assert judged("several", found)[0].mean == 0.0


def test_one_case_is_enough_with_whatever_number_of_seeds(tmp_path: Path):
    study = in_turn(0.6, 0.9, 0.2, pictures=PICTURES[:1]) + in_turn(0.6, 0.55, None, pictures=PICTURES[1:])
    study += [row for seed in (1, 2, 3, 4) for row in in_turn(0.6, None, None, seed=seed)]
    found = read_evidence(write(tmp_path, study=study))
    for name, mean in (("best_of_three", 0.05), ("surroundings", 0.05), ("several", 1.0)):
        (number,) = judged(name, found)
        assert (number.mean, number.says) == (mean, HOLDS), name


def test_the_overlap_of_later_masks_is_judged_for_each_of_them(tmp_path: Path):
    pair = {"dataset": STANDIN, "kind": "iterations", "other": "earlier", "area": 0.2, "iou": 0.0, "found": 0}
    rows = [
        pair | {"picture": name, "one": one, "share": share + 0.001 * place, "expected": 0.2}
        for place, name in enumerate(PICTURES)
        for one, share in (("2", 0.01), ("3", 0.3))
    ]
    found = read_evidence(write(tmp_path, agreement=rows))
    assert says("apart", found) == [HOLDS, FAILS]
    assert [round(one.mean, 1) for one in judged("apart", found)] == [0.0, 0.3]
    blind = [one.mean for one in measured(turns.apart(found))][1::2]
    assert blind == pytest.approx([0.2, 0.2])


def test_the_best_of_three_may_be_a_later_one(tmp_path: Path):
    found = read_evidence(write(tmp_path, study=in_turn(0.4, 0.6, 0.2)))
    assert says("best_of_three", found) == [HOLDS]
    numbers = {one.part.what: one.mean for one in measured(turns.best_of_three(found))}
    assert numbers["best of three: precision"] == pytest.approx(0.6)


def test_time_is_told_as_a_multiple_of_grad_cams(tmp_path: Path):
    study = [run(name, method) for name in PICTURES for method in ("inr", "grad_cam")]
    found = read_evidence(write(tmp_path, study=study, seconds={"inr": 12.0, "grad_cam": 0.1}))
    (number,) = judged("times_of_grad_cam", found)
    assert number.part.what == "seconds of INR, crisp over seconds of GradCAM"
    assert (number.mean, number.says) == (pytest.approx(120), HOLDS)


def test_fits_that_collapsed_are_counted_and_another_weight_is_compared(tmp_path: Path):
    random = {"settings": json.dumps(METHODS["inr"].settings({"preset": "crisp_random"}))}
    fits = [run("a", **random), run("b", precision=None, status="collapsed to empty", **random)]
    fits.append(run("c", precision=None, status="collapsed to empty"))  # by another setting
    weak = [row | {"probability": 0.1} for name in PICTURES for row in fitted("weight to 1000", name)]
    rows = [row for name in PICTURES for row in fitted(HALF, name)] + weak
    found = read_evidence(write(tmp_path, study=[run("a")], quality=fits, variants=rows))
    assert [round(one.mean, 2) for one in judged("divergence", found)] == [0.5, 1.0]
    assert says("divergence", found) == [HOLDS, HOLDS]
