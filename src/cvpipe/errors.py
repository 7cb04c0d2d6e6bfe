"""Every error that cvpipe raises on purpose.

CvpipeError
├── InvalidRequest            a value the caller gave is wrong
│   ├── InvalidPipeline       the pipeline or one of its stages is wrong
│   │   └── InvalidExpression     a condition or a rule in it can't be read
│   ├── InvalidStage          a file that should hold a stage does not
│   ├── InvalidModel          a model card or its file is wrong
│   │   ├── ModelUnreadable       not an ONNX file, or damaged
│   │   ├── ModelExternalData     its weights are kept in other files
│   │   ├── ModelTooComplex       more nodes, or graphs nested deeper, than a network has
│   │   ├── ModelUnsupported      operators or types that ONNX Runtime doesn't know
│   │   ├── ModelUnrecognised     no family reads such outputs, or its inputs can't be fed
│   │   ├── ModelTooMuchMemory    loading or running it takes more memory than allowed
│   │   ├── ModelTimeout          loading or running it takes longer than allowed
│   │   ├── ModelCrashed          the process that tried it died, or said what it can't mean
│   │   └── ModelLosesTooMuch     quantised, it finds something else than before
│   ├── InvalidWebhook        a webhook that is unsigned, altered, too old or from someone else
│   └── AddressRefused        an address that jobs may not have called
├── Unauthenticated           no API key came and no token, or none that is good
├── Forbidden                 the key may not do this
├── NotFound                  the thing named does not exist
├── Conflict                  the thing named is in a state that forbids the request
├── TooLarge                  the request is over a stated limit
├── ChecksumMismatch          a part of an upload arrived changed
├── QuotaExceeded             the key has taken what it may for now
├── OutOfSpace                there is no room for what was sent
├── VideoError                the video, not the caller or cvpipe, is at fault
│   ├── MediaUnreadable       not a video, or damaged beyond reading
│   ├── MediaTruncated        cut off before anything of it can be seen
│   ├── FrameDamaged          the one frame asked for is damaged
│   ├── NoVideoStream         nothing to be seen in it, or not the stream asked for
│   ├── Encrypted             its pictures are encrypted
│   ├── FormatNotAllowed      a container outside the allow-list
│   ├── CodecNotAllowed       a codec outside the allow-list
│   ├── PixelFormatUnsupported  its pictures are of a kind that can't be converted
│   ├── BadDimensions         pictures of no size, or too long on one side
│   ├── TooManyPixels         pictures larger than allowed
│   ├── TooManyStreams        more streams than allowed
│   ├── TooManyFrames         more frames than allowed
│   ├── TooMuchMemory         decoding it takes more memory than allowed
│   ├── InputChanged          the file is no longer the one that the work began with
│   ├── DecodeTimeout         its decoder said nothing, or computed, for longer than allowed
│   └── DecoderCrashed        its decoder process died, or said what it can't mean
├── Unavailable               something cvpipe needs does not answer; try again
│   ├── StoreUnavailable      Redis
│   ├── DecoderUnavailable    no decoder process can be started
│   └── OutsideUnavailable    a server that a job calls gave no answer
├── CallFailed                a call outside failed, in a job that is not to go on without it
├── PictureWithheld           a picture may not go outside, or can't
├── DeviceUnavailable         a device was asked for by name and is not there
├── GpuOutOfMemory            a GPU's memory does not hold one picture's work
├── NoRoomForModels           models that must be there at once are larger than the memory set aside for them
├── ExtraMissing              the feature needs packages of an extra that is not installed
├── StageFailed               a stage raised what it should not have
├── AlreadyRunning            another `cvpipe up` owns the data directory
├── LeaseLost                 this worker no longer owns the task; it must write nothing more
├── WaitTimeout               the job did not end in the time the caller gave it (raised by the client)
└── ApiError                  the service answered with a problem document (raised by the client)

Each class has a stable `code` (the slug of RFC 9457's `type`), the HTTP `status` that the API answers
with, and whether trying the same thing again can help (`retryable`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final


class CvpipeError(Exception):
    """Root of all errors that cvpipe raises on purpose.

    `field` is the path of the offending value (`stages.1.fps`) where there is one.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def __str__(self) -> str:
        """The message, behind the path of the value, unless it says itself which stage it is about."""
        return f"{self.field}: {self.message}" if self.field and not _STAGE.match(self.message) else self.message


_STAGE: Final = re.compile(r"stage \d+\b")
_SUBJECT: Final = re.compile(r"^(?:Input|String|Value|List|Tuple|Set|Dictionary|Number|Bytes|URL) should ")
_LONGEST_SHOWN: Final = 60
_SPEAKS_FOR_ITSELF: Final = frozenset(
    {"missing", "value_error", "extra_forbidden", "union_tag_invalid", "json_invalid"}
)


