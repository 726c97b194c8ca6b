"""Widgets in a saved notebook: their state under names that stay, so that an execution changes what changed."""

import hashlib
from collections.abc import Mapping
from typing import Any

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
REFERENCE = "IPY_MODEL_"  # how a model's state names another model


def tidy_widgets(notebook: dict[str, Any], name: str) -> None:
    """Keep the state of the widgets that a cell shows, under ids by their order; changes the notebook.

    ipywidgets draws a random id for each model, and closed widgets leave theirs behind: two executions of one notebook
    would differ in every line of the state.  name: of the notebook, so that two of them share no id.
    """
    saved = notebook["metadata"].get("widgets", {}).get(STATE)
    if saved is None:
        return
    models = saved["state"]
    order: list[str] = []
    for shown in views(notebook):
        _collect(shown["model_id"], models, order)
    ids = {old: hashlib.sha256(f"{name} {i}".encode()).hexdigest()[:32] for i, old in enumerate(order)}
    for shown in views(notebook):
        shown["model_id"] = ids.get(shown["model_id"], shown["model_id"])
    saved["state"] = {ids[old]: _renamed(models[old], ids) for old in order}
    if not order:
        del notebook["metadata"]["widgets"]


def shown_state(notebook: Mapping[str, Any], view: Mapping[str, Any]) -> dict[str, Any]:
    """The saved state of the model that a view shows; empty where none was saved."""
    models = notebook["metadata"].get("widgets", {}).get(STATE, {}).get("state", {})
    return dict(models.get(view["model_id"], {}).get("state", {}))


def views(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the outputs of a notebook show that are widgets: each names its model by `model_id`."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    return [output["data"][VIEW] for output in outputs if VIEW in output.get("data", {})]


def _collect(model: str, models: Mapping[str, Any], order: list[str]) -> None:
    """Add a model and those that its state names, each once."""
    if model in order or model not in models:
        return
    order.append(model)
    for other in _references(models[model]["state"]):
        _collect(other, models, order)


def _references(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value.removeprefix(REFERENCE)] if value.startswith(REFERENCE) else []
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [model for one in inside for model in _references(one)]


def _renamed(value: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(value, str) and value.startswith(REFERENCE):
        old = value.removeprefix(REFERENCE)
        return REFERENCE + ids.get(old, old)
    if isinstance(value, Mapping):
        return {key: _renamed(one, ids) for key, one in value.items()}
    return [_renamed(one, ids) for one in value] if isinstance(value, list) else value
