"""Networks: sizes, batches, threads and what is refused when one is opened."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from cvpipe.errors import GpuOutOfMemory, InvalidModel
from cvpipe.frames import View
from cvpipe.inference import InputSpec, find_card, networks, sessions
from cvpipe.inference.feeds import to_tensor
from cvpipe.inference.networks import OnnxNetwork
from tests.modelcards import endless_network, mean_network, model_bytes, table_network, write_card, write_yolox_card

WIDE = View.of(768, 432)
INPUT = {"width": 160, "height": 160, "anchor": "top-left"}


def open_network(folder: Path, raw: bytes, *, device: str = "cpu", **changes: Any) -> OnnxNetwork:
    """The network `raw` of 160x160 pixels, opened."""
    write_card(folder, raw, **({"input": INPUT} | changes))
    return OnnxNetwork(find_card(folder, "tiny"), device=device)  # type: ignore[arg-type]


def pictures(n: int, width: int = 160, height: int = 160) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (n, height, width, 3), np.uint8))


@pytest.fixture(scope="module")
def yolox(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> OnnxNetwork:
    models = tmp_path_factory.mktemp("models")
    write_yolox_card(models, assets)
    return OnnxNetwork(find_card(models, "yolox-nano"), device="cpu")


@pytest.mark.parametrize(
    ("source", "canvas", "content"),
    [
        ((768, 432), (416, 256), (0, 0, 416, 234)),
        ((1920, 1080), (416, 256), (0, 0, 416, 234)),
        ((1080, 1920), (256, 416), (0, 0, 234, 416)),
        ((640, 480), (416, 320), (0, 0, 416, 312)),
        ((500, 500), (416, 416), (0, 0, 416, 416)),
        ((64, 36), (416, 256), (0, 0, 416, 234)),
        ((4000, 100), (416, 32), (0, 0, 416, 10)),
    ],
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_yolox_takes_the_smallest_canvas_that_holds_the_frame(
    source: tuple[int, int], canvas: tuple[int, int], content: tuple[int, int, int, int], yolox: OnnxNetwork
) -> None:
    view = yolox.input_view(View.of(*source))
    assert (view.width, view.height) == canvas
    assert view.content == content
    assert (view.format, view.pad) == ("bgr24", 114)


def test_yolox_answers_alike_on_the_small_canvas(yolox: OnnxNetwork) -> None:
    view = yolox.input_view(WIDE)
    (small,) = yolox.run([np.full(view.shape, 114, np.uint8)])
    (full,) = yolox.run([np.full((416, 416, 3), 114, np.uint8)])
    assert (small[0].shape, full[0].shape) == ((2184, 85), (3549, 85))
    assert small[0].dtype == np.float32
    assert np.isfinite(small[0]).all()


def test_a_gray_upstream_reaches_the_network_as_three_equal_channels(yolox: OnnxNetwork) -> None:
    view = yolox.input_view(WIDE.with_format("gray"))
    assert (view.format, view.colourless) == ("bgr24", True)


@pytest.mark.parametrize("anchor", ["top-left", "centre"])
def test_the_frame_lies_where_the_card_says(anchor: str, tmp_path: Path) -> None:
    network = open_network(tmp_path, mean_network(), input=INPUT | {"anchor": anchor})
    view = network.input_view(View.of(160, 100))
    assert (view.width, view.height) == (160, 128)
    assert view.content == (0, 0 if anchor == "top-left" else 14, 160, 100)


@pytest.mark.parametrize(
    ("raw", "changes"),
    [
        (mean_network(), {"rectangular": False}),
        (mean_network(columns_first=True), {}),
        (table_network(np.zeros((7, 525)), width=160, height=160), {}),
    ],
    ids=["the card forbids it", "cells in another order", "cells baked in"],
)
def test_the_cards_own_size_where_another_does_not_work(raw: bytes, changes: dict[str, Any], tmp_path: Path) -> None:
    network = open_network(tmp_path, raw, **changes)
    view = network.input_view(View.of(320, 180))
    assert (view.width, view.height, view.content) == (160, 160, (0, 0, 160, 90))
    assert network.run([np.zeros(view.shape, np.uint8)])[0][0].shape[1] == 525


@pytest.mark.parametrize("fixed", [True, False], ids=["cells written down", "cells left open"])
def test_other_sizes_work_where_cells_come_in_rows(fixed: bool, tmp_path: Path) -> None:
    network = open_network(tmp_path, mean_network(fixed=fixed))
    view = network.input_view(View.of(320, 180))
    assert (view.width, view.height) == (160, 96)
    (picture,) = pictures(1, 160, 96)
    ((out,),) = network.run([picture])
    assert out.shape == (3, 20 * 12 + 10 * 6 + 5 * 3)
    assert out[:, 21] == pytest.approx(picture[8:16, 8:16].mean(axis=(0, 1)), abs=1e-3)


def test_stretch_fills_the_canvas(tmp_path: Path) -> None:
    network = open_network(tmp_path, mean_network(), input=INPUT | {"resize": "stretch"})
    view = network.input_view(WIDE)
    assert (view.width, view.height, view.content) == (160, 160, (0, 0, 160, 160))


def test_a_cpu_gets_one_picture_at_a_time(yolox: OnnxNetwork) -> None:
    assert yolox.batch == 1


def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks opened for CUDA run on the CPU, batched as on a GPU."""
    monkeypatch.setattr(sessions, "providers", lambda _device, **_how: ["CPUExecutionProvider"])


