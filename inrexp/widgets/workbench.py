"""Your picture, your class, your model: upload, choose, press explain, watch the mask grow, cancel."""

import copy
import dataclasses
import tempfile
import threading
import time
from html import escape
from pathlib import Path

import ipywidgets
import torch

from inrexp.explanation import Explanation
from inrexp.figures.style import percent
from inrexp.methods import DEFAULT_PRESET, Picture, as_image, config_of, explain
from inrexp.models.classifier import Classifier
from inrexp.paper.masks import MaskSource
from inrexp.paper.settings import FitConfig
from inrexp.widgets.explorer import Explorer
from inrexp.widgets.stage import SIDE, Panel, Stage

TOP = 10  # classes to choose from
POSITIONS = 15  # areas at which the result's probabilities are measured: a wait of 30 classifier passes


class Workbench(Panel):
    """Upload a picture, choose one of its ten most probable classes, explain, watch, cancel.

    picture: shown first; None waits for an upload.  preset, steps: of the fit, as for `explain`.
    area: of the mask that is watched while it grows, as near to it as the preset's range allows.

    The fit runs in a thread with a copy of the classifier, so that cells and the cancel button answer meanwhile; cancel
    keeps the mask fitted so far. `explanation` is the last result, `error` what went wrong last. An upload must fit
    into one message of the notebook's server, 10 MB unless it is told otherwise.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        picture: Picture | None = None,
        preset: str | FitConfig = DEFAULT_PRESET,
        steps: int | None = None,
        seed: int = 0,
        area: float = 0.1,
        side: int = SIDE,
    ):
        _, config = config_of(preset)
        if steps is not None:
            config = dataclasses.replace(config, steps=steps)
        low, high = config.area_range
        self.preset, self.config, self.side = preset, config, side
        self.watched = min(max(area, low), high)
        self.original, self.classifier = classifier, copy.deepcopy(classifier)
        self.image: torch.Tensor | None = None
        self.stage: Stage | None = None
        self.explanation: Explanation | None = None
        self.error: Exception | None = None
        self._stop = threading.Event()
        self._build(seed)
        super().__init__(self._laid_out())
        self.upload.observe(self._uploaded, names="value")
        self.start.on_click(self._started)
        self.cancel.on_click(self._cancelled)
        if picture is not None:
            self.load(picture)

    def _build(self, seed: int) -> None:
        wide = ipywidgets.Layout(width="420px")
        self.upload = ipywidgets.FileUpload(accept="image/*", description="Upload a picture")
        self.upload.layout.width = "180px"
        self.classes = ipywidgets.Dropdown(description="class", layout=wide, disabled=True)
        self.seed = ipywidgets.BoundedIntText(value=seed, min=0, max=10**6, description="seed")
        self.start = ipywidgets.Button(description="Explain", icon="play", disabled=True)
        self.cancel = ipywidgets.Button(description="Cancel", icon="stop", disabled=True)
        self.progress = ipywidgets.IntProgress(max=self.config.steps, description="steps", layout=wide)
        self.status = ipywidgets.HTML("Upload a picture to begin: JPEG, PNG or WebP, up to 10 MB.", layout=wide)
        self.picture = ipywidgets.Image(format="jpeg", width=self.side, height=self.side)
        self.picture.layout.display = "none"
        self.result = ipywidgets.VBox()

    def _laid_out(self) -> list[ipywidgets.Widget]:
        buttons = ipywidgets.HBox([self.start, self.cancel])
        controls = ipywidgets.VBox([self.upload, self.classes, self.seed, buttons, self.progress, self.status])
        return [ipywidgets.HBox([self.picture, controls]), self.result]

    @property
    def running(self) -> bool:
        return self.worker is not None and self.worker.is_alive()

    def load(self, picture: Picture) -> None:
        """Show a picture and its ten most probable classes.  Raises what `as_image` raises."""
        if self.running:
            raise RuntimeError("a fit is running: cancel it before another picture is loaded")
        self.image = as_image(self.classifier, picture)
        self._drop_result()  # it is of another picture
        self.stage = Stage(self.image, side=self.side)
        self._watch_mask(torch.ones(1, 1, *self.image.shape[-2:]))
        self.picture.layout.display = None
        top = self.classifier.top(self.image, TOP)
        self.classes.options = [(f"{label}: p = {p:.3f}", index) for index, label, p in top]
        self.classes.disabled = self.start.disabled = False
        self.progress.value, self.progress.bar_style = 0, ""
        self.status.value = "Choose a class and press Explain. The picture is shown as the network sees it."

    def close(self) -> None:
        """Ends a fit after its next look at the button, and closes every widget."""
        self._stop.set()
        super().close()

    def _uploaded(self, change: dict) -> None:
        if not change["new"]:
            return
        file = change["new"][-1]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / (Path(file["name"]).name or "picture")
            try:
                path.write_bytes(file["content"])
                self.load(path)
            except Exception as error:  # whatever it is: a callback's exception would vanish into the log
                self._fail(error, str(error).replace(f"{folder}/", ""))

    def _fail(self, error: Exception, text: str) -> None:
        self.error = error
        self.status.value = f"<b>⚠ That did not work.</b> {escape(text)}"

    def _started(self, *_: object) -> None:
        if self.running or self.image is None or self.closed:
            return
        self._stop.clear()
        self.error = None
        self._busy(True)
        self.progress.value, self.progress.bar_style = 0, "info"
        self._drop_result()
        self.status.value = "Fitting: the first steps take the longest ..."
        self.work(self._fit, self.image, self.classes.value, self.seed.value)

    def _cancelled(self, *_: object) -> None:
        self._stop.set()
        self.cancel.disabled = True
        self.status.value = "Cancelling: the fit ends at its next report, what it found so far is kept ..."

    def _busy(self, busy: bool) -> None:
        self.upload.disabled = self.classes.disabled = self.seed.disabled = self.start.disabled = busy
        self.cancel.disabled = not busy

    def _drop_result(self) -> None:
        old, self.result.children = self.result.children, ()
        for one in old:
            one.close()

    def _fit(self, image: torch.Tensor, target: int, seed: int) -> None:
        begun = time.perf_counter()

        def watch(step: int, report: dict[str, float], source: MaskSource) -> None:
            if self._stop.is_set():
                raise KeyboardInterrupt  # the fit's own way to end and keep what it has
            with torch.no_grad():
                areas = torch.tensor([[self.watched]]).to(image)
                self._watch_mask(source(areas)[0, :1])
            self.progress.value = step
            left = (time.perf_counter() - begun) / step * (self.config.steps - step)
            self.status.value = (
                f"Step {step} of {self.config.steps}, about {left:.0f} s left; p = {report['probability']:.2f}. "
                f"The mask for {percent(self.watched)} of the picture: 1, bright, is kept; 0, dark, is blurred."
            )

        try:
            found = explain(
                self.classifier,
                image,
                target,
                preset=self.preset,
                steps=self.config.steps,
                seed=seed,
                progress=False,
                callback=watch,
            )
            self._show_result(found, time.perf_counter() - begun)
        except Exception as error:
            self._fail(error, f"{type(error).__name__}: {error}")
        finally:
            if not self.closed:
                self._busy(False)

    def _watch_mask(self, mask: torch.Tensor) -> None:
        assert self.stage is not None
        self.picture.value = self.stage.outlined(mask)

    def _show_result(self, found: Explanation, seconds: float) -> None:
        if self.closed:
            return
        self.status.value = "Measuring what the masks keep ..."
        explorer = Explorer({found.target.label: found}, start=self.watched, side=self.side, positions=POSITIONS)
        found.classifier = self.original
        self.explanation = found
        self.result.children = (explorer,)
        finished = found.status == "finished"
        self.progress.bar_style = "success" if finished else "warning"
        self.status.value = f"<b>{found.target.label}</b>: {found.status}, {seconds:.0f} s. Look at it below."
