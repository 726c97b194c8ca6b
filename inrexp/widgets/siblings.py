"""The explorer's smaller siblings, each one call: an area slider, methods side by side, explanations in turn."""

from collections.abc import Mapping, Sequence

import ipywidgets

from inrexp.datasets.pictures import to_picture
from inrexp.explanation import Attribution, Explanation
from inrexp.figures.style import percent
from inrexp.paper.algorithm1 import Explanations
from inrexp.widgets.explorer import POSITIONS, Explorer
from inrexp.widgets.stage import SIDE, Panel, Stage, jpeg


def area_slider(explanation: Explanation, *, positions: int = POSITIONS, start: float = 0.1) -> Explorer:
    """The mask, what the network sees through it and the curve of probability, at any area in the fitted range.

    Moving it evaluates the field; probabilities are measured at `positions` areas before it is shown.
    """
    label = explanation.target.label
    return Explorer({label: explanation}, start=start, positions=positions, controls=("view",))


def side_by_side_slider(answers: Mapping[str, Attribution], areas: Sequence[float]) -> Explorer:
    """The masks of two methods of several, at `areas`, those that every method has a mask for."""
    second = list(answers)[1] if len(answers) > 1 else None
    return Explorer(answers, what="method", against=second, areas=areas, controls=("answer", "against", "view"))


class ExplanationsBrowser(Panel):
    """Two sliders over ready pictures: how many explanations, and which of them is shown.

    outlines: explanation i.  unions, removed: of the first n, n = 1 to N.  captions: HTML, of i; left: HTML, of n.
    """

    def __init__(
        self,
        outlines: Sequence[bytes],
        unions: Sequence[bytes],
        removed: Sequence[bytes],
        captions: Sequence[str],
        left: Sequence[str],
        *,
        side: int = SIDE,
    ):
        lengths = {len(outlines), len(unions), len(removed), len(captions), len(left)}
        if len(lengths) > 1 or not outlines:
            raise ValueError(f"all five must be of one length, at least 1: got {sorted(lengths)}")
        self.outlines, self.unions, self.removed = outlines, unions, removed
        self.captions, self.left = captions, left
        most = len(outlines)
        layout = ipywidgets.Layout(width="320px")
        self.count = ipywidgets.IntSlider(value=most, min=1, max=most, description="how many", layout=layout)
        self.number = ipywidgets.IntSlider(value=1, min=1, max=most, description="show", layout=layout)
        self.pictures = [ipywidgets.Image(format="jpeg", width=side, height=side) for _ in range(3)]
        self.titles = [ipywidgets.HTML() for _ in range(3)]
        self.caption = ipywidgets.HTML()
        columns = [ipywidgets.VBox(pair) for pair in zip(self.titles, self.pictures, strict=True)]
        super().__init__([ipywidgets.HBox([self.count, self.number]), ipywidgets.HBox(columns), self.caption])
        self.count.observe(self._show, names="value")
        self.number.observe(self._show, names="value")
        self._show()

    def _show(self, *_: object) -> None:
        count = self.count.value
        self.number.max = count  # which lowers its value too
        shown = self.number.value
        pictures = (self.outlines[shown - 1], self.unions[count - 1], self.removed[count - 1])
        titles = (f"explanation {shown}", f"union of the first {count}", "what is left without it")
        for picture, title, data, text in zip(self.pictures, self.titles, pictures, titles, strict=True):
            picture.value, title.value = data, f"<b>{text}</b>"
        self.caption.value = f"{self.captions[shown - 1]}<br>{self.left[count - 1]}"


def explanations_browser(found: Explanations) -> ExplanationsBrowser:
    """Choose how many explanations, step through them, see their union and what is left without it (deletion game).

    All pictures and probabilities are computed before the widget is shown; moving a slider computes nothing.
    """
    rows, masks, stage = found.table(), found.masks().split(1), Stage(found.image)
    unions = [found.union(first=count) for count in range(1, len(found) + 1)]
    captions = [
        f"Explanation {row['number']}: "
        + ("<b>none</b>, what it adds keeps the class at no area" if row["none"] else f"a* = {percent(row['a_star'])}")
        + f"; kept {percent(row['area_kept'])}, p = {row['probability']:.2f}, cut to 0/1 {row['probability_cut']:.2f}; "
        f"overlap with the earlier ones {row['overlap']:.2f}."
        for row in rows
    ]
    left = [
        f"Without the first {row['number']}: p = {row['remaining']:.2f} of {found[0].unmasked:.2f}, "
        f"cut to 0/1 {row['remaining_cut']:.2f}."
        for row in rows
    ]
    return ExplanationsBrowser(
        [stage.outlined(mask) for mask in masks],
        [stage.outlined(union) for union in unions],
        [jpeg(to_picture(found[0].blended(1 - union))) for union in unions],
        captions,
        left,
    )
