"""Nothing mixes devices, and nothing asks MPS for float64: found without an accelerator.

Tensors "on cuda" exist on any machine in torch's FakeTensorMode: they have shapes, types and devices and no values, and
an operation that mixes them with tensors of the CPU raises. Where the code asks for a value, `Numbers` answers. Only
the backward pass is left out: autograd's engine wants the device itself.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import pytest
import torch
from planted import QUICK_FIT, plant
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode

from inrexp import metrics, saved
from inrexp.attribution import Attribution
from inrexp.baselines.rise import rise_map
from inrexp.explanation import Explanation
from inrexp.figures.shown import exactly
from inrexp.iterations import Rules, explain_in_turn
from inrexp.models.classifier import Classifier, Target
from inrexp.paper import fit as fitting
from inrexp.paper import smoothing
from inrexp.paper.fit import Problem, fit, make_source
from inrexp.paper.presets import EXTREMAL_PERTURBATION
from inrexp.paper.settings import FitConfig, Growth, LatticeSettings

STRIPES = Target((1,), "stripes")
SHORT = dataclasses.replace(QUICK_FIT, steps=2)


class Numbers(TorchDispatchMode):
    """Answers for what a fake tensor cannot know: one half for a float, 1 for a whole number, True."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            dtype = args[0].dtype
            return 0.5 if dtype.is_floating_point else (dtype == torch.bool or 1)
        if func is torch.ops.aten.equal.default:
            return True
        return func(*args, **(kwargs or {}))


@dataclasses.dataclass
class Elsewhere:
    """A classifier and a picture on a device that is not there."""

    classifier: Classifier
    image: torch.Tensor

    def problem(self, seed: int = 0, baseline: torch.Tensor | None = None) -> Problem:
        return Problem(self.image, STRIPES, seed, baseline)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    """The planted picture and its classifier "on cuda"."""
    try:
        with FakeTensorMode():
            torch.ones(1).to("cuda")
    except RuntimeError as error:  # torch 2.6, built for CUDA and without a driver
        pytest.skip(f"this torch makes no tensors of a device that is not there: {error}")
    planted = plant()
    real = {name: getattr(smoothing, name) for name in ("_taps", "_cubic")}

    def without_values(found):
        if isinstance(found, tuple):
            return tuple(without_values(one) for one in found)
        return torch.empty(found.shape, dtype=found.dtype)

    def tables(name: str):
        def made(*arguments):
            *given, device = arguments
            with unset_fake_temporarily():
                found = real[name](*given, torch.device("cpu"))
            if name == "_taps":  # distances stay on the CPU, the band goes to the device
                return without_values(found[0]), without_values(found[1]).to(device)
            return without_values(found).to(device)

        return made

    for name in real:
        monkeypatch.setattr(smoothing, name, tables(name))
    monkeypatch.setattr(smoothing, "_weights", smoothing._weights.__wrapped__)
    monkeypatch.setattr(fitting, "folded", lambda classifier, image: classifier)  # compares values
    monkeypatch.setattr(fitting, "recorded", lambda classifier, shape: classifier)  # runs kernels
    monkeypatch.setattr(torch.nn.Module, "_apply", _apply)
    monkeypatch.setattr(torch.Tensor, "backward", lambda self: None)
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: [0.5] * self.numel() if self.dim() else 0.5)
    with contextlib.ExitStack() as stack:
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        planted.classifier.model.to("cuda")
        stack.enter_context(Numbers())
        yield Elsewhere(planted.classifier, torch.rand(1, 3, 112, 112, device="cuda"))


def _apply(self: torch.nn.Module, function: Callable, recurse: bool = True) -> torch.nn.Module:
    """`Module._apply` for fake tensors, whose parameters can neither be filled nor swapped: they are made anew."""
    for module in self.modules():
        for name, value in module._parameters.items():
            if value is not None:
                module._parameters[name] = torch.nn.Parameter(function(value.detach()), value.requires_grad)
        for name, value in module._buffers.items():
            if value is not None:
                module._buffers[name] = function(value)
    return self


def test_the_check_can_fail(cuda: Elsewhere):
    with pytest.raises(RuntimeError, match="device"):
        cuda.image + torch.ones(1, 3, 112, 112)


@pytest.mark.parametrize(
    "config",
    [
        SHORT,
        dataclasses.replace(SHORT, sharpness=Growth(2.0, 8.0), perturbation="fade", reward="log_probability"),
        dataclasses.replace(SHORT, source=dataclasses.replace(SHORT.source, outputs=2)),
        dataclasses.replace(SHORT, source=dataclasses.replace(SHORT.source, grid="pixel", hidden=8)),
        dataclasses.replace(EXTREMAL_PERTURBATION, steps=2, source=LatticeSettings(areas=(0.1, 0.3))),
    ],
    ids=["field", "sharp", "outputs", "pixel", "extremal"],
)
def test_a_fit_stays_on_its_device(cuda: Elsewhere, config: FitConfig):
    baseline = torch.zeros(1, 1, 112, 112)  # as a reader hands it over, on the CPU
    fitted = fit(cuda.classifier, [cuda.problem(0), cuda.problem(1, baseline)], config, progress=False)
    for one in fitted:
        assert next(one.source.parameters()).device.type == "cuda"
        assert one.history["loss"].device.type == "cpu"


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("config", [SHORT, EXTREMAL_PERTURBATION], ids=["field", "lattice"])
def test_masks_are_made_for_areas_on_the_cpu(cuda: Elsewhere, config: FitConfig, hard: bool):
    source = make_source(config, (112, 112), [0]).to("cuda")
    source.hard = hard
    assert source(torch.tensor([[0.1, 0.2]])).device.type == "cuda"


