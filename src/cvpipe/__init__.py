"""cvpipe: post a video and a pipeline, get one structured record per frame.

What is named in `__all__` is the public surface; it is imported when first used, so that `import cvpipe` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cvpipe import errors
    from cvpipe.camera import CameraSpec
    from cvpipe.cameras import Camera
    from cvpipe.client import AsyncClient, Client, Video
    from cvpipe.errors import (
        ApiError,
        CvpipeError,
        InvalidRequest,
        InvalidWebhook,
        Unavailable,
        WaitTimeout,
    )
    from cvpipe.events import Event
    from cvpipe.job import Job, JobState, Progress, TimeRange, WebhookTarget
    from cvpipe.results import FrameRecord, Objects
    from cvpipe.tracks import TrackRecord
    from cvpipe.webhooks import verify_webhook

__version__: Final = "0.1.0"

__all__ = [
    "ApiError",
    "AsyncClient",
    "Camera",
    "CameraSpec",
    "Client",
    "CvpipeError",
    "Event",
    "FrameRecord",
    "InvalidRequest",
    "InvalidWebhook",
    "Job",
    "JobState",
    "Objects",
    "Progress",
    "TimeRange",
    "TrackRecord",
    "Unavailable",
    "Video",
    "WaitTimeout",
    "WebhookTarget",
    "__version__",
    "errors",
    "verify_webhook",
]

_HOME: Final = {
    "ApiError": "cvpipe.errors",
    "AsyncClient": "cvpipe.client",
    "Camera": "cvpipe.cameras",
    "CameraSpec": "cvpipe.camera",
    "Client": "cvpipe.client",
    "CvpipeError": "cvpipe.errors",
    "Event": "cvpipe.events",
    "FrameRecord": "cvpipe.results",
    "InvalidRequest": "cvpipe.errors",
    "InvalidWebhook": "cvpipe.errors",
    "Job": "cvpipe.job",
    "JobState": "cvpipe.job",
    "Objects": "cvpipe.results",
    "Progress": "cvpipe.job",
    "TimeRange": "cvpipe.job",
    "TrackRecord": "cvpipe.tracks",
    "Unavailable": "cvpipe.errors",
    "Video": "cvpipe.client",
    "WaitTimeout": "cvpipe.errors",
    "WebhookTarget": "cvpipe.job",
    "verify_webhook": "cvpipe.webhooks",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("cvpipe.errors")
    if name not in _HOME:
        raise AttributeError(f"module 'cvpipe' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
