"""`cvpipe models add`: an ONNX file becomes a model that stages can name."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvpipe.cli import extras, output
from cvpipe.cli.options import Json, load_settings
from cvpipe.errors import InvalidRequest

if TYPE_CHECKING:
    from cvpipe.modelfiles import Added, Wish
    from cvpipe.results import FrameRecord
    from cvpipe.settings import Settings

_BEST = 5
_FILE = re.compile(r"[/\\]|\.[A-Za-z]{2,5}$")
"""What a list of names is taken for a file by: a folder in it, or an ending like `.txt`."""


def add(  # noqa: PLR0917 - Typer hands them over by name
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The ONNX file; or the folder of a captioning model.")],
    name: Annotated[str | None, typer.Option(help="What stages call it. Default: after the file's name.")] = None,
    family: Annotated[str | None, typer.Option(help="How its outputs are read. Default: proposed.")] = None,
    task: Annotated[str | None, typer.Option(help="What it is for, where its family has several.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="coco, voc, names with commas between, or a file with a name a line.")
    ] = None,
    keypoints: Annotated[str | None, typer.Option(help="coco, faces, names with commas between, or a file.")] = None,
    input_size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Pixels, where the file leaves them open.")
    ] = None,
    color: Annotated[str | None, typer.Option(help="rgb or bgr. Default: as usual for the family.")] = None,
    mean: Annotated[str | None, typer.Option(help="One number, or three: taken from pixels of 0 to 255.")] = None,
    scale: Annotated[str | None, typer.Option(help="One number, or three: divisor after the mean is taken.")] = None,
    resize: Annotated[str | None, typer.Option(help="letterbox or stretch.")] = None,
    anchor: Annotated[str | None, typer.Option(help="Where a letterbox puts the frame: top-left or centre.")] = None,
    pad: Annotated[int | None, typer.Option(help="Grey level of a letterbox, 0 to 255.")] = None,
    option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the family.")] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option(metavar="INPUT=WHAT", help="What a further input is fed: size_wh, size_hw, scale_hw, one."),
    ] = None,
    score: Annotated[float | None, typer.Option(help="Objects below it are dropped.")] = None,
    iou: Annotated[float | None, typer.Option(help="Of two boxes that overlap more, one goes.")] = None,
    fuse: Annotated[bool, typer.Option("--fuse", help="Move normalisation and layout into the graph.")] = False,
    fix_size: Annotated[
        bool, typer.Option("--fix-size", help="Write the size into the graph: no other is run then.")
    ] = False,
    keep_batch: Annotated[bool, typer.Option("--keep-batch", help="Leave the batch dimension alone.")] = False,
    licence: Annotated[str, typer.Option(help="Of the trained weights; kept for people to read.")] = "",
    source: Annotated[str, typer.Option(help="Where the weights came from; kept for people to read.")] = "",
    image: Annotated[Path | None, typer.Option(help="Show what it finds on this picture.")] = None,
    video: Annotated[str | None, typer.Option(metavar="FILE[:FRAME]", help="Or on a frame of this video.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="X.png", help="Where that picture goes. Default: NAME.png.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Add an ONNX file to the models: propose a family, free the batch, try it in a limited process, write its card.

    The same file again is no error; another one under the same name becomes the next version.
    """
    extras.require("worker", what="cvpipe models add")
    from cvpipe.modelfiles import Limits, add_model
    from cvpipe.modelfiles.additions import document

    settings = load_settings()
    if file.is_dir():
        _add_captioner(file, name, settings, as_json=as_json)
        return
    wish = _wish(
        name=name, family=family, task=task, labels=_names(labels, "--labels"),
        keypoints=_names(keypoints, "--keypoints"), input_size=input_size, color=color, mean=mean, scale=scale,
        resize=resize, anchor=anchor, pad=pad, options=_pairs(option, "--option", parse=True),
        extra=_pairs(extra, "--extra"), score_threshold=score, iou_threshold=iou, fuse=fuse,
        fix_size=fix_size, free_batch=not keep_batch, licence=licence, source=source,
    )  # fmt: skip
    with _naming_options():
        added = add_model(file, wish, settings.models_path, Limits.of(settings))
    if as_json:
        shown = _show(added, settings, image, video, out) if image is not None or video is not None else None
        output.as_json(document(added) | {"path": str(added.card.path)} | ({} if shown is None else {"seen": shown}))
        return
    output.line(f"{added.card.ref} {'added' if added.new else 'is there already'}: {added.card.path.parent}")
    output.line(f"  family: {added.card.family} ({added.card.task}): {added.found.why}")
    for other in added.found.others:
        output.line(f"  or: {other}")
    for note in added.found.notes:
        output.line(f"  {note}")
    output.line(f"  trial: {added.found.milliseconds:.1f} ms for one call with one thread")
    if image is not None or video is not None:
        shown = _show(added, settings, image, video, out)
        output.line(f"  seen: {shown['found']} -> {shown['picture']}")