def explain(item: Mapping[str, Any], *, name: str = "") -> str:
    """What is wrong with one value, from an entry of pydantic's `errors()`: `width must be greater than 0; got -3`.

    name: what the sentence begins with. What came is told where it is short, and no secret.
    """
    words = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "value_error":
        return f"{name}: {words}" if name else words
    if item["type"] == "missing":
        words = "is missing"
    elif item["type"] == "extra_forbidden":
        words = "is not known here"
    else:
        words = _SUBJECT.sub("must ", words)
        words = words if words[:2].isupper() else words[:1].lower() + words[1:]
    came, path = item.get("input"), item["loc"]
    is_plain = came is None or isinstance(came, str | int | float)
    if is_plain and item["type"] not in _SPEAKS_FOR_ITSELF and path and path[-1] != "secret":
        shown = "null" if came is None else str(came).lower() if isinstance(came, bool) else repr(came)
        words += f"; got {shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + '...'}"
    return f"{name} {words}".strip()


class InvalidRequest(CvpipeError, ValueError):
    """A value the caller gave is wrong."""

    code, status = "invalid_request", 422


class InvalidPipeline(InvalidRequest):
    """The pipeline or one of its stages is wrong."""

    code = "invalid_pipeline"


class InvalidExpression(InvalidPipeline):
    """A condition or a rule in it can't be read."""


class InvalidStage(InvalidRequest):
    """A file that should hold a stage does not."""

    code, status = "invalid_stage", 500


class InvalidModel(InvalidRequest):
    """A model card or its file is wrong."""

    code = "invalid_model"


class ModelUnreadable(InvalidModel):
    """Not an ONNX file, or damaged."""

    code = "model_unreadable"


class ModelExternalData(InvalidModel):
    """Its weights are kept in other files, which could be any file of the machine."""

    code = "model_external_data"


class ModelTooComplex(InvalidModel):
    """More nodes, or graphs nested deeper, than a network has."""

    code = "model_too_complex"


class ModelUnsupported(InvalidModel):
    """Operators or types that ONNX Runtime doesn't know."""

    code = "model_unsupported"


class ModelUnrecognised(InvalidModel):
    """No family reads such outputs, or its inputs can't be fed."""

    code = "model_unrecognised"


class ModelTooMuchMemory(InvalidModel):
    """Loading or running it takes more memory than allowed."""

    code = "model_memory"


class ModelTimeout(InvalidModel, TimeoutError):
    """Loading or running it takes longer than allowed."""

    code = "model_timeout"


class ModelCrashed(InvalidModel):
    """The process that tried it died, or said what it can't mean."""

    code = "model_crashed"


class ModelLosesTooMuch(InvalidModel):
    """Quantised, it finds something else than before, by more than allowed."""

    code = "model_loses_too_much"


class InvalidWebhook(InvalidRequest):
    """A webhook that is unsigned, altered, too old or from someone else."""

    code, status = "invalid_webhook", 401


class AddressRefused(InvalidRequest):
    """An address that jobs may not have called."""

    code = "address_refused"


class Unauthenticated(CvpipeError, PermissionError):
    """No API key came and no token, or none that is good."""

    code, status = "unauthenticated", 401


class Forbidden(CvpipeError, PermissionError):
    """The key may not do this."""

    code, status = "forbidden", 403


class NotFound(CvpipeError, LookupError):
    """The thing named does not exist."""

    code, status = "not_found", 404


class Conflict(CvpipeError):
    """The thing named is in a state that forbids the request."""

    code, status = "conflict", 409


class TooLarge(CvpipeError, ValueError):
    """The request is over a stated limit."""

    code, status = "too_large", 413


class ChecksumMismatch(CvpipeError, ValueError):
    """A part of an upload arrived changed."""

    code, status, retryable = "checksum_mismatch", 460, True


class QuotaExceeded(CvpipeError):
    """The key has taken what it may for now; `retry_after_seconds`: when to try again."""

    code, status, retryable = "quota_exceeded", 429, True

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class OutOfSpace(CvpipeError):
    """There is no room for what was sent: the disk, or the key's part of it, is full."""

    code, status = "out_of_space", 507


class VideoError(CvpipeError, ValueError):
    """The video, not the caller or cvpipe, is at fault."""

    code, status = "video_error", 422


class MediaUnreadable(VideoError):
    """Not a video, or damaged beyond reading."""

    code = "media_unreadable"


