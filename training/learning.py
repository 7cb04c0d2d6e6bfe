"""What the network is told about its answers: which cells should have said what, and how wrong they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from examples.demo.layers import LABELS, SIGMAS, Shown
from training.network import CLASSES, POINTS, PROTOTYPES, cells

PER_THING: Final = 10
"""At most so many cells learn about one thing."""
_MASKS: Final = 96  # of a batch; more take longer than they teach
_MASK_STRIDE: Final = 4
_WEIGHTS: Final = {"what": 1.0, "box": 2.5, "joints": 4.0, "sight": 0.3, "mask": 2.0}


@dataclass(frozen=True, slots=True)
class Targets:
    """What n pictures show, filled up to the same number of things.

    box: (n, m, 4). label: (n, m), -1 where there is none. counts: (n, m), whether it is to be found. joints: (n, m, 13,
    3). mask: (n, m, height / 4, width / 4), 0 to 1.
    """

    box: Tensor
    label: Tensor
    counts: Tensor
    joints: Tensor
    mask: Tensor


def targets(shown: Sequence[Sequence[Shown]], side: int) -> Targets:
    """For pictures of side x side pixels."""
    most = max(1, *(len(things) for things in shown))
    small = side // _MASK_STRIDE
    box, label = np.zeros((len(shown), most, 4), np.float32), np.full((len(shown), most), -1)
    counts = np.zeros((len(shown), most), bool)
    joints = np.zeros((len(shown), most, POINTS, 3), np.float32)
    mask = np.zeros((len(shown), most, small, small), np.float32)
    for n, things in enumerate(shown):
        for m, thing in enumerate(things):
            x1, y1, x2, y2 = thing.box
            box[n, m], label[n, m], counts[n, m] = thing.box, LABELS.index(thing.label), thing.counts
            if thing.joints is not None:
                joints[n, m] = thing.joints
            full = np.zeros((side, side), np.float32)
            full[y1:y2, x1:x2] = thing.part
            mask[n, m] = cv2.resize(full, (small, small), interpolation=cv2.INTER_AREA)
    return Targets(*(torch.from_numpy(array) for array in (box, label, counts, joints, mask)))


def losses(table: Tensor, prototypes: Tensor, wanted: Targets, side: int) -> dict[str, Tensor]:
    """How wrong the network's answers for pictures of side x side pixels are, in parts; `sum` is what to improve."""
    middle, stride = cells(side, side)
    logits, edges, places, sight, mix = table.split((CLASSES, 4, 2 * POINTS, POINTS, PROTOTYPES), 2)
    box = torch.cat((middle - edges[..., :2] * stride, middle + edges[..., 2:] * stride), 2)
    owner, quality = _owners(logits.detach().sigmoid(), box.detach(), middle, wanted)
    picture, cell = (owner >= 0).nonzero(as_tuple=True)
    thing = owner[picture, cell]
    weight = quality[picture, cell]
    total = weight.sum().clamp(min=1)

    score = torch.zeros_like(logits)
    score[picture, cell, wanted.label[picture, thing]] = weight
    heard = ~(_inside(middle, wanted.box) & ((wanted.label >= 0) & ~wanted.counts)[..., None]).any(1) | (owner >= 0)
    what = functional.binary_cross_entropy_with_logits(logits, score, reduction="none")
    # What is already well told says little more (focal loss).
    what = what * ((logits.sigmoid() - score).abs() ** 1.5).detach().clamp(min=0.02) * 2
    parts = {"what": (what * heard[..., None]).sum() / total}

    true_box = wanted.box[picture, thing]
    parts["box"] = ((1 - _distance_iou(box[picture, cell], true_box)) * weight).sum() / total

    # Joints: one minus the object keypoint similarity, as COCO defines it.
    true_joints = wanted.joints[picture, thing]
    at = places[picture, cell].view(-1, POINTS, 2) * stride[cell, None] + middle[cell, None]
    there = (true_joints[..., 2] > 0).float()
    area = ((true_box[:, 2:] - true_box[:, :2]).prod(1) * 0.53).clamp(min=16)[:, None]
    error = ((at - true_joints[..., :2]) ** 2).sum(2) / (2 * area * (2 * torch.tensor(SIGMAS)) ** 2)
    people = there.sum().clamp(min=1)
    far = torch.log1p(error)  # reaches further than the similarity, which is flat where joints are far off
    parts["joints"] = (((1 - torch.exp(-error)) + 0.3 * far) * there).sum() / people
    is_person = there.any(1, keepdim=True).float()
    seen = functional.binary_cross_entropy_with_logits(
        sight[picture, cell], (true_joints[..., 2] > 1).float(), reduction="none"
    )
    parts["sight"] = (seen * is_person).sum() / (is_person.sum() * POINTS).clamp(min=1)

    some = weight.argsort(descending=True)[:_MASKS]
    parts["mask"] = _mask_loss(
        prototypes[picture[some]],
        mix[picture[some], cell[some]],
        wanted.mask[picture[some], thing[some]],
        true_box[some],
    )
    parts["sum"] = torch.stack([parts[name] * share for name, share in _WEIGHTS.items()]).sum()
    return parts


