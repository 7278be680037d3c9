"""A server on this machine that misbehaves as it is told."""

import contextlib
import http.server
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Reply:
    """One answer. `cut` closes the connection after that many bytes of it; `give` and `tag` may
    differ from those of the answer before; `length` and `content_range` may lie."""

    give: bytes = b""
    tag: str | None = '"1"'
    ranges: bool = True
    cut: int | None = None
    status: int = 200
    kind: str = "application/octet-stream"
    length: int | None = None  # None: that of what is given; -1: not said
    content_range: str | None = None
    heed_if_range: bool = True
    location: str | None = None
    slow: float = 0.0  # seconds between blocks of 64 kB
    silent: float = 0.0  # seconds before the body


@dataclass
class Server:
    """`pages[path]` are answered in turn, the last for ever; `asked` are paths and ranges."""

    address: str = ""
    pages: dict[str, list[Reply]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def put(self, name: str, *replies: Reply) -> str:
        self.pages[f"/{name}"] = list(replies)
        return f"{self.address}/{name}"

    def ranges(self, name: str) -> list[str | None]:
        return [asked for path, asked in self.asked if path == f"/{name}"]

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        replies = self.pages.get(request.path, [Reply(status=404)])
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        start, status, condition = 0, reply.status, request.headers.get("If-Range")
        same = condition in (None, reply.tag) or not reply.heed_if_range
        if status == 200 and wanted and reply.ranges and same:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            status = 206 if start < len(reply.give) else 416
        body = reply.give[start:] if status in (200, 206) else b""
        request.send_response(status)
        request.send_header("Content-Type", reply.kind)
        if reply.tag:
            request.send_header("ETag", reply.tag)
        if reply.location:
            request.send_header("Location", reply.location)
        if reply.length != -1:
            request.send_header("Content-Length", str(reply.length or len(body)))
        if status == 206:
            end = len(reply.give)
            request.send_header(
                "Content-Range", reply.content_range or f"bytes {start}-{end - 1}/{end}"
            )
        request.end_headers()
        time.sleep(reply.silent)
        body = body[: reply.cut]
        for block in range(0, len(body), 65536):
            request.wfile.write(body[block : block + 65536])
            time.sleep(reply.slow)


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                server.answer(self)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the reader was killed

        def log_message(self, *words: object) -> None:
            pass

    opened = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.address = f"http://127.0.0.1:{opened.server_port}"
    threading.Thread(target=opened.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        opened.shutdown()
        opened.server_close()
