"""Videos to measure with, made once by the `ffmpeg` program and kept in `.bench/clips`."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np

FOLDER = Path(__file__).resolve().parent.parent / ".bench"
_SIZE = (1920, 1080)


def textured(gop: int, seconds: int) -> Path:
    """1080p30 h264 with B-frames, about 5 Mbit/s: clouds that pan, two pieces of them that move across, some grain.

    gop: frames from keyframe to keyframe.
    """
    out = FOLDER / "clips" / f"textured-1080p30-gop{gop}-{seconds}s.mp4"
    if out.exists():
        return out
    with tempfile.TemporaryDirectory() as folder:
        back, front = Path(folder) / "back.png", Path(folder) / "front.png"
        cv2.imwrite(str(back), _clouds(1440, 2560, 1.1))
        cv2.imwrite(str(front), _clouds(360, 480, 0.9))
        stills = [part for still in (back, front) for part in ("-loop", "1", "-framerate", "30", "-i", str(still))]
        graph = (
            "[0]crop=1920:1080:x=320+300*sin(t*0.9):y=180+170*sin(t*0.7)[pan];[1]split=2[one][two];"
            "[pan][one]overlay=x=720+600*sin(t*1.3):y=360+300*cos(t*1.1)[more];[two]hflip[flipped];"
            r"[more][flipped]overlay=x=200+mod(t*220\,1500):y=500+200*sin(t*2),noise=alls=4:allf=t,format=yuv420p[out]"
        )
        coding = ["-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", str(gop), "-crf", "25"]
        make(out, *stills, "-filter_complex", graph, "-map", "[out]", "-t", str(seconds), *coding)
    return out


def long_file() -> Path:
    """Three hours at 30 frames/s, 324,000 frames of 128x72, h264 with B-frames: six minutes, thirty times."""
    out = FOLDER / "clips" / "three-hours-128x72.mp4"
    if not out.exists():
        part = FOLDER / "clips" / "six-minutes-128x72.mp4"
        pattern = ["-f", "lavfi", "-i", "testsrc2=s=128x72:r=30:d=360"]
        make(part, *pattern, "-c:v", "libx264", "-preset", "veryfast", "-g", "60", "-pix_fmt", "yuv420p")
        repeated(part, 30, out)
        part.unlink()
    return out


def large_file() -> Path:
    """The textured video twenty times over: eight minutes of 1080p, about 300 MB."""
    out = FOLDER / "clips" / "eight-minutes-1080p30.mp4"
    return out if out.exists() else repeated(textured(60, 24), 20, out)


def enlarged(video: Path, *, every: int) -> Path:
    """One in so many frames of a video, enlarged to 1080p."""
    out = FOLDER / "clips" / f"{video.stem}-1080p-every{every}.mp4"
    if not out.exists():
        steps = rf"select=not(mod(n\,{every})),scale={_SIZE[0]}:{_SIZE[1]}:flags=lanczos,setpts=N/30/TB"
        make(out, "-i", str(video), "-vf", steps, "-r", "30", "-c:v", "libx264", "-preset", "veryfast", "-crf", "16")
    return out


def footage(assets: Path, gop: int, seconds: int) -> Path:
    """People in a room, a real recording, enlarged to 1080p and shown at 30 frames/s: h264 with x264's defaults."""
    out = FOLDER / "clips" / f"people-1080p30-gop{gop}-{seconds}s.mp4"
    if not out.exists():
        video = assets / "videos" / "one-by-one-person-detection.mp4"
        steps = f"setpts=N/30/TB,scale={_SIZE[0]}:{_SIZE[1]}:flags=lanczos"
        coding = ["-r", "30", "-t", str(seconds), "-c:v", "libx264", "-g", str(gop), "-pix_fmt", "yuv420p"]
        make(out, "-i", str(video), "-vf", steps, *coding)
    return out


def repeated(part: Path, times: int, out: Path) -> Path:
    """A video several times over, without coding it anew."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listing:
        listing.write(f"file '{part}'\n" * times)
        listing.flush()
        make(out, "-f", "concat", "-safe", "0", "-i", listing.name, "-c", "copy")
    return out


def make(out: Path, *arguments: str) -> None:
    """Run `ffmpeg`; what it was making is there when it is whole, or not at all."""
    print(f"making {out.name}, once", flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    half = out.with_suffix(".half.mp4")
    subprocess.run([shutil.which("ffmpeg") or "ffmpeg", "-v", "error", "-y", *arguments, "-an", str(half)], check=True)
    half.rename(out)


def _clouds(height: int, width: int, steepness: float) -> np.ndarray:
    """A coloured texture with the spectrum of a natural picture: amplitudes fall with frequency."""
    random = np.random.default_rng(3)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    layers = []
    for _ in range(3):
        layer = np.fft.irfft2(np.fft.rfft2(random.standard_normal((height, width))) / frequency**steepness)
        layers.append(layer / layer.std())
    first, second, third = layers
    colours = np.stack([first, 0.8 * first + 0.4 * second, 0.7 * first + 0.5 * third], axis=-1)
    return np.clip(128 + 42 * colours, 0, 255).astype(np.uint8)
