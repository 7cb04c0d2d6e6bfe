"""Files that tell their reader to open others, or to call somebody: they open nothing and reach nobody.

The file they ask for is watched with inotify, the address with a listening socket, all calls with strace.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from cvpipe.errors import VideoError
from cvpipe.sources import path as path_source
from cvpipe.sources.upload import Incoming
from cvpipe.video import Decoders
from tests.fuzz.structure import blocks
from tests.video.clips import make_clip, x264

_IN_ACCESS, _IN_OPEN = 0x1, 0x20
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Bait:
    """A video that somebody else owns, and a server in the inner network."""

    file: Path
    port: int
    _watch: int
    _server: socket.socket

    def was_touched(self) -> list[str]:
        """What has happened to it since last asked."""
        happened = []
        with contextlib.suppress(BlockingIOError):
            os.read(self._watch, 65536)
            happened.append("it or its folder was opened")
        with contextlib.suppress(BlockingIOError):
            self._server.accept()[0].close()
            happened.append("the server was called")
        return happened


@pytest.fixture(scope="module")
def bait(tmp_path_factory) -> Iterator[Bait]:
    file = make_clip(tmp_path_factory.mktemp("bait") / "secret.mp4", options=x264(), frames=10)
    watch = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert watch >= 0
    for watched in (file, file.parent):
        assert _libc.inotify_add_watch(watch, bytes(watched), _IN_OPEN | _IN_ACCESS) > 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield Bait(file, server.getsockname()[1], watch, server)
    os.close(watch)


def ffconcat(bait: Bait) -> bytes:
    return f"ffconcat version 1.0\nfile '{bait.file}'\nfile 'http://127.0.0.1:{bait.port}/a.mp4'\n".encode()


def hls(bait: Bait) -> bytes:
    return (
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:10\n#EXT-X-MEDIA-SEQUENCE:0\n"
        f'#EXT-X-KEY:METHOD=AES-128,URI="http://127.0.0.1:{bait.port}/key"\n#EXT-X-MAP:URI="{bait.file}"\n'
        f"#EXTINF:10.0,\n{bait.file}\n#EXTINF:10.0,\nhttp://127.0.0.1:{bait.port}/a.ts\n#EXT-X-ENDLIST\n"
    ).encode()


def hls_master(bait: Bait) -> bytes:
    lines = (f"#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}" for url in (bait.file, f"concat:{bait.file}|{bait.file}"))
    return "\n".join(("#EXTM3U", *lines, "")).encode()


def dash(bait: Bait) -> bytes:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT10S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
        '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1" codecs="avc1.4d401f">'
        f"<BaseURL>{bait.file}</BaseURL></Representation><Representation id='2' bandwidth='1'>"
        f"<BaseURL>http://127.0.0.1:{bait.port}/a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>"
    ).encode()


def sdp(bait: Bait) -> bytes:
    return (
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"a=control:rtsp://127.0.0.1:{bait.port}/\r\nm=video {bait.port} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    ).encode()


def rtsp_redirect(bait: Bait) -> bytes:
    return f"RTSPtext\r\nrtsp://127.0.0.1:{bait.port}/a\r\n".encode()


def xspf(bait: Bait) -> bytes:
    tracks = f"<track><location>file://{bait.file}</location></track>" * 2
    head = '<?xml version="1.0" encoding="UTF-8"?><playlist version="1" xmlns="http://xspf.org/ns/0/">'
    return f"{head}<trackList>{tracks}</trackList></playlist>".encode()


def pls(bait: Bait) -> bytes:
    return f"[playlist]\nFile1={bait.file}\nFile2=http://127.0.0.1:{bait.port}/a\nNumberOfEntries=2\n".encode()


def asx(bait: Bait) -> bytes:
    return f'<ASX version="3.0"><entry><ref href="http://127.0.0.1:{bait.port}/a"/></entry></ASX>'.encode()


def imf(bait: Bait) -> bytes:
    return (
        '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">'
        f"<Id>urn:uuid:0</Id><AssetMap>{bait.file}</AssetMap></CompositionPlaylist>"
    ).encode()


def vobsub(bait: Bait) -> bytes:
    stamp = "timestamp: 00:00:00:001, filepos: 000000000\n"
    return f"# VobSub index file, v7 (do not modify this line!)\nlangidx: 0\nid: en, index: 0\n{stamp}".encode()


def image(_bait: Bait) -> bytes:
    return bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489") + bytes(200)


def subfile_text(bait: Bait) -> bytes:
    return f"subfile,,start,0,end,9999,,:{bait.file}\n".encode()


def _with_reference(bait: Bait, kind: bytes) -> bytes:
    """A good mp4 whose data are said to lie in another file."""
    data = make_clip(bait.file.parent.parent / f"plain-{kind.hex()}.mov", options=x264(), frames=10).read_bytes()
    name = bytes(bait.file) if kind == b"alis" else f"http://127.0.0.1:{bait.port}/a.mov".encode()
    if kind == b"alis":
        body = bytes(10) + b"\1v" + bytes(26) + bytes(12) + b"\1s" + bytes(62) + bytes(16)
        body += struct.pack(">hh", 0, 0) + bytes(16) + struct.pack(">hh", 2, len(name)) + name + bytes(len(name) % 2)
        body += struct.pack(">hh", -1, 0)
    else:
        body = name + b"\0"
    entry = struct.pack(">I4sI", 12 + len(body), kind, 0) + body
    made = bytearray(data)
    (dref,) = (block for block in blocks(data) if data[block.start + 4 : block.start + 8] == b"dref")
    new = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    for block in blocks(data):
        if block.start <= dref.start and dref.stop <= block.stop and block != dref:
            size = block.stop - block.start + len(new) - (dref.stop - dref.start)
            struct.pack_into(">I", made, block.field, size)
    made[dref.start : dref.stop] = new
    return bytes(made)


def mov_alias(bait: Bait) -> bytes:
    return _with_reference(bait, b"alis")


def mov_url(bait: Bait) -> bytes:
    return _with_reference(bait, b"url ")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _list(kind: bytes, *chunks: bytes) -> bytes:
    return _chunk(b"LIST", kind + b"".join(chunks))


def avi_subtitle(bait: Bait) -> bytes:
    """An AVI whose subtitles, a file inside the file, are an HLS list."""

    def stream(kind: bytes, handler: bytes, form: bytes) -> bytes:
        head = struct.pack("<4s4sIHHIIIIIIIIHHHH", kind, handler, 0, 0, 0, 0, 1, 25, 0, 10, 4096, 0, 0, 0, 0, 96, 64)
        return _list(b"strl", _chunk(b"strh", head), _chunk(b"strf", form))

    picture = struct.pack("<IiiHH4sIiiII", 40, 96, 64, 1, 24, b"MJPG", 96 * 64 * 3, 0, 0, 0, 0)
    header = struct.pack("<14I", 40000, 0, 0, 16, 10, 0, 2, 4096, 96, 64, 0, 0, 0, 0)
    playlist = hls(bait)
    subtitle = b"GAB2\0" + struct.pack("<HI", 2, 2) + b"x\0" + struct.pack("<HI", 4, len(playlist)) + playlist
    tracks = stream(b"vids", b"MJPG", picture), stream(b"txts", b"\0\0\0\0", b"")
    movi = _list(b"movi", _chunk(b"01tx", subtitle), _chunk(b"00dc", b"\xff\xd8" + bytes(100)))
    return _chunk(b"RIFF", b"AVI " + _list(b"hdrl", _chunk(b"avih", header), *tracks) + movi)


CONTENTS: tuple[Callable[[Bait], bytes], ...] = (
    ffconcat, hls, hls_master, dash, sdp, rtsp_redirect, xspf, pls, asx, imf, vobsub, image, subfile_text,
    mov_alias, mov_url, avi_subtitle,
)  # fmt: skip
NAMES = (
    "a.mp4", "a.mov", "a.mkv", "a.avi", "a.ts", "a.ffconcat", "a.concat", "a.m3u8", "a.m3u", "a.mpd", "a.sdp", "a.xspf",
    "a.pls", "a.asx", "a.idx", "a.xml", "img%03d.png", "img*.jpg", "a",
)  # fmt: skip


def outcome(decoders: Decoders, path: Path) -> str:
    try:
        return f"{len(decoders.index(path))} frames"
    except VideoError as error:
        return error.code


REFUSED = {"format_not_allowed", "media_unreadable", "no_video_stream"}


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: content.__name__)
def test_a_file_that_names_others_opens_none_of_them(decoders, bait, tmp_path, content):
    data = content(bait)
    bait.was_touched()
    found = set()
    for name in NAMES:
        given = tmp_path / name
        given.write_bytes(data)
        found.add(outcome(decoders, path_source.resolve(str(given), [tmp_path.resolve()])))
    with Incoming(tmp_path / "data", "default", limit=10**6) as incoming:
        incoming.write(data)
        stored = incoming.keep()
    found.add(outcome(decoders, stored.path))
    # A reference to another file is passed over: what is in the file itself is read.
    assert found <= REFUSED | {"10 frames"}
    assert bait.was_touched() == []
    assert len(found) == 1, "what a file is does not depend on its name"


@pytest.mark.parametrize(
    "name",
    ["concat:secret.mp4|secret.mp4", "subfile,,start,0,end,9999,,:secret.mp4", "file:secret.mp4", "img%03d.mp4",
     "pipe:0", "fd:3", "data:video,a", "http:127.0.0.1", "-i secret.mp4", "async:cache:secret.mp4"],
)  # fmt: skip
def test_a_name_is_a_name(decoders, bait, clips, tmp_path, monkeypatch, name):
    shutil.copy(clips("closed.mp4"), tmp_path / name)
    (tmp_path / "secret.mp4").symlink_to(bait.file)
    monkeypatch.chdir(tmp_path)
    bait.was_touched()
    assert outcome(decoders, Path(name)) == "60 frames"
    assert outcome(decoders, path_source.resolve(str(tmp_path / name), [tmp_path.resolve()])) == "60 frames"
    assert bait.was_touched() == []


@pytest.mark.parametrize(
    ("content", "name", "options"),
    [
        pytest.param(ffconcat, "a.mp4", {"safe": "0"}, id="ffconcat"),
        pytest.param(hls, "a.m3u8", {"allowed_extensions": "ALL", "extension_picky": "0"}, id="hls"),
        pytest.param(mov_alias, "a.mov", {"enable_drefs": "1", "use_absolute_path": "1"}, id="reference of mov"),
    ],
)
def test_the_bait_is_taken_by_a_reader_without_our_limits(bait, tmp_path, content, name, options):
    path = tmp_path / name
    path.write_bytes(content(bait))
    bait.was_touched()
    try:
        with av.open(
            str(path), options={**options, "protocol_whitelist": "file,http,tcp,crypto,data"}, timeout=1
        ) as container:
            next(container.decode(video=0), None)
    except av.error.FFmpegError:
        pass
    assert bait.was_touched() != []


SCRIPT = """
import sys
sys.path[:] = {path!r}
from pathlib import Path
from cvpipe.errors import VideoError
from cvpipe.video import Decoders
with Decoders() as decoders:
    for path in sorted(Path({folder!r}).iterdir()):
        try:
            decoders.index(path)
        except VideoError:
            pass
