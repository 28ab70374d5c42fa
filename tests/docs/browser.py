"""A headless Chromium by its own protocol: open a page, hear its errors, see its requests, take its picture."""

import base64
import itertools
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 30.0


def find() -> str | None:
    """Return the program, or None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One tab."""

    def __init__(self, folder: Path):
        import websocket

        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--hide-scrollbars"]
        options += ["--disable-background-networking", "--no-first-run", "--remote-allow-origins=*"]
        # Nobody reads what Chromium prints; where it listens it writes to a file.
        self.process = subprocess.Popen(
            [find() or "chromium", *options, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        address = self._address(folder / "DevToolsActivePort")
        self.socket = websocket.create_connection(address, timeout=PATIENCE, suppress_origin=True)
        self.numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _address(self, file: Path) -> str:
        until = time.monotonic() + PATIENCE
        while not (file.exists() and len(lines := file.read_text().splitlines()) == 2):
            assert self.process.poll() is None, "Chromium ended"
            assert time.monotonic() < until, "Chromium does not start"
            time.sleep(0.05)
        return f"ws://127.0.0.1:{lines[0]}{lines[1]}"

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def look(self, width: int, height: int, dark: bool) -> None:
        """Take another window and scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, address: str) -> list[str]:
        """Open a page; return what is wrong with it: errors of its programs, files that are missing, other hosts."""
        self.events.clear()
        self.call("Page.navigate", url=address)
        until = time.monotonic() + PATIENCE
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            assert time.monotonic() < until, f"{address} does not load"
            self.events.append(json.loads(self.socket.recv()))
        self.ask("new Promise(done => setTimeout(done, 60))")
        return [wrong for event in self.events if (wrong := _complaint(event, address))]

    def ask(self, expression: str) -> Any:
        """Return the value of an expression on the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def picture(self, path: Path) -> None:
        """Write what the window shows."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait(PATIENCE)


def _complaint(event: dict[str, Any], address: str) -> str | None:
    method, about = event.get("method"), event.get("params", {})
    if method == "Runtime.exceptionThrown":
        return f"exception: {about['exceptionDetails'].get('exception', {}).get('description', about)}"
    if method == "Runtime.consoleAPICalled" and about["type"] == "error":
        return f"console: {about['args']}"
    if method == "Log.entryAdded" and about["entry"]["level"] == "error":
        return f"log: {about['entry']['text']} {about['entry'].get('url', '')}"
    if method == "Network.requestWillBeSent":
        url = about["request"]["url"]
        host = "/".join(address.split("/")[:3])
        if not url.startswith((host, "data:", "blob:", "about:")):
            return f"asks another host: {url}"
    return None
