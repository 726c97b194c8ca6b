"""The numbers that test the paper's claims on one explanation; `turns` has those on several, `ledger` the sentences.

Every function takes the rows and returns parts, each a value for every picture with the rule that judges their mean.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from inrexp.comparison import METHODS
from inrexp.paper.presets import RANDOM
from inrexp.study import evidence
from inrexp.study.equal import RECOGNISED
from inrexp.study.evidence import (
    FIELD,
    HALF,
    IMAGENET,
    LATTICES,
    OF_PAPER,
    PAPER,
    PRESET,
    ROUGH_IN_AREA,
    SMOOTH,
    TENTH,
    VOC,
    Evidence,
    difference,
    runs_of,
)
from inrexp.study.judging import Part, Rule, above, below, level
from inrexp.study.quality import SETTINGS
from inrexp.study.tables import by_photograph
from inrexp.study.variants import NEAR

# The methods that claims are about, by what their records say: those that fit masks, those that give a map, the control
# that is not of the paper. The paper names the map that draws random masks first.
FITTED = [name for name in OF_PAPER if METHODS[name].config is not None and name != FIELD]
MAPS = sorted((name for name in OF_PAPER if METHODS[name].config is None), key=lambda name: not METHODS[name].draws)
CONTROL = next(name for name, method in METHODS.items() if method.published is None)
OTHERS = [name for name in OF_PAPER if name != FIELD]
FILLS = {"black": "black", "grey": "grey", "blur_half": "half the blur", "blur_double": "twice the blur"}
FILLS |= {"other_picture": "another picture's blur"}
NULL = ("beside", "noise")  # the kinds of nulls.csv in which only the rounding differs
CHANCE = 0.05  # IoU of two masks of a tenth at random places
SETTING, CHOSEN = "the paper's setting", PRESET
ON_LATTICE = "paper_lattice"  # the preset that has the paper's setting with the field on the filter's lattice


def sufficiency(found: Evidence) -> list[Part]:
    """Eq. 5: whether the mask at a* keeps half of the class when it is cut, whether there is one, under which fills."""
    field = runs_of(found, IMAGENET)
    ours, controlled = _called(field), _called(evidence.controlled(found), "method")
    parts = [
        Part(f"{SETTING}: the mask at a*, cut, is still enough", evidence.kept_when_cut(found, PAPER), above(0.5)),
        Part(f"{ours}: pictures that have an a*", by_photograph(field, "found"), above(0.5)),
    ]
    for name, words in FILLS.items():
        still = evidence.control(found, name, measure="enough")
        parts.append(Part(f"{controlled}: a mask that is enough is so under {words}", still, above(0.5)))
    for name, words in {"lite1": "EfficientNet-Lite1", "lite2": "EfficientNet-Lite2"}.items():
        still = evidence.control(found, name, measure="enough")
        parts.append(Part(f"{controlled}: a mask that is enough is so for {words}", still))
    for method in (*OTHERS, CONTROL):
        runs = runs_of(found, IMAGENET, method)
        name, kept = _called(runs, method=method), difference(field, runs, "probability_equal")
        parts.append(Part(f"{name}: pictures that have an a*", by_photograph(runs, "found")))
        parts.append(Part(f"{ours} less {name}: p kept at equal area", kept, signed=True))
    return parts


def _against_lattices(found: Evidence, column: str, what: str, rule: Rule, *, given: bool = False) -> list[Part]:
    """A column of variants.csv: the field less extremal perturbations, and the values themselves beside.

    given: whether the default preset has its values by construction, which judge nothing.
    """
    names = {SETTING: PAPER, CHOSEN: PRESET, "extremal perturbations": LATTICES}
    values = {words: evidence.of_variant(found, name, column) for words, name in names.items()}
    *fields, lattices = names
    parts = []
    for words in fields:
        less = (values[words] - values[lattices]).dropna()
        judges = None if given and words == CHOSEN else rule
        parts.append(Part(f"{words} less {lattices}: {what}", less, judges, signed=True))
    return [*parts, *(Part(f"{words}: {what}", own, length=True) for words, own in values.items())]


def continuity(found: Evidence) -> list[Part]:
    """How much of each mask lies in the next larger one."""
    what = "share of a mask in the next"
    smooth, rough = (evidence.of_variant(found, name, "nested") for name in (SMOOTH, ROUGH_IN_AREA))
    objective = "the paper's objective, Fourier scale 2, 300 passes"
    return [
        *_against_lattices(found, "nested", what, above(0)),
        Part(f"{objective}, of the area 1/2: {what}", smooth, length=True),
        Part(f"{objective}, of the area 2: {what}", rough, length=True),
        Part("the former less the latter, on the pictures of both", (smooth - rough).dropna(), signed=True),
    ]


def monotony(found: Evidence) -> list[Part]:
    """In which share of the steps the real area grows."""
    return _against_lattices(found, "grows", "steps in which the area grows", above(0), given=True)


def area_error(found: Evidence) -> list[Part]:
    """By how much the real area misses the asked one, and whether that is less than for extremal perturbations."""
    missed, rule = evidence.of_variant(found, PAPER, "error"), below(2 * NEAR, NEAR)
    miss = Part(f"{SETTING}: area missed by", missed, rule, digits=3, length=True)
    return [miss, *_against_lattices(found, "error", "area missed by", below(0, NEAR), given=True)]


def jumps(found: Evidence) -> list[Part]:
    """The share of pictures in which some step keeps less than half of the smaller mask."""
    parts = []
    for name, words, rule in ((LATTICES, "extremal perturbations", above(0)), (PAPER, SETTING, None)):
        rows = evidence.reported_variant(found, name).dropna(subset="nested")
        values = (rows["nested"] < 0.5).groupby(rows["picture"]).max().astype(float)
        parts.append(Part(f"{words}: pictures with a jump", values, rule))
    return parts


def seeds(found: Evidence) -> list[Part]:
    """Whether seeds part, and by more than rounding: masks of a tenth are judged, other areas stand beside.

    The fits start at random weights, as the paper's do; the same from the default preset's start stand beside.
    Rounding has two pairs of fits a picture and seeds one, so each kind of rounding is looked at alone, too.
    """
    alone = evidence.overlap(found, ["seed"], preset=RANDOM, at_most=CHANCE)
    parts = [
        Part("pictures with two seeds that do not overlap", alone, above(0)),
        Part("IoU of one seed under other rounding, less that of two seeds", _parted(found, TENTH), above(0), True),
        Part("IoU of two seeds", evidence.overlap(found, ["seed"], preset=RANDOM)),
        Part("IoU of one seed under other rounding", evidence.overlap(found, NULL, preset=RANDOM)),
        Part(f"IoU of two seeds of {PRESET}, whose fits start from one ranking", evidence.overlap(found, ["seed"])),
        Part("and of one seed of it under other rounding", evidence.overlap(found, NULL)),
    ]
    for kind, words in zip(NULL, ("beside another fit", "with a millionth of noise"), strict=True):
        rounded = evidence.overlap(found, [kind], preset=RANDOM, at_most=CHANCE)
        parts.append(Part(f"pictures in which one seed does not overlap itself {words}", rounded))
    for area in (0.05, 0.2):
        words = f"masks of {100 * area:g} %: IoU under other rounding, less that of two seeds"
        parts.append(Part(words, _parted(found, area), signed=True))
    return parts


def _parted(found: Evidence, area: float) -> pd.Series:
    rounded, seed = (evidence.overlap(found, kinds, preset=RANDOM, area=area) for kinds in (NULL, ["seed"]))
    return (rounded - seed).dropna()


def diversity(found: Evidence) -> list[Part]:
    """Whether two methods' masks of a tenth overlap less than one fit of the field does with itself, rounded anew."""
    methods, null = evidence.agreement(found, "methods", "iou"), evidence.overlap(found, NULL)
    words, less = "IoU of one fit of {} under other rounding", "less that of two methods"
    own, random = words.format(f"{METHODS[FIELD].label}, {PRESET}"), words.format(RANDOM)
    from_random = evidence.overlap(found, NULL, preset=RANDOM)
    return [
        Part(f"{own}, {less}", (null - methods).dropna(), above(0), signed=True),
        Part("IoU of two methods", methods),
        Part(own, null),
        Part(f"{random}, which starts at random weights, {less}", (from_random - methods).dropna(), signed=True),
    ]


