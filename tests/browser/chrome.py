"""As much of a Chromium as looking at pages needs, over its DevTools protocol.

with serve(folder) as address, Chromium() as browser:
    page = browser.open(f"{address}/index.html", width=390)
    page.evaluate("document.title"), page.outside_requests(address), page.problems
"""

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

PROGRAM = (
    shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage --remote-debugging-port=0"
).split()
WIDGETS_READY = """
    !document.querySelector('script[type$="widget-view+json"]') ||
    document.documentElement.dataset.widgets === "ready"
"""
KEYS = {"ArrowRight": 39, "ArrowLeft": 37}


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing: the browser's log has it."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine only; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


class Chromium:
    """A browser with a fresh profile. Use as a context manager."""

    def __enter__(self) -> "Chromium":
        if PROGRAM is None:
            raise FileNotFoundError("no chromium on this machine")
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [PROGRAM, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._loop = asyncio.new_event_loop()
        port_file = Path(self._profile.name, "DevToolsActivePort")
        wait_until(lambda: port_file.exists() and port_file.read_text().count("\n"), 60)
        port, path = port_file.read_text().split("\n")[:2]
        self._socket = self._run(connect(f"ws://127.0.0.1:{port}{path}"))
        self._count = 0
        self.listeners: dict[str, Any] = {}
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(20)
        self._loop.close()
        self._profile.cleanup()

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict:
        """Send a command and wait for its answer; events that come before go to their page."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self._run(self._write(json.dumps(message)))
        while True:
            answer = json.loads(self._run(self._read()))
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            if listener := self.listeners.get(answer.get("sessionId")):
                listener(answer["method"], answer["params"])

    def _run(self, task: Coroutine) -> Any:
        return self._loop.run_until_complete(task)

    async def _write(self, text: str) -> None:
        await self._socket.write_message(text)

    async def _read(self) -> str:
        text = await self._socket.read_message()
        if text is None:
            raise ConnectionError("Chromium went away")
        return text

    def open(self, url: str, width: int = 1400, height: int = 900) -> "Page":
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        page.go(url, width, height)
        return page


async def connect(url: str) -> WebSocketClientConnection:
    return await websocket_connect(url, max_message_size=2**30)


def wait_until(condition: Any, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return bool(result)


class Page:
    """One tab. `requests` holds every address asked for, `problems` errors and failed requests."""

    def __init__(self, browser: Chromium, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._asked: dict[str, str] = {}
        browser.listeners[session] = self._event
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._send(f"{domain}.enable")

    def _send(self, method: str, **parameters: Any) -> dict:
        return self._browser.send(method, self._session, **parameters)

    def _event(self, method: str, event: dict) -> None:
        if method == "Network.requestWillBeSent":
            self._asked[event["requestId"]] = event["request"]["url"]
            self.requests.append(event["request"]["url"])
        elif method == "Network.loadingFailed":
            self.problems.append(f"{event['errorText']}: {self._asked.get(event['requestId'])}")
        elif method == "Network.responseReceived" and event["response"]["status"] >= 400:
            self.problems.append(f"{event['response']['status']}: {event['response']['url']}")
        elif method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] == "error":
            self.problems.append(" ".join(str(a.get("value", a)) for a in event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.problems.append(f"{event['entry']['text']} {event['entry'].get('url', '')}")

    def go(self, url: str, width: int, height: int) -> None:
        """Open an address in a window of this size and wait until the page has settled."""
        self.resize(width, height)
        self._send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")
        self.evaluate("window.MathJax?.startup?.promise")
        self.wait(WIDGETS_READY)
        self.wait("document.getAnimations().every((a) => a.playState !== 'running')")

    def resize(self, width: int, height: int) -> None:
        self._send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = self._send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = 30) -> bool:
        """Wait until an expression is true; says whether it became so."""
        return wait_until(lambda: self.evaluate(script), seconds)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self._send(
                "Input.dispatchKeyEvent",
                type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key],
            )  # fmt: skip

    def picture(self, top: float, height: float) -> bytes:
        """PNG of the page from `top` on, `height` pixels of it, as wide as the window."""
        width = self.evaluate("innerWidth")
        clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
        answer = self._send("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def outside_requests(self, address: str) -> list[str]:
        """Addresses asked for that are neither below `address` nor within the page itself."""
        inside = (address, "data:", "blob:", "about:")
        return [url for url in self.requests if not url.startswith(inside)]

    def close(self) -> None:
        self._browser.send("Target.closeTarget", targetId=self._target)
        self._browser.listeners.pop(self._session)
