"""The widget to look at masks with. The browser draws it (explorer.js) from data that a saved notebook keeps."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import torch
import traitlets
from PIL import Image

from inrexp.attribution import Attribution
from inrexp.explanations import Explanations
from inrexp.figures.masks import strips
from inrexp.figures.shown import shown
from inrexp.widgets.scene import Scene, check_answers, picture_scene, scene_of, with_outside, with_together

CONTROLS = ("answer", "against", "view", "outside", "threshold")
NOTHING = ""  # against nothing
STRIP = (0.025, 0.05, 0.1, 0.15, 0.2)  # areas of the static picture for renderers without widgets
MOVED = {"sync": True, "echo_update": False}  # an echo from a slow kernel would move the slider back under the hand
HERE = Path(__file__).parent


class Explorer(anywidget.AnyWidget):
    """Masks of one picture by one answer or several, looked at from every side; nothing is fitted in it.

    answers: name -> what a method answered; all of one picture. Methods, seeds or classes: `what` labels the control
        that chooses between them, `against` names the answer shown below the first.
    areas: positions of the area slider; None for every thousandth of an answer's range, or for the areas that it holds.
    start: the area shown first.  controls: which of `CONTROLS` are on the page beside the area.
    outsides: what removed pixels may become; probabilities are measured under each before the widget is shown.
    photograph: the same crop in more pixels (`scene.fine_crop`), to look at.

    Everything is measured at the start and held in `scene`, so the widget stays alive without a kernel. A kernel adds
    further `outsides`, from the page or by `add_outside`. The traits `area`, `threshold`, `answer`, `against`, `cut`,
    `outside` and `count` are where the controls stand.
    Raises TypeError or ValueError for answers that do not belong together.
    """

    _esm = HERE / "explorer.js"
    _css = HERE / "explorer.css"
    scene = traitlets.Dict().tag(sync=True)
    growing = traitlets.Dict().tag(sync=True)  # the mask of a fit that runs: mask, area, p, step, steps, left
    area = traitlets.Float(0.1).tag(**MOVED)
    threshold = traitlets.Float(0.5).tag(**MOVED)
    answer = traitlets.Unicode().tag(**MOVED)
    against = traitlets.Unicode(NOTHING).tag(**MOVED)
    cut = traitlets.Bool(False).tag(**MOVED)
    outside = traitlets.Unicode().tag(**MOVED)
    count = traitlets.Int(0).tag(**MOVED)

    def __init__(
        self,
        answers: Mapping[str, Attribution],
        *,
        what: str = "answer",
        against: str | None = None,
        areas: Sequence[float] | None = None,
        start: float = 0.1,
        controls: Sequence[str] = CONTROLS,
        outsides: Sequence[str] | None = None,
        photograph: Image.Image | None = None,
        together: Explanations | None = None,
    ):
        check_answers(answers)
        if against is not None and against not in answers:
            raise ValueError(f"against must be one of the answers {', '.join(answers)}, got {against!r}")
        if unknown := set(controls) - set(CONTROLS):
            raise ValueError(f"controls must be of {CONTROLS}, got {sorted(unknown)}")
        self.answers = dict(answers)
        scene = scene_of(answers, what=what, areas=areas, outsides=outsides, photograph=photograph)
        if together is not None:
            scene = with_together(scene, together)
        scene["controls"] = list(controls)
        super().__init__(**_shown_first(scene, start) | {"against": against or NOTHING})
        self.on_msg(self._asked)

    @classmethod
    def of_picture(cls, image: torch.Tensor, outside: str) -> "Explorer":
        """A widget that shows a picture and waits for answers, or for a mask that grows.

        image: (1, 3, h, w).  outside: what the pixels outside that mask become, such as "blur 20 px".
        """
        widget = cls.__new__(cls)
        widget.answers = {}
        anywidget.AnyWidget.__init__(widget, scene=picture_scene(image, [outside]), outside=outside)
        widget.on_msg(widget._asked)
        return widget

    def show(self, answers: Mapping[str, Attribution], *, start: float = 0.1) -> None:
        """Replace what is shown by other answers."""
        scene = scene_of(answers, what=self.scene.get("what", "answer"))
        scene |= {"controls": self.scene["controls"]} if "controls" in self.scene else {}
        self.answers = dict(answers)
        with self.hold_sync():
            self.growing = {}
            for name, value in _shown_first(scene, start).items():
                setattr(self, name, value)

    def show_picture(self, image: torch.Tensor, outside: str) -> None:
        """Replace what is shown by a picture without answers, as in `of_picture`."""
        self.answers = {}
        with self.hold_sync():
            self.growing = {}
            self.scene, self.outside = picture_scene(image, [outside]), outside

    def add_outside(self, outside: str) -> None:
        """Measure all answers under one more perturbation, "black" or a blur such as "blur 10 px", and show it."""
        with self.hold_sync():  # or the page may show the new curves under the old choice
            if outside not in self.scene["outsides"]:
                self.scene = with_outside(self.scene, self.answers, outside)
            self.outside = outside

    def _asked(self, _: object, message: Mapping[str, Any], __: object) -> None:
        """From the page: "is there a kernel?", and a perturbation that was chosen and nobody has measured."""
        if "hello" in message and self.answers:
            self.send({"live": True})
        elif "measure" in message:
            self.add_outside(message["measure"])

    def __repr__(self) -> str:
        return f"<Explorer of {', '.join(self.answers) or 'a picture'}>"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and a strip of masks for renderers that have none."""
        bundle = super()._repr_mimebundle_(**options)
        if bundle is not None and self.answers and (strip := self._strip()):
            bundle[0]["image/jpeg"] = strip
        return bundle

    def _strip(self) -> str | None:
        """Masks of each answer over up to five areas, judged as the page judges them at first, as JPEG, base64.

        None where lattices hold no area that every answer has.
        """
        judge = next(iter(self.answers.values()))
        low, high = (pick(one.area_range[i] for one in self.answers.values()) for i, pick in enumerate((max, min)))
        lattices = [set(one.held_areas) for one in self.answers.values() if one.held_areas]
        held = sorted(area for area in set.intersection(*lattices) if low <= area <= high) if lattices else []
        if lattices and not held:
            return None
        places = np.linspace(0, len(held) - 1, min(len(STRIP), len(held))).round().astype(int)  # first and last too
        areas = (
            [held[place] for place in places]
            or [area for area in STRIP if low - 1e-6 <= area <= high + 1e-6]
            or [low, high]
        )
        rows = {name: shown(one, areas, judge=judge, soft=True) for name, one in self.answers.items()}
        figure, buffer = strips(rows), io.BytesIO()
        figure.savefig(buffer, format="jpeg", dpi=80, pil_kwargs={"quality": 75})
        plt.close(figure)
        return base64.b64encode(buffer.getvalue()).decode()

    def close(self) -> None:
        """Close the widget with its layout, and forget the answers."""
        self.answers = {}
        self.unobserve_all()
        if isinstance(self.layout, ipywidgets.Layout):
            self.layout.close()
        super().close()


def _shown_first(scene: Scene, start: float) -> dict[str, Any]:
    """Where the controls stand at first."""
    areas = scene["answers"][0]["areas"]
    return {
        "scene": scene,
        "area": min(areas, key=lambda area: abs(area - start)),
        "threshold": scene["threshold"],
        "answer": scene["answers"][0]["name"],
        "against": NOTHING,
        "outside": scene["offered"][0],
        "count": len(scene["answers"]),
    }


def side_by_side_slider(answers: Mapping[str, Attribution], areas: Sequence[float]) -> Explorer:
    """The masks of two methods of several, at `areas`, those that every method has a mask for."""
    second = list(answers)[1] if len(answers) > 1 else None
    return Explorer(answers, what="method", against=second, areas=areas)


def explanations_browser(found: Explanations) -> Explorer:
    """Numbered explanations (algorithm 1), each over its areas; together, and what is left without the first n.

    Raises ValueError for a run that holds none.
    """
    if not len(found):
        raise ValueError(f"found must hold one explanation or more, got none ({found.ending})")
    answers = {str(number): one for number, one in enumerate(found, 1)}
    return Explorer(answers, what="explanation", start=found.areas[0], together=found)
