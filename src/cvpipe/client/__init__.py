"""The client of a cvpipe service: `Client`, and `AsyncClient` with the same calls."""

from cvpipe.client.asynchronous import AsyncClient
from cvpipe.client.blocking import Client
from cvpipe.client.video import Video

__all__ = ["AsyncClient", "Client", "Video"]
