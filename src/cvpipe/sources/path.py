"""`path`: a file that is on the server already, under a folder opened with CVPIPE_PATH_ROOTS."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from cvpipe.errors import InvalidRequest

_FIELD = "path"


def resolve(path: str, roots: Sequence[Path]) -> Path:
    """The real file behind `path`, all symbolic links followed.

    roots: resolved folders. The real file has to lie under one of them, so a link cannot lead out. A path outside of
    them gets one answer whether or not something is there: what else lies on the server is not told.
    Call it again right before the file is opened: a link may have been changed in between.

    Raises: InvalidRequest (field `path`).
    """
    if not roots:
        raise InvalidRequest(
            "this service reads no files by path: upload the video, or have the operator open folders to jobs with "
            "CVPIPE_PATH_ROOTS",
            field=_FIELD,
        )
    if "\0" in path or not Path(path).is_absolute():
        raise InvalidRequest("wanted an absolute path on the server", field=_FIELD)
    try:
        real = Path(os.path.realpath(path))
    except (OSError, ValueError):  # a name too long, bytes that are no file name
        raise _outside() from None
    if not any(real.is_relative_to(root) for root in roots):
        raise _outside()
    try:
        mode = real.stat().st_mode
    except OSError as error:
        raise InvalidRequest(f"the file cannot be read: {(error.strerror or 'error').lower()}", field=_FIELD) from None
    if not stat.S_ISREG(mode):
        raise InvalidRequest("wanted a regular file, this is something else", field=_FIELD)
    if not os.access(real, os.R_OK):
        raise InvalidRequest("the file cannot be read: permission denied", field=_FIELD)
    return real


def _outside() -> InvalidRequest:
    return InvalidRequest(
        "the path is outside the folders opened to jobs; the operator sets them with CVPIPE_PATH_ROOTS", field=_FIELD
    )
