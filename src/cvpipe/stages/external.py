"""`external`: what a job has found, and pictures of it, sent to a server outside; what the server says comes back."""

from __future__ import annotations

import base64
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from cvpipe.calls import Asking
from cvpipe.conditions import FRAME_FIELDS, OBJECT_FIELDS
from cvpipe.errors import InvalidPipeline
from cvpipe.stages import CropStage, SequenceStage, Stage, StageOptions
from cvpipe.templates import filled, places

_TRACK_FIELDS: Final = frozenset({*OBJECT_FIELDS, "frames", "first_time", "last_time"})
_JOB_FIELDS: Final = frozenset({"frames", "labels", "tracks"})
_EVENT_FIELDS: Final = frozenset(
    {"number", "kind", "stage", "start", "end", "start_frame", "end_frame", "evidence_frame", "evidence_time"}
    | {"wall_time", "is_over", "tracks", "objects", "values"}
)
_KNOWN: Final = {
    "frame": {*FRAME_FIELDS},
    "object": {*OBJECT_FIELDS},
    "track": _TRACK_FIELDS,
    "event": _EVENT_FIELDS,
    "job": _JOB_FIELDS,
}
_DEFAULTS: Final = {
    "frame": ("frame", "time", "labels"),
    "object": ("label", "score", "time"),
    "track": ("label", "track", "first_time", "last_time"),
    "event": ("kind", "start", "end", "tracks", "values"),
    "job": ("frames", "labels", "tracks"),
}
_ALWAYS: Final = frozenset({"stage", "items", "fields", "image", "images", "image_url", "image_urls"})
_TYPES: Final = ("string", "number", "integer", "boolean", "object", "array", "null")
_NUMBERS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_COUNTS: Final = ("minLength", "maxLength", "minItems", "maxItems")
# What a schema may say, and of what type that is; patterns and references could make a worker compute, or read, without
# end.
_KEYWORDS: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(_NUMBERS, (int, float)), **dict.fromkeys(_COUNTS, (int,)),
    **dict.fromkeys(("required", "enum", "anyOf"), (list,)), **dict.fromkeys(("properties", "items"), (dict,)),
    **dict.fromkeys(("title", "description"), (str,)), **dict.fromkeys(("const", "default"), (object,)),
    "type": (str, list), "additionalProperties": (bool, dict),
}  # fmt: skip
_MAX_SCHEMA_DEPTH: Final = 8
_SHOW_LESS: Final = ("crop", "roi")  # stages behind which others see a part of the frame

FieldName = Annotated[str, StringConstraints(pattern=r"^[a-z][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+){0,4}$", max_length=120)]


