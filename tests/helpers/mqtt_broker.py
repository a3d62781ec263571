# SPDX-License-Identifier: MIT
"""A real mosquitto on a free port of this machine, a line to it that can be cut, and a subscriber that keeps all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
REASON = "needs mosquitto (Debian package mosquitto; scripts/setup.sh installs it)"


_PORTS = iter(range(10_000 + os.getpid() % 20_000, 32_000))


def free_port():
    """Return a port that nothing listens on, below those that the system gives to others in the meantime."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


def wait_until(condition, patience_s=120.0, what="it"):
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, f"waited {patience_s} s in vain for {what}"
        time.sleep(0.005)


class Broker:
    """mosquitto with sessions and messages kept in ``folder``: a stop writes them, a start reads them."""

    def __init__(self, folder: Path, extra: str = ""):
        self.port = free_port()
        self._process = None
        self._log = folder / "mosquitto.log"
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "mosquitto.conf"
        anonymous = "" if "allow_anonymous" in extra else "allow_anonymous true\n"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\n{anonymous}persistence true\npersistence_location {folder}/\n"
            f"max_queued_messages 100000\nmax_inflight_messages 100\nuser root\n{extra}"
        )

    def start(self):
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stdout=log, stderr=log)
        wait_until(self._accepts, what=f"mosquitto: {self._log.read_text()}")
        return self

    def _accepts(self):
        assert self._process.poll() is None, self._log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def stop(self):
        if self._process:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class Line:
    """A TCP line to a port, which can be cut in the middle of what it carries."""

    def __init__(self, to_port):
        self._to = to_port
        self._sockets = set()
        self._budget = None
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        self.cuts += 1
        self._budget = None
        for item in list(self._sockets):
            with contextlib.suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)

    def cut_after(self, n_bytes):
        """Cut when so many more bytes have passed, in either direction."""
        self._budget = n_bytes

    @property
    def pending(self):
        return self._budget is not None

    def close(self):
        self._listener.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._to), 1)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            self._sockets |= {near, far}
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(a, b), daemon=True).start()

    def _carry(self, a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(4096):
                if self._budget is not None:
                    budget, self._budget = self._budget, self._budget - len(data)
                    if budget <= len(data):
                        b.sendall(data[: max(budget, 0)])
                        self.cut()
                        break
                b.sendall(data)
        for item in (a, b):
            with contextlib.suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
            item.close()
            self._sockets.discard(item)


class Subscriber:
    """Keeps every message, with a session that the broker remembers; also each event once, as docs/mqtt.md says."""

    def __init__(self, port, topic="#", client_id="listener", **login):
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages, self.once, self._last = [], [], {}
        self.copies = 0
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False)
        self._client.reconnect_delay_set(0.02, 0.05)
        if login:
            self._client.username_pw_set(login["user"], login["password"])
        self._client.on_message = self._on_message
        self._client.on_connect = lambda *_: self._client.subscribe(topic, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(60)

    def _on_message(self, _client, _data, message):
        self.messages.append((message.topic, message.payload.decode(), message.retain))
        if message.topic.endswith("/event"):
            event = json.loads(message.payload)
            if event["seq"] <= self._last.get(event["queue"], 0):
                self.copies += 1
                return
            self._last[event["queue"]] = event["seq"]
            self.once.append(event)

    def payloads(self, topic):
        return [payload for name, payload, _ in self.messages if name == topic]

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
