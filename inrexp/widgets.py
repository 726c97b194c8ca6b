"""Sliders that only look up: everything is computed before the widget is shown, a callback swaps ready pictures."""

import io
from collections.abc import Mapping, Sequence

import ipywidgets
import torch

from inrexp.explanation import CUT, Attribution, Explanation
from inrexp.figures import outlined_picture, percent
from inrexp.images import to_picture

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