print("done")
"""


def test_no_system_call_names_another_file_or_an_address(bait, tmp_path):
    strace = shutil.which("strace")
    if (
        strace is None
        or subprocess.run([strace, "-o", os.devnull, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no strace here, or it may not trace")
    folder = tmp_path / "given"
    folder.mkdir()
    for content in CONTENTS:
        (folder / f"{content.__name__}.mp4").write_bytes(content(bait))
    log = tmp_path / "log"
    code = SCRIPT.format(path=[entry for entry in sys.path if entry], folder=str(folder))
    command = [
        strace,
        "-f",
        "-qq",
        "-s",
        "300",
        "-e",
        "trace=%file,%network",
        "-o",
        str(log),
        sys.executable,
        "-c",
        code,
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert run.stdout == "done\n"
    calls = log.read_text(errors="replace").splitlines()
    opened = [call for call in calls if str(folder) + "/" in call and "openat(" in call]
    assert len(opened) == len(CONTENTS)  # each given file once, by the parent
    told = ("sendto(", "recvfrom(", "sendmsg(", "recvmsg(")  # what the two say to each other may quote the file
    assert [call for call in calls if "secret.mp4" in call and not any(word in call for word in told)] == []
    assert [call for call in calls if "AF_INET" in call or f"htons({bait.port})" in call] == []
