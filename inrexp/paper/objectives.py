"""The loss (eqs. 2 and 6) and its terms: the reward of what is preserved, the area penalty (eq. 3), the overlap."""

import torch
import torch.nn.functional as F

REWARDS = ("probability", "log_probability", "probability_and_log", "score")
ACTIVATIONS = ("softmax", "sigmoid")
LEAST = 1e-30  # of a mean of sigmoids, whose logarithm is taken directly above it and from log-sigmoids below
LOG_SHARE = 1 / 8  # of log p beside p: its gradient is the larger one where p is below 1/8


def loss(
    scores: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor,
    area: torch.Tensor,
    *,
    area_weight: float = 1.0,
    baseline: torch.Tensor | None = None,
    dice_weight: float = 1.0,
    kind: str = "probability",
    activation: str = "softmax",
    ranked: torch.Tensor | None = None,
) -> torch.Tensor:
    """L_ext(M) = -Phi(M I + (1 - M) I') + lambda_r R_a(M) (eq. 2), for each of n masks.

    With a baseline it is L_mlt(M, M^b) = L_ext(M) + lambda_d L_dice(M, M^b) (eq. 6).

    scores: (n, C), the classifier's, before the activation, of the picture under each mask.
    target: (n, C), 0 or 1, the classes whose probabilities count.  mask: (n, 1, h, w).  area: (n,), fractions.
    area_weight, dice_weight: lambda_r and lambda_d, 1 in section 3.4.  baseline: M^b, (n, 1, h, w).
    kind, activation: as for `reward`.
    ranked: (n, 1, ...), the values that the area penalty sorts where they are not the mask's own pixels.
    Returns (n,).  Raises ValueError for a wrong `kind`, `activation` or area.
    """
    value = area_weight * area_penalty(mask if ranked is None else ranked, area)
    value = value - reward(scores, target, kind, activation)
    return value if baseline is None else value + dice_weight * dice_overlap(mask, baseline)


def reward(
    scores: torch.Tensor, target: torch.Tensor, kind: str = "probability", activation: str = "softmax"
) -> torch.Tensor:
    """Phi of eq. 2, or a monotone relative of it.

    scores: (n, C) before the activation.  target: (n, C) 0/1, the classes whose probabilities add up.  Returns (n,).
    kind: "probability", p (the paper); "log_probability", log p; "probability_and_log", p + log(p) / 8, whose gradient
        by the class's score, (p + 1/8) (1 - p), does not vanish with p and is largest near a half; "score" (extremal
        perturbations; log-sum-exp over the set).
    activation: "softmax" or, for multi-label heads, "sigmoid" (a set of classes then counts by its mean).
    Raises ValueError for another `kind` or `activation`.
    """
    if kind not in REWARDS:
        raise ValueError(f"kind must be one of {REWARDS}, got {kind!r}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {ACTIVATIONS}, got {activation!r}")
    inside = scores.masked_fill(target == 0, -torch.inf)
    if kind == "score":
        return inside.logsumexp(1)
    if activation == "softmax":
        log_probability = inside.logsumexp(1) - scores.logsumexp(1)
    else:
        mean = (torch.sigmoid(scores) * target).sum(1).div(target.sum(1))
        tiny = F.logsigmoid(inside).logsumexp(1) - target.sum(1).log()  # has a gradient where the mean has none left
        log_probability = torch.where(mean > LEAST, mean.clamp_min(LEAST).log(), tiny)
    if kind == "log_probability":
        return log_probability
    probability = log_probability.exp()
    return probability if kind == "probability" else probability + LOG_SHARE * log_probability


def area_penalty(mask: torch.Tensor, area: torch.Tensor) -> torch.Tensor:
    """R_a(M) = mean_i (vecsort(M)_i - r_a,i)^2 with r_a = (1 - a)|M| zeros, then a|M| ones (eq. 3).

    mask: (n, 1, h, w).  area: (n,), fractions in [0, 1]; a|M| is rounded to whole pixels.  Returns (n,).
    Raises ValueError for an area outside [0, 1]; on a GPU it is not looked at, since every step would wait for that.
    """
    if area.device.type == "cpu" and not bool(((area >= 0) & (area <= 1)).all()):
        raise ValueError(f"area must lie in [0, 1] (a fraction of the picture), got {area.tolist()}")
    ranked = mask.flatten(1).sort(dim=1).values  # (n, h*w), increasing
    count = ranked.shape[1]
    zeros = count - (area * count).round()  # (n,)
    wanted = torch.arange(count, device=mask.device)[None] >= zeros[:, None]
    return (ranked - wanted.to(ranked.dtype)).square().mean(1)


def dice_overlap(mask: torch.Tensor, baseline: torch.Tensor) -> torch.Tensor:
    """Soft Dice, 2 sum(M M^b) / (sum M^2 + sum (M^b)^2): 0 for disjoint masks, 1 for equal ones (eq. 6, V-Net's form).

    mask, baseline: (n, 1, h, w).  Returns (n,); 0 where both are empty.
    """
    both = (mask * baseline).flatten(1).sum(1)
    size = mask.square().flatten(1).sum(1) + baseline.square().flatten(1).sum(1)
    return 2 * both / size.clamp_min(1e-12)


def pairwise_overlap(masks: torch.Tensor) -> torch.Tensor:
    """Sum of `dice_overlap` over all pairs of o masks: what keeps the outputs of one field apart (beyond the paper).

    masks: (n, o, h, w).  Returns (n,), between 0 and o (o - 1) / 2.
    """
    flat = masks.flatten(2)
    both = flat @ flat.mT  # (n, o, o)
    size = both.diagonal(dim1=1, dim2=2)  # (n, o)
    dice = 2 * both / (size[:, :, None] + size[:, None, :]).clamp_min(1e-12)
    return dice.triu(diagonal=1).sum((1, 2))