@pytest.mark.parametrize("n", [0, 1, 16, 21])
def test_a_gpu_gets_full_batches_and_every_picture_its_own_answer(
    n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_gpu(monkeypatch)
    network = open_network(tmp_path, mean_network(), device="cuda")
    seen: list[int] = []
    run_session = sessions.run_session
    monkeypatch.setattr(
        sessions, "run_session", lambda s, feed, o=None: seen.append(len(feed["image"])) or run_session(s, feed, o)
    )
    assert network.batch == 16
    seen.clear()
    images = pictures(n)
    answers = network.run(images)
    assert len(answers) == n
    assert set(seen) <= {16}
    for image, (out,) in zip(images, answers, strict=True):
        assert out[:, 0] == pytest.approx(image[:8, :8].mean(axis=(0, 1)), abs=1e-3)


def test_a_call_that_was_chosen_before_another_ran_out_of_memory_still_answers_every_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_gpu(monkeypatch)
    network = open_network(tmp_path, mean_network(), device="cuda")
    images, run = pictures(16), network._batcher._run

    def run_after_the_other(chosen: Sequence[np.ndarray]) -> list[Any]:
        network._batcher._most = 8
        return run(chosen)

    network._batcher._run = run_after_the_other
    answers = network.run(images)
    for image, (out,) in zip(images, answers, strict=True):
        assert out[:, 0] == pytest.approx(image[:8, :8].mean(axis=(0, 1)), abs=1e-3)


def test_a_batch_that_can_not_be_freed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_gpu(monkeypatch)
    # The mean over the batch: with another batch every answer changes.
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["all"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["image", "all"], ["out"]),
    ]
    raw = model_bytes(nodes, inputs={"image": [2, 3, 160, 160]}, outputs={"out": [2, 3, 160, 160]})
    network = open_network(tmp_path, raw, device="cuda")
    assert network.batch == 2
    assert len(network.run(pictures(3))) == 3


