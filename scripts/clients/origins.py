"""Two origins for the client checks, HTTP and HTTPS, on free ports of 127.0.0.1. Standard library only.

usage: origins.py PORTS_FILE REPOSITORIES CERTIFICATE KEY

Writes "HTTP_PORT HTTPS_PORT" into PORTS_FILE when both serve.

    GET  /hello            a line of text
    POST /echo             the body, whatever its framing
    GET  /events           five server-sent events, one every 200 ms, each with the time at which it was sent
    GET  /ws               a WebSocket that echoes messages
    *    /smart/NAME.git/  `git http-backend` on the repositories
    GET  /dumb/NAME.git/   the same as plain files
"""

import base64
import hashlib
import http.server
import os
import pathlib
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

ports_file, repositories, certificate, key = (pathlib.Path(argument) for argument in sys.argv[1:5])


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Nagle's algorithm would hold back what the checks want at once.
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path.partition("?")[0] == "/hello":
            self.answer(b"hello\n", "text/plain")
        elif self.path == "/events":
            self.events()
        elif self.path == "/ws":
            self.websocket()
        elif self.path.startswith("/smart/"):
            self.git(b"")
        elif self.path.startswith("/dumb/"):
            self.file()
        else:
            self.send_error(404)

    def do_POST(self):
        body = self.body()
        if self.path == "/echo":
            self.answer(body, "application/octet-stream")
        elif self.path.startswith("/smart/"):
            self.git(body)
        else:
            self.send_error(404)

    def answer(self, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def chunk(self, data):
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(5):
            time.sleep(0.2)
            self.chunk(f"data: {time.monotonic()}\n\n".encode())
        self.chunk(b"")

    def file(self):
        name = urllib.parse.urlsplit(self.path).path.removeprefix("/dumb/")
        path = (repositories / name).resolve()
        if path.is_relative_to(repositories.resolve()) and path.is_file():
            self.answer(path.read_bytes(), "application/octet-stream")
        else:
            self.send_error(404)

    def git(self, body):
        target = urllib.parse.urlsplit(self.path)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": target.path.removeprefix("/smart"),
            "QUERY_STRING": target.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(content), 8192):
            self.chunk(content[start : start + 8192])
        self.chunk(b"")

    def websocket(self):
        accept = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accept.digest()).decode())
        self.end_headers()
        self.close_connection = True
        message = b""
        while head := self.rfile.read(2):
            size = head[1] & 0x7F
            if size >= 126:
                size = int.from_bytes(self.rfile.read(2 if size == 126 else 8), "big")
            mask = self.rfile.read(4)
            data = unmask(self.rfile.read(size), mask)
            opcode = head[0] & 0x0F
            if opcode == 8:
                self.wfile.write(bytes([0x88, len(data)]) + data)
                return
            if opcode == 9:
                self.wfile.write(bytes([0x8A, len(data)]) + data)
                continue
            if opcode in (1, 2):
                kind, message = opcode, b""
            message += data
            if head[0] & 0x80:
                self.wfile.write(bytes([0x80 | kind]) + length(message) + message)
                self.wfile.flush()

    def log_message(self, *_):
        pass


def length(message):
    """In the fewest bytes: browsers take no other."""
    size = len(message)
    if size < 126:
        return bytes([size])
    return b"\x7e" + size.to_bytes(2, "big") if size < 1 << 16 else b"\x7f" + size.to_bytes(8, "big")


def unmask(data, mask):
    """One exclusive or over the whole message: byte by byte takes seconds."""
    full = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(full, "big")).to_bytes(len(data), "big")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # A hundred tunnels at once are no flood.
    request_queue_size = 256

    def handle_error(self, *_):
        """A client that leaves early is no news."""


class TlsServer(Server):
    context = None

    def finish_request(self, request, client_address):
        # The handshake is on the connection's thread, so that a slow one holds up nobody.
        with self.context.wrap_socket(request, server_side=True) as secure:
            self.RequestHandlerClass(secure, client_address, self)
            # Without it what was sent would look as if it was cut.
            secure.settimeout(5)
            secure.unwrap()


plain = Server(("127.0.0.1", 0), Origin)
ports = [plain.server_port, 0]
if certificate.exists():
    secure = TlsServer(("127.0.0.1", 0), Origin)
    secure.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.context.load_cert_chain(certificate, key)
    threading.Thread(target=secure.serve_forever, daemon=True).start()
    ports[1] = secure.server_port
ports_file.write_text(f"{ports[0]} {ports[1]}\n")
plain.serve_forever()
