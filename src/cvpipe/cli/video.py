"""`cvpipe video`: look into a video file on this machine, frame by frame, without any service."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cvpipe.cli import extras, facts, output
from cvpipe.cli.options import From, Json, To, load_settings, read_file
from cvpipe.cli.run import read_range
from cvpipe.errors import InvalidRequest

if TYPE_CHECKING:
    from cvpipe.video import Decoders, Video, VideoFrame, VideoIndex

app = typer.Typer(
    name="video",
    help="A video file on this machine: its facts, frames and parts. (`videos`: those of a running service.)",
    no_args_is_help=True,
)

File = Annotated[Path, typer.Argument(metavar="FILE", parser=read_file, help="The video file.")]
Stream = Annotated[
    int | None,
    typer.Option(
        "--stream", min=0, help="Number of a video stream, as `probe` lists them. Default: what a player shows."
    ),
]
Picture = Annotated[Path, typer.Option("--out", "-o", help="The file to write: .png or .jpg.")]
Mp4 = Annotated[Path, typer.Option("--out", "-o", help="The file to write: .mp4.")]

PICTURES: dict[str, Literal["jpg", "png"]] = {".png": "png", ".jpg": "jpg", ".jpeg": "jpg"}


@app.command()
def probe(*, file: File, stream: Stream = None, as_json: Json = False) -> None:
    """Show what is measured of a video, beside what the file claims.

    Times, keyframes and sizes are those of all its packets; one frame is decoded.
    """
    with _opened(file, stream) as (video, _):
        if as_json:
            output.as_json(facts.describe(video.index))
        else:
            facts.show(file.name, video.index)


@app.command()
def index(*, file: File, stream: Stream = None, as_json: Json = False) -> None:
    """List all frames: number, pts, time, whether it is a keyframe and a reference of others, bytes.

    With --json one JSON object a line.
    """
    with _opened(file, stream) as (video, _):
        _warn(video.index)
        sys.stdout.writelines(_index_as_json(video.index) if as_json else _index_as_table(video.index))
    output.flush()


@app.command()
def frame(
    *,
    file: File,
    number: Annotated[
        int | None, typer.Option("--number", "-n", help="In display order, from 0; -1 is the last one.")
    ] = None,
    time: Annotated[float | None, typer.Option(help="Seconds: the frame that a player shows then.")] = None,
    nearest: Annotated[float | None, typer.Option(help="Seconds: the frame that begins nearest to it.")] = None,
    out: Picture,
    width: Annotated[int | None, typer.Option(min=1, max=8192, help="Pixels; the height follows.")] = None,
    stream: Stream = None,
    as_json: Json = False,
) -> None:
    """Save one frame, by its number or by a time.

    A PNG without --width holds the frame's RGB values exactly. A damaged frame is an error (`frame_damaged`).
    """
    from cvpipe.video.pictures import encode_picture, narrowed

    kind = _picture_format(out)
    _check_out(out, file)
    if sum(given is not None for given in (number, time, nearest)) != 1:
        raise InvalidRequest("wanted exactly one of --number, --time and --nearest")
    with _opened(file, stream) as (video, _):
        view = narrowed(video.view, width)
        found: VideoFrame
        if number is not None:
            found = video.get_frame_at(number, view=view)
        elif time is not None:
            found = video.get_frame_played_at(time, view=view)
        else:
            found = video.get_frame_nearest(nearest or 0, view=view)
        output.whole_file(out, encode_picture(found.image, format=kind))
        _warn(video.index)
    if as_json:
        output.as_json(
            {
                "saved": str(out),
                "number": found.number,
                "pts": found.pts,
                "time": found.time,
                "duration": found.duration,
                "width": view.width,
                "height": view.height,
            }
        )
    else:
        output.line(f"{out}: frame {found.number} at {found.time:g} s, {view.width}x{view.height}")


@app.command()
def clip(
    *, file: File, start: From = None, stop: To = None, out: Mp4, stream: Stream = None, as_json: Json = False
) -> None:
    """Save the frames of a part as an MP4 file, without sound: those with --from <= time < --to.

    Packets are copied where that gives exactly these frames (the part begins at a keyframe), else encoded
    anew. Of damaged frames one line on stderr tells; where it is encoded they show the frame before, or the
    first whole one.
    """
    from cvpipe.video.clip import clip_range, make_clip

    time_range = read_range(start, stop)
    _check_mp4(out, file)
    start = time_range.start if time_range else 0
    stop = time_range.stop if time_range else None
    damaged: list[int] = []
    with _opened(file, stream) as (video, decoders):
        first, end = clip_range(video.index, start, stop)
        with output.progress(out.name) as on_progress:
            how = make_clip(
                decoders, file, video.index, start, stop, out, on_progress=on_progress, on_damaged=damaged.append
            )
        _warn(video.index, damaged, "copied as it is in the file" if how == "copied" else _SHOWN_INSTEAD)
        made = end - first
        times, lasts = video.index.times, video.facts.duration_seconds
        ends = float(times[end]) if end < len(video) else lasts
        if as_json:
            output.as_json(
                {
                    "saved": str(out),
                    "how": how,
                    "frames": made,
                    "first": first,
                    "from": float(times[first]),
                    "to": ends,
                    **_damage(damaged),
                }
            )
            return
        what = f"frames {first} to {end - 1}" if made > 1 else f"frame {first}"
        output.line(f"{out}: {what}, {times[first]:g} to {ends:g} s, {_how(how, video.index, first)}")


@app.command()
def sheet(
    *,
    file: File,
    out: Picture,
    columns: Annotated[int, typer.Option(min=1, max=20, help="Frames side by side.")] = 6,
    rows: Annotated[int, typer.Option(min=1, max=50, help="Lines of frames.")] = 4,
    width: Annotated[int, typer.Option(min=1, max=8192, help="Of the sheet, in pixels.")] = 1920,
    stream: Stream = None,
    as_json: Json = False,
) -> None:
    """Save a contact sheet: evenly spaced frames with their times. Damaged ones are dark red."""
    from cvpipe.video.sheet import render_sheet, sheet_numbers

    kind = _picture_format(out)
    _check_out(out, file)
    damaged: list[int] = []
    with _opened(file, stream) as (video, decoders):
        numbers = sheet_numbers(video.index, columns * rows)
        picture = render_sheet(
            decoders,
            file,
            video.index,
            columns=columns,
            rows=rows,
            width=width,
            format=kind,
            on_damaged=damaged.append,
        )
        output.whole_file(out, picture)
        _warn(video.index, damaged, "dark red on the sheet")
    if as_json:
        output.as_json({"saved": str(out), "frames": numbers, **_damage(damaged)})
    else:
        output.line(f"{out}: {len(numbers)} of {output.count(len(video), 'frame')}")


@app.command()
def normalise(
    *,
    file: File,
    fps: Annotated[float, typer.Option(help="Frames a second of the copy, at most 240.")],
    out: Mp4,
    max_side: Annotated[
        int | None, typer.Option(min=16, max=8192, help="Longest side in pixels, at most. Default: as it is.")
    ] = None,
    start: From = None,
    stop: To = None,
    stream: Stream = None,
    as_json: Json = False,
) -> None:
    """Save a copy at a constant rate, in one size and format: H.264, 4:2:0, MP4, no sound.

    Frame k shows what the source shows at --from + k / fps seconds. Beside it, NAME.map.ndjson names the source frame
    of each, and which of these are damaged.
    """
    from cvpipe.exports.normalised import write_normalised

    damaged: list[int] = []
    time_range = read_range(start, stop)
    _check_mp4(out, file)
    with _opened(file, stream) as (video, decoders):
        with output.progress(out.name) as on_progress:
            made = write_normalised(
                out,
                decoders,
                file,
                video.index,
                fps=fps,
                max_side=max_side,
                between=None if time_range is None else (time_range.start, time_range.stop),
                on_progress=on_progress,
                on_damaged=damaged.append,
            )
        _warn(video.index, damaged, _SHOWN_INSTEAD)
    mapping = out.with_suffix(".map.ndjson")
    if as_json:
        output.as_json({"saved": str(out), "map": str(mapping), **made, **_damage(damaged)})
    else:
        frames = output.count(made["frames"], "frame")
        output.line(f"{out}: {frames} ({made['repeated']} repeated, {made['dropped']} dropped); {mapping}")


@contextmanager
def _opened(file: Path, stream: int | None) -> Iterator[tuple[Video, Decoders]]:
    """The video, and the decoders that read it."""
    extras.require("worker", what="cvpipe video")
    from cvpipe.video import Decoders, Limits, Video

    with Decoders(limits=Limits.of(load_settings())) as decoders:
        yield Video(file, decoders=decoders, stream=stream), decoders


_SHOWN_INSTEAD = "the frame before is shown instead, at the beginning the first whole one"


def _warn(index: VideoIndex, damaged: Sequence[int] = (), shown: str = "") -> None:
    """Tell on stderr what is wrong with the file, and of damaged frames, a line each. shown: what is seen of them."""
    for warning in index.facts.warnings:
        output.note(f"warning: {warning['message']} ({warning['code']})")
    if damaged:
        many, first = len(damaged), damaged[0]
        at = f"frame {first} at {index.times[first]:g} s"
        what = f"{many} frames are damaged, the first is {at}" if many > 1 else f"{at} is damaged"
        output.note(f"warning: {what}; {shown} (frames_damaged)")


def _damage(damaged: Sequence[int]) -> dict[str, int | None]:
    """What is said of damaged frames to programs."""
    return {"damaged": len(damaged), "first_damaged": min(damaged, default=None)}


def _picture_format(out: Path) -> Literal["jpg", "png"]:
    kind = PICTURES.get(out.suffix.lower())
    if kind is None:
        raise InvalidRequest(f"wanted a name that ends in .png or .jpg, got {out.name!r}", field="--out")
    return kind


def _check_mp4(out: Path, file: Path) -> None:
    if out.suffix.lower() != ".mp4":
        raise InvalidRequest(f"an MP4 file is made; wanted a name that ends in .mp4, got {out.name!r}", field="--out")
    _check_out(out, file)


def _check_out(out: Path, file: Path) -> None:
    """Before the work, not after it. Raises: InvalidRequest."""
    if not out.parent.is_dir():
        raise InvalidRequest(f"there is no folder {str(out.parent)!r}", field="--out")
    if out.is_dir():
        raise InvalidRequest(f"{str(out)!r} is a folder", field="--out")
    if out.exists() and file.exists() and out.samefile(file):
        raise InvalidRequest("the video itself would be overwritten; name another file", field="--out")


def _how(how: str, index: VideoIndex, first: int) -> str:
    if how == "copied":
        return "copied"
    if index.keyframe[first]:
        return "encoded anew"
    at, keys = index.times[first], index.times[index.keyframe]
    nearest = keys[abs(keys - at).argmin()]
    return f"encoded anew: {at:g} s is at no keyframe, the nearest one is at {nearest:g} s"


def _index_as_json(index: VideoIndex) -> Iterator[str]:
    for number, (pts, time, keyframe, reference, size) in enumerate(_columns(index)):
        line = {
            "number": number, "pts": pts, "time": time, "keyframe": keyframe, "reference": reference, "bytes": size,
        }  # fmt: skip
        yield json.dumps(line, separators=(",", ":")) + "\n"


def _index_as_table(index: VideoIndex) -> Iterator[str]:
    width = max(len(str(index.pts[0])), len(str(index.pts[-1])), 3)
    yield f"{'NUMBER':>8}  {'PTS':>{width}}  {'TIME':>12}  {'BYTES':>8}  KIND\n"
    for number, (pts, time, keyframe, reference, size) in enumerate(_columns(index)):
        kind = "keyframe" if keyframe else "reference" if reference else "-"
        yield f"{number:>8}  {pts:>{width}}  {time:>12.6f}  {size or '-':>8}  {kind}\n"


def _columns(index: VideoIndex) -> Iterator[tuple[int, float, bool, bool, int]]:
    columns = (index.pts, index.times, index.keyframe, index.reference, index.size)
    return zip(*(column.tolist() for column in columns), strict=True)
