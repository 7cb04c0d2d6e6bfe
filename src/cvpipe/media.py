"""Pictures and clips of videos: what can be asked for, what each is called, and the cache that keeps them once made.

A name says all that was asked for, and lies in a folder named after the video's sha256: what is kept never goes stale.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cvpipe.errors import InvalidRequest
from cvpipe.tenants import parted

MEDIA_TYPES: Final = {".jpg": "image/jpeg", ".png": "image/png", ".mp4": "video/mp4"}

_NAME: Final = re.compile(
    r"frame-(?P<number>\d{1,9})(?:-w(?P<width>\d{1,5}))?\.(?P<format>jpg|png)"
    r"|thumbnail-w(?P<thumbnail>\d{1,5})\.jpg"
    r"|sheet-(?P<columns>\d{1,3})x(?P<rows>\d{1,3})-w(?P<sheet>\d{1,5})\.jpg"
    r"|clip-(?P<start>\d{1,14})-(?P<stop>\d{1,14}|end)\.mp4"
)
_MICROSECONDS: Final = 1_000_000
_IN_USE_SECONDS: Final = 300.0
"""What was looked at so recently may be on its way to a client."""
_HALF_MADE_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A picture or clip that somebody wants of a video.

    number: of a frame. width: in pixels, of the picture or the whole sheet; None: as large as the video. columns, rows:
    of a sheet. start, stop: of a clip, in seconds since the first frame; stop None: to the end.
    """

    kind: Literal["frame", "thumbnail", "sheet", "clip"]
    format: Literal["jpg", "png", "mp4"] = "jpg"
    number: int = 0
    width: int | None = None
    columns: int = 0
    rows: int = 0
    start: float = 0.0
    stop: float | None = None

    @property
    def tells_damage(self) -> bool:
        """Whether it may show damaged frames; a picture of one frame is not made where that is damaged."""
        return self.kind in ("clip", "sheet")

    @property
    def name(self) -> str:
        """Name of its file; `parse` understands it."""
        match self.kind:
            case "frame":
                width = "" if self.width is None else f"-w{self.width}"
                return f"frame-{self.number}{width}.{self.format}"
            case "thumbnail":
                return f"thumbnail-w{self.width}.jpg"
            case "sheet":
                return f"sheet-{self.columns}x{self.rows}-w{self.width}.jpg"
            case "clip":
                stop = "end" if self.stop is None else round(self.stop * _MICROSECONDS)
                return f"clip-{round(self.start * _MICROSECONDS)}-{stop}.mp4"

    @classmethod
    def parse(cls, name: str) -> Excerpt:
        """The excerpt that is called `name`. Raises: InvalidRequest."""
        found = _NAME.fullmatch(name)
        if found is None:
            raise InvalidRequest(f"no picture or clip is called {name!r}")
        value = found.groupdict()
        if value["number"] is not None:
            width = None if value["width"] is None else int(value["width"])
            picture: Literal["jpg", "png"] = "png" if value["format"] == "png" else "jpg"
            return cls("frame", picture, number=int(value["number"]), width=width)
        if value["thumbnail"] is not None:
            return cls("thumbnail", width=int(value["thumbnail"]))
        if value["sheet"] is not None:
            return cls("sheet", width=int(value["sheet"]), columns=int(value["columns"]), rows=int(value["rows"]))
        stop = None if value["stop"] == "end" else int(value["stop"]) / _MICROSECONDS
        return cls("clip", "mp4", start=int(value["start"]) / _MICROSECONDS, stop=stop)


def media_task(video: str, name: str) -> str:
    """The task that makes an excerpt of a video."""
    return f"media:{video}:{name}"


def media_path(data_dir: Path, video: str, name: str) -> Path:
    """Where the excerpt `name` of the video `<tenant>/<sha256>` is kept once it is made."""
    tenant, sha256 = parted(video)
    return data_dir / "media" / tenant / sha256[:2] / sha256 / name


@dataclass(frozen=True, slots=True)
class Damage:
    """What is not right with a clip or sheet that was made.

    frames: how many of its frames are damaged. first: number of the first of them in the video, None where none is.
    warnings: codes of what is wrong with the whole file, such as `media_truncated`.
    """

    frames: int = 0
    first: int | None = None
    warnings: tuple[str, ...] = ()


def damage_path(path: Path) -> Path:
    """Where it is kept what is not right with the excerpt at `path`."""
    return path.with_name(f"{path.name}.damage.json")


def read_damage(path: Path) -> Damage:
    """What is not right with the excerpt at `path`."""
    known = json.loads(damage_path(path).read_bytes())
    return Damage(known["frames"], known["first"], tuple(known["warnings"]))


def find(data_dir: Path, video: str, excerpt: Excerpt) -> Path | None:
    """The kept file of an excerpt, now in use; None where it, or what is not right with it, is not there."""
    path = media_path(data_dir, video, excerpt.name)
    if not mark_used(path) or (excerpt.tells_damage and not mark_used(damage_path(path))):
        return None
    return path


def mark_used(path: Path) -> bool:
    """Note that somebody looks at a kept file; False: it is not there.

    The time of its last use is set by hand: many file systems are mounted so that reading does not.
    """
    try:
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    except FileNotFoundError:
        return False
    return True


def sweep(data_dir: Path, *, keep_seconds: float, max_bytes: int) -> int:
    """Remove what nobody has looked at for `keep_seconds`, and the longest unused beyond `max_bytes`; returns how many.

    What was looked at within five minutes stays in any case. Memory: a tuple for each kept file.
    """
    now = time.time()
    kept: list[tuple[float, int, Path]] = []
    removed = 0
    for path in _files(data_dir / "media"):
        with contextlib.suppress(FileNotFoundError):  # another sweeper was here
            stat = path.stat()
            half_made = path.name.startswith(".")
            unused = now - max(stat.st_atime, stat.st_mtime)
            if unused > (_HALF_MADE_SECONDS if half_made else max(keep_seconds, _IN_USE_SECONDS)):
                path.unlink()
                removed += 1
            elif not half_made:
                kept.append((unused, stat.st_size, path))
    total = sum(size for _, size, _ in kept)
    for unused, size, path in sorted(kept, reverse=True):
        if total <= max_bytes or unused <= _IN_USE_SECONDS:
            break
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            removed += 1
        total -= size
    if removed:
        _remove_empty_folders(data_dir / "media")
    return removed


def _files(folder: Path) -> list[Path]:
    return [Path(root, name) for root, _, names in os.walk(folder) for name in names]


def _remove_empty_folders(folder: Path) -> None:
    for root, _, _ in os.walk(folder, topdown=False):
        if Path(root) != folder:
            with contextlib.suppress(OSError):  # it holds something
                Path(root).rmdir()