def _add_captioner(export: Path, name: str | None, settings: Settings, *, as_json: bool) -> None:
    from cvpipe.modelfiles import Limits
    from cvpipe.modelfiles.captioners import add_captioner

    card = add_captioner(export, settings.models_path, Limits.of(settings), name=name)
    if as_json:
        output.as_json(card.model_dump(mode="json") | {"path": str(card.path)})
        return
    output.line(f"{card.ref} is in {card.path.parent}")
    output.line(f"  family: {card.family} ({card.task}): " + ", ".join(spec.file for spec in card.files.values()))


def _wish(**given: Any) -> Wish:
    """Raises: InvalidRequest, naming the option."""
    from cvpipe.modelfiles import read_wish

    with _naming_options():
        return read_wish(given)


@contextmanager
def _naming_options() -> Iterator[None]:
    """What is wrong is told by the option that said it."""
    from cvpipe.modelfiles import Wish

    words = {"score_threshold": "score", "iou_threshold": "iou", "options": "option"}
    try:
        yield
    except InvalidRequest as error:
        if error.field is not None and error.field in {"input_size", *Wish.model_fields}:
            error.field = f"--{words.get(error.field, error.field).replace('_', '-')}"
        raise


def _names(text: str | None, field: str) -> Any:
    """Lines of a file, where one is named; else the words themselves. Raises: InvalidRequest."""
    if text is None:
        return None
    try:
        if not Path(text).is_file() and ("," in text or not _FILE.search(text)):
            return text
        lines = Path(text).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return text
        raise InvalidRequest(f"can't read {text}: {error.strerror}", field=field) from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{text} is no text in UTF-8", field=field) from error
    return tuple(line.strip() for line in lines if line.strip())


def _pairs(texts: list[str] | None, field: str, *, parse: bool = False) -> dict[str, Any]:
    import yaml

    pairs: dict[str, Any] = {}
    for text in texts or []:
        key, equals, value = text.rpartition("=")
        if not equals or not key:
            raise InvalidRequest(f"wanted NAME=VALUE, not {text!r}", field=field)
        pairs[key] = yaml.safe_load(value) if parse else value
    return pairs


def _show(added: Added, settings: Settings, image: Path | None, video: str | None, out: Path | None) -> dict[str, Any]:
    from cvpipe.engine.preview import preview_frame, preview_image
    from cvpipe.inference import OnnxTools

    tools = OnnxTools(settings.models_path, device=settings.device)
    if image is not None:
        record, png = preview_image(added.card, tools, image)
    else:
        assert video is not None
        path, _, frame = video.rpartition(":")
        if not path or not frame.isdecimal():
            path, frame = video, "0"
        record, png = preview_frame(added.card, tools, Path(path), int(frame))
    target = out or Path(f"{added.card.name}.png")
    try:
        target.write_bytes(png)
    except OSError as error:
        raise InvalidRequest(f"can't write {target}: {error.strerror}", field="--out") from error
    return {"picture": str(target), "found": _summary(record), "record": record.to_dict()}


def _summary(record: FrameRecord) -> str:
    objects = record.objects
    if len(objects):
        best = [f"{label} {score:.2f}" for label, score in zip(objects.label, objects.score, strict=True)][:_BEST]
        number = "1 object" if len(objects) == 1 else f"{len(objects)} objects"
        return f"{number} ({', '.join(best)}{', ...' if len(objects) > _BEST else ''})"
    return ", ".join(f"values of {name}" for name in record.values) or "nothing"
