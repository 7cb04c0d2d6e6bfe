"""What the extras bring, and the error that names the one that is missing."""

from __future__ import annotations

import importlib.util
from typing import Final, Literal

from cvpipe.errors import ExtraMissing

Extra = Literal["api", "worker"]

MODULES: Final[dict[Extra, tuple[str, ...]]] = {
    "api": ("fastapi", "uvicorn", "redis", "dramatiq", "pika", "prometheus_client", "jwt"),
    "worker": ("av", "onnxruntime", "onnx", "cv2", "scipy", "rapidocr", "tokenizers", "redis", "dramatiq", "pika"),
}
_HINT: Final[dict[Extra, str]] = {
    "api": "pip install 'cvpipe[api]'",
    "worker": "pip install 'cvpipe[cpu]' (or 'cvpipe[gpu]', never both)",
}


def missing_modules(extra: Extra) -> list[str]:
    """Modules of an extra that are not installed. Imports none of them."""
    return [name for name in MODULES[extra] if importlib.util.find_spec(name) is None]


def require(*extras: Extra, what: str) -> None:
    """Raises: ExtraMissing, naming what to install, where `what` can't work."""
    missing = {extra: names for extra in extras if (names := missing_modules(extra))}
    if missing:
        names = sorted({name for names in missing.values() for name in names})
        hints = [_HINT[extra] for extra in missing]
        raise ExtraMissing(f"{what} needs {', '.join(names)}: {' and '.join(hints)}")


def missing_extra(error: ModuleNotFoundError) -> ExtraMissing | None:
    """The error to show for a failed import, where an extra would have brought the module."""
    name = (error.name or "").partition(".")[0]
    for extra, names in MODULES.items():
        if name in names:
            return ExtraMissing(f"this needs {name}: {_HINT[extra]}")
    return None
