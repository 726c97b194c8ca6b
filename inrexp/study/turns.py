"""The numbers that test the paper's claims on several explanations of one picture (sections 4.2 and 6).

As in `measures`, every function takes the rows and returns parts.
"""

import pandas as pd

from inrexp.study import evidence
from inrexp.study.evidence import IMAGENET, Evidence, difference, runs_of
from inrexp.study.judging import Part, above, below
from inrexp.study.tables import best, by_photograph, of_several, photograph

FIT = ["sample", "seed"]  # the columns that name one run of algorithm 1, since its settings are one variant's


def _in_turn(found: Evidence) -> dict[int, pd.DataFrame]:
    """The field's explanations 1 to 3 of the pictures that have a second one; no rows where none has."""
    runs = runs_of(found, IMAGENET, iteration=None)
    try:
        runs = of_several(runs)
    except ValueError:
        runs = runs.iloc[:0]
    return {number: runs[runs["iteration"] == number] for number in (1, 2, 3)}


def several(found: Evidence) -> list[Part]:
    """Whether a picture can have two explanations with an a*; how often a second and a third has one stands beside."""
    runs, names = _in_turn(found), {2: "second", 3: "third"}
    both = pd.concat(runs.values()).groupby(FIT)["found"].sum() >= 2
    return [
        Part("pictures with two explanations that each keep the class", _in_some_fit(both), above(0)),
        *(
            Part(f"pictures whose {name} explanation keeps the class", by_photograph(runs[number], "found"))
            for number, name in names.items()
        ),
    ]


def _in_some_fit(holds: pd.Series) -> pd.Series:
    """1 for a picture in which it holds with some seed, else 0: where the paper says that it can, one case is enough.

    holds: 1 or 0, by FIT.
    """
    return holds.astype(float).groupby(holds.index.get_level_values("sample").map(photograph)).max()


def apart(found: Evidence) -> list[Part]:
    """How much of the second and third mask lies on the earlier ones, and how much of one at a random place would."""
    parts = []
    for number, name in {"2": "second", "3": "third"}.items():
        share = evidence.agreement(found, "iterations", "share", one=number)
        blind = evidence.agreement(found, "iterations", "expected", one=number)
        parts.append(Part(f"share of the {name} mask on earlier ones", share, below(0.1)))
        parts.append(Part(f"the {name} mask: the same of one at a random place", blind))
    return parts


def surroundings(found: Evidence) -> list[Part]:
    """The share of pictures with sufficient masks mostly on the object and mostly beside it.

    Both must be of one seed. A mask larger than the object lies mostly beside it whatever it shows, and counts as
    neither.
    """
    runs = pd.concat(_in_turn(found).values())
    enough = runs.dropna(subset="precision")  # it is of the mask at a*, so of one that keeps the class
    larger = enough["size"] > enough["object_share"]
    enough = enough[~larger]
    fits = runs.set_index(FIT).index.unique()

    def some(holds: pd.Series) -> pd.Series:
        return holds.groupby([enough[name] for name in FIT]).max().reindex(fits, fill_value=False).astype(float)

    on, beside = some(enough["precision"] > 0.5), some(enough["precision"] < 0.5)
    return [
        Part("pictures with such a mask on the object and another beside it", _in_some_fit(on * beside), above(0)),
        Part("pictures with such a mask mostly beside the object", _in_some_fit(beside)),
        Part("masks that keep the class and are larger than the object", larger.astype(float)),
        Part("the object's share of the picture", by_photograph(runs, "object_share")),
    ]


def falling(found: Evidence) -> list[Part]:
    """The fall of the precision from the first to the third explanation, with the steps between beside."""
    runs, parts = _in_turn(found), []
    steps = [(1, 3, "first less third", above(0)), (1, 2, "first less second", None), (2, 3, "second less third", None)]
    for one, other, words, rule in steps:
        for where, measure in (("at equal area", "precision_equal"), ("at a*", "precision")):
            values = difference(runs[one], runs[other], measure)
            parts.append(Part(f"{words} explanation: precision {where}", values, rule, signed=True))
    names = {1: "first", 2: "second", 3: "third"}
    return parts + [
        Part(f"{name} explanation: precision at a*", by_photograph(runs[number], "precision"))
        for number, name in names.items()
    ]


def outside(found: Evidence) -> list[Part]:
    """How much more often the third explanation than the first lies mostly beside the object."""
    runs = {
        number: one.assign(beside=(one["precision"] < 0.5).astype(float).where(one["precision"].notna()))
        for number, one in _in_turn(found).items()
    }
    values = difference(runs[3], runs[1], "beside")
    return [Part("masks mostly beside the object: third less first", values, above(0), signed=True)]


def best_of_three(found: Evidence) -> list[Part]:
    """The share of pictures in which, with some seed, a later mask is the most precise one, and the two means."""
    runs = _in_turn(found)
    every = pd.concat(runs.values())
    chosen = best(every.dropna(subset="precision")) if len(every) else every
    later = chosen.set_index(FIT)["iteration"] > 1
    return [
        Part("pictures in which a later mask is the most precise", _in_some_fit(later), above(0)),
        Part("best of three: precision", by_photograph(chosen, "precision")),
        Part("first explanation: precision", by_photograph(runs[1], "precision")),
    ]
