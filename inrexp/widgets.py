"""Sliders that only look up: everything is computed before the widget is shown, a callback swaps ready pictures."""

import io
from collections.abc import Mapping, Sequence

import ipywidgets
import torch

from inrexp.explanation import CUT, Attribution, Explanation
from inrexp.figures import outlined_picture, percent
from inrexp.images import to_picture
from inrexp.many import Explanations

POSITIONS = 36  # areas on the slider; about 5 thousandths apart over the paper's range


def png(picture) -> bytes:
    """A PIL picture as PNG bytes, for ipywidgets.Image."""
    buffer = io.BytesIO()
    picture.save(buffer, format="png", compress_level=1)
    return buffer.getvalue()


class Flipbook(ipywidgets.VBox):
    """A slider over ready pages: each page is a row of PNG pictures and a caption.

    labels: what the slider shows at each position.  pages: one list of PNG bytes per position.  captions: HTML.
    titles: one per picture of a page.  The arrow keys move the slider.
    """

    def __init__(
        self,
        name: str,
        labels: Sequence[str],
        pages: Sequence[Sequence[bytes]],
        captions: Sequence[str],
        titles: Sequence[str],
        *,
        start: int = 0,
        side: int = 300,
    ):
        if not len(labels) == len(pages) == len(captions) or not pages:
            raise ValueError(
                f"labels, pages and captions must be of one length, at least 1: got {len(labels)}, {len(pages)}, "
                f"{len(captions)}"
            )
        self.pages, self.captions = pages, captions
        options = [(label, index) for index, label in enumerate(labels)]
        self.slider = ipywidgets.SelectionSlider(
            options=options, value=start, description=name, layout=ipywidgets.Layout(width=f"{2 * side}px")
        )
        self.pictures = [ipywidgets.Image(format="png", width=side, height=side) for _ in titles]
        self.caption = ipywidgets.HTML()
        columns = [
            ipywidgets.VBox([ipywidgets.HTML(f"<b>{title}</b>"), picture])
            for title, picture in zip(titles, self.pictures, strict=True)
        ]
        super().__init__([self.slider, ipywidgets.HBox(columns), self.caption])
        self.slider.observe(self._show, names="value")
        self._show()

    def _show(self, *_: object) -> None:
        position = self.slider.value
        for picture, data in zip(self.pictures, self.pages[position], strict=True):
            picture.value = data
        self.caption.value = self.captions[position]


def area_slider(explanation: Explanation, *, positions: int = POSITIONS, start: float = 0.1) -> Flipbook:
    """The mask and what the network sees through it, at any of `positions` areas over the fitted range.

    One batch of masks and classifier passes before the slider is shown; moving it computes nothing.
    """
    low, high = explanation.area_range
    areas = torch.linspace(low, high, positions, dtype=torch.float64).tolist()
    masks = explanation.mask(areas)
    soft = explanation.probability_of_mask(masks).tolist()
    cut = explanation.probability(areas, cut=CUT).tolist()
    pages, captions = [], []
    for index, area in enumerate(areas):
        mask = masks[index : index + 1]
        pages.append([png(outlined_picture(explanation.image, mask)), png(to_picture(explanation.blended(mask)))])
        enough = "enough" if soft[index] >= explanation.threshold else "not enough"
        captions.append(
            f"Area asked {percent(area)}, kept {percent(float(mask.mean()))}. "
            f"<b>{explanation.target.label}</b>: p = {soft[index]:.2f} of {explanation.unmasked:.2f} unmasked "
            f"({enough}); cut to 0/1, p = {cut[index]:.2f}."
        )
    nearest = min(range(positions), key=lambda index: abs(areas[index] - start))
    return Flipbook(
        "area",
        [percent(area) for area in areas],
        pages,
        captions,
        ["the mask (1 inside the line: kept)", "what the network sees"],
        start=nearest,
    )


def side_by_side_slider(answers: Mapping[str, Attribution], areas: Sequence[float]) -> Flipbook:
    """The masks of several methods at one area, side by side; `areas` are those that every method has a mask for.

    Probabilities are those under the first answer's perturbation, so that they compare.
    """
    judge = next(iter(answers.values()))
    masks = {name: found.mask(areas) for name, found in answers.items()}
    kept = {name: judge.probability_of_mask(mask).tolist() for name, mask in masks.items()}
    pages, captions = [], []
    for index, area in enumerate(areas):
        pages.append([png(outlined_picture(judge.image, mask[index : index + 1])) for mask in masks.values()])
        facts = "; ".join(
            f"<b>{name}</b>: kept {percent(float(mask[index].mean()))}, p = {kept[name][index]:.2f}"
            for name, mask in masks.items()
        )
        captions.append(f"Area asked {percent(area)}. {facts}.")
    return Flipbook("area", [percent(area) for area in areas], pages, captions, list(answers))


class ExplanationsBrowser(ipywidgets.VBox):
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
        side: int = 260,
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
        self.pictures = [ipywidgets.Image(format="png", width=side, height=side) for _ in range(3)]
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
    rows, masks = found.table(), found.masks().split(1)
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
        [png(outlined_picture(found.image, mask)) for mask in masks],
        [png(outlined_picture(found.image, union)) for union in unions],
        [png(to_picture(found[0].blended(1 - union))) for union in unions],
        captions,
        left,
    )
