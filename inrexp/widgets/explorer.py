"""The widget to look at masks with: area, answer by answer, soft or cut, blur, threshold. Nothing is fitted in it."""

import copy
import threading
from collections.abc import Mapping, Sequence
from html import escape

import ipywidgets
import torch

from inrexp.datasets.pictures import to_picture
from inrexp.explanation import CUT, Attribution, Explanation
from inrexp.figures.style import percent
from inrexp.models.classifier import Classifier
from inrexp.paper.perturb import BLUR_SIGMA, blend, blur, fade
from inrexp.widgets.stage import PLOT, SIDE, STEP, Curve, Panel, Stage, curve_svg, jpeg

POSITIONS = 36  # areas at which probabilities are measured; 5 thousandths apart over the paper's range
BLURS = (5.0, 10.0, BLUR_SIGMA, 40.0)  # px
CONTROLS = ("answer", "against", "view", "outside", "threshold")
NOTHING = "nothing"


class Explorer(Panel):
    """Masks of one picture by one answer or several, looked at from every side.

    answers: name -> what a method answered; all of one picture. Methods, seeds or numbered explanations: `what` labels
        the control that chooses between them, `against` names the answer shown below the first.
    areas: positions of the area slider; None for every thousandth of the first answer's range, or for the areas that it
        holds. A field is evaluated there; one on every pixel is too slow for that and shows the measured areas.
    start: the area shown first.  positions: areas at which probabilities are measured, before the widget is shown.
    controls: which of `CONTROLS` are on the page beside the area.

    Probabilities are all judged under one perturbation, that of the first answer (levels and mixtures: a blur of 20 px)
    or the one chosen; at a new one they are measured in a thread, with a copy of the classifier, while the pictures
    change at once. `close()` ends it. Raises TypeError or ValueError for answers that do not belong together.
    """

    def __init__(
        self,
        answers: Mapping[str, Attribution],
        *,
        what: str = "answer",
        against: str | None = None,
        areas: Sequence[float] | None = None,
        start: float = 0.1,
        positions: int = POSITIONS,
        controls: Sequence[str] = CONTROLS,
        side: int = SIDE,
    ):
        _check(answers, against, controls, positions)
        self.answers, self.first = dict(answers), next(iter(answers.values()))
        self.areas, self.measured = _positions(self.first, areas, positions)
        self.classifier: Classifier = self.first.needed_classifier()
        self.stage = Stage(self.first.image, side=side)
        self.curves: dict[tuple[str, str], Curve] = {}  # by answer and outside
        self._masks: dict[tuple[str, float], torch.Tensor] = {}
        self._perturbed: dict[str, torch.Tensor] = {}
        self.shown: dict[int, tuple[float, float]] = {}  # row -> area of its mask, and what it keeps
        self._lock = threading.RLock()
        self._controls(what, against, start, side)
        for name in self.answers:
            self._measure(name, self.outside.value, self.classifier)
        super().__init__(self._laid_out(side))
        for name in CONTROLS:
            control = getattr(self, name)
            control.observe(self._show, names="value")
            if name not in controls or (name in ("answer", "against") and len(self.answers) == 1):
                control.layout.display = "none"
        self.area.observe(self._show, names="value")
        self._show()

    def _controls(self, what: str, against: str | None, start: float, side: int) -> None:
        wide, narrow = f"{2 * side + 16}px", f"{PLOT[0]}px"
        names = list(self.answers)
        own = self.first.blur_sigma if self.first.perturbation == "blur" else BLUR_SIGMA
        outsides = [*(f"blur {sigma:g} px" for sigma in sorted({*BLURS, own})), "black"]
        used = "black" if self.first.perturbation == "fade" else f"blur {own:g} px"
        nearest = min(self.areas, key=lambda area: abs(area - start))
        options = [(percent(area), area) for area in self.areas]

        def wider(width: str) -> ipywidgets.Layout:
            return ipywidgets.Layout(width=width)

        self.area = ipywidgets.SelectionSlider(options=options, value=nearest, description="area", layout=wider(wide))
        self.answer = ipywidgets.SelectionSlider(options=names, description=what, layout=wider(narrow))
        self.against = ipywidgets.Dropdown(
            options=[NOTHING, *names], value=against or NOTHING, description="against", layout=wider(narrow)
        )
        self.view = ipywidgets.ToggleButtons(options=[("soft", False), ("cut to 0/1", True)], description="mask")
        self.view.layout.width, self.view.style.button_width = narrow, "100px"
        self.view.add_class("widget-inline-hbox")  # its name beside the buttons, as at every other control
        self.outside = ipywidgets.SelectionSlider(
            options=outsides, value=used, description="outside", layout=wider(narrow)
        )
        self.threshold = ipywidgets.FloatSlider(
            value=self.first.threshold, min=0, max=1, step=0.01, description="threshold", layout=wider(narrow)
        )

    def _laid_out(self, side: int) -> list[ipywidgets.Widget]:
        self.pictures = [ipywidgets.Image(format="jpeg", width=side, height=side) for _ in range(4)]
        self.titles = [ipywidgets.HTML() for _ in range(4)]
        self.captions = [ipywidgets.HTML(layout=ipywidgets.Layout(width=f"{2 * side + 16}px")) for _ in range(2)]
        self.curve, self.legend = ipywidgets.HTML(), ipywidgets.HTML()
        panels = [ipywidgets.VBox(list(pair)) for pair in zip(self.titles, self.pictures, strict=True)]
        self.lower = ipywidgets.VBox([ipywidgets.HBox(panels[2:]), self.captions[1]])
        left = ipywidgets.VBox([self.area, ipywidgets.HBox(panels[:2]), self.captions[0], self.lower])
        right = ipywidgets.VBox([self.curve, *(getattr(self, name) for name in CONTROLS)])
        for column in (left, right):
            column.layout.flex = "0 0 auto"  # as wide as it needs: where both do not fit, one goes below the other
        return [ipywidgets.HBox([left, right], layout=ipywidgets.Layout(flex_flow="row wrap")), self.legend]

    def mask(self, name: str, area: float) -> tuple[torch.Tensor, float]:
        """An answer's mask at the area nearest to the one asked that it has.  Returns (1, 1, h, w) and that area."""
        answer = self.answers[name]
        low, high = answer.area_range
        held = answer.held_areas or (min(max(area, low), high),)
        area = min(held, key=lambda one: abs(one - area))
        ready = self._masks.get((name, area))
        return (answer.mask([area]) if ready is None else ready), area

    def perturbed(self, outside: str) -> torch.Tensor:
        """What the picture becomes outside the mask, I' of eq. 1."""
        if outside not in self._perturbed:
            image = self.first.image
            self._perturbed[outside] = fade(image) if outside == "black" else blur(image, float(outside.split()[1]))
        return self._perturbed[outside]

    def _measure(self, name: str, outside: str, classifier: Classifier) -> None:
        """Two probabilities for each measured area, soft and cut; the masks are kept for the slider."""
        answer, perturbed = self.answers[name], self.perturbed(outside)
        low, high = answer.area_range
        areas = tuple(answer.held_areas or sorted({min(max(area, low), high) for area in self.measured}))
        if (name, areas[0]) not in self._masks:
            self._masks.update(zip([(name, area) for area in areas], answer.mask(areas).split(1), strict=True))
        masks = torch.cat([self._masks[name, area] for area in areas])
        kept: list[float] = []
        for part in torch.cat([masks, _cut(masks)]).split(8):
            if self.closed:
                return
            kept += classifier.probability(blend(self.first.image, perturbed, part), answer.target).tolist()
        self.curves[name, outside] = Curve(areas, tuple(kept[: len(areas)]), tuple(kept[len(areas) :]))

    def _measure_missing(self) -> None:
        """In a thread: what the page wants and nobody measured, with a copy of the classifier, which cells may use."""
        if self.classifier is self.first.classifier:
            self.classifier = copy.deepcopy(self.classifier)
        while True:
            with self._lock:
                missing = [key for key in self._wanted() if key not in self.curves]
                if self.closed or not missing:
                    self.worker = None
                    return
            self._measure(*missing[0], self.classifier)
            self._show({"owner": self.threshold})  # numbers alone have changed

    def _wanted(self) -> list[tuple[str, str]]:
        names = [self.answer.value] + [self.against.value] * (self.against.value != NOTHING)
        return [(name, self.outside.value) for name in names]

    def _show(self, change: Mapping[str, object] | None = None) -> None:
        with self._lock:
            if self.closed:
                return
            wanted = self._wanted()
            self.lower.layout.display = None if len(wanted) > 1 else "none"
            for row, (name, outside) in enumerate(wanted):
                if change is None or change["owner"] is not self.threshold:
                    self._draw(row, name, outside)
                self.captions[row].value = self._caption(name, *self.shown[row])
            self.curve.value = curve_svg(
                [(key[0], self.curves.get(key)) for key in wanted],
                area=self.area.value,
                threshold=self.threshold.value,
                cut=self.view.value,
                limits=(self.areas[0], self.areas[-1]),
            )
            becomes = "black" if self.outside.value == "black" else f"blurred ({self.outside.value[5:]})"
            self.legend.value = (
                f"<b>Mask 1</b>, inside the line: the pixel is kept. <b>Mask 0</b>, outside, dark: it becomes "
                f"{becomes}. Tab reaches every control, the arrow keys move it."
            )
            if self.worker is None and any(key not in self.curves for key in wanted):
                self.work(self._measure_missing)

    def _draw(self, row: int, name: str, outside: str) -> None:
        mask, area = self.mask(name, self.area.value)
        self.shown[row] = area, float(mask.mean())
        mask = _cut(mask) if self.view.value else mask
        seen = to_picture(blend(self.first.image, self.perturbed(outside), mask))
        data, titles = (self.stage.outlined(mask), jpeg(seen)), (f"{name}: the mask", "what the network sees")
        for column in (0, 1):
            self.titles[2 * row + column].value = f"<b>{escape(titles[column])}</b>"
            self.pictures[2 * row + column].value = data[column]

    def _caption(self, name: str, area: float, kept: float) -> str:
        answer, curve = self.answers[name], self.curves.get((name, self.outside.value))
        asked = f"Area asked {percent(self.area.value)}"
        asked += "" if abs(area - self.area.value) < STEP / 10 else f", nearest held {percent(area)}"
        label = f"<b>{escape(answer.target.label)}</b>"
        if curve is None:
            return f"{asked}, kept {percent(kept)}. {label}: measuring p under what is outside now ..."
        wanted = self.threshold.value
        stars = [curve.smallest(wanted, cut=way) for way in (False, True)]
        soft, hard = (percent(star) if star is not None else "none" for star in stars)
        return (
            f"{asked}, kept {percent(kept)}. {label}: p {curve.at(area, cut=False)} of {answer.unmasked:.2f} unmasked; "
            f"cut to 0/1, p {curve.at(area, cut=True)}. Smallest area with p of {wanted:.2f} or more: "
            f"a* = {soft} (soft), {hard} (cut)."
        )


