"""A card's decoder: what can be told without one, with one that is made of the CPU's, and what only one can tell."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import replace

import av
import numpy as np
import pytest

from cvpipe.errors import DeviceUnavailable
from cvpipe.frames import View
from cvpipe.settings import Settings
from cvpipe.video import Decoders, Limits, cards, hardware, reel
from cvpipe.video.decode import listen_for_errors
from cvpipe.video.exact import ExactFrames
from cvpipe.video.hardware import COMPLAINT, DIFFERENT, FAILURES, OPEN, SILENT, CardFailed, Refused, why_not
from cvpipe.video.nvdec import TRIAL, apart, is_same, try_out
from cvpipe.video.paint import Painter
from cvpipe.video.spawning import ForkServer
from tests.video.clips import make_clip, x264
from tests.video.corpus import KINDS, make_video
from tests.video.reading import different, read
from tests.video.test_damage import blank, of_another, packets_of


def planes(frame: av.VideoFrame) -> list[np.ndarray]:
    kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
    return [np.frombuffer(p, kind).reshape(p.height, -1)[:, : p.width] for p in frame.planes]


def together(frame: av.VideoFrame) -> av.VideoFrame:
    """A frame as a card hands it out: NV12, or P010 with its bits in the upper part."""
    bits = frame.format.components[0].bits
    made = frame.reformat(format="nv12" if bits == 8 else "p010le", threads=1)
    kind = np.uint16 if bits > 8 else np.uint8
    luma, first, second = (np.left_shift(plane, 6 if bits > 8 else 0) for plane in planes(frame))
    for plane, parts in zip(made.planes, ((luma,), (first, second)), strict=True):
        rows = np.frombuffer(plane, kind).reshape(plane.height, -1)
        for place, part in enumerate(parts):
            rows[: part.shape[0], place : len(parts) * part.shape[1] : len(parts)] = part
    return made


def noise(width: int, height: int, format: str) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, format)
    most = 1 << frame.format.components[0].bits
    kind = np.uint16 if most > 256 else np.uint8
    random = np.random.default_rng(0)
    for plane in frame.planes:
        np.frombuffer(plane, kind)[:] = random.integers(0, most, plane.buffer_size // np.dtype(kind).itemsize, kind)
    return frame


@pytest.mark.parametrize("format", ["yuv420p", "yuvj420p", "yuv420p10le"])
@pytest.mark.parametrize("size", [(64, 48), (854, 480), (853, 479), (2, 2)], ids=str)
def test_a_cards_picture_put_apart_is_the_cpus(format: str, size: tuple[int, int]) -> None:
    frame = noise(*size, format)
    frame.pts, frame.colorspace, frame.color_range = 7, 1, 2 if format == "yuvj420p" else 1
    made = apart(together(frame), format)
    assert is_same(made, frame)
    assert (made.pts, made.colorspace, made.color_range) == (7, 1, frame.color_range)
    views = [View.of(*size), View.of(*size, format="gray"), View.of(*size, format="rgb24").resized(32, 24)]
    for view in views:
        pictures = [np.zeros(view.shape, np.uint8) for _ in range(2)]
        for one, picture in zip((frame, made), pictures, strict=True):
            Painter(view, rotation=0, mirrored=False).paint(one, picture)
        assert np.array_equal(*pictures)


def test_pictures_of_another_kind_are_not_taken_for_a_cards() -> None:
    with pytest.raises(ValueError, match=r"wanted a picture that is yuv420p10le, got nv12"):
        apart(together(noise(64, 48, "yuv420p")), "yuv420p10le")
    one, other = noise(64, 48, "yuv420p"), noise(64, 48, "yuv420p")
    assert is_same(one, other)
    np.frombuffer(other.planes[2], np.uint8)[5] ^= 1
    assert not is_same(one, other)
    assert not is_same(one, noise(64, 46, "yuv420p"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("nvdec") / "open.mp4", options=x264("open-gop=1"))


@pytest.mark.parametrize(
    ("codec", "format", "reason"),
    [
        ("h264", "yuv420p", None),
        ("hevc", "yuv420p10le", None),
        ("vp9", "yuv420p", None),
        ("h264", "yuv420p10le", "h264 of yuv420p10le"),
        ("h264", "yuv422p", "h264 of yuv422p"),
        ("mpeg4", "yuv420p", "mpeg4"),
        ("av1", "yuv420p", "av1"),
    ],
)
def test_what_is_not_decoded_to_the_bit_stays_on_the_cpu(decoders, clip, codec, format, reason) -> None:
    facts = replace(decoders.index(clip).facts, codec=codec, pixel_format=format)
    assert why_not(facts) == reason


def test_a_file_with_a_second_video_or_no_times_stays_on_the_cpu(decoders, clip) -> None:
    facts = decoders.index(clip).facts
    assert why_not(replace(facts, streams=(*facts.streams, {"kind": "audio"}))) is None
    assert why_not(replace(facts, streams=(*facts.streams, {"kind": "video"}))) == "several video streams"
    assert why_not(replace(facts, timing="counted")) == "frames without times of their own"


def test_what_a_card_could_not_open_twice_is_not_tried_again(decoders, clip) -> None:
    facts, refused = decoders.index(clip).facts, Refused()
    refused.note(facts)
    assert facts not in refused
    refused.note(facts)
    assert facts in refused
    assert replace(facts, width=128) not in refused


class Stub:
    """A card made of the CPU's decoder. bad: the pts of the first picture that comes out wrong."""

    def __init__(self, bad: int | None = None, *, opens: bool = True) -> None:
        self._bad, self._opens = bad, opens
        self.pictures = 0

    def accel(self) -> None:
        if not self._opens:
            raise RuntimeError("no such card")

    def picture(self, frame: av.VideoFrame) -> av.VideoFrame:
        self.pictures += 1
        made = apart(together(frame), "yuv420p")
        if self._bad is not None and frame.pts is not None and frame.pts >= self._bad:
            np.frombuffer(made.planes[0], np.uint8)[0] ^= 1
        return made


