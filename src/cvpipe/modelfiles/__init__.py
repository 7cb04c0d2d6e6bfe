"""Models as files: adding them, checking them, taking them away.

Importing this package loads no ONNX Runtime; what looks at a file runs in a process of its own (`child`).
"""

from __future__ import annotations

from cvpipe.modelfiles.add import Added, add_model
from cvpipe.modelfiles.folder import card_text, name_of, named, remove, versions_of
from cvpipe.modelfiles.process import Limits, Step, check
from cvpipe.modelfiles.wish import Wish, read_wish

__all__ = [
    "Added", "Limits", "Step", "Wish", "add_model", "card_text", "check", "name_of", "named", "read_wish", "remove",
    "versions_of",
]  # fmt: skip
