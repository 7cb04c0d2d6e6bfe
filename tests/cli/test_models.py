"""`cvpipe models add | show | check | bench | rm | tune | quantize`, as a user types them."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest
import yaml

from cvpipe.inference import OnnxTools
from tests.cli.conftest import Cvpipe
from tests.modelcards import write_card
from tests.modelfiles.networks import write, yolox
from tests.tuning.conftest import embedder


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("CVPIPE_MODELS_DIR", str(folder))
    monkeypatch.setenv("CVPIPE_DEVICE", "cpu")
    return folder


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """An ONNX file in YOLOX's layout, of three classes."""
    return write(tmp_path / "net.onnx", yolox())


@pytest.fixture
def tiny(models: Path) -> Path:
    """A card `tiny@1` of a small embedding network."""
    return write_card(models, embedder(), family="embedding", task="embedding", labels=[])


def test_a_file_is_added_and_what_was_done_is_told(cvpipe: Cvpipe, models: Path, net: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n\nbird\n")
    done = cvpipe("models", "add", net, "--labels", tmp_path / "labels.txt", "--score", "0.3", "--licence", "MIT")
    assert (done.code, done.err) == (0, "")
    first, family, *notes = done.out.splitlines()
    assert first == f"net@1 added: {models / 'net' / '1'}"
    assert family.startswith("  family: yolox (detection): one output of 84 rows")
    assert "  batch: made free; a batch gives what single pictures give, bit for bit" in notes
    assert notes[-1].startswith("  trial: ")
    card = yaml.safe_load((models / "net" / "1" / "model.yaml").read_text())
    assert (card["labels"], card["score_threshold"], card["licence"]) == (["cat", "dog", "bird"], 0.3, "MIT")


def test_names_may_be_many_words_or_a_file_with_a_mark_at_its_beginning(
    cvpipe: Cvpipe, models: Path, tmp_path: Path
) -> None:
    """256 characters are too many for the name of a file."""
    net = write(tmp_path / "net.onnx", yolox(80))
    names = [f"class number {i}" for i in range(80)]
    words = cvpipe("models", "add", net, "--labels", ",".join(names), "--json")
    (tmp_path / "labels.txt").write_text("\n".join(names), encoding="utf-8-sig")
    lines = cvpipe("models", "add", net, "--labels", tmp_path / "labels.txt", "--json")
    assert words.json["model"]["labels"] == lines.json["model"]["labels"] == names
    (tmp_path / "labels.txt").write_bytes(b"caf\xe9")
    latin = cvpipe("models", "add", net, "--labels", tmp_path / "labels.txt")
    assert (latin.code, "is no text in UTF-8" in latin.err) == (2, True)


def test_a_model_is_told_before_a_picture_that_can_not_be_shown(cvpipe: Cvpipe, models: Path, net: Path) -> None:
    done = cvpipe("models", "add", net, "--image", net)
    assert (done.code, done.out.splitlines()[0]) == (2, f"net@1 added: {models / 'net' / '1'}")
    assert "is no picture that can be read" in done.err


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_what_has_no_end_is_not_read(cvpipe: Cvpipe, tmp_path: Path, models: Path, kind: str) -> None:
    path = Path("/dev/zero") if kind == "device" else tmp_path / "pipe"
    if kind == "pipe":
        os.mkfifo(path)
    done = cvpipe("models", "add", path)
    assert (done.code, done.err) == (2, f"error: file: {path} is no regular file\n")


def test_the_picture_shows_what_a_model_finds(cvpipe: Cvpipe, models: Path, net: Path, clip: Path) -> None:
    picture = clip.with_name("seen.png")
    done = cvpipe("models", "add", net, "--video", f"{clip}:7", "--out", picture, "--score", "0", "--json")
    assert done.code == 0
    record = done.json["seen"]["record"]
    assert (record["frame"], record["time"]) == (7, pytest.approx(7 / 10))
    assert (done.json["new"], done.json["seen"]["picture"]) == (True, str(picture))
    assert cv2.imread(str(picture)).shape[1] >= 96
    again = cvpipe("models", "add", net, "--image", picture, "--out", picture, "--score", "0", "--json")
    assert (again.json["new"], again.json["model"]["version"]) == (False, "1")


@pytest.mark.parametrize(
    ("words", "field", "said"),
    [
        (["--resize", "squash"], "--resize", "letterbox"),
        (["--score", "7"], "--score", "less than or equal to 1"),
        (["--option", "strides"], "--option", "wanted NAME=VALUE, not 'strides'"),
        (["--family", "yolo"], "--family", "there is no family 'yolo'; did you mean 'yolox'?"),
        (["--labels", "cat,dog"], "--labels", "as yolox, this network tells 3 classes apart, and 2 labels came"),
        (["--labels", "cats"], "--labels", "as yolox, this network tells 3 classes apart, and one label ('cats') came"),
        (["--labels", "none.txt"], "--labels", "can't read none.txt: No such file or directory"),
        (["--labels", "/etc"], "--labels", "can't read /etc: Is a directory"),
        (["--input-size", "32x64"], "--input-size", "the network's width is 64; it can't be 32"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(
    cvpipe: Cvpipe, models: Path, net: Path, words: list[str], field: str, said: str
) -> None:
    done = cvpipe("models", "add", net, *words)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert done.err.startswith(f"error: {field}: ")
    assert said in done.err
    assert not list(models.glob("net/*"))


def test_what_is_no_onnx_file_is_refused_with_a_code(cvpipe: Cvpipe, models: Path, clip: Path) -> None:
    done = cvpipe("models", "add", clip, "--json")
    assert (done.code, done.problem["type"]) == (2, "model_unreadable")
    missing = cvpipe("models", "add", clip.with_name("none.onnx"))
    assert (missing.code, len(missing.err.splitlines())) == (2, 1)
    assert "none.onnx" in missing.err


def test_a_check_names_what_is_wrong(cvpipe: Cvpipe, models: Path, tiny: Path) -> None:
    done = cvpipe("models", "check", "tiny")
    assert done.code == 0
    assert [line.split()[:2] for line in done.out.splitlines()[1:3]] == [["card", "ok"], ["sha256", "ok"]]
    assert {step["ok"] for step in cvpipe("models", "check", "tiny@1", "--json").json["steps"]} == {True}
    file = models / "tiny" / "tiny.onnx"
    file.write_bytes(file.read_bytes()[:-40])
    spoilt = cvpipe("models", "check", "tiny", "--json")
    assert (spoilt.code, spoilt.json["ok"]) == (1, False)
    assert [step["what"] for step in spoilt.json["steps"] if not step["ok"]]
    unknown = cvpipe("models", "check", "tinny")
    assert (unknown.code, "did you mean 'tiny'?" in unknown.err) == (2, True)


def test_rates_are_told_for_batches_and_calls(cvpipe: Cvpipe, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVPIPE_THREADS", "2")
    document = cvpipe("models", "bench", "tiny", "--seconds", "0.1", "--json").json
    assert (document["model"], document["device"]) == ("tiny@1", "cpu")
    assert [(row["calls"], row["batch"]) for row in document["rates"]] == [
        (1, 1), (1, 4), (1, 16), (2, 1), (2, 4), (2, 16),
    ]  # fmt: skip
    assert all(row["pictures_per_second"] > 0 for row in document["rates"])


def test_what_was_measured_of_a_model_here_is_shown_with_it(
    cvpipe: Cvpipe, models: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVPIPE_DATA_DIR", str(tmp_path / "data"))
    assert cvpipe("models", "show", "tiny", "--json").json["measured"] == {}
    tools = OnnxTools(models, "cpu", data_path=tmp_path / "data", threads=2)
    tools._cores = 2
    tools.network("tiny")
    ((way, measured),) = yaml.safe_load(cvpipe("models", "show", "tiny").out)["measured"].items()
    assert (way, set(measured)) == (tools.way, {"bytes", "threads", "calls", "rates"})
    assert set(measured["rates"]) == {"1x2", "2x1"}


def test_versions_are_removed_one_by_one_or_together(cvpipe: Cvpipe, models: Path, net: Path, tmp_path: Path) -> None:
    cvpipe("models", "add", net)
    cvpipe("models", "add", write(tmp_path / "net.onnx", yolox(4)))
    assert cvpipe("models", "rm", "net@1").out == "net@1 removed\n"
    assert [card["name"] for card in cvpipe("models", "ls", "--json").json] == ["drawn-street", "net"]
    assert cvpipe("models", "rm", "net", "--json").json == {"removed": ["net@2"]}
    gone = cvpipe("models", "rm", "net")
    assert (gone.code, len(gone.err.splitlines())) == (2, 1)
    assert cvpipe("models", "rm", "drawn-street").code != 0
    folder = models / "wrong" / "1"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text("name: [")
    assert "error: can't read the model card" in cvpipe("models", "rm", "wrong").err


def test_the_tuned_profile_is_saved_and_drawn(cvpipe: Cvpipe, models: Path, tiny: Path, clip: Path) -> None:
    plot = clip.with_name("tuned.png")
    done = cvpipe("models", "tune", "tiny", "--video", clip, "--seconds", "0.5", "--sizes-only", "--plot", plot)
    assert done.code == 0
    assert "AGREEMENT" in done.out
    assert done.out.splitlines()[-1] == f"profile: {tiny.with_name('profile.yaml')}; picture: {plot}"
    assert cv2.imread(str(plot)).shape == (600, 960, 3)
    profile = yaml.safe_load(tiny.with_name("profile.yaml").read_text())
    assert profile["measured"]["agreement"] >= 0.97


def test_without_a_video_there_is_nothing_to_tune_with(cvpipe: Cvpipe, tiny: Path, clip: Path) -> None:
    missing = clip.with_name("none.mp4")
    done = cvpipe("models", "tune", "tiny", "--video", missing)
    assert (done.code, done.err.splitlines()[-1]) == (2, f"error: --video: no video file {str(missing)!r}")


def test_what_can_not_be_kept_is_told_before_the_minutes_are_spent(cvpipe: Cvpipe, tiny: Path, clip: Path) -> None:
    plot = clip.with_name("none") / "tuned.png"
    done = cvpipe("models", "tune", "tiny", "--video", clip, "--plot", plot)
    assert (done.code, done.err) == (2, f"error: --plot: can't write {plot}\n")
    done = cvpipe("models", "tune", "tiny", "--video", clip, "--plot", clip.parent)
    assert (done.code, done.err) == (2, f"error: --plot: {clip.parent} is a folder; name a file\n")
    done = cvpipe("models", "tune", "drawn-street", "--video", clip)
    assert (done.code, len(done.err.splitlines())) == (4, 1)
    done = cvpipe("models", "tune", "tiny", "--video", clip, "--from", "500")
    assert (done.code, "error: --from: the video ends at" in done.err) == (2, True)


def test_an_int8_version_is_made_or_refused_with_the_figures(
    cvpipe: Cvpipe, models: Path, tiny: Path, clip: Path
) -> None:
    words = ("models", "quantize", "tiny", "--video", clip, "--frames", "8")
    refused = cvpipe(*words, "--max-loss", "0", "--json")
    assert refused.code == 2
    assert "model_loses_too_much" in refused.err
    made = cvpipe(*words, "--max-loss", "0.05")
    assert made.code == 0
    assert made.out.splitlines()[0] == f"tiny@1-int8 made: {models / 'tiny' / '1-int8'}"
    assert "all operators: loses 0.0" in made.out
    assert cvpipe(*words, "--max-loss", "0.05", "--json").json["new"] is False
