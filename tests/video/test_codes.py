"""Every code that a video can be refused with, provoked by a real file."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from cvpipe import errors
from cvpipe.errors import DecoderCrashed, FrameDamaged, InputChanged, PixelFormatUnsupported, VideoError
from cvpipe.frames import View
from cvpipe.video import Decoders, Limits, Video
from cvpipe.video.scan import _check_frame
from tests.video.reading import children, eventually

SOURCE = "testsrc2=size=96x64:rate=25:duration=1"
KEY = "76a6c65c5ea762046bd749a2e632ccbb"


def ffmpeg(path: Path, options: str, source: str = SOURCE) -> Path:
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, *options.split(), str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def text(folder: Path) -> Path:
    return written(folder / "notes.mp4", b"not a video\n" * 100)


def cut_before_tables(folder: Path) -> Path:
    whole = ffmpeg(folder / "whole.mp4", "-c:v libx264")
    return written(folder / "cut.mp4", whole.read_bytes()[:3000])


def cut_before_pictures(folder: Path) -> Path:
    whole = ffmpeg(folder / "whole.mp4", "-c:v libx264 -movflags +faststart")
    data = whole.read_bytes()
    return written(folder / "cut.mp4", data[: data.index(b"mdat") + 4])


def sound(folder: Path) -> Path:
    return ffmpeg(folder / "sound.mp4", "-c:a aac", "sine=duration=0.2")


def playlist(folder: Path) -> Path:
    return written(folder / "list.mp4", b"ffconcat version 1.0\nfile a.mp4\n")


def raw(folder: Path) -> Path:
    return ffmpeg(folder / "raw.avi", "-c:v rawvideo -frames:v 2")


def plain(folder: Path) -> Path:
    return ffmpeg(folder / "plain.mp4", "-c:v libx264")


def streams(folder: Path) -> Path:
    return ffmpeg(folder / "streams.mkv", f"{'-map 0:v ' * 65} -c:v mjpeg -frames:v 1")


def wide(folder: Path) -> Path:
    return ffmpeg(folder / "wide.avi", "-c:v mjpeg -pix_fmt yuvj420p -frames:v 1", "color=size=16400x16")


def no_size(folder: Path) -> Path:
    data = bytearray(ffmpeg(folder / "sized.avi", "-c:v ffv1 -level 3 -frames:v 2").read_bytes())
    at = data.index(b"strf") + 12  # width and height of BITMAPINFOHEADER
    data[at : at + 8] = bytes(8)
    return written(folder / "no-size.avi", bytes(data))


def encrypted_mp4(folder: Path) -> Path:
    keys = f"-encryption_scheme cenc-aes-ctr -encryption_key {KEY} -encryption_kid {KEY}"
    return ffmpeg(folder / "encrypted.mp4", f"-c:v libx264 {keys}")


def encrypted_mkv(folder: Path) -> Path:
    encryption = element(0x5035, element(0x47E1, b"\5") + element(0x47E2, b"0123456789abcdef"))
    encoding = element(0x6240, element(0x5031, b"\0") + element(0x5032, b"\1") + element(0x5033, b"\1") + encryption)
    video = element(0xE0, element(0xB0, b"\x60") + element(0xBA, b"\x40"))
    track = element(0xD7, b"\1") + element(0x73C5, b"\1") + element(0x83, b"\1") + element(0x86, b"V_VP8")
    tracks = element(0x1654AE6B, element(0xAE, track + video + element(0x6D80, encoding)))
    noise = np.random.default_rng(1).bytes(900)
    blocks = b"".join(element(0xA3, b"\x81" + struct.pack(">hB", n * 40, 0x80) + noise) for n in range(5))
    clusters = element(0x1F43B675, element(0xE7, b"\0") + blocks)
    body = element(0x1549A966, element(0x2AD7B1, b"\x0f\x42\x40")) + tracks + clusters
    head = element(0x1A45DFA3, element(0x4282, b"webm") + element(0x4287, b"\2") + element(0x4285, b"\2"))
    return written(folder / "encrypted.webm", head + element(0x18538067, body))


def element(kind: int, content: bytes) -> bytes:
    """An EBML element with a length of eight bytes."""
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + struct.pack(">Q", len(content) | 1 << 56) + content


def scrambled_ts(folder: Path) -> Path:
    """As pay television sends it: payloads are noise, and the bits of transport_scrambling_control are set."""
    data = bytearray(ffmpeg(folder / "clear.ts", "-c:v libx264").read_bytes())
    random = np.random.default_rng(1)
    for at in range(0, len(data), 188):
        if (data[at + 1] & 0x1F) << 8 | data[at + 2] == 0x100 and data[at + 3] & 0x10:
            start = at + 4 + (data[at + 4] + 1 if data[at + 3] & 0x20 else 0)
            data[start : at + 188] = random.bytes(at + 188 - start)
            data[at + 3] |= 0x80
    return written(folder / "scrambled.ts", bytes(data))


def slow(folder: Path) -> Path:
    return ffmpeg(folder / "slow.mkv", "-c:v ffv1 -frames:v 2", "nullsrc=size=3840x2160,noise=alls=100:allf=t")


@dataclass(frozen=True)
class Case:
    """A file, the limits it is read with, the code it must end with, and words of the message."""

    code: str
    make: Callable[[Path], Path]
    words: str
    limits: dict[str, Any] = field(default_factory=dict)


CASES = {
    "text": Case("media_unreadable", text, "not a video"),
    "cut off before its tables": Case("media_truncated", cut_before_tables, "send the whole file"),
    "cut off before its pictures": Case("media_truncated", cut_before_pictures, "send the whole file"),
    "sound": Case("no_video_stream", sound, "no video stream"),
    "playlist": Case("format_not_allowed", playlist, "convert it to MP4"),
    "raw pictures": Case("codec_not_allowed", raw, "rawvideo.*encode it anew"),
    "large pictures": Case("too_many_pixels", plain, "96x64 is more than 6143", {"max_pixels": 96 * 64 - 1}),
    "many streams": Case("too_many_streams", streams, "more than 64 streams"),
    "a long side": Case("bad_dimensions", wide, "16400x16.*16384"),
    "no size": Case("bad_dimensions", no_size, "how large"),
    "encrypted MP4": Case("encrypted", encrypted_mp4, "decrypt"),
    "encrypted WebM": Case("encrypted", encrypted_mkv, "decrypt"),
    "scrambled MPEG-TS": Case("encrypted", scrambled_ts, "decrypt"),
    "many frames": Case("too_many_frames", plain, "more than 24 frames", {"max_frames": 24}),
    "silence": Case("decode_timeout", slow, "said nothing", {"timeout_seconds": 0.01}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_wrong_with_a_file_has_a_code_and_a_message(tmp_path, case):
    path = case.make(tmp_path)
    with Decoders(limits=Limits(**{"timeout_seconds": 20, **case.limits})) as decoders:
        with pytest.raises(VideoError, match=case.words) as caught:
            decoders.index(path)
        assert caught.value.code == case.code


def test_a_picture_that_takes_too_much_memory_is_refused(tmp_path):
    path = ffmpeg(tmp_path / "large.mkv", "-c:v ffv1 -frames:v 1", "color=size=2048x2048")
    with Decoders(limits=Limits(memory_bytes=48 * 2**20)) as decoders, pytest.raises(VideoError) as caught:
        decoders.index(path)
    # A process without memory can't always say so: it may end by a signal.
    assert caught.value.code in ("too_much_memory", "decoder_crashed")


def test_a_decoder_that_is_killed_while_it_indexes_has_crashed(tmp_path):
    # Its index takes decoding all of it.
    path = ffmpeg(tmp_path / "long.avi", "-c:v libx264 -preset ultrafast -bf 2", "testsrc2=size=640x360:duration=30")

    def kill() -> None:
        assert eventually(lambda: children(decoders.server_pid))
        os.kill(children(decoders.server_pid)[0], signal.SIGKILL)

    with Decoders() as decoders:
        decoders.protection  # noqa: B018 - the server is started, and has no child yet
        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(DecoderCrashed, match="SIGKILL"):
            decoders.index(path)
        killer.join()


def test_a_file_of_another_size_than_its_index_says_has_changed(tmp_path, decoders):
    path = plain(tmp_path)
    index = decoders.index(path)
    with path.open("ab") as file:
        file.write(b"\0" * 10)
    with pytest.raises(InputChanged, match="index it again"), decoders.read(path, index, [0], [View.of(96, 64)]) as it:
        next(it)


def test_a_damaged_frame_has_a_code_of_its_own(tmp_path, decoders):
    path = ffmpeg(tmp_path / "damaged.avi", "-c:v mjpeg -pix_fmt yuvj420p")
    with av.open(str(path)) as container:
        place, size = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][5]
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\0" * size)
    video = Video(path, decoders=decoders)
    assert video[4].image.shape == (64, 96, 3)
    with pytest.raises(FrameDamaged, match=r"frame 5 \(0\.2 s\)") as caught:
        video[5].image  # noqa: B018 - it is asked for
    assert caught.value.code == "frame_damaged"


def test_bits_of_scrambling_alone_make_no_video_unreadable(tmp_path, decoders):
    # Some recorders decrypt and leave the bits as they were.
    data = bytearray(ffmpeg(tmp_path / "clear.ts", "-c:v libx264").read_bytes())
    for at in range(0, len(data), 188):
        if (data[at + 1] & 0x1F) << 8 | data[at + 2] == 0x100:
            data[at + 3] |= 0x80
    assert len(decoders.index(written(tmp_path / "bits.ts", bytes(data)))) == 25


def test_pictures_that_can_not_be_converted_are_refused():
    # FFmpeg reads more pixel formats than it converts, but none of the codecs allowed makes one of those.
    with pytest.raises(PixelFormatUnsupported, match="bgr4.*encode it anew"):
        _check_frame(av.VideoFrame(16, 16, "bgr4"), Limits())


def test_no_code_of_a_video_is_without_a_test():
    here = Path(__file__).read_text()
    elsewhere = {"video_error"}
    for cls in vars(errors).values():
        if isinstance(cls, type) and issubclass(cls, VideoError) and cls.code not in elsewhere:
            assert f'"{cls.code}"' in here or cls.__name__ in here, cls.code
