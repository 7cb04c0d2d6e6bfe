"""Media: make a picture or a clip of a video, for the API to hand out."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict
from pathlib import Path

from cvpipe.errors import CvpipeError, Unavailable
from cvpipe.job import JobError
from cvpipe.media import Damage, Excerpt, damage_path, find, media_path
from cvpipe.store import Ring
from cvpipe.work.bench import Bench, Lease, leased
from cvpipe.work.source import index_of, video_file


def media(bench: Bench, task: str) -> None:
    """Task `media:<video>:<name>`: make the excerpt `name`, unless it is there."""
    _, video, name = task.split(":")

    def refuse(lease: Lease, error: JobError) -> list[Ring]:
        bench.store.refuse(lease.claim, error)
        return []

    with leased(bench, task, on_given_up=refuse) as lease:
        if lease is None:
            return
        excerpt = Excerpt.parse(name)
        if find(bench.settings.data_dir, video, excerpt) is None:
            _make(bench, lease, video, excerpt, media_path(bench.settings.data_dir, video, name))
        bench.store.drop(lease.claim)


def _make(bench: Bench, lease: Lease, video: str, excerpt: Excerpt, target: Path) -> None:
    """Raises: NotFound, InvalidRequest, VideoError, Unavailable."""
    from cvpipe.video.clip import make_clip
    from cvpipe.video.pictures import render_picture, render_thumbnail
    from cvpipe.video.sheet import render_sheet

    file = video_file(bench, video, lease)
    index = index_of(bench, video, file)
    known = (bench.decoders, file, index)
    damaged: list[int] = []
    content: bytes | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        match excerpt.kind:
            case "frame":
                png = excerpt.format == "png"
                content = render_picture(*known, excerpt.number, width=excerpt.width, format="png" if png else "jpg")
            case "thumbnail":
                assert excerpt.width is not None
                content = render_thumbnail(*known, width=excerpt.width)
            case "sheet":
                assert excerpt.width is not None
                content = render_sheet(
                    *known,
                    columns=excerpt.columns,
                    rows=excerpt.rows,
                    width=excerpt.width,
                    on_damaged=damaged.append,
                )
            case "clip":
                make_clip(
                    *known,
                    excerpt.start,
                    excerpt.stop,
                    target,
                    on_progress=lambda _done, _total: lease.check(),
                    on_damaged=damaged.append,
                )
        if excerpt.tells_damage:
            codes = tuple(dict.fromkeys(str(warning["code"]) for warning in index.facts.warnings))
            damage = Damage(len(damaged), min(damaged, default=None), codes)
            _write(damage_path(target), json.dumps(asdict(damage)).encode())
        if content is not None:
            _write(target, content)
    except OSError as error:
        if isinstance(error, CvpipeError):  # some are timeouts or connection errors too
            raise
        raise Unavailable(f"the {excerpt.kind} cannot be stored: {error.strerror or error}") from error


def _write(target: Path, content: bytes) -> None:
    """Whole under its name, or not there."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(content)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
