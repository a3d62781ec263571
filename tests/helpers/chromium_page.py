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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: What Chromium answers to a script whose page was replaced while it ran.
REPLACED = ("Inspected target navigated or closed", "Execution context was destroyed", "Cannot find context")


class Browser:
    """One page. ``console`` collects warnings and errors of every target (page, workers)."""

    def __init__(self, out: int, into: int):
        self._out, self._in, self._buffer, self._ids = out, into, b"", itertools.count(1)
        self.console: list[str] = []
        self._waiting: dict[int, Any] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.page(f"{domain}.enable")
        self.page("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)
        self.requests: list[str] = []

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

    def open(self, url: str) -> None:
        """Load a page."""
        self.page("Page.navigate", url=url)

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

    def reload(self) -> None:
        """Load the page again."""
        self.page("Page.reload")

    def screenshot(self, path: Path, width: int, height: int = 900) -> None:
        """Save the whole page as PNG as it looks at a width."""
        self.page(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        frames = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
        self.evaluate(frames)  # laid out and drawn at the new width
        data = self.page("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

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