@pytest.fixture
def listening():
    listen_for_errors()
    yield
    av.logging.set_level(None)
    logging.getLogger("libav").handlers.clear()


def frames_of(path, index, numbers, card=None):
    """Bytes of the frames, or None, and why the card was left."""
    keys = np.flatnonzero(index.keyframe)
    failures: list[CardFailed] = []
    with path.open("rb") as file:
        frames = ExactFrames(
            file.fileno(),
            Limits(),
            stream=0,
            numbers=list(numbers),
            pts=index.pts[numbers].tolist(),
            key_numbers=keys.tolist(),
            key_pts=index.pts[keys].tolist(),
            counted=False,
            alive=lambda: None,
            card=card,
            on_card_failed=failures.append,
        )
        found = [(at, None if f is None else [p.tobytes() for p in planes(f)], why) for at, f, why in frames]
    return found, [failure.place for failure in failures]


SELECTIONS = [range(60), range(5, 40), [3, 4, 30, 31, 59]]


@pytest.mark.parametrize("numbers", SELECTIONS, ids=["all", "a part", "some"])
def test_a_card_that_does_as_it_should_gives_the_cpus_frames(decoders, clip, listening, numbers) -> None:
    index, card = decoders.index(clip), Stub()
    expected, _ = frames_of(clip, index, numbers)
    assert frames_of(clip, index, numbers, card) == (expected, [])
    assert card.pictures >= len(numbers)


@pytest.mark.parametrize("numbers", SELECTIONS, ids=["all", "a part", "some"])
@pytest.mark.parametrize(
    ("card", "places"),
    [
        pytest.param(lambda _: Stub(opens=False), [OPEN], id="does not open"),
        pytest.param(lambda index: Stub(bad=int(index.pts[0])), [DIFFERENT], id="first picture wrong"),
    ],
)
def test_a_card_that_fails_leaves_all_to_the_cpu(decoders, clip, listening, numbers, card, places) -> None:
    index = decoders.index(clip)
    expected, _ = frames_of(clip, index, numbers)
    assert frames_of(clip, index, numbers, card(index)) == (expected, places)


def test_what_is_damaged_is_what_the_cpu_says_is(decoders, clip, listening, tmp_path) -> None:
    path = tmp_path / "damaged.mp4"
    path.write_bytes(clip.read_bytes())
    blank(path, *packets_of(clip)[27][:2])
    index = of_another(path, decoders.index(clip))
    expected, _ = frames_of(path, index, range(60))
    assert any(frame is None or why is not None for _, frame, why in expected)
    assert not all(frame is None or why is not None for _, frame, why in expected)
    assert frames_of(path, index, range(60), Stub()) == (expected, [COMPLAINT])