def _owners(score: Tensor, box: Tensor, middle: Tensor, wanted: Targets) -> tuple[Tensor, Tensor]:
    """Which thing each cell is to tell of, (n, cells), -1 for none; and how well it should think of that, 0 to 1.

    The cells within a thing's box that already tell best of it, by score and overlap together (task alignment, of
    https://arxiv.org/abs/2108.07755).
    """
    overlap = _iou(wanted.box[:, :, None], box[:, None])  # n, things, cells
    own_score = score.transpose(1, 2).gather(1, wanted.label.clamp(min=0)[..., None].expand(-1, -1, score.shape[1]))
    may = _inside(middle, wanted.box) & wanted.counts[..., None]
    # A box that no cell's middle lies in gets the nearest one.
    away = ((wanted.box[:, :, :2] + wanted.box[:, :, 2:])[:, :, None] / 2 - middle).abs().amax(3)
    may |= (away == away.amin(2, keepdim=True)) & wanted.counts[..., None]
    fit = (own_score.sqrt() * overlap**4 + 1e-9) * may
    best, at = fit.topk(PER_THING, dim=2)
    chosen = torch.zeros_like(may).scatter_(2, at, best > 0)
    rank, owner = (fit * chosen).max(1)
    owner = torch.where(rank > 0, owner, -1)
    top_overlap = (overlap * chosen).amax(2, keepdim=True)
    top_fit = (fit * chosen).amax(2, keepdim=True).clamp(min=1e-9)
    quality = (fit * chosen / top_fit * top_overlap).amax(1)
    return owner, torch.where(owner >= 0, quality, 0.0)


def _inside(middle: Tensor, box: Tensor) -> Tensor:
    """(n, things, cells): whether a cell's middle lies in a thing's box."""
    low, high = middle > box[:, :, None, :2], middle < box[:, :, None, 2:]
    return low.all(3) & high.all(3)


def _iou(a: Tensor, b: Tensor) -> Tensor:
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    both = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return shared / both.clamp(min=1e-6)


def _distance_iou(a: Tensor, b: Tensor) -> Tensor:
    """Overlap less the distance of the middles (https://arxiv.org/abs/1911.08287)."""
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) ** 2).sum(-1) / 4
    return _iou(a, b) - apart / (hull**2).sum(-1).clamp(min=1e-6)


def _mask_loss(prototypes: Tensor, mix: Tensor, mask: Tensor, box: Tensor) -> Tensor:
    """prototypes: (p, 12, h, w). mix: (p, 12). mask: (p, h, w). box: (p, 4) in pixels; only what is in it counts."""
    if not len(mix):
        return mix.sum()
    height, width = mask.shape[1:]
    logits = torch.einsum("pchw,pc->phw", prototypes, mix)
    low, high = (box / _MASK_STRIDE)[:, :2].floor() - 1, (box / _MASK_STRIDE)[:, 2:].ceil() + 1
    x, y = torch.arange(width), torch.arange(height)
    in_x = (x >= low[:, :1]) & (x < high[:, :1])
    in_y = (y >= low[:, 1:]) & (y < high[:, 1:])
    near = (in_y[:, :, None] & in_x[:, None]).float()
    wrong = functional.binary_cross_entropy_with_logits(logits, mask, reduction="none") * near
    return (wrong.sum((1, 2)) / near.sum((1, 2)).clamp(min=1)).mean()
