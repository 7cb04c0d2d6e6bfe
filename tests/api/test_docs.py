"""The documentation page: it works with the network off."""

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx
import pytest


class _Addresses(HTMLParser):
    """Everything that a page loads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [str(value) for name, value in attrs if name in ("src", "href") and tag != "a"]


@pytest.mark.parametrize("path", ["/docs", "/problems", "/problems/not_found"])
def test_a_page_loads_nothing_but_files_of_the_service(api: httpx.Client, path: str) -> None:
    page = api.get(path)
    policy = page.headers["content-security-policy"]
    assert "style-src 'self'" in policy
    assert "img-src 'self'" in policy
    addresses = _Addresses(page.text).found
    assert any(address.endswith(".css") for address in addresses)
    for address in addresses:
        assert not re.match(r"^(\w+:|//)", address), address
        response = api.get(urljoin(path, address))
        assert response.status_code == 200, address
        assert response.content
    assert "<script>" not in page.text  # the policy allows none


def test_the_browser_is_told_to_load_nothing_from_elsewhere(api: httpx.Client) -> None:
    policy = dict(rule.strip().split(" ", 1) for rule in api.get("/docs").headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    for kind in ("script-src", "style-src", "img-src", "connect-src"):
        assert set(policy[kind].split()) <= {"'self'", "'unsafe-inline'", "data:"}
    assert "unsafe" not in policy["script-src"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("swagger-ui-bundle.js", "text/javascript"),
        ("swagger-ui.css", "text/css"),
        ("docs.js", "text/javascript"),
        ("favicon.svg", "image/svg+xml"),
    ],
)
def test_files_of_the_page_have_their_types(api: httpx.Client, name: str, kind: str) -> None:
    response = api.get(f"/docs/{name}")
    assert response.headers["content-type"].split(";")[0] == kind
    assert api.get(f"/docs/{name}", headers={"If-None-Match": response.headers["etag"]}).status_code in (200, 304)


def test_the_page_shows_the_document_and_no_badge(api: httpx.Client) -> None:
    script = api.get("/docs/docs.js").text
    assert 'url: "openapi.json"' in script
    assert "validatorUrl: null" in script
    assert api.get("/openapi.json").json()["openapi"].startswith("3.1")


def test_the_root_leads_to_the_page(api: httpx.Client) -> None:
    response = api.get("/")
    assert (response.status_code, response.headers["location"]) == (307, "docs")
