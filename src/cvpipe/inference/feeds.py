"""What a network is fed: pictures as a tensor, and what else it asks for beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from cvpipe.errors import InvalidModel
from cvpipe.frames import Image
from cvpipe.inference.cards import Extra, InputSpec

Feed = dict[str, npt.NDArray[Any]]
DType = type[np.generic]

_PICTURES: Mapping[str, DType] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
}
_NUMBERS: Mapping[str, DType] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


@dataclass(frozen=True, slots=True)
class ExtraInput:
    """An input beside the picture. row: the shape of what it takes for one picture, without the batch dimension.

    batched: whether it has a batch dimension.
    """

    name: str
    what: Extra
    dtype: DType
    row: tuple[int, ...]
    batched: bool

    def of(self, pictures: int, *, width: int, height: int) -> npt.NDArray[Any]:
        """Its value for so many pictures on a canvas of this size in pixels."""
        values: Mapping[Extra, Sequence[int]] = {
            "size_wh": (width, height),
            "size_hw": (height, width),
            "scale_hw": (1, 1),
            "one": (1,),
        }
        row = np.broadcast_to(np.asarray(values[self.what], self.dtype), self.row)
        return np.ascontiguousarray(np.broadcast_to(row, (pictures, *self.row)) if self.batched else row)


class Feeder:
    """Makes the inputs of one network."""

    def __init__(self, session: onnxruntime.InferenceSession, picture: str, spec: InputSpec) -> None:
        """picture: name of the input that takes pictures. Raises: InvalidModel."""
        inputs = {value.name: value for value in session.get_inputs()}
        kind = inputs[picture].type
        if kind not in _PICTURES:
            raise InvalidModel(f"wanted an input of type {', '.join(_PICTURES)}, got {kind}")
        self.picture = picture
        self.dtype = _PICTURES[kind]
        self._spec = spec
        self._batched = len(inputs[picture].shape) == 4
        self._extra = [_extra_input(inputs[name], what) for name, what in spec.extra.items()]

    def feed(self, images: Sequence[Image]) -> Feed:
        """The inputs for pictures (height, width, 3) of one shape."""
        height, width = images[0].shape[:2]
        tensor = to_tensor(images, self._spec, self.dtype)
        fed: Feed = {self.picture: tensor if self._batched else tensor[0]}
        for extra in self._extra:
            fed[extra.name] = extra.of(len(images), width=width, height=height)
        return fed


def to_tensor(images: Sequence[Image], spec: InputSpec, dtype: DType) -> npt.NDArray[Any]:
    """The network's input: (n, 3, height, width) or (n, height, width, 3), (pixel - mean) / scale."""
    height, width = images[0].shape[:2]
    channels_first = spec.layout == "nchw"
    shape = (len(images), 3, height, width) if channels_first else (len(images), height, width, 3)
    as_it_is = not any(spec.mean) and all(scale == 1 for scale in spec.scale)
    tensor: npt.NDArray[Any] = np.empty(shape, dtype if as_it_is else np.float32)
    for row, image in zip(tensor, images, strict=True):
        row[...] = image.transpose(2, 0, 1) if channels_first else image
    if as_it_is:
        return tensor
    by_channel = (3, 1, 1) if channels_first else (3,)
    if any(spec.mean):
        tensor -= np.array(spec.mean, np.float32).reshape(by_channel)
    if any(scale != 1 for scale in spec.scale):
        tensor /= np.array(spec.scale, np.float32).reshape(by_channel)
    return tensor.astype(dtype, copy=False)


def _extra_input(value: onnxruntime.NodeArg, what: Extra) -> ExtraInput:
    where = f"input.extra.{value.name}"
    if value.type not in _NUMBERS:
        raise InvalidModel(f"wanted {value.name} of type {', '.join(_NUMBERS)}, got {value.type}", field=where)
    length = 1 if what == "one" else 2
    shape = list(value.shape)
    # A size of two numbers may come without a batch dimension; a single `one` may have any shape.
    batched = bool(shape) if what == "one" else len(shape) > 1
    row = tuple(axis if isinstance(axis, int) else length for axis in (shape[1:] if batched else shape))
    if what != "one" and row != (2,):
        raise InvalidModel(f"{what} is two numbers for each picture; {value.name} takes {shape}", field=where)
    return ExtraInput(value.name, what, _NUMBERS[value.type], row, batched)