def _outperforms(found: Evidence, dataset: str, others: Sequence[str], rule: Rule) -> list[Part]:
    """The field's precision less that of others, at equal area and in the paper's own column, with sizes beside.

    The paper's setting is judged on the stand-in for ImageNet-S50 only. It takes a thread five minutes a picture, and
    no study ran it on VOC.
    """
    field, parts = runs_of(found, dataset), []
    of_setting = rule if dataset == IMAGENET else None
    of = {method: runs_of(found, dataset, method) for method in (FIELD, *others, CONTROL)}
    of_paper = runs_of(found, dataset, preset=ON_LATTICE)
    names = {method: _called(runs, method=method) for method, runs in of.items()}
    for where, measure in (("at equal area", "precision_equal"), ("in the paper's column", "precision_paper")):
        for method in others:
            values = difference(field, of[method], measure)
            parts.append(Part(f"{names[FIELD]} less {names[method]}: precision {where}", values, rule, signed=True))
            paper = difference(of_paper, of[method], measure)
            parts.append(Part(f"{SETTING} less {names[method]}: precision {where}", paper, of_setting, signed=True))
    disc = difference(field, of[CONTROL], "precision_equal")
    parts.append(Part(f"{names[FIELD]} less a centred disc: precision at equal area", disc, signed=True))
    column = "share of the picture in the mask of that column"
    for method, runs in of.items():
        name = names[method]
        parts.append(Part(f"{name}: precision at equal area", by_photograph(runs, "precision_equal")))
        parts.append(Part(f"{name}: precision in the paper's column", by_photograph(runs, "precision_paper")))
        parts.append(Part(f"{name}: {column}", by_photograph(runs, "size_paper")))
        if method != CONTROL:
            less = "less a centred disc of the same area"
            parts.append(Part(f"{name} {less}: precision at a*", by_photograph(runs, "over_disc"), signed=True))
    return parts


