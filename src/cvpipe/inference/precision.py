"""Networks in 16-bit floats, for GPUs."""

from __future__ import annotations

import logging

from onnx import ModelProto

from cvpipe.errors import InvalidModel

logger = logging.getLogger(__name__)


def halved(model: ModelProto) -> ModelProto:
    """A copy of `model` that computes with 16-bit floats; its inputs and outputs stay as they are.

    Operators known to lose too much keep 32 bits. Raises: InvalidModel where the graph can't be changed so.
    """
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        copy = ModelProto()
        copy.CopyFrom(model)
        changed: ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    except Exception as error:  # the converter's own, of many kinds
        raise InvalidModel(
            f"the network can't be made to compute with 16-bit floats: {error}", field="precision"
        ) from error
    return changed
