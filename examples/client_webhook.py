"""Be told of a job's end, by a message that proves who sent it.

python examples/client_webhook.py VIDEO PIPELINE [URL]
"""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import cvpipe
from cvpipe.webhooks import new_secret

SECRET = new_secret()


class Receiver(BaseHTTPRequestHandler):
    """Takes a webhook, or refuses it."""

    def do_POST(self) -> None:
        """Verify first: the address is open to everybody."""
        try:
            body = self.rfile.read(int(self.headers["content-length"]))
            message = cvpipe.verify_webhook(body, self.headers, SECRET)
        except cvpipe.InvalidWebhook as error:
            self.send_error(401, str(error))
        else:
            print(message["type"], message["data"]["id"])
            self.send_response(204)
            self.end_headers()


with HTTPServer(("127.0.0.1", 0), Receiver) as server, cvpipe.Client(*sys.argv[3:]) as client:
    hook = {"url": f"http://127.0.0.1:{server.server_port}/hook", "secret": SECRET}
    client.submit(sys.argv[2], video=client.upload(sys.argv[1]), webhook=hook)
    server.handle_request()
