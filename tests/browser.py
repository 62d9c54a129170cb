"""A real headless Chromium, driven through its DevTools protocol on the loopback address."""

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = "--headless --no-sandbox --disable-gpu --hide-scrollbars --remote-debugging-port=0 --remote-allow-origins=*".split()


def find() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """`with Browser(folder) as browser`: opens pages, runs JavaScript in them, and lists what a page requested."""

    def __init__(self, profile: Path):
        self._profile, self._number, self.requests, self.errors = profile, 0, [], []

    def __enter__(self):
        command = [find(), *OPTIONS, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        note = self._profile / "DevToolsActivePort"
        for _ in range(300):
            if note.exists() and len(note.read_text().split()) == 2:
                break
            time.sleep(0.1)
        port, path = note.read_text().split()
        self._socket = websocket.create_connection(f"ws://127.0.0.1:{port}{path}", timeout=60)
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._ask("Network.enable")
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        self._socket.close()
        self._process.terminate()
        self._process.wait(30)

    def _ask(self, method: str, **params) -> dict:
        self._number += 1
        session = {"sessionId": self._session} if hasattr(self, "_session") else {}
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params, **session}))
        while True:
            answer = json.loads(self._socket.recv())
            self._note(answer)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _note(self, message: dict) -> None:
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(message["params"]["exceptionDetails"].get("exception", {}).get("description", "exception"))
        if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.errors.append(message["params"]["entry"]["text"])

    def open(self, page: Path | str, width: int, dark: bool = False, media: str = "screen") -> None:
        """Load a file or an address at a window of `width` pixels and wait until it and its pictures are there."""
        self.requests.clear()
        self.errors.clear()
        address = page if isinstance(page, str) else page.as_uri()
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self._ask("Page.navigate", url=address)
        for _ in range(300):
            if self.run("document.readyState === 'complete' && location.protocol !== 'about:'"):
                return
            time.sleep(0.1)
        raise TimeoutError(f"{page} is not loaded")

    def run(self, expression: str):
        """The value of a JavaScript expression in the page."""
        asked = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return asked["result"].get("value")

    def picture(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot")["data"]))
