"""A web hook that somebody else runs: it keeps what it is told."""

import json
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.servers.local import LocalServer


class Listener(LocalServer):
    """A server on this machine for the length of a ``with`` statement."""

    def __init__(self) -> None:
        heard: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

        super().__init__(Handler)
        self.heard = heard