def test_threads_share_a_network(yolox: OnnxNetwork) -> None:
    images = pictures(6, 416, 256)
    alone = [yolox.run([image])[0][0] for image in images]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda image: yolox.run([image])[0][0], images))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize(
    ("raw", "changes", "message", "field"),
    [
        (
            mean_network(),
            {"input": {"width": 128, "height": 160}},
            "network's width is 160, the card says 128",
            "input.width",
        ),
        (mean_network(), {"input": INPUT | {"layout": "nhwc"}}, "wanted an input of 3 channels", None),
        (b"no network", {}, "not an ONNX file", None),
        (
            model_bytes(
                [helper.make_node("ReduceMean", ["image"], ["out"], axes=[0, 1, 2, 3], keepdims=0)],
                inputs={"image": [2, 3, 160, 160]},
                outputs={"out": []},
            ),
            {},
            "wanted outputs with 2 rows",
            None,
        ),
        (
            model_bytes(
                [helper.make_node("NoSuchOperator", ["image"], ["out"])],
                inputs={"image": [1, 3, 160, 160]},
                outputs={"out": None},
            ),
            {},
            "ONNX Runtime can't load the model: .*NoSuchOperator",
            None,
        ),
    ],
    ids=["size", "layout", "file", "no batch", "operator"],
)
def test_a_network_that_does_not_fit_its_card_is_refused_when_opened(
    raw: bytes, changes: dict[str, Any], message: str, field: str | None, tmp_path: Path
) -> None:
    with pytest.raises(InvalidModel, match=f"model tiny@1: .*{message}") as caught:
        open_network(tmp_path, raw, **changes)
    assert caught.value.field == field


def test_a_network_that_never_ends_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(networks, "_TRIAL_SECONDS", 0.3)
    started = time.monotonic()
    with pytest.raises(InvalidModel, match="the network does not run"):
        open_network(tmp_path, endless_network(), input={"width": 64, "height": 64})
    assert time.monotonic() - started < 20
    assert capfd.readouterr().err == ""  # ONNX Runtime writes to the file descriptor


@pytest.mark.parametrize(
    ("layout", "mean", "scale", "expected"),
    [
        ("nchw", 0, 1, [[10, 40], [20, 50], [30, 60]]),
        ("nhwc", 0, 1, [[10, 20, 30], [40, 50, 60]]),
        ("nchw", [10, 20, 30], 10, [[0, 3], [0, 3], [0, 3]]),
        ("nhwc", 10, [1, 10, 20], [[0, 1, 1], [30, 4, 2.5]]),
    ],
    ids=["nchw", "nhwc", "mean by channel", "scale by channel"],
)
def test_pixels_become_tensors_as_the_card_says(layout: str, mean: Any, scale: Any, expected: Any) -> None:
    spec = InputSpec.model_validate({"width": 8, "height": 8, "layout": layout, "mean": mean, "scale": scale})
    image = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)
    tensor = to_tensor([image, image], spec, np.float32)
    assert tensor.dtype == np.float32
    assert np.array_equal(tensor[1].squeeze(), np.array(expected, np.float32))


@pytest.mark.gpu
def test_a_gpu_answers_like_the_cpu(assets: Path, tmp_path: Path, yolox: OnnxNetwork) -> None:
    write_yolox_card(tmp_path, assets)
    network = OnnxNetwork(find_card(tmp_path, "yolox-nano"), device="cuda")
    images = pictures(3, 416, 256)
    for (a,), (b,) in zip(network.run(images), yolox.run(images), strict=True):
        assert np.allclose(a, b, rtol=1e-2, atol=1e-2)


def test_a_gpu_that_has_no_room_just_now_says_nothing_of_a_network(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_yolox_card(tmp_path, assets)
    told: list[dict[str, bool]] = []
    network = OnnxNetwork(
        find_card(tmp_path, "yolox-nano"), device="cpu", on_findings=lambda found: told.append(dict(found.sizes))
    )

    def full(_: Any) -> None:
        raise GpuOutOfMemory("the GPU is out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(network, "_run_batch", full)
        assert network.input_view(WIDE).height == 416
    assert told == [{"416x416": True}]
    assert network.input_view(WIDE).height < 416


def test_a_gpu_gets_full_batches_of_a_network_that_keeps_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_gpu(monkeypatch)
    network = open_network(tmp_path, table_network(np.arange(14.0).reshape(7, 2), width=160, height=160), device="cuda")
    assert network.batch == 16
    assert network.input_view(WIDE).height == 160
    assert [out.tolist() for (out,) in network.run(pictures(2))] == [np.arange(14.0).reshape(7, 2).tolist()] * 2
