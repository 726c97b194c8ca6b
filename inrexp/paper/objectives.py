"""The terms of the loss: reward of what is preserved (eq. 2), area penalty (eq. 3), Dice overlap (eq. 6)."""

import torch

REWARDS = ("probability", "log_probability", "log_odds", "score")


def reward(scores: torch.Tensor, target: torch.Tensor, kind: str, activation: str = "softmax") -> torch.Tensor:
    """Phi of eq. 2, or a monotone relative of it.

    scores: (n, C) before the activation.  target: (n, C) 0/1, the classes whose probabilities add up.  Returns (n,).
    kind: "probability" (the paper), "log_probability", "log_odds" (against all other classes), or "score" (extremal
        perturbations; log-sum-exp over the set).
    activation: "softmax" or, for multi-label heads, "sigmoid" (a set of classes then counts by its mean).
    """
    inside = scores.masked_fill(target == 0, -torch.inf)
    if kind == "score":
        return inside.logsumexp(1)
    if activation == "softmax":
        if kind == "log_odds":
            return inside.logsumexp(1) - scores.masked_fill(target != 0, -torch.inf).logsumexp(1)
        log_probability = inside.logsumexp(1) - scores.logsumexp(1)
    else:
        log_probability = (torch.sigmoid(scores) * target).sum(1).div(target.sum(1)).clamp_min(1e-30).log()
        if kind == "log_odds":
            return log_probability - torch.log1p(-log_probability.exp().clamp(max=1 - 1e-6))
    return log_probability if kind == "log_probability" else log_probability.exp()


def area_penalty(mask: torch.Tensor, area: torch.Tensor) -> torch.Tensor:
    """R_a(M) = mean_i (vecsort(M)_i - r_a,i)^2 with r_a = (1 - a)|M| zeros, then a|M| ones (eq. 3).

    mask: (n, 1, h, w).  area: (n,), fractions in [0, 1]; a|M| is rounded to whole pixels.  Returns (n,).
    """
    ranked = mask.flatten(1).sort(dim=1).values  # (n, h*w), increasing
    count = ranked.shape[1]
    zeros = count - (area.to(torch.promote_types(area.dtype, torch.float32)) * count).round()  # (n,)
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