def explanation(cuda: Elsewhere) -> Explanation:
    (fitted,) = fit(cuda.classifier, [cuda.problem()], SHORT, progress=False)
    return Explanation.of_fit(fitted, cuda.classifier, cuda.image, STRIPES, SHORT, 0)


def test_probabilities_and_the_smallest_area(cuda: Elsewhere):
    found: Attribution = explanation(cuda)
    assert found.probability([0.1, 0.2], cut=0.5).device.type == "cuda"
    assert found.probability_of_mask(torch.ones(2, 1, 112, 112)).device.type == "cuda"
    found.smallest_area()


def test_algorithm_1(cuda: Elsewhere):
    rules = Rules(stop=False)
    (found,) = explain_in_turn(cuda.classifier, [cuda.problem()], SHORT, n=2, rules=rules, progress=False)
    assert found.union().device.type == "cuda"


def test_rise(cuda: Elsewhere):
    found = rise_map(cuda.classifier, cuda.image, STRIPES, masks=4, progress=False)
    assert found.device.type == "cuda"


def test_metrics(cuda: Elsewhere):
    found = explanation(cuda)
    mask, truth = found.mask([0.1, 0.2]), torch.ones(112, 112, dtype=torch.bool)
    metrics.precision(mask, truth.to("cuda"), counted=truth.to("cuda"))
    metrics.area_error(mask, [0.1, 0.2])
    metrics.leak(found, [0.1, 0.2])
    metrics.ranked_curve(cuda.classifier, cuda.image, STRIPES, mask[:1], steps=4)


class NoDouble(TorchDispatchMode):
    """Refuses float64 on the fake device, as MPS does."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for one in found if isinstance(found, tuple | list) else [found]:
            if isinstance(one, torch.Tensor) and one.dtype == torch.float64 and one.device.type != "cpu":
                raise TypeError(f"{func} makes float64 on {one.device}, which MPS does not have")
        return found


@pytest.fixture
def mps(cuda: Elsewhere) -> Iterator[Elsewhere]:
    """The same where float64 does not exist."""
    with NoDouble():
        yield cuda


def test_the_check_of_float64_can_fail(mps: Elsewhere):
    with pytest.raises(TypeError, match="float64"):
        mps.image.double()


def test_a_fit_and_what_it_answers_need_no_float64_on_the_device(mps: Elsewhere):
    found = explanation(mps)
    found.probability([0.1, 0.2])
    found.smallest_area()
    baseline = torch.zeros(1, 1, 112, 112)
    config = dataclasses.replace(EXTREMAL_PERTURBATION, steps=2)
    fit(mps.classifier, [mps.problem(0, baseline)], config, progress=False)


def test_metrics_need_no_float64_on_the_device(mps: Elsewhere):
    found = explanation(mps)
    mask = found.mask([0.1, 0.2])
    metrics.leak(found, [0.1, 0.2])
    metrics.area_error(mask, [0.1, 0.2])
    metrics.monotonicity(mask)
    metrics.disagreement(mask)
    metrics.precision(mask, torch.ones(112, 112, dtype=torch.bool, device=mask.device))


def test_curves_figures_and_stored_answers_need_no_float64_on_the_device(
    mps: Elsewhere, monkeypatch: pytest.MonkeyPatch
):
    found = explanation(mps)
    saliency = torch.rand(1, 1, 112, 112, device="cuda")
    metrics.ranked_curve(mps.classifier, mps.image, STRIPES, saliency, steps=2)
    monkeypatch.setattr("scipy.ndimage.gaussian_filter", lambda values, sigma: values)
    monkeypatch.setattr(torch.Tensor, "numpy", lambda self: self)
    with torch.no_grad():
        exactly(found.mask([0.1, 0.2]), [0.1, 0.2])
    monkeypatch.setattr(saved, "_add", lambda update, name, tensor: None)  # reads values
    monkeypatch.setattr(saved, "_machine", lambda device: "")  # asks the driver
    saved.key(mps.classifier, mps.image, STRIPES, SHORT, 0)


def test_rise_and_algorithm_1_need_no_float64_on_the_device(mps: Elsewhere):
    rise_map(mps.classifier, mps.image, STRIPES, masks=4, progress=False)
    explain_in_turn(mps.classifier, [mps.problem()], SHORT, n=2, rules=Rules(stop=False), progress=False)