class Chat(BaseModel):
    """A question to a server that speaks as OpenAI's does (`POST .../chat/completions`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1, max_length=200, description="Name of the model, as the server knows it.")
    prompt: str = Field(
        min_length=1,
        max_length=20_000,
        description="The question; `{{label}}` and other declared fields are filled in.",
    )
    system: str | None = Field(default=None, max_length=20_000, description="What the model is told beforehand.")
    max_tokens: int = Field(default=300, ge=1, le=32_000, description="Length of the answer, at most.")
    temperature: float = Field(default=0, ge=0, le=2, description="0: the likeliest answer.")
    detail: Literal["auto", "low", "high"] = Field(default="auto", description="How closely pictures are looked at.")


class ExternalOptions(StageOptions):
    """Options of `external`."""

    type: Literal["external"] = "external"
    url: str = Field(
        min_length=8, max_length=2048, pattern=r"^https?://", description="Where to POST; see docs/outside.md."
    )
    per: Literal["frame", "object", "track", "event", "job"] = Field(
        default="frame", description="What one question is about. Default: an object, where `of` is given."
    )
    of: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Name of the stage whose objects or tracks it is about, or of a `crops` stage: of those it chose. "
        "With `per: event`, of the stage that tells of them (default: of every one).",
    )
    kinds: tuple[Annotated[str, StringConstraints(min_length=1, max_length=64)], ...] | None = Field(
        default=None, min_length=1, max_length=32, description="With `per: event`: only events of these kinds."
    )
    every: int = Field(default=1, ge=1, le=1_000_000, description="Only every n-th frame, for `frame` and `object`.")
    max_items: int = Field(default=1000, ge=1, le=100_000, description="Questions of a job, at most; the first ones.")
    fields: tuple[FieldName, ...] | None = Field(
        default=None,
        max_length=32,
        description="What is sent of the results, and nothing else: names as in conditions (`label`, `ocr.text`).",
    )
    images: Literal["none", "crop", "frame"] = Field(default="none", description="Pictures to send.")
    max_images: int = Field(
        default=1, ge=1, le=16, description="Of a track, an event's objects, or of a job: spread over its frames."
    )
    format: Literal["jpeg", "png"] = Field(default="jpeg", description="Of pictures.")
    max_side: int = Field(
        default=512, ge=32, le=4096, description="A larger picture is made smaller, to so many pixels."
    )
    max_image_bytes: int = Field(default=500_000, ge=1000, le=20_000_000, description="A larger file is not sent.")
    grow: float = Field(default=1.1, ge=1, le=4, description="How much larger than an object's box its crop is.")
    blur: tuple[str, ...] = Field(
        default=(),
        max_length=8,
        description="Names of stages that find what nobody is to see (faces, plates): blurred in every picture sent.",
    )
    template: dict[str, Any] | None = Field(
        default=None,
        description="The body, JSON with `{{places}}`. Default: `stage`, `fields` and `images`, or `items`.",
    )
    chat: Chat | None = Field(default=None, description="Ask a chat model instead.")
    answer: dict[str, Any] = Field(
        description="JSON Schema of the answer: what is read back. Of each item's, in a batch."
    )
    answer_path: str = Field(
        default="", max_length=200, description="Where in the server's JSON the answer is: `data.result`."
    )
    batch: int = Field(default=1, ge=1, le=64, description="Items in one call; the answer is then a list as long.")
    rate_per_second: float | None = Field(default=None, gt=0, le=1000, description="Calls a second, at most.")
    concurrency: int = Field(default=4, ge=1, le=32, description="Calls at a time, at most.")
    max_calls: int = Field(default=1000, ge=1, le=1_000_000, description="Of a job, attempts counted.")
    max_bytes: int = Field(default=200_000_000, ge=1, le=10**12, description="Sent by a job, attempts counted.")
    timeout_seconds: float = Field(default=30, gt=0, le=300, description="For one attempt.")
    retries: int = Field(default=2, ge=0, le=10, description="Further attempts, where the server may do better.")
    breaker: int = Field(
        default=5, ge=1, le=1000, description="So many failed calls on end: the server is down, nobody calls it."
    )
    breaker_seconds: float = Field(default=30, gt=0, le=3600, description="For so long; then one call tries it.")
    cache_distance: int | None = Field(
        default=None,
        ge=0,
        le=16,
        description="A picture whose perceptual hash differs in so few of 64 bits is not sent again; the answer to the "
        "first is taken. Default: each is sent.",
    )
    secret: str | None = Field(
        default=None, pattern=r"^[a-z][a-z0-9_-]{0,63}$", description="Name of a secret of the operator's, sent along."
    )
    on_error: Literal["continue", "fail"] = Field(
        default="continue", description="What follows from a call that failed: the job goes on, or has failed."
    )

    @model_validator(mode="before")
    @classmethod
    def _about_objects_of_a_stage(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("per") is None and data.get("of") is not None:
            return {**data, "per": "object"}
        return data

    @field_validator("answer")
    @classmethod
    def _is_a_plain_schema(cls, schema: dict[str, Any]) -> dict[str, Any]:
        _check_schema(schema, 0)
        return schema

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.per in ("object", "track") and self.of is None:
            raise ValueError(f"`per: {self.per}` needs `of`, the stage that found them")
        if self.per in ("frame", "job") and self.of is not None:
            raise ValueError(f"`of` does not go with `per: {self.per}`")
        if self.kinds is not None and self.per != "event":
            raise ValueError(f"`kinds` are of events; they do not go with `per: {self.per}`")
        if self.images == "crop" and self.per in ("frame", "job"):
            raise ValueError(f"`images: crop` does not go with `per: {self.per}`; there is `frame`")
        if self.cache_distance is not None and self.images == "none":
            raise ValueError("`cache_distance` compares pictures; there are none with `images: none`")
        if self.cache_distance is not None and self.batch > 1:
            raise ValueError("`cache_distance` compares one picture with another; leave `batch` out")
        if self.template is not None and self.chat is not None:
            raise ValueError("give `template` or `chat`, not both")
        if self.chat is not None and self.batch > 1:
            raise ValueError("`chat` asks about one item at a time; leave `batch` out")
        for name in self.declared:
            if "." not in name and name not in _KNOWN[self.per]:
                raise ValueError(f"fields: there is no {name!r} of a {self.per}; there is: {_listed(_KNOWN[self.per])}")
        asked = places(self.template if self.chat is None else [self.chat.prompt, self.chat.system])
        known = _ALWAYS | set(self.declared) if self.batch == 1 else {"stage", "items"}
        if unknown := asked - known:
            raise ValueError(f"template: nothing fills {{{{{min(unknown)}}}}}; there is: {_listed(known)}")
        return self

    @property
    def declared(self) -> tuple[str, ...]:
        """What is sent of the results."""
        return _DEFAULTS[self.per] if self.fields is None else self.fields


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else f" (there is: {_listed(known) or 'none'})"


def _check_schema(schema: Any, depth: int) -> None:
    if not isinstance(schema, dict):
        raise ValueError("wanted a JSON Schema, such as {type: object, properties: {colour: {type: string}}}")
    if depth > _MAX_SCHEMA_DEPTH:
        raise ValueError(f"a schema is nested {_MAX_SCHEMA_DEPTH} deep at most")
    if unknown := schema.keys() - _KEYWORDS:
        raise ValueError(f"{min(unknown)!r} is not known here; there is: {_listed(_KEYWORDS)}")
    for name, value in schema.items():
        if not isinstance(value, _KEYWORDS[name]):
            raise ValueError(f"{name!r} can't be {value!r} in a JSON Schema")
    told = schema.get("type", [])
    if unknown := set([told] if isinstance(told, str) else told) - set(_TYPES):
        raise ValueError(f"there is no type {min(map(str, unknown))!r}; there is: {_listed(_TYPES)}")
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    inner += [part for name in ("items", "additionalProperties") if isinstance(part := schema.get(name), dict)]
    for part in inner:
        _check_schema(part, depth + 1)


class External(Stage[ExternalOptions]):
    """Ask a server outside about frames, objects, tracks, events or the whole job, once all else is done.

    Only declared fields are sent, and pictures in which what `blur` names cannot be made out. Each call is in the
    job's ledger (`/v1/jobs/{id}/calls`), with what was read back or what went wrong.
    """

    Options = ExternalOptions
    scope = "outside"
    asks_about_crops = False
    """Whether it is about what a `CropStage` chose; set by `meet`."""
    example = """
        - {type: detect, name: cars, model: yolox-nano, classes: [car, truck, bus]}
        - {type: detect, name: faces, model: yunet}
        - {type: track, of: cars}
        - type: external
          name: make
          url: https://models.example.com/v1/chat/completions
          per: track
          of: cars
          images: crop
          blur: [faces]
          chat: {model: some-vision-model, prompt: "Which make and colour is this {{label}}?"}
          answer: {type: object, properties: {make: {type: string}, colour: {type: string}}, required: [colour]}
          secret: models
        """

    def references(self) -> tuple[str, ...]:
        """Whose objects it is about, and who finds what is blurred."""
        of = () if self.options.of is None or self.options.per == "event" else (self.options.of,)
        return tuple(dict.fromkeys((*of, *self.options.blur)))

    def meet(self, earlier: Mapping[str, Stage[Any]]) -> None:
        """See that those who find what is blurred look at everything. Raises: InvalidPipeline."""
        is_of_events = self.options.per == "event"
        if is_of_events:
            self._meet_events(earlier)
        self.asks_about_crops = isinstance(earlier.get(self.options.of or ""), CropStage)
        if self.options.when is not None and (self.options.of is None or self.asks_about_crops or is_of_events):
            raise InvalidPipeline(
                "`when` is of the objects of a stage that found them; there are none here", field="when"
            )
        cut = next((name for name, stage in earlier.items() if stage.kind() in _SHOW_LESS), None)
        names = list(earlier)
        for name in self.options.blur:
            if name not in earlier:
                continue
            if earlier[name].options.when is not None:
                raise InvalidPipeline(f"{name!r} has a `when`, and so may miss what is to be blurred", field="blur")
            if cut is not None and names.index(cut) < names.index(name):
                raise InvalidPipeline(
                    f"{name!r} sees only what {cut!r} leaves of the frame; put it before that, or what lies beyond "
                    "would be sent as it is",
                    field="blur",
                )

    def _meet_events(self, earlier: Mapping[str, Stage[Any]]) -> None:
        """See that there are such events. Raises: InvalidPipeline."""
        telling = {
            name: stage.event_kinds
            for name, stage in earlier.items()
            if isinstance(stage, SequenceStage) and stage.event_kinds
        }
        of = self.options.of
        if of is not None and of not in telling:
            raise InvalidPipeline(f"no earlier stage {of!r} tells of events{_nearest(of, telling)}", field="of")
        if not telling:
            raise InvalidPipeline("no earlier stage tells of events", field="per")
        known = {kind for name, kinds in telling.items() if of in (None, name) for kind in kinds}
        for number, kind in enumerate(self.options.kinds or ()):
            if kind not in known:
                raise InvalidPipeline(f"nobody tells of {kind!r}{_nearest(kind, known)}", field=f"kinds.{number}")

    def body(self, asked: Sequence[Asking]) -> bytes:
        """The body of a call."""
        options = self.options
        if options.chat is not None:
            return _json(self._chat(options.chat, asked[0]))
        shown = [self._shown(one) for one in asked]
        values: dict[str, Any] = {"stage": self.name, "items": shown}
        if options.batch == 1:
            pictures = [_base64(picture) for picture in asked[0].pictures]
            urls = [self._url(picture) for picture in asked[0].pictures]
            values |= {**asked[0].fields, "fields": dict(asked[0].fields), "images": pictures}
            values |= {"image": next(iter(pictures), None), "image_urls": urls, "image_url": next(iter(urls), None)}
        if options.template is not None:
            return _json(filled(options.template, values))
        plain = {"stage": self.name, "items": shown} if options.batch > 1 else {"stage": self.name, **shown[0]}
        return _json(plain)

    def read(self, answer: bytes, count: int) -> list[Any]:
        """What the server said of each of `count` items, not yet compared with the schema. Raises: ValueError."""
        said = json.loads(answer)
        if self.options.chat is not None:
            said = json.loads(_bare(_below(said, "choices.0.message.content")))
        said = _below(said, self.options.answer_path)
        if self.options.batch == 1:
            return [said]
        if not isinstance(said, list) or len(said) != count:
            what = f"a list of {len(said)}" if isinstance(said, list) else type(said).__name__
            raise ValueError(f"wanted a list of {count} answers, got {what}")
        return said

    def _chat(self, chat: Chat, asked: Asking) -> dict[str, Any]:
        values = {**asked.fields, "fields": dict(asked.fields), "stage": self.name, "items": [dict(asked.fields)]}
        content: list[dict[str, Any]] = [{"type": "text", "text": filled(f"{chat.prompt} ", values).strip()}]
        content += [
            {"type": "image_url", "image_url": {"url": self._url(picture), "detail": chat.detail}}
            for picture in asked.pictures
        ]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if chat.system is not None:
            messages.insert(0, {"role": "system", "content": filled(f"{chat.system} ", values).strip()})
        schema = {"name": "answer", "schema": self.options.answer}
        return {
            "model": chat.model,
            "messages": messages,
            "max_tokens": chat.max_tokens,
            "temperature": chat.temperature,
            "response_format": {"type": "json_schema", "json_schema": schema},
        }

    def _shown(self, asked: Asking) -> dict[str, Any]:
        pictures = [_base64(picture) for picture in asked.pictures]
        return {"fields": dict(asked.fields), **({"images": pictures} if pictures else {})}

    def _url(self, picture: bytes) -> str:
        return f"data:image/{self.options.format};base64,{_base64(picture)}"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def _bare(text: Any) -> str:
    """A model's JSON without the fence that some put around it."""
    if not isinstance(text, str):
        raise ValueError("the model gave no text")
    return text.strip().removeprefix("```json").removeprefix("```").removesuffix("```")


def _below(value: Any, path: str) -> Any:
    for part in path.split(".") if path else ():
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise ValueError(f"the answer has no {path!r}")
    return value
