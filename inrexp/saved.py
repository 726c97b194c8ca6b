"""A fit that was made before is read instead of made again; notebooks share their explanations through a folder.

A file's name holds everything that the fit depends on, so that an answer may be missing but never stale: the picture,
the target, the settings, the seed, the classifier's weights, form and scores, the device, the versions, and the
package's own code. Each fit is made alone, never in a batch: what is read does not depend on which notebook came first.
"""

import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import filelock
import timm
import torch
import torchvision

from inrexp.explanation import Explanation
from inrexp.explanations import Explanations
from inrexp.files import CLONE, source_digest
from inrexp.iterations import Rules, check_iterations
from inrexp.methods import Picture, Wanted, as_image, explain, explain_many
from inrexp.models.classifier import Classifier, Target
from inrexp.paper.presets import DEFAULT, named, with_steps
from inrexp.paper.settings import FitConfig
from inrexp.seeds import checked_seed

Kind = TypeVar("Kind", Explanation, Explanations)
VARIABLE = "INREXP_EXPLANATIONS"  # names another folder
ABOVE = ("study", "figures", "widgets", "commands")  # rooms that no fit can depend on, since imports run downwards


def explain_once(
    classifier: Classifier,
    picture: Picture,
    target: Wanted = None,
    *,
    preset: str | FitConfig = DEFAULT,
    seed: int = 0,
    steps: int | None = None,
    folder: "str | Path | None" = None,
    progress: bool = True,
) -> Explanation:
    """`explain`, or the explanation of the very same fit that stands in a folder.

    folder: default $INREXP_EXPLANATIONS, else out/explanations of the clone. It may be deleted at any time.
    Only a fit that finished is stored. Two processes that want the same fit at the same time make it once: the second
    waits for the first. `seconds` of an explanation that was read is what its fit took.
    """
    config, seed = with_steps(named(preset), steps), checked_seed(seed)
    image = as_image(classifier, picture)
    wanted = classifier.target(target, image)
    path = Path(folder or default_folder()) / f"{key(classifier, image, wanted, config, seed)}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_suffix(".lock")):
        found = _read(Explanation, path, classifier)
        if found is None:
            found = explain(classifier, image, wanted, preset=config, seed=seed, progress=progress)
            if found.outcome.finished:
                found.save(path)
    return found


def explain_many_once(
    classifier: Classifier,
    picture: Picture,
    target: Wanted = None,
    *,
    n: int = 3,
    preset: str | FitConfig = DEFAULT,
    seed: int = 0,
    stop: bool = True,
    folder: "str | Path | None" = None,
    progress: bool = True,
) -> Explanations:
    """`explain_many`, or the explanations of the very same run that stand in a folder, as in `explain_once`.

    The first explanation is `explain_once`'s. Only a run that came to its end is stored. Ctrl-C keeps the explanations
    that were finished; during the first one it raises KeyboardInterrupt.
    """
    config, image, seed = named(preset), as_image(classifier, picture), checked_seed(seed)
    check_iterations(n, Rules(), config)
    wanted = classifier.target(target, image)
    folder = Path(folder or default_folder())
    path = folder / f"{key(classifier, image, wanted, config, seed)}-{n}{'' if stop else '-all'}"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{path}.lock"):
        if (there := _read(Explanations, path, classifier)) is not None:
            return there
        options = {"preset": config, "seed": seed, "progress": progress}
        first = explain_once(classifier, image, wanted, folder=folder, **options)  # type: ignore[arg-type]
        if first.outcome.kind == "interrupted":
            raise KeyboardInterrupt
        found = explain_many(classifier, image, wanted, n=n, first=first, stop=stop, **options)  # type: ignore[arg-type]
        if found.ending.kind != "interrupted":
            found.save(path)
    return found


def default_folder() -> Path:
    """Where explanations stand: $INREXP_EXPLANATIONS, else out/explanations of the clone or of the current folder."""
    return Path(os.environ.get(VARIABLE) or (CLONE or Path.cwd()) / "out" / "explanations")


def key(classifier: Classifier, image: torch.Tensor, target: Target, config: FitConfig, seed: int) -> str:
    """Digest of everything that a fit's result depends on.  image: (1, 3, h, w).  Returns 32 hexadecimal digits."""
    digest = hashlib.sha256()
    facts = {
        "target": dataclasses.asdict(target),
        "config": dataclasses.asdict(config),
        "seed": seed,
        "classifier": _described(classifier),
        "machine": _machine(image.device),
        "source": source_digest(without=ABOVE),
    }
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in {"image": image, **classifier.model.state_dict()}.items():
        _add(digest.update, name, tensor)
    # A forward method that was rewritten has the same weights and the same form, but other scores.
    with torch.no_grad():
        views = torch.cat([image, image.flip(-1), 1 - image])
        _add(digest.update, "scores", classifier.probabilities(views).cpu().double().round(decimals=5))
    return digest.hexdigest()[:32]


def _described(classifier: Classifier) -> dict[str, Any]:
    return {
        "name": classifier.name,
        "form": repr(classifier.model),
        "mean": classifier._mean.flatten().tolist(),
        "std": classifier._std.flatten().tolist(),
        "activation": classifier.activation,
        "channels_last": classifier.channels_last,
        "dtype": str(classifier.dtype),
    }


def _machine(device: torch.device) -> dict[str, Any]:
    """What rounds differently: processors, libraries, threads, precisions."""
    return {
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "precision": [torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "versions": [torch.__version__, torchvision.__version__, timm.__version__],
    }


def _add(update: Callable[[bytes], None], name: str, tensor: torch.Tensor) -> None:
    update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
    update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())


def _read(kind: type[Kind], path: Path, classifier: Classifier) -> Kind | None:
    """None for a file that is not there or cannot be read: the fit is made again and takes its place."""
    try:
        return kind.load(path, classifier=classifier)  # type: ignore[return-value]
    except (FileNotFoundError, ValueError):
        return None
