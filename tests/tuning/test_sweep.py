"""Settings of a model, tried on a video; the chosen one is what runs then."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvpipe.engine import run_local
from cvpipe.errors import Conflict, InvalidModel, InvalidRequest
from cvpipe.inference import OnnxTools, find_card
from cvpipe.inference.profiles import Profile, read_profile, write_profile
from cvpipe.job import TimeRange
from cvpipe.modelfiles.folder import check_keepable
from cvpipe.pipeline import parse_pipeline
from cvpipe.results import FrameRecord, Objects
from cvpipe.settings import Settings
from cvpipe.tuning import agreement_of, plotted, quantise, save, sweep, tune
from cvpipe.tuning.agreement import Agreement
from cvpipe.tuning.child import rate_of
from tests.modelcards import table_network, write_card, write_yolox_card
from tests.tuning.conftest import embedder

VIDEO = "videos/one-by-one-person-detection.mp4"


def make_records(video: Path, settings: Settings, out: Path, *, start: float, stop: float) -> list[FrameRecord]:
    spec = parse_pipeline({"name": "p", "stages": [{"type": "detect", "model": "yolox-nano"}]})
    run_local(video, spec, out, settings=settings, range=TimeRange.model_validate({"from": start, "to": stop}))
    return [FrameRecord.from_dict(json.loads(line)) for line in (out / "frames.ndjson").read_text().splitlines()]


def test_a_profile_is_saved_and_what_it_says_is_what_runs(assets: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models", device="cpu")
    write_yolox_card(settings.models_path, assets)
    video = assets / VIDEO
    tuned = tune(
        "yolox-nano", video, settings=settings, start=69, seconds=1.5, min_agreement=0.1, scales=(0.5,), runtime=False
    )
    assert [row.canvas for row in tuned.rows] == [(416, 416), (192, 128), (192, 192)]
    assert (tuned.rows[0].score, not tuned.failed) == (1.0, True)
    assert all(row.fps > 0 and row.memory_bytes > 2**26 for row in tuned.rows)
    assert tuned.best.setting.width == 192
    # Without a profile the canvas is 416x256, which the reference is not: it has no padding left out.
    write_profile(find_card(settings.models_path, "yolox-nano").path.parent, _square(tuned.profile))
    wanted = make_records(video, settings, tmp_path / "before", start=69, stop=70.5)
    save(tuned, settings.models_path)
    found = make_records(video, settings, tmp_path / "after", start=69, stop=70.5)
    measured = tuned.profile.measured
    assert measured is not None
    assert (len(found), measured.frames) == (len(wanted), len(wanted))
    assert agreement_of(wanted, found).score == pytest.approx(measured.agreement, abs=1e-4)
    assert agreement_of(wanted, wanted).score == 1.0
    picture = cv2.imdecode(np.frombuffer(plotted(tuned, cv2), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (600, 960, 3)


def _square(profile: Profile) -> Profile:
    return profile.model_copy(update={"width": 416, "height": 416, "rectangular": False, "measured": None})


def test_an_int8_version_that_is_chosen_is_what_the_name_means(settings: Settings, clip: Path) -> None:
    quantise("tiny", clip, settings=settings, frames=4, max_loss=0.1)
    tuned = tune("tiny", clip, settings=settings, start=0, seconds=1, min_agreement=0.5, runtime=False)
    assert [(row.setting.precision, row.frames) for row in tuned.rows] == [("fp32", 10), ("int8", 10)]
    assert 0.9 < tuned.rows[1].agreement.parts["cosine"] < 1
    write_profile(settings.models_path / "tiny", tuned.profile.model_copy(update={"measured": None}))
    int8 = find_card(settings.models_path, "tiny@1-int8")
    save(_chosen(tuned, int8.sha256), settings.models_path)
    assert find_card(settings.models_path, "tiny").ref == "tiny@1-int8"
    assert find_card(settings.models_path, "tiny@1").profile is None


def _chosen(tuned, sha256: str):  # type: ignore[no-untyped-def]
    """As if the int8 version had been the fastest."""
    from dataclasses import replace

    profile = tuned.profile.model_copy(update={"sha256": sha256, "precision": "int8"})
    return replace(tuned, best=tuned.rows[1], profile=profile)


@pytest.mark.parametrize(
    ("decoded", "decode", "failed"),
    [
        pytest.param({"nvdec": 10}, "nvdec", [], id="faster"),
        pytest.param({"cpu: mpeg4": 10}, "cpu", ["the card decoded none of it: cpu: mpeg4"], id="not by the card"),
    ],
)
def test_a_card_that_decodes_is_tried_and_only_told(
    decoded: dict[str, int], decode: str, failed: list[str], settings: Settings, clip: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = sweep._Sweep._run

    def with_card(self: sweep._Sweep, setting: sweep.Setting) -> dict[str, Any]:
        said = run(self, replace(setting, decode="cpu"))
        return said | ({"fps": 1e6, "decoding": decoded} if setting.decode == "nvdec" else {})

    monkeypatch.setattr(sweep._Sweep, "_run", with_card)
    monkeypatch.setattr(sweep._Sweep, "has_nvdec", lambda _: True)
    every = sweep._Sweep.runtimes

    def nvdec_alone(self: sweep._Sweep, best: sweep.Setting) -> list[sweep.Setting]:
        tried = [setting for setting in every(self, best) if setting.decode == "nvdec"]
        assert {setting.chunks for setting in tried} >= {1, self.chunks}
        return tried[:1]

    monkeypatch.setattr(sweep._Sweep, "runtimes", nvdec_alone)
    tuned = tune("tiny", clip, settings=settings, start=0, seconds=1, min_agreement=0.5)
    assert tuned.best.setting.decode == "cpu"
    assert (tuned.decode, [why for _, why in tuned.failed]) == (decode, failed)


class Said:
    """What processes would say of settings: rates by width and whether it is rectangular, one for each time."""

    def __init__(self, rates: dict[tuple[int, bool], list[float]], *, batch: int | None = None) -> None:
        self.rates, self.batch = rates, batch
        self.tried: list[sweep.Setting] = []

    def put(self, monkeypatch: pytest.MonkeyPatch) -> None:
        objects = Objects.make(stage="tune", box=[[0, 0, 10, 10]], label=["thing"], score=[0.9])
        monkeypatch.setattr(sweep, "_records", lambda _: [FrameRecord(0, 0, 0.0, objects=objects)])
        monkeypatch.setattr(sweep._Sweep, "_run", staticmethod(self._said))

    def _said(self, setting: sweep.Setting) -> dict[str, Any]:
        self.tried.append(setting)
        rates = self.rates.get((setting.width, setting.rectangular), [1.0])
        return {
            "frames": 1, "fps": rates.pop(0) if len(rates) > 1 else rates[0], "memory_bytes": 2**20,
            "canvas": [setting.width, setting.height - 8 * setting.rectangular], "decoding": {"cpu": 1},
            "batch": self.batch or setting.batch,
        }  # fmt: skip


def test_what_comes_near_the_fastest_is_tried_twice_and_the_better_counts(
    settings: Settings, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_card(settings.models_path, table_network(np.zeros((7, 84), np.float32)), name="net", file="net.onnx")
    said = Said({(64, False): [10, 12], (64, True): [40, 60], (32, True): [50, 45], (32, False): [30]})
    said.put(monkeypatch)
    tuned = tune("net", clip, settings=settings, start=0, seconds=1, scales=(1.0, 0.5), runtime=False)
    assert [row.fps for row in tuned.rows] == [12, 60, 50, 30]
    assert (tuned.best.setting.width, tuned.best.setting.rectangular) == (64, True)
    assert tuned.profile.measured is not None
    assert tuned.profile.measured.reference_frames_per_second == 12


def test_a_batch_that_a_network_does_not_take_is_no_other_setting(
    settings: Settings, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_card(settings.models_path, table_network(np.zeros((7, 84), np.float32)), name="net", file="net.onnx")
    said = Said({}, batch=1)
    said.put(monkeypatch)
    tuned = tune("net", clip, settings=settings, start=0, seconds=1, scales=())
    assert 4 in [setting.batch for setting in said.tried]
    assert {row.setting.batch for row in tuned.rows} == {1}
    assert tuned.profile.batch == 1


@pytest.mark.parametrize("start", [-1, float("nan"), 99])
def test_a_part_that_is_not_in_the_video_is_refused(start: float, settings: Settings, clip: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"the video ends at 1\.9 s: \S+ s is not in it"):
        tune("tiny", clip, settings=settings, start=start)


def test_a_batch_that_is_ready_at_once_is_no_gift_to_the_rate() -> None:
    alone = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    by_four = [4.0] * 4 + [8.0] * 4
    assert rate_of(alone, first=1) == rate_of(by_four, first=4) == 1.0
    with pytest.raises(InvalidRequest, match="frames: 8, too few to tell how fast it is where 7 begin at once"):
        rate_of(by_four, first=7)


def test_nothing_is_kept_beside_a_model_that_comes_with_cvpipe(settings: Settings, clip: Path) -> None:
    card = find_card(settings.models_path, "drawn-street")
    with pytest.raises(Conflict, match="drawn-street@2 comes with cvpipe, and nothing is kept beside it: copy"):
        quantise("drawn-street", clip, settings=settings)
    with pytest.raises(Conflict):
        check_keepable(settings.models_path, card)
    shutil.copytree(card.path.parent.parent, settings.models_path / "drawn-street")
    check_keepable(settings.models_path, find_card(settings.models_path, "drawn-street"))


def test_what_does_not_look_at_frames_by_itself_is_refused_before_anything_runs(
    settings: Settings, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_card(settings.models_path, embedder(), name="lines", task="text", family="ppocr-detection", labels=[])
    monkeypatch.setattr(sweep._Sweep, "_run", None)
    for find_out in (tune, quantise):
        with pytest.raises(InvalidRequest, match="models for text don't look at whole frames by themselves: lines@1"):
            find_out("lines", clip, settings=settings)


def test_a_part_where_nothing_is_found_is_refused(assets: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models", device="cpu")
    write_yolox_card(settings.models_path, assets)
    with pytest.raises(InvalidRequest, match=r"finds nothing from 0\.0 to 0\.5 s of this video"):
        tune("yolox-nano", assets / VIDEO, settings=settings, start=0, seconds=0.5, scales=(), runtime=False)


def test_batch_threads_and_calls_of_a_profile_hold_on_machines_of_its_kind_only(settings: Settings) -> None:
    folder = find_card(settings.models_path, "tiny").path.parent
    sha256 = find_card(settings.models_path, "tiny").sha256
    tools = OnnxTools.of(settings)
    for way, batch in ((tools.way, 4), ("cpu of another kind", 1)):
        write_profile(folder, Profile(sha256=sha256, width=64, height=64, way=way, batch=batch, threads=1, calls=1))
        assert OnnxTools.of(settings).network("tiny").batch == batch


def test_a_profile_of_another_file_is_left_out_and_a_wrong_one_told(settings: Settings) -> None:
    folder = find_card(settings.models_path, "tiny").path.parent
    write_profile(folder, Profile(sha256="0" * 64, width=64, height=64))
    assert find_card(settings.models_path, "tiny").profile is None
    assert read_profile(folder) is not None
    (folder / "profile.yaml").write_text("width: many\n")
    with pytest.raises(InvalidModel, match=r"profile\.yaml\); tune the model again, or remove the file"):
        find_card(settings.models_path, "tiny")


def test_what_is_unbeaten_in_speed_agreement_and_memory_is_marked() -> None:
    def row(fps: float, score: float, mib: int) -> sweep.Row:
        setting = sweep.Setting("1", "fp32", 64, 64, rectangular=False, batch=1, threads=1, calls=1, chunks=1)
        return sweep.Row(setting, (64, 64), 10, fps, mib * 2**20, Agreement(10, {"f1": score}))

    reference, fast, slower, leaner, as_lean = (
        row(10, 1.0, 200),
        row(20, 0.98, 300),
        row(19, 0.98, 300),
        row(15, 0.98, 150),
        row(19, 0.98, 290),
    )
    rows = (reference, fast, slower, leaner, as_lean)
    tuned = sweep.Tuned(Any, rows, fast, Any, 1, "cpu", ())  # type: ignore[arg-type]
    assert [tuned.is_unbeaten(one) for one in rows] == [True, True, False, True, False]
