"""Your picture, your class, your model: upload, choose, press explain, watch the mask grow, cancel."""

import atexit
import copy
import tempfile
import threading
import time
import weakref
from html import escape
from pathlib import Path

import ipywidgets
import torch

from inrexp.explanation import Explanation
from inrexp.methods import Picture, as_image, explain
from inrexp.models.classifier import Classifier
from inrexp.paper.masks import MaskSource
from inrexp.paper.outcome import Cancelled
from inrexp.paper.presets import DEFAULT, named, with_steps
from inrexp.paper.settings import FitConfig
from inrexp.widgets.explorer import Explorer
from inrexp.widgets.scene import default_outsides, packed_masks

TOP = 10  # classes to choose from


class Workbench(ipywidgets.VBox):
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
        preset: str | FitConfig = DEFAULT,
        steps: int | None = None,
        seed: int = 0,
        area: float = 0.1,
    ):
        config = with_steps(named(preset), steps)
        low, high = config.area_range
        self.config, self.outside = config, default_outsides(config)[0]
        self.watched = min(max(area, low), high)
        self.original, self.classifier = classifier, copy.deepcopy(classifier)
        self.image: torch.Tensor | None = None
        self.explanation: Explanation | None = None
        self.error: Exception | None = None
        self._stop = threading.Event()
        self.closed = False
        self.worker: threading.Thread | None = None
        self._build(seed)
        super().__init__(self.controls)
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
        self.status = ipywidgets.HTML("Upload a picture to begin: JPEG, PNG or WebP, up to 10 MB.", layout=wide)
        self.explorer: Explorer | None = None
        buttons = ipywidgets.HBox([self.start, self.cancel])
        self.controls = [self.upload, self.classes, self.seed, buttons, self.status]

    def __repr__(self) -> str:
        return "<Workbench: upload a picture, choose a class, press Explain; it needs a running kernel>"

    @property
    def running(self) -> bool:
        return self.worker is not None and self.worker.is_alive()

    def load(self, picture: Picture) -> None:
        """Show a picture and its ten most probable classes.  Raises what `as_image` raises."""
        if self.running:
            raise RuntimeError("a fit is running: cancel it before another picture is loaded")
        self.image = as_image(self.classifier, picture)
        if self.explorer is None:
            self.explorer = Explorer.of_picture(self.image, self.outside)
            self.children = [*self.controls, self.explorer]
        else:
            self.explorer.show_picture(self.image, self.outside)
        top = self.classifier.top(self.image, TOP)
        self.classes.options = [(f"{label}: p = {p:.3f}", index) for index, label, p in top]
        self.classes.index = 0  # ipywidgets chooses nothing where nothing was chosen before
        self.classes.disabled = self.start.disabled = False
        self.status.value = "Choose a class and press Explain. The picture is shown as the network sees it."

    def close(self) -> None:
        """End a fit at its next report, and close every widget, observers too."""
        self._stop.set()
        if not self.closed:
            self.closed = True
            _close_below(self)
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
        assert self.explorer is not None
        self.explorer.show_picture(self.image, self.outside)
        self.status.value = "Fitting: the first steps take the longest ..."
        _WORKING.add(self)
        arguments = (self.image, self.classes.value, self.seed.value)
        self.worker = threading.Thread(target=self._fit, args=arguments, daemon=True)
        self.worker.start()

    def _cancelled(self, *_: object) -> None:
        self._stop.set()
        self.cancel.disabled = True
        self.status.value = "Cancelling: the fit ends at its next report, what it found so far is kept ..."

    def _busy(self, busy: bool) -> None:
        self.upload.disabled = self.classes.disabled = self.seed.disabled = self.start.disabled = busy
        self.cancel.disabled = not busy

    def _fit(self, image: torch.Tensor, target: int, seed: int) -> None:
        begun = time.perf_counter()

        def watch(step: int, report: dict[str, float], source: MaskSource) -> None:
            if self._stop.is_set():
                raise Cancelled
            left = (time.perf_counter() - begun) / step * (self.config.steps - step)
            self._watch(source, step, report["probability"], left)

        try:
            found = explain(
                self.classifier,
                image,
                target,
                preset=self.config,
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

    def _watch(self, source: MaskSource, step: int, p: float, left: float) -> None:
        """Show the mask that grows.  left: seconds to go."""
        assert self.explorer is not None
        assert self.image is not None
        with torch.no_grad():
            mask = source(torch.tensor([[self.watched]]).to(self.image))[0, :1]
        self.explorer.growing = {
            "mask": packed_masks(mask),
            "area": self.watched,
            "p": round(p, 4),
            "step": step,
            "steps": self.config.steps,
            "left": round(left, 1),
        }
        self.status.value = f"Fitting: step {step} of {self.config.steps}, about {left:.0f} s left."

    def _show_result(self, found: Explanation, seconds: float) -> None:
        if self.closed or self.explorer is None:
            return
        self.status.value = "Measuring what the masks keep ..."
        self.explorer.show({found.target.label: found}, start=self.watched)
        found.classifier = self.original
        self.explanation = found
        self.status.value = f"<b>{escape(found.target.label)}</b>: {found.outcome}, {seconds:.0f} s. Look at it below."


_WORKING: "weakref.WeakSet[Workbench]" = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """An interpreter that ends while a thread is inside torch would abort."""
    for bench in list(_WORKING):
        bench.close()
        if bench.worker is not None:
            bench.worker.join()


def _close_below(widget: ipywidgets.Widget) -> None:
    for child in getattr(widget, "children", ()):
        _close_below(child)
        child.close()
    for part in (getattr(widget, name, None) for name in ("layout", "style")):
        if isinstance(part, ipywidgets.Widget):
            part.close()
    widget.unobserve_all()
