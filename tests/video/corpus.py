"""Small videos of every kind, made by Debian's ffmpeg: each of about 60 frames of 96x64 unless its kind forbids it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.video.rare import RARE, make_rare

_X264 = "-c:v libx264 -preset veryfast -g 12 -keyint_min 12 -sc_threshold 0 -bf 3"
_X265 = "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=12:min-keyint=12:bframes=3:pools=1"
_COLOUR = "-color_primaries {0} -color_trc {0} -colorspace {1} -color_range {2}"

KINDS: dict[str, str] = {
    "closed.mp4": f"{_X264} -pix_fmt yuv420p",
    "closed.mov": f"{_X264} -pix_fmt yuv420p",
    "open.mkv": f"{_X264} -x264-params open-gop=1 -pix_fmt yuv420p",
    "open.ts": f"{_X264} -x264-params open-gop=1 -pix_fmt yuv420p",
    "pyramid.mp4": f"{_X264} -x264-params b-pyramid=normal:b-adapt=0 -pix_fmt yuv420p",
    "strict-pyramid.ts": f"{_X264} -x264-params b-pyramid=strict:b-adapt=0:open-gop=1 -pix_fmt yuv420p",
    "refresh.mp4": f"{_X264} -x264-params intra-refresh=1 -bf 0 -pix_fmt yuv420p",
    "one-key.mp4": "-c:v libx264 -preset veryfast -g 999 -pix_fmt yuv420p",
    "all-intra.mp4": "-c:v libx264 -preset veryfast -g 1 -pix_fmt yuv420p",
    "b-frames.avi": f"{_X264} -pix_fmt yuv420p",
    "ten-bit.mp4": f"{_X264} -pix_fmt yuv420p10le",
    "422.mp4": f"{_X264} -pix_fmt yuv422p",
    "444.mkv": f"{_X264} -pix_fmt yuv444p",
    "full-709.mp4": f"{_X264} -pix_fmt yuv420p {_COLOUR.format('bt709', 'bt709', 'pc')}",
    "limited-601.mp4": f"{_X264} -pix_fmt yuv420p {_COLOUR.format('smpte170m', 'smpte170m', 'tv')}",
    "limited-2020.mp4": f"{_X264} -pix_fmt yuv420p10le -color_primaries bt2020 -color_trc bt2020-10 "
    "-colorspace bt2020nc -color_range tv",
    "interlaced.ts": f"{_X264} -flags +ilme+ildct -x264-params tff=1 -pix_fmt yuv420p",
    "hevc.mp4": f"{_X265} -pix_fmt yuv420p",
    "hevc-ten.mkv": f"{_X265}:open-gop=1 -pix_fmt yuv420p10le",
    "vp8.webm": "-c:v libvpx -g 12 -auto-alt-ref 1 -lag-in-frames 10 -deadline realtime -cpu-used 8",
    "vp9.webm": "-c:v libvpx-vp9 -g 12 -auto-alt-ref 1 -lag-in-frames 10 -deadline realtime -cpu-used 8 "
    "-pix_fmt yuv420p",
    "av1.mp4": "-c:v libsvtav1 -preset 12 -g 12 -pix_fmt yuv420p",
    "mpeg2.ts": "-c:v mpeg2video -g 12 -bf 2 -pix_fmt yuv420p",
    "mpeg2-interlaced.mpg": "-c:v mpeg2video -g 12 -bf 2 -flags +ilme+ildct -top 1 -pix_fmt yuv422p",
    "mpeg4.avi": "-c:v mpeg4 -g 12 -bf 2 -pix_fmt yuv420p",
    "mpeg4.mp4": "-c:v mpeg4 -g 12 -bf 2 -pix_fmt yuv420p",
    "mjpeg.avi": "-c:v mjpeg -pix_fmt yuvj420p",
    "mjpeg.mov": "-c:v mjpeg -pix_fmt yuvj444p",
    "prores.mov": "-c:v prores_ks -pix_fmt yuv422p10le",
    "uneven.mp4": "-vf settb=1/12800,setpts=PTS+mod(N*N*7\\,31)/2000/TB -fps_mode passthrough -enc_time_base 1:12800 "
    f"-video_track_timescale 12800 {_X264} -pix_fmt yuv420p",
    "pausing.mkv": "-vf settb=1/1000,setpts=PTS+(gte(N\\,30)*3000+mod(N*N*7\\,31)) -fps_mode passthrough "
    f"-enc_time_base 1:1000 {_X264} -pix_fmt yuv420p",
    "late.mkv": f"-output_ts_offset 7.5 {_X264} -pix_fmt yuv420p",
    "negative.ts": f"-avoid_negative_ts disabled -muxdelay 0 -output_ts_offset -1 {_X264} -pix_fmt yuv420p",
    "negative.mov": f"-avoid_negative_ts disabled -output_ts_offset -1 {_X264} -pix_fmt yuv420p",
    "negative.mkv": f"-avoid_negative_ts disabled -output_ts_offset -1 {_X264} -pix_fmt yuv420p",
    "wrapping.ts": f"-output_ts_offset 95441.1 {_X264} -pix_fmt yuv420p",
    "no-b-frames.ts": "-c:v libx264 -preset veryfast -g 12 -bf 0 -pix_fmt yuv420p",
    "fields.mkv": f"{_X265}:interlace=tff -pix_fmt yuv420p",
    "larger.ts": f"-vf scale=128:96 -frames:v 20 -output_ts_offset 2.48 {_X264} -pix_fmt yuv420p",
    "two.mkv": "-f lavfi -i testsrc=size=64x48:rate=25:duration=2.4 -f lavfi -i sine=duration=2.4 "
    "-map 0 -map 2 -map 1 -c:v libx264 -preset veryfast -g 12 -c:a mp3",
    "cover.mp4": "-f lavfi -i testsrc=size=640x480:duration=0.04 -map 0 -map 1 "
    "-c:v:0 libx264 -preset:v:0 veryfast -g:v:0 12 "
    "-c:v:1 mjpeg -pix_fmt:v:1 yuvj420p -disposition:v:1 attached_pic",
    "one-frame.mp4": f"-frames:v 1 {_X264} -pix_fmt yuv420p",
    "one-frame.ts": f"-frames:v 1 {_X264} -pix_fmt yuv420p",
    "one-frame.avi": "-frames:v 1 -c:v mjpeg -pix_fmt yuvj420p",
    "odd.mkv": f"-vf scale=95:63 {_X264} -pix_fmt yuv444p",
    "odd.webm": "-vf scale=95:63 -c:v libvpx-vp9 -g 12 -deadline realtime -cpu-used 8 -pix_fmt yuv420p",
    "odd.mp4": "-vf scale=95:63 -c:v mpeg4 -g 12 -bf 2 -pix_fmt yuv420p",
    "ragged.avi": "-vf crop=94:62:0:0 -c:v mpeg4 -g 12 -bf 0 -pix_fmt yuv420p",
    "odd.avi": "-vf scale=95:63 -c:v mpeg4 -g 12 -bf 0 -pix_fmt yuv420p",
    "odd.ts": "-vf scale=95:63 -c:v mpeg2video -g 12 -bf 2 -pix_fmt yuv420p",
    "odd.mov": "-vf scale=95:63 -c:v mjpeg -pix_fmt yuvj420p",
}
"""What is told to ffmpeg to make each."""

ALL = (*KINDS, *RARE)
"""The names of all kinds."""

FRAMES = {
    "one-frame.mp4": 1,
    "one-frame.ts": 1,
    "one-frame.avi": 1,
    "larger.ts": 20,
    "trimmed.mp4": 42,
    "negative.mov": 35,
    "backward.ts": 120,
    "changing.ts": 80,
}
"""How many frames those kinds have that do not have 60."""

COUNTED = {"b-frames.avi", "negative.mkv", "missing.ts", "repeated.ts", "backward.ts"}
"""Kinds whose frames have no usable times of their own."""

STREAM = {"two.mkv": 2, "two.mp4": 2, "two.ts": 2}
"""Which stream of the file is read, of kinds with several."""


def make_video(folder: Path, name: str) -> Path:
    """The video of a kind, made where it is not there yet."""
    path = folder / name
    if not path.exists() and name in RARE:
        make_rare(path, name, lambda base: make_video(folder, base))
    elif not path.exists():
        source = "testsrc2=size=96x64:rate=25:duration=2.4,noise=alls=20:allf=t:all_seed=3"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, *KINDS[name].split(), "-threads", "1"]
        subprocess.run([*command, "-fflags", "+bitexact", str(path)], check=True, timeout=60)
    return path