class MediaTruncated(VideoError):
    """Cut off before anything of it can be seen."""

    code = "media_truncated"


class FrameDamaged(VideoError):
    """The one frame asked for is damaged."""

    code = "frame_damaged"


class NoVideoStream(VideoError):
    """Nothing to be seen in it, or not the stream asked for."""

    code = "no_video_stream"


class Encrypted(VideoError):
    """Its pictures are encrypted."""

    code = "encrypted"


class FormatNotAllowed(VideoError):
    """A container outside the allow-list."""

    code = "format_not_allowed"


class CodecNotAllowed(VideoError):
    """A codec outside the allow-list."""

    code = "codec_not_allowed"


class PixelFormatUnsupported(VideoError):
    """Its pictures are of a kind that can't be converted."""

    code = "pixel_format_unsupported"


class BadDimensions(VideoError):
    """Pictures of no size, or too long on one side."""

    code = "bad_dimensions"


class TooManyPixels(VideoError):
    """Pictures larger than allowed."""

    code = "too_many_pixels"


class TooManyStreams(VideoError):
    """More streams than allowed."""

    code = "too_many_streams"


class TooManyFrames(VideoError):
    """More frames than allowed."""

    code = "too_many_frames"


class TooMuchMemory(VideoError):
    """Decoding it takes more memory than allowed."""

    code = "too_much_memory"


class InputChanged(VideoError):
    """The file is no longer the one that the work began with."""

    code = "input_changed"


class DecodeTimeout(VideoError, TimeoutError):
    """Its decoder said nothing, or computed, for longer than allowed."""

    code, retryable = "decode_timeout", True


class DecoderCrashed(VideoError):
    """Its decoder process died, or said what it can't mean."""

    code, retryable = "decoder_crashed", True


class Unavailable(CvpipeError, ConnectionError):
    """Something cvpipe needs does not answer; try again."""

    code, status, retryable = "unavailable", 503, True


class StoreUnavailable(Unavailable):
    """Redis does not answer."""

    code = "store_unavailable"


class DecoderUnavailable(Unavailable):
    """No decoder process can be started."""

    code = "decoder_unavailable"


class OutsideUnavailable(Unavailable):
    """A server that a job calls gave no answer."""

    code = "outside_unavailable"


class CallFailed(CvpipeError, RuntimeError):
    """A call outside failed, in a job that is not to go on without it."""

    code, status = "call_failed", 502


class PictureWithheld(CvpipeError, ValueError):
    """A picture may not go outside, or can't."""

    code, status = "picture_withheld", 422


class DeviceUnavailable(CvpipeError, RuntimeError):
    """A device was asked for by name and is not there."""

    code, status = "device_unavailable", 503


class GpuOutOfMemory(CvpipeError, MemoryError):
    """A GPU's memory does not hold one picture's work."""

    code, status, retryable = "gpu_out_of_memory", 503, True


class NoRoomForModels(CvpipeError, MemoryError):
    """Models that must be there at once are larger than the memory set aside for them."""

    code, status = "no_room_for_models", 507


class ExtraMissing(CvpipeError, ImportError):
    """The feature needs packages of an extra that is not installed."""

    code, status = "extra_missing", 501


class StageFailed(CvpipeError, RuntimeError):
    """A stage raised what it should not have; its cause is what that was."""

    code, retryable = "stage_failed", True


class AlreadyRunning(CvpipeError, RuntimeError):
    """Another `cvpipe up` owns the data directory."""

    code, status = "already_running", 409


class LeaseLost(CvpipeError, RuntimeError):
    """This worker no longer owns the task; it must write nothing more."""

    code, status = "lease_lost", 409


class WaitTimeout(CvpipeError, TimeoutError):
    """The job did not end in the time the caller gave it (raised by the client)."""

    code, status, retryable = "wait_timeout", 504, True


class ApiError(CvpipeError):
    """The service answered with a problem document (raised by the client).

    `problem` is the decoded document; `code` and `status` are its own.
    """

    def __init__(self, problem: dict[str, Any], *, status: int) -> None:
        detail = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
        field = problem.get("field")
        field = field if isinstance(field, str) else None
        super().__init__(detail.removeprefix(f"{field}: "), field=field)
        self.problem = problem
        self.code = str(problem.get("type", "about:blank")).rsplit("/", 1)[-1]  # type: ignore[misc]
        self.status = status  # type: ignore[misc]
        self.retryable = status in (429, 502, 503, 504)  # type: ignore[misc]


class Interrupted(Exception):
    """Work is to stop, and nobody is to blame. No `CvpipeError`: no user ever sees it."""
