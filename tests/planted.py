"""A classifier whose best mask is known: class 1 is what it sees where a stripe texture stands, and only there."""

from dataclasses import dataclass

import torch
from torch import nn

from inrexp.models.classifier import Classifier
from inrexp.paper.settings import Descent, FieldSettings, FitConfig, Growth

STRIPE = (1.0, -1.0, -1.0, 1.0)  # period 4 px; orthogonal to constants and ramps, erased by any blur of 4 px or more
FIRST_BOX = (56, 8, 48, 48)  # top, left, height, width in px, multiples of 4; 18 % of the picture
SECOND_BOX = (8, 56, 48, 48)
# A second's fit. The filter's smallest blob is about 46 px across whatever the picture: 13 % of 112 x 112 px.
# Areas below that are out of reach, hence the range; the default presets' [0.025, 0.2] wants 168 px or more.
QUICK_FIT = FitConfig(
    steps=150,
    descent=Descent(lr=2e-3),
    areas_per_step=2,
    area_range=(0.1, 0.4),
    area_weight=Growth(1.0, 30.0, until=0.8),
    source=FieldSettings(grid=12, scale=1.0, area_scale=0.2, hidden=64, feature_count=64),
)


class StripeNet(nn.Module):
    """Scores (n, 3) of the classes "nothing", "stripes" and "other"; smooth in the image.

    The score of "stripes" is gain * (seen - 1/2), where `seen` is 1 when one whole patch is visible and
    0 when it is blurred away: vertical and horizontal stripes are detected apart, and the better of the two counts.
    """

    def __init__(self, patch_pixels: int, contrast: float, gain: float):
        super().__init__()
        stripe = torch.tensor(STRIPE)
        vertical = stripe.expand(4, 4)
        kernels = torch.stack([vertical, vertical.T])[:, None].expand(-1, 3, -1, -1) / (3 * 16 * contrast)
        self.features = nn.Conv2d(3, 2, 4, stride=4, bias=False)
        self.features.weight = nn.Parameter(kernels.clone())
        self.norm = nn.BatchNorm2d(2, eps=1e-12)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(1, 3)
        self.head.weight = nn.Parameter(torch.tensor([[0.0], [gain], [0.0]]))
        self.head.bias = nn.Parameter(torch.tensor([0.0, -gain / 2, -2.0]))
        self.cells = patch_pixels / 16

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        response = self.norm(self.features(images))  # (n, 2, h/4, w/4), 1 where the texture is seen at full contrast
        size = (response.square() + 1e-4).sqrt() - 1e-2  # a smooth |response|
        seen = size.sum((2, 3)) / self.cells  # (n, 2)
        better = (torch.logsumexp(20 * seen, dim=1, keepdim=True) - torch.log(torch.tensor(2.0))) / 20
        return self.head(self.dropout(better))


@dataclass(frozen=True)
class Planted:
    """classifier: target 1 is the planted class.  image (1, 3, h, w).  truths: one (h, w) bool per patch."""

    classifier: Classifier
    image: torch.Tensor
    truths: tuple[torch.Tensor, ...]
    target: int = 1

    @property
    def truth(self) -> torch.Tensor:
        return torch.stack(self.truths).any(0)


def plant(
    boxes: tuple[tuple[int, int, int, int], ...] = (FIRST_BOX,),
    *,
    size: tuple[int, int] = (112, 112),
    gain: float = 8.0,
    contrast: float = 0.4,
    dtype: torch.dtype = torch.float32,
) -> Planted:
    """A picture with a stripe texture in each box (the first vertical, the second horizontal) and its classifier.

    boxes: (top, left, height, width) in px, multiples of 4.  With two boxes either patch alone is enough.
    """
    h, w = size
    y, x = torch.meshgrid(torch.arange(h) / h, torch.arange(w) / w, indexing="ij")
    image = torch.stack([0.4 + 0.2 * x, 0.5 + 0.1 * y, 0.6 - 0.2 * x])  # a smooth sky, (3, h, w)
    truths = []
    for number, (top, left, height, width) in enumerate(boxes):
        stripes = torch.tensor(STRIPE).repeat(max(height, width) // 4)
        patch = stripes[:width].expand(height, width) if number % 2 == 0 else stripes[:height, None].expand(-1, width)
        image[:, top : top + height, left : left + width] = 0.5 + contrast * patch
        truth = torch.zeros(h, w, dtype=torch.bool)
        truth[top : top + height, left : left + width] = True
        truths.append(truth)
    model = StripeNet(boxes[0][2] * boxes[0][3], contrast, gain).to(dtype).eval()
    classifier = Classifier(
        model, mean=[0.5] * 3, std=[1.0] * 3, size=size, resize=max(size), labels=["nothing", "stripes", "other"]
    )
    return Planted(classifier, image[None].to(dtype), tuple(truths))


def precision(mask: torch.Tensor, truth: torch.Tensor) -> float:
    """Share of a mask's weight that lies on the object.  mask: (1, 1, h, w).  truth: (h, w) bool."""
    return float((mask * truth).sum() / mask.sum())