def _cut(mask: torch.Tensor) -> torch.Tensor:
    return (mask > CUT).to(mask.dtype)


def _check(answers: Mapping[str, Attribution], against: str | None, controls: Sequence[str], positions: int) -> None:
    if not isinstance(answers, Mapping) or not all(isinstance(one, Attribution) for one in answers.values()):
        raise TypeError("answers must map names to what methods answered, e.g. {'seed 0': inrexp.explain(...)}")
    if not answers:
        raise ValueError("answers must hold at least one, got none")
    first = next(iter(answers.values()))
    for name, one in answers.items():
        if one.image.shape != first.image.shape or not torch.equal(one.image, first.image):
            raise ValueError(f"answers must be of one picture, {name!r} is of another: one Explorer for each picture")
    if against is not None and against not in answers:
        raise ValueError(f"against must be one of the answers {', '.join(answers)}, got {against!r}")
    if unknown := set(controls) - set(CONTROLS):
        raise ValueError(f"controls must be of {CONTROLS}, got {sorted(unknown)}")
    if positions < 2:
        raise ValueError(f"positions must be 2 areas or more, got {positions}")


def _positions(
    first: Attribution, areas: Sequence[float] | None, positions: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The slider's areas and those at which probabilities are measured."""
    low, high = first.area_range
    areas = areas if areas is not None else first.held_areas
    if areas is not None:
        if not areas or not all(low - 1e-6 <= area <= high + 1e-6 for area in areas):
            raise ValueError(f"areas must lie in the first answer's range [{low:g}, {high:g}], got {areas}")
        return tuple(sorted(areas)), tuple(sorted(areas))
    high = min(high, 0.5)  # a saliency map has a mask for every area up to the whole picture
    grid = [low + (high - low) * i / (positions - 1) for i in range(positions)]
    measured = tuple(min(max(round(area, 6), low), high) for area in grid)
    if isinstance(first, Explanation) and first.source.settings.get("grid") == "pixel":
        return measured, measured  # half a second a mask: none is evaluated while the slider moves
    count = round((high - low) / STEP)
    fine = {round(low + STEP * i, 6) for i in range(count + 1)}
    return tuple(sorted({*measured, *(area for area in fine if low <= area <= high)})), measured
