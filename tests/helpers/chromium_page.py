# SPDX-License-Identifier: MIT
"""Chromium driven through its debugging pipe: console, script, screenshots. No package beside the browser."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: What Chromium answers to a script whose page was replaced while it ran.
REPLACED = ("Inspected target navigated or closed", "Execution context was destroyed", "Cannot find context")


class Browser:
    """One page. ``console``: warnings, errors, failed requests of every target (page, workers) since it was opened."""

    def __init__(self, out: int, into: int):
        self._out, self._in, self._buffer, self._ids = out, into, b"", itertools.count(1)
        self.console: list[str] = []
        self.requests: list[str] = []
        self._waiting: dict[int, Any] = {}
        self._loaded: list[str] = []  # loaders of the documents that are complete
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.page(f"{domain}.enable")
        self.page("Page.setLifecycleEventsEnabled", enabled=True)
        self.page("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 120
        while number not in self._waiting:
            self._read(deadline)
        answer = self._waiting.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer.get("result", {})

    def page(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command to the page."""
        return self.call(method, self._session, **parameters)

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression (a promise is awaited)."""
        result = self.page(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"].get("exception", {}).get("description", "script failed"))
        return result["result"].get("value")

    def open(self, address: str | Path, width: int | None = None) -> None:
        """Load a page or a file, in a window of this width, px, and wait until it is complete."""
        if width is not None:
            self.resize(width)
        self._go("about:blank")  # what the page before still had to say is said now
        self.console.clear()
        self.requests.clear()
        self._go(address.resolve().as_uri() if isinstance(address, Path) else address)

    def _go(self, url: str) -> None:
        answer = self.page("Page.navigate", url=url)
        if "errorText" in answer:
            raise RuntimeError(f"{url}: {answer['errorText']}")
        self._until(lambda: answer["loaderId"] in self._loaded, url)

    def reload(self) -> None:
        """Load the page again, and wait until it is complete."""
        self._loaded.clear()
        self.page("Page.reload")
        self._until(lambda: bool(self._loaded), "reload")

    def resize(self, width: int, height: int = 900) -> None:
        """Give the window a size, px."""
        self.page(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def _until(self, done: Callable[[], bool], what: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            try:
                self._read(deadline)
            except TimeoutError:
                raise TimeoutError(f"{what}: not within {seconds} s; console: {self.console}") from None

    def wait_for(self, condition: str, seconds: float = 120) -> Any:
        """Wait until a JavaScript expression is true; return its value."""
        deadline = time.monotonic() + seconds
        while not (value := self._holds(f"(() => {{ try {{ return {condition} }} catch {{ return false }} }})()")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{condition}: not within {seconds} s; console: {self.console}")
            time.sleep(0.05)
        return value

    def _holds(self, script: str) -> Any:
        """Return the value of an expression; nothing where the page was just being replaced by the next one."""
        try:
            return self.evaluate(script)
        except RuntimeError as error:
            if any(text in str(error) for text in REPLACED):
                return None
            raise

    def screenshot(self, path: Path, width: int) -> None:
        """Save the whole page as PNG as it looks at a width."""
        self.resize(width)
        frames = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
        self.evaluate(frames)  # laid out and drawn at the new width
        data = self.page("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def pdf(self) -> bytes:
        """Return the page as it is printed."""
        return base64.b64decode(self.page("Page.printToPDF")["data"])

    def _read(self, deadline: float) -> None:
        if not select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError("the browser does not answer")
        data = os.read(self._in, 1 << 20)
        if not data:
            raise RuntimeError("the browser ended")
        *messages, self._buffer = (self._buffer + data).split(b"\0")
        for text in messages:
            self._take(json.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._waiting[message["id"]] = message
            return
        method, values = message.get("method"), message.get("params", {})
        if method == "Target.attachedToTarget" and message.get("sessionId"):
            for domain in ("Runtime", "Log"):
                text = {"id": next(self._ids), "method": f"{domain}.enable", "sessionId": values["sessionId"]}
                os.write(self._out, json.dumps(text).encode() + b"\0")
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
            self.console.append(" ".join(str(item.get("value", item.get("description"))) for item in values["args"]))
        elif method == "Runtime.exceptionThrown":
            self.console.append(json.dumps(values["exceptionDetails"])[:500])
        elif method == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.console.append(values["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif method == "Network.loadingFailed" and not values.get("canceled"):
            self.console.append(f"request failed: {values['errorText']}")
        elif method == "Page.lifecycleEvent" and values["name"] == "load":
            self._loaded.append(values["loaderId"])


@contextlib.contextmanager
def chromium(*options: str) -> Iterator[Browser]:
    """Start a headless Chromium of its own; yield its page."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "no Chromium: run make setup"
    to_browser, from_us = os.pipe()
    to_us, from_browser = os.pipe()
    with tempfile.TemporaryDirectory(prefix="cheep-chromium-", ignore_cleanup_errors=True) as profile:
        arguments = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--autoplay-policy=no-user-gesture-required", "--remote-debugging-pipe",
            f"--user-data-dir={profile}", *options, "about:blank",
        ]  # fmt: skip
        process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", *arguments],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        try:
            yield Browser(from_us, to_us)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(from_us)
            os.close(to_us)
