"""The process that tries a model: everything imported, then cut off from network and files, with limits; then the file.

Started by `cvpipe.modelfiles.process` with descriptors: the order, two files in memory for the answer and for the file
as it is to be kept, and the model's files.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

_SPARE_BYTES = 64 * 2**20
_ANSWER_BYTES = 32 * 2**20


def main(parent: int, order: int, answer: int, kept: int, *files: int) -> NoReturn:
    """Carry out the order and end. See `serve`."""
    warm_up()
    serve(parent, order, answer, kept, *files)


def serve(parent: int, order: int, answer: int, kept: int, *files: int) -> NoReturn:
    """Carry out the order (see `_answer`) and write the answer, JSON, to the descriptor `answer`. Ends the process.

    Everything that is needed must be imported: see `warm_up`. parent: the process that this one is not to outlive.
    """
    from cvpipe.errors import CvpipeError, ModelTooComplex, ModelTooMuchMemory
    from cvpipe.video import sandbox

    sandbox.die_with(parent)
    wanted = json.loads(_read(order))
    sandbox.confine()
    size = sum(os.fstat(file).st_size for file in files)
    _limit(wanted["memory_bytes"], wanted["cpu_seconds"], file_bytes=2 * size + _SPARE_BYTES)
    try:
        said = _answer(wanted, files, kept)
    except CvpipeError as error:
        said = {"error": {"code": error.code, "message": error.message[:4000], "field": error.field}}
    except MemoryError:
        said = {"error": {"code": ModelTooMuchMemory.code, "message": "looking at it takes more memory than allowed"}}
    except RecursionError:
        said = {"error": {"code": ModelTooComplex.code, "message": "its graph is nested too deep"}}
    text = json.dumps(said).encode()
    if len(text) <= _ANSWER_BYTES:
        _write(answer, text)
    # Not sys.exit: a session on a hostile graph may not come down cleanly, and the answer is there.
    os._exit(0)


def warm_up() -> None:
    """Look at a small network of our own: all that is imported late is there before the doors close."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    from cvpipe.errors import InvalidModel
    from cvpipe.modelfiles.examine import examine
    from cvpipe.modelfiles.wish import Wish

    nodes = [
        helper.make_node("GlobalAveragePool", ["in"], ["mean"]),
        helper.make_node("Reshape", ["mean", "shape"], ["out"]),
    ]
    picture = helper.make_tensor_value_info("in", TensorProto.FLOAT, (1, 3, 32, 32))
    row = helper.make_tensor_value_info("out", TensorProto.FLOAT, (1, 3))
    graph = helper.make_graph(nodes, "warm", [picture], [row], [numpy_helper.from_array(np.array([1, 3]), "shape")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    with contextlib.suppress(InvalidModel):
        examine(model.SerializeToString(), Wish(fuse=True), "warm")


def _answer(wanted: dict[str, Any], files: Sequence[int], kept: int) -> dict[str, Any]:
    """Orders: `add` with `wish` and `name`; `check` with `card`; `caption` with `card` and the `names` of all files."""
    from cvpipe.inference.cards import ModelCard
    from cvpipe.modelfiles.examine import check, examine, say_two_words
    from cvpipe.modelfiles.wish import Wish

    if wanted["order"] == "caption":
        named = dict(zip(wanted["names"], files, strict=True))
        say_two_words(ModelCard.handed(wanted["card"], lambda name: _read(named[name])))
        return {}
    raw = _read(files[0])
    if wanted["order"] == "check":
        return {"steps": check(raw, ModelCard.model_validate(wanted["card"]))}
    found, content = examine(raw, Wish.model_validate(wanted["wish"]), wanted["name"])
    if found.edited:
        _write(kept, content)
    return {"found": found.model_dump(mode="json")}


def _limit(memory_bytes: int, cpu_seconds: int, *, file_bytes: int) -> None:
    for what, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
        (resource.RLIMIT_NOFILE, 64, 64),
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 5),
        (resource.RLIMIT_AS, memory_bytes, memory_bytes),
    ):
        ceiling = resource.getrlimit(what)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(what, (soft, hard))


def _read(fd: int) -> bytes:
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        return file.read()


def _write(fd: int, content: bytes) -> None:
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(content)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
