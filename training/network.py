"""The network: a small convolutional one without anchors; boxes, joints and masks from one pass.

For each cell of strides 8, 16 and 32 it says how likely a thing of each class has its place there, how far the thing's
edges are, where its joints are and whether they can be seen, and how to mix the prototypes of masks (stride 4).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.demo.layers import JOINTS, LABELS

STRIDES: Final = (8, 16, 32)
PROTOTYPES: Final = 12
CLASSES: Final = len(LABELS)
POINTS: Final = len(JOINTS)
ROW: Final = CLASSES + 4 + 3 * POINTS + PROTOTYPES
_WIDTHS: Final = (16, 32, 48, 80, 112)
_NECK: Final = 48


def _conv(into: int, out: int, *, size: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(into, out, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out, momentum=0.03), nn.ReLU(inplace=True))


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(_conv(width, width // 2), _conv(width // 2, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Drawn(nn.Module):
    """Takes (n, 3, height, width) RGB from 0 to 255, sizes divisible by 32.

    Gives two tables. (n, cells, 58), cells row by row, stride 8 first: scores of the classes, distances from the cell's
    middle to the left, top, right and bottom edge and the 13 joints' places from there (x, y), both in strides; how
    likely each joint can be seen; weights of the prototypes. (n, 12, height / 4, width / 4): the prototypes.
    In training scores are logits.
    """

    def __init__(self) -> None:
        super().__init__()
        c2, c4, c8, c16, c32 = _WIDTHS
        self.stem = nn.Sequential(_conv(3, c2, stride=2), _conv(c2, c4, stride=2))
        self.at_8 = nn.Sequential(_conv(c4, c8, stride=2), _Block(c8), _Block(c8))
        self.at_16 = nn.Sequential(_conv(c8, c16, stride=2), _Block(c16), _Block(c16))
        self.at_32 = nn.Sequential(_conv(c16, c32, stride=2), _Block(c32))
        self.across = nn.ModuleList([_conv(width, _NECK, size=1) for width in (c8, c16, c32)])
        self.mixed = nn.ModuleList([_conv(_NECK, _NECK) for _ in STRIDES])
        self.what = nn.Sequential(_conv(_NECK, _NECK), nn.Conv2d(_NECK, CLASSES, 1))
        self.where = nn.Sequential(_conv(_NECK, _NECK), nn.Conv2d(_NECK, ROW - CLASSES, 1))
        self.to_4 = _conv(_NECK, 24, size=1)
        self.from_4 = _conv(c4, 24, size=1)
        self.prototypes = nn.Sequential(_conv(24, 24), nn.Conv2d(24, PROTOTYPES, 1))
        nn.init.constant_(self.what[-1].bias, -4.0)
        nn.init.normal_(self.where[-1].weight, std=0.01)
        nn.init.constant_(self.where[-1].bias[:4], 0.7)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """The two tables."""
        at_4 = self.stem((picture - 114.0) * (1 / 64))
        at_8 = self.at_8(at_4)
        at_16 = self.at_16(at_8)
        at_32 = self.at_32(at_16)
        levels = [across(x) for across, x in zip(self.across, (at_8, at_16, at_32), strict=True)]
        for finer in (1, 0):
            levels[finer] = self.mixed[finer](levels[finer] + _twice(levels[finer + 1]))
        levels[2] = self.mixed[2](levels[2])
        rows = [torch.cat((self.what(x), self.where(x)), 1).flatten(2) for x in levels]
        table = torch.cat(rows, 2).transpose(1, 2)
        scores, edges, joints, sight, mix = table.split((CLASSES, 4, 2 * POINTS, POINTS, PROTOTYPES), 2)
        if not self.training:
            scores, sight = scores.sigmoid(), sight.sigmoid()
        table = torch.cat((scores, edges.clamp(-6, 6).exp(), joints * 2, sight, mix), 2)
        prototypes = self.prototypes(self.from_4(at_4) + _twice(self.to_4(levels[0])))
        return table, prototypes


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def cells(width: int, height: int) -> tuple[Tensor, Tensor]:
    """Middles of the cells of a picture, (cells, 2) x and y in pixels, and their strides, (cells, 1)."""
    middles, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        middles.append((torch.stack((x, y), -1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((len(middles[-1]), 1), float(stride)))
    return torch.cat(middles), torch.cat(strides)