def _called(runs: pd.DataFrame, column: str = "variant", *, method: str = FIELD) -> str:
    """The method with its settings, as this column of these runs names it; the method alone without runs."""
    return str(runs[column].iloc[0]) if len(runs) else METHODS[method].label


def imagenet(found: Evidence) -> list[Part]:
    """The stand-in for ImageNet-S50: the field against the paper's other methods."""
    return _outperforms(found, IMAGENET, OTHERS, above(0))


def voc_maps(found: Evidence) -> list[Part]:
    """The sample of VOC: the field against RISE and GradCAM, and apart for pairs that the network recognises."""
    return _outperforms(found, VOC, MAPS, above(0)) + _recognised(found, MAPS)


def voc_level(found: Evidence) -> list[Part]:
    """The sample of VOC: the field against extremal perturbations, which the paper finds level."""
    return _outperforms(found, VOC, FITTED, level()) + _recognised(found, FITTED)


def _recognised(found: Evidence, others: Sequence[str]) -> list[Part]:
    field, parts = runs_of(found, VOC), []
    field = field[field["unmasked"] >= RECOGNISED]
    for method in others:
        runs = runs_of(found, VOC, method)
        values, names = difference(field, runs, "precision_equal"), (_called(field), _called(runs, method=method))
        words = f"{' less '.join(names)}: precision at equal area, pairs with p of {RECOGNISED} or more"
        parts.append(Part(words, values, signed=True))
    return parts


def seconds(found: Evidence) -> list[Part]:
    """The seconds of one fit on one thread."""
    shown = {f"{SETTING}, on one CPU thread, seconds": PAPER, f"{CHOSEN}, on one CPU thread, seconds": PRESET}
    return [
        Part(what, evidence.of_variant(found, name, "seconds"), digits=0, length=True) for what, name in shown.items()
    ]


def importance(found: Evidence) -> list[Part]:
    """What is left of the class under the mask moved elsewhere, and without what the mask holds."""
    kept, moved = evidence.control(found, "kept"), evidence.control(found, "moved")
    lost = 1 - evidence.control(found, "deleted", measure="half")
    parts = [
        Part("p under the mask less p under the same mask moved", (kept - moved).dropna(), above(0), signed=True),
        Part("pictures that lose half of the class without the mask", lost, above(0.5)),
    ]
    for method in (*OTHERS, CONTROL):
        values = 1 - evidence.control(found, "deleted", method=method, measure="half")
        parts.append(Part(f"the same, without the mask of {METHODS[method].label}", values))
    return parts


def times_of_grad_cam(found: Evidence) -> list[Part]:
    """How many times as long the field takes as GradCAM, by picture."""
    of = {method: runs_of(found, IMAGENET, method) for method in (FIELD, MAPS[-1])}  # the map that draws nothing
    one, other = (by_photograph(runs, "seconds") for runs in of.values())
    words = " over ".join(f"seconds of {_called(runs, method=method)}" for method, runs in of.items())
    return [Part(words, (one / other).dropna(), above(10), digits=0, length=True)]


def learned_start(found: Evidence) -> list[Part]:
    """What a learned start adds to the share of pictures with an a*, with half of the passes."""
    with_it, without = (evidence.has_star(found, f"150 passes{more}") for more in (", learned start", ""))
    return [
        Part("learned start less random: pictures with an a*", (with_it - without).dropna(), above(0), signed=True),
        Part("with 300 passes: pictures with an a*", evidence.has_star(found, HALF)),
    ]


def divergence(found: Evidence) -> list[Part]:
    """The share of fits that collapsed or diverged, and what another area weight does.

    Fits that start at random weights are judged, as the paper's do; those from the default preset's start stand beside.
    """
    rows = found.quality[~found.quality["sample"].isin(found.tuned)]
    by_random = [SETTINGS["crisp, random start"].is_of(row) for row in rows.to_dict("records")]
    of_fits = [
        (f"from random weights ({RANDOM})", [rows[np.array(by_random, dtype=bool)]], above(0)),
        (f"by {SETTING}", [runs_of(found, IMAGENET, preset=ON_LATTICE)], None),
        (f"by {CHOSEN}", [runs_of(found, dataset, preset=CHOSEN) for dataset in (IMAGENET, VOC)], None),
    ]
    parts = []
    for words, runs, rule in of_fits:
        dead = pd.concat([by_photograph(one, "collapsed") for one in runs])
        parts.append(Part(f"pictures with a fit {words} that collapsed or diverged", (dead > 0).astype(float), rule))
    weights = evidence.has_star(found, HALF) - evidence.has_star(found, "weight to 1000")
    return [
        *parts,
        Part("weight to 100 less weight to 1000: pictures with an a*", weights.dropna(), above(0), signed=True),
    ]