def test_a_picture_that_a_card_does_not_give_the_cpu_is_asked_for(decoders, clip, listening, monkeypatch) -> None:
    index = decoders.index(clip)
    expected, _ = frames_of(clip, index, range(60))
    decode, lost = reel.decode, int(index.pts[20])
    monkeypatch.setattr(reel, "decode", lambda *a: ([f for f in decode(*a)[0] if f.pts != lost], None))
    with_card = Stub()
    original = with_card.picture

    def picture(frame):
        assert frame.pts != lost
        return original(frame)

    with_card.picture = picture
    monkeypatch.setattr(
        reel.Reel,
        "leave_card",
        lambda self, failure: (monkeypatch.setattr(reel, "decode", decode), leave(self, failure)),
    )
    assert frames_of(clip, index, range(60), with_card) == (expected, [SILENT])


leave = reel.Reel.leave_card


def test_nvdec_that_is_not_there_is_refused_and_auto_goes_without(clip, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(hardware, "_CONTROL", tmp_path / "nvidiactl")
    with pytest.raises(DeviceUnavailable, match=r"decode=nvdec was asked for, but there is no .*nvidiactl"):
        Decoders(decode="nvdec")
    with Decoders.of(Settings(decode="auto")) as auto:
        assert not auto.is_on_card
        index = auto.index(clip)
        assert len(read(auto, clip, index, [0, 1])) == 2
        assert (auto.decoded(), auto.take_decoded()) == ({"cpu": 2}, {})


@pytest.fixture(scope="module")
def driverless():
    """The fork-server of decoders that may use a card, on a machine whose driver is not whole, or that has none."""
    server = ForkServer(card=True)
    yield cards.CardServer(0, server)
    server.close()


def test_a_driver_that_is_not_whole_is_told(driverless, monkeypatch, tmp_path) -> None:
    if not driverless.server.lacks:
        pytest.skip("the driver is whole here")
    assert "libcuda.so.1" in str(driverless.try_out(Limits()))
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(hardware, "_CONTROL", tmp_path / "nvidiactl")
    with pytest.raises(DeviceUnavailable, match=r"the driver is not whole: libcuda\.so\.1"):
        Decoders(decode="nvdec")


def on_card(driverless, decoders) -> Decoders:
    """Decoders that ask a card, where there is none."""
    made = Decoders(limits=Limits(timeout_seconds=20))
    made._card = cards.CardServer(0, driverless.server)
    return made


def test_a_card_that_fails_in_its_own_process_is_counted_and_changes_nothing(driverless, decoders, clip) -> None:
    """The decoder is in the wider sandbox, and FFmpeg finds no driver there: the CPU goes on in the same process."""
    if hardware.no_driver() is None:
        pytest.skip("there is a card here")
    index = decoders.index(clip)
    expected = read(decoders, clip, index)
    asked = on_card(driverless, decoders)
    try:
        assert different(read(asked, clip, index), expected) == []
        assert asked.decoded() == {"cpu": 60}
        assert asked.take_decoded() == {f"cpu: {FAILURES[OPEN]}": 60}
        assert asked.take_decoded() == {}
        other = replace(index.facts, codec="mpeg4")
        assert asked._chosen(other) == ("cpu", "mpeg4")
    finally:
        asked._server.close()


def test_the_trial_says_what_is_missing(listening) -> None:
    if hardware.no_driver() is None:
        pytest.skip("there is a card here")
    with pytest.raises(CardFailed) as caught:
        try_out(0)
    assert caught.value.place == OPEN
    context = av.CodecContext.create("h264", "r")
    frames = [*context.decode(av.Packet(TRIAL)), *context.decode(None)]
    assert [(f.width, f.height, f.format.name) for f in frames] == [(128, 96, "yuv420p")]


# What CUDA's driver was seen to do before it starts, by those who have confined it elsewhere:
# https://github.com/NVIDIA/OpenShell/issues/1486, https://github.com/NVIDIA/OpenShell/issues/1696
TRIALS = r"""
import ctypes, encodings.idna, json, mmap, os, socket, sys, threading
sys.path[:] = {path!r}
from cvpipe.video import sandbox
from cvpipe.video.limits import Limits
done = sandbox.confine(card=True)
own = sandbox.for_card()
sandbox.for_card = lambda: own + [({device!r}, sandbox._READ_FILE | sandbox._WRITE_FILE | sandbox._CONTROL_DEVICE)]
sandbox.close_in(Limits(memory_bytes=2**28), shared_bytes=0, filtered="few-system-calls" in done, card=True)
def trial(do):
    try:
        do()
    except (OSError, RuntimeError, MemoryError) as error:
        return repr(error)
    return 0
def reserve(size, kind):
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | 0x4020, prot=kind)
    memory.close()
def name_thread():
    with open(f"/proc/self/task/{{threading.get_native_id()}}/comm", "w") as comm:
        comm.write("cuda")
NAME = f"\0cuda-uvmfd-{{os.getpid()}}"
listener = None
def listen():
    global listener
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.setblocking(False)
    listener.bind(NAME)
    listener.listen()
allowed = {{
    "open a device": lambda: os.open({device!r}, os.O_RDWR),
    "read of itself": lambda: open("/proc/self/maps").read(),
    "read of the machine": lambda: os.listdir("/sys/devices/system/cpu"),
    "start a thread": lambda: threading.Thread(target=int).start(),
    "reserve address space": lambda: reserve(2**36, 0),
    "name a thread": name_thread,
    "read of memory": lambda: open("/proc/sys/vm/mmap_min_addr").read(),
    "make a file in memory": lambda: os.ftruncate(os.memfd_create("driver"), 2**20),
    "listen under a name of its own": listen,
}}
forbidden = {{
    "read a file": lambda: os.open({file!r}, os.O_RDONLY),
    "write a file": lambda: os.open({file!r} + ".new", os.O_WRONLY | os.O_CREAT),
    "read of another process": lambda: os.open("/proc/1/maps", os.O_RDONLY),
    "start a process": lambda: os._exit(0) if os.fork() == 0 else None,
    "run a program": lambda: os.execv("/bin/true", ["true"]),
    "make a socket": lambda: socket.socket(socket.AF_UNIX),
    "make a datagram socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    "reach who listens": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(NAME),
    "let somebody in": lambda: listener.accept(),
    "make a large file in memory": lambda: os.ftruncate(os.memfd_create("driver"), 2**30),
    "reach the network": lambda: socket.create_connection(("127.0.0.1", 9)),
    "trace a process": lambda: ctypes.CDLL(None, use_errno=True).ptrace(0, 0, 0, 0) == -1 and os.kill(os.getppid(), 0),
    "take more memory": lambda: bytearray(2**32),
}}
print(json.dumps([done, {{n: trial(f) for n, f in allowed.items()}}, {{n: trial(f) for n, f in forbidden.items()}}]))
"""


def test_the_wider_sandbox_opens_devices_and_still_neither_files_nor_network(tmp_path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "device").touch()
    code = TRIALS.format(
        path=[entry for entry in sys.path if entry], file=str(tmp_path / "secret"), device=str(tmp_path / "device")
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    done, allowed, forbidden = json.loads(run.stdout)
    if not {"no-files", "few-system-calls"} <= set(done):
        pytest.skip("this kernel has no Landlock or takes no filter")
    assert "empty-root" not in done
    assert allowed == dict.fromkeys(allowed, 0)
    assert [what for what, failed in forbidden.items() if not failed] == []
    assert all(forbidden[what].startswith("PermissionError") for what in ("reach who listens", "let somebody in"))


SUITED = [name for name, made in KINDS.items() if "libx264" in made or "libx265" in made or "libvpx" in made]


@pytest.mark.gpu
@pytest.mark.parametrize("name", SUITED)
def test_nvdec_gives_the_cpus_frames_to_the_bit(name, tmp_path, decoders) -> None:
    """Tolerance 0. What the card, or cvpipe, leaves to the CPU is told in `take_decoded`, and equal too."""
    path = make_video(tmp_path, name)
    index = decoders.index(path)
    expected = read(decoders, path, index)
    with Decoders(decode="nvdec") as on_card:
        assert different(read(on_card, path, index), expected) == []
        assert different(read(on_card, path, index, range(7, 40)), expected) == []
        told = on_card.take_decoded()
    assert sum(told.values()) == len(index) + 33
    print(name, told)


@pytest.mark.gpu
@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9"])
def test_nvdec_really_decodes_what_suits_it(codec, tmp_path, decoders) -> None:
    names = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9"}
    path = make_clip(tmp_path / "clip.mkv", codec=names[codec], size=(320, 256), frames=30)
    index = decoders.index(path)
    expected = read(decoders, path, index)
    with Decoders(decode="nvdec") as on_card:
        assert different(read(on_card, path, index), expected) == []
        assert on_card.decoded() == {"nvdec": 30}
