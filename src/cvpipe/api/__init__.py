"""The HTTP edge: FastAPI routes that read a request, call one verb, and return.

`create_app` makes the ASGI app; `cvpipe.api.server` runs it; `python -m cvpipe.api.openapi` writes its document.
"""

from cvpipe.api.app import create_app

__all__ = ["create_app"]
