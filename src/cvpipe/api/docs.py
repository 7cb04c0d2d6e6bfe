"""`/docs`: Swagger UI from files on this machine; nothing is loaded from anywhere else."""

from __future__ import annotations

import html
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from cvpipe.errors import ExtraMissing, NotFound

router = APIRouter(include_in_schema=False)

_PAGES: Final = Path(__file__).parent / "pages"
#: What the pages load, by name: of ours, and of Swagger UI, which the package fastapi-offline carries.
_OURS: Final = frozenset({"docs.js", "favicon.svg", "page.css"})
_SWAGGER: Final = frozenset({"swagger-ui-bundle.js", "swagger-ui.css"})

#: Styles are inline in Swagger UI's markup; pictures are data URLs in its style sheet.
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/", response_class=RedirectResponse)
async def get_root() -> str:
    """To the documentation."""
    return "docs"


@router.get("/docs")
async def get_docs() -> HTMLResponse:
    """The page; addresses in it are relative, so that it works below a proxy's prefix too."""
    return HTMLResponse(
        (_PAGES / "docs.html").read_text(encoding="utf-8"), headers={"Content-Security-Policy": PAGE_POLICY}
    )


def page(title: str, body: str, *, files: str) -> HTMLResponse:
    """A page of ours. title: plain text. body: HTML. files: relative address of `/docs`, where its style sheet is."""
    title = html.escape(title)
    content = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>cvpipe: {title}</title><link rel="icon" href="{files}/favicon.svg">'
        f'<link rel="stylesheet" href="{files}/page.css"><main><h1>{title}</h1>{body}</main></html>'
    )
    return HTMLResponse(content, headers={"Content-Security-Policy": PAGE_POLICY})


@router.get("/docs/{name}")
def get_page_file(name: str) -> FileResponse:
    """A script, style sheet or picture of the pages."""
    if name in _OURS:
        path = _PAGES / name
    elif name in _SWAGGER:
        path = _swagger_folder() / name
    else:
        raise NotFound(f"the pages have no file {name!r}")
    return FileResponse(path, headers={"Cache-Control": "public, max-age=3600"})


def _swagger_folder() -> Path:
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise ExtraMissing("Swagger UI is not installed: pip install 'cvpipe[api]'; the document is at /openapi.json")
    return Path(spec.origin).parent / "static"
