"""The comparison at equal real area: every picture counts, collapsed fits too; pairs of a picture are one; Holm."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_tables import failed, line, rows, run

from inrexp.study import captions, equal, tables
from inrexp.study.store import AT_EQUAL_AREA
from inrexp.study.tables import Table


def at(probability: tuple[float, ...], precision: float = 0.5, unmasked: float = 0.8) -> dict:
    """What a run has at 2.5, 5, 10 and 20 %: the probabilities that its masks keep, one precision for all."""
    names = [name for name in AT_EQUAL_AREA if not name.endswith("star")]
    return dict(zip(names, (*probability, *[precision] * 4), strict=True)) | {"unmasked": unmasked}


NEVER, TENTH, ALWAYS = (0.0, 0.1, 0.2, 0.3), (0.1, 0.3, 0.5, 0.4), (0.4, 0.5, 0.6, 0.7)  # half of 0.8 is 0.4
COLLAPSED = {"status": "collapsed to a full mask"}


def compared(*runs: dict) -> pd.DataFrame:
    return equal.equal_area(tables.table_1(rows(*runs)))


def of(frame: pd.DataFrame, **wanted: str) -> dict:
    return line(Table("any", frame, frame), **wanted)


def test_a_star_is_the_smallest_of_the_four_areas_and_a_picture_without_one_counts_as_the_ranges_end():
    inr = of(compared(run("a", **at(TENTH)), run("b", **at(NEVER)), run("c", **at(ALWAYS))))
    assert inr["found"] == pytest.approx(2 / 3)
    assert inr["star"] == pytest.approx((0.1 + 0.2 + 0.025) / 3)
    assert [inr[name] for name in equal.KEPT] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert inr["probability_at_100"] == pytest.approx((0.5 + 0.2 + 0.6) / 3)
    assert inr["found_pictures"] == 3


def test_a_mask_that_keeps_exactly_half_suffices_whatever_the_studys_own_threshold():
    assert of(compared(run("a", **at((0.39, 0.4, 0.1, 0.1)), threshold=0.9)))["star"] == 0.05


def test_a_collapsed_fit_is_not_found_keeps_nothing_and_is_counted():
    inr = of(compared(run("a", **at(ALWAYS, 0.9)), run("b", **at(ALWAYS, 0.1) | COLLAPSED)))
    assert (inr["found"], inr["star"], inr["collapsed"]) == (0.5, pytest.approx((0.025 + 0.2) / 2), 1)
    assert inr["probability_at_200"] == pytest.approx(0.35)
    assert (inr["precision_at_200"], inr["precision_at_200_pictures"]) == (0.9, 1)  # no mask, no precision


def test_a_run_that_failed_has_no_number_and_is_counted():
    inr = of(compared(run("a", **at(ALWAYS)), failed(sample="b")))
    assert (inr["found"], inr["found_pictures"], inr["failed"]) == (1.0, 1, 1)


VOC = {"dataset": "voc07-difficult"}


def test_pairs_of_one_photograph_are_averaged_before_the_mean_over_photographs():
    runs = [run(f"000001/{label}", **at(ALWAYS), **VOC) for label in ("cat", "dog", "bus")]
    found = of(compared(*runs, run("000002/cat", **at(NEVER), **VOC)))
    assert (found["found"], found["found_pictures"], found["pairs"]) == (0.5, 2, 4)  # not 3 of 4
    other = [run(f"n0155/{name}", **at(ALWAYS)) for name in "abc"]  # a class's folder is no photograph
    assert of(compared(*other))["found_pictures"] == 3


def test_pairs_that_the_network_does_not_recognise_stand_apart():
    known, unknown = at(ALWAYS), at((0.01, 0.01, 0.01, 0.01), unmasked=0.09)
    frame = compared(run("000001/cat", **known, **VOC), run("000002/cat", **unknown, **VOC))
    assert of(frame, dataset="voc07-difficult, recognised (p >= 0.1)")["found"] == 1
    assert of(frame, dataset="voc07-difficult, not recognised")["found"] == 0
    whole = compared(run("000001/cat", **known, **VOC), run("000002/cat", **at(NEVER, unmasked=0.1), **VOC))
    assert list(whole["dataset"]) == ["voc07-difficult"]


def test_differences_are_paired_over_the_photographs_of_both_and_corrected_together():
    samples = [f"{n:03}" for n in range(12)]
    shift = np.linspace(0.02, 0.2, 12)
    runs = [run(name, **at(TENTH, 0.5 + 0.01 * n)) for n, name in enumerate(samples)]
    runs += [run(name, "rise", **at(TENTH, 0.5 + 0.01 * n - shift[n])) for n, name in enumerate(samples)]
    frame = equal.differences(tables.table_1(rows(*runs, run("alone", **at(TENTH, 1.0)))))
    assert set(frame["method"]) == {"RISE"}
    assert set(frame["against"]) == {"INR, quick"}
    found = frame.set_index("measure").loc["precision_at_100"]
    assert found["difference"] == pytest.approx(-shift.mean())
    assert found["low"] < -shift.mean() < found["high"] < 0
    assert found["p"] == pytest.approx(stats.ttest_1samp(shift, 0).pvalue)
    assert found["pictures"] == 12
    assert found["comparisons"] == 4  # the probabilities and a* are equal in every picture: no test
    assert found["holm"] == pytest.approx(4 * found["p"])
    assert np.isnan(frame.set_index("measure").loc["star", "holm"])


def test_holm_corrects_once_for_recognised_and_not_recognised_samples_of_a_data_set():
    runs = []
    for n, (shift, low) in enumerate(zip(np.linspace(0.02, 0.2, 12), [False, True] * 6, strict=True)):
        seen = {"unmasked": 0.05} if low else {}
        runs += [run(f"{n:03}", **at(TENTH, 0.5, **seen)), run(f"{n:03}", "rise", **at(TENTH, 0.5 - shift, **seen))]
    frame = equal.differences(tables.table_1(rows(*runs)))
    assert frame["dataset"].nunique() == 2
    assert set(frame["comparisons"]) == {8}  # the precisions at four areas, of both halves
    assert frame["holm"].min() == pytest.approx(8 * frame["p"].min())


def test_a_later_a_star_is_raised_to_the_next_of_the_four_areas():
    stars = pd.Series([0.025, 0.026, 0.13, 0.2, 0.30, None])
    assert equal.raised(stars).tolist()[:4] == [0.025, 0.05, 0.2, 0.2]
    assert equal.raised(stars)[4:].isna().all()  # larger than all four, or none
    settings = {"settings": '{"threshold": 0.4, "cut": 0.5}'}
    second = run(**at(ALWAYS), iteration=2, area=0.07, **settings)
    frame = tables.table_2(rows(run(**at(ALWAYS), **settings), second))
    assert list(equal.equal_area(frame)["star"])[:2] == [0.025, 0.1]
    assert "raised to the next of these areas. It was found" in captions.caption(frame)
    assert "by a threshold of 0.4; what" in captions.caption(frame)


def test_two_pairs_of_one_photograph_are_no_two_pieces_of_evidence():
    runs = []
    for n in range(4):
        for label in ("cat", "dog"):
            runs += [run(f"{n:06}/{label}", **at(TENTH, 0.9 - 0.1 * n), **VOC)]
            runs += [run(f"{n:06}/{label}", "rise", **at(TENTH, 0.4), **VOC)]
    frame = equal.differences(tables.table_1(rows(*runs)))
    assert set(frame["pictures"]) == {4}


def test_a_line_names_what_its_method_was_fitted_under():
    fit = {"fit": {"perturbation": "blur", "blur_sigma": 20.0}}
    assert equal.fitted_under(rows(run(settings=str(fit).replace("'", '"')))) == "blur, 20 px"
    levels = '{"fit": {"perturbation": "levels", "blur_sigma": 20.0}}'
    assert equal.fitted_under(rows(run(settings=levels))) == "eight blurs, 20 px to none"
    assert equal.fitted_under(rows(run(method="grad_cam"))) == "the whole picture"
    assert equal.fitted_under(rows(run(method="mine"))) == "not said"


def test_table_2_has_its_iterations_at_equal_area_and_no_differences():
    turns = [(1, ALWAYS, 0.1), (2, ALWAYS, 0.1), (3, NEVER, None)]  # iteration, p at the areas, a* beside earlier masks
    several = rows(*(run(iteration=n, precision=0.1 * n, **at(p) | {"area": star}) for n, p, star in turns))
    frame = equal.equal_area(tables.table_2(several))
    assert list(frame["iteration"]) == ["1", "2", "3", "best"]
    # the second's masks keep p with what the first covers, alone only from a tenth on; the best is the third, by its
    # precision
    assert list(frame["star"]) == [0.025, 0.1, 0.2, 0.2]
    assert equal.differences(tables.table_2(several)).empty
