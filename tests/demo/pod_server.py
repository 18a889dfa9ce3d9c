"""An HTTP server that answers every request with the name of the pod it stands for.

Usage: pod_server.py NAME PORT. Listens on all addresses, IPv4 and IPv6. Speaks HTTP/1.0, so that each
request is a connection of its own and the proxy chooses anew.
"""

import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, PORT = sys.argv[1], int(sys.argv[2])


class Answer(BaseHTTPRequestHandler):
    """Answers GET with the pod's name and the client's address."""

    def do_GET(self):  # noqa: N802 (the base class looks the method up by this name)
        client = self.client_address[0].removeprefix("::ffff:")
        body = f"{NAME} {client}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Leaves the terminal to the demo."""


class DualStackServer(ThreadingHTTPServer):
    """Takes IPv4 on its IPv6 socket, and more connections at once than the default of five."""

    address_family = socket.AF_INET6
    request_queue_size = 256

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


# Ctrl-C is for the demo, which ends this server.
signal.signal(signal.SIGINT, signal.SIG_IGN)
DualStackServer(("::", PORT), Answer).serve_forever()
