# SPDX-License-Identifier: MIT
"""The uplink on a broker: one thread owns the C code, paho's thread the connection."""

from __future__ import annotations

import contextlib
import queue
import ssl
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from cheep.errors import CheepError
from cheep.mqtt.broker import Broker
from cheep.mqtt.uplink import Device, Uplink, UplinkEvent, UplinkState

KEEPALIVE_S = 30
RETRY_S = (1, 30)
CONNECT_S = 10.0


class Bridge:
    """Delivers events; see :mod:`cheep.mqtt`.

    Parameters
    ----------
    say : callable
        Told when the broker is reached, lost, and back.
    retry_s : tuple of int
        Shortest and longest wait before connecting again.

    Raises
    ------
    CheepError
        The broker's certificate is not trusted, it refuses the login, or the queue cannot be used. A broker that
        cannot be reached is no error: events wait in the queue.
    """

    def __init__(
        self,
        broker: Broker,
        device: Device,
        queue_path: Path,
        say: Callable[[str], None] = lambda text: None,
        retry_s: tuple[int, int] = RETRY_S,
    ):
        self.broker, self.device = broker, device
        self._say = say
        self._away = False
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any] | None] | None] = queue.SimpleQueue()
        self._answer: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._client = self._make_client(retry_s)
        self._uplink = Uplink(device, queue_path, self._publish)
        self._thread = threading.Thread(target=self._work, name="cheep-mqtt", daemon=True)
        self._thread.start()
        try:
            self._connect()
        except BaseException:
            self._stop()
            raise

    def add(self, event: UplinkEvent) -> bool:
        """Keep an event until it is delivered; it is in the queue's file when this returns. False: no room."""
        return self._ask(lambda: self._uplink.add(event))

    def set(self, state: UplinkState) -> None:
        """Say another state."""
        self._tell(lambda: self._uplink.set(state))

    @property
    def waiting(self) -> int:
        """Events that the broker has not acknowledged."""
        return self._ask(lambda: self._uplink.waiting)

    @property
    def refused(self) -> int:
        """Events for which there was no room."""
        return self._ask(lambda: self._uplink.refused)

    @property
    def next_number(self) -> int:
        """The number that the next event gets."""
        return self._ask(lambda: self._uplink.next_number)

    def drain(self, patience_s: float) -> bool:
        """Wait until everything is delivered; False after ``patience_s``."""
        end = time.monotonic() + patience_s
        while not self._ask(lambda: self._uplink.idle):
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    def close(self, patience_s: float = 5.0) -> int:
        """Deliver what can be within ``patience_s``, say offline, and return how many events stay in the queue."""
        delivered = not self._away and self.drain(patience_s)
        left = self.waiting
        if delivered:  # orderly: the broker does not send the last will of a client that says good-bye
            with contextlib.suppress(ValueError, RuntimeError):
                topic = f"cheep/{self.device.id}/availability"
                self._client.publish(topic, b"offline", qos=1, retain=True).wait_for_publish(patience_s)
        self._stop()
        return left

    def _stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._jobs.put(None)
        self._thread.join()
        self._uplink.close()

    # The thread that owns the C code: paho calls back with its own locks held, so nothing is done there.

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, future = job
            try:
                result = function()
            except BaseException as error:
                if future is None:
                    raise
                future.set_exception(error)
            else:
                if future:
                    future.set_result(result)

    def _ask(self, function: Callable[[], Any]) -> Any:
        future: Future[Any] = Future()
        self._jobs.put((function, future))
        return future.result()

    def _tell(self, function: Callable[[], Any]) -> None:
        self._jobs.put((function, None))

    def _publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> int:
        message = self._client.publish(topic, payload, qos, retain)
        return -1 if message.rc else message.mid

    # paho

    def _make_client(self, retry_s: tuple[int, int]) -> Any:
        try:
            from paho.mqtt.client import Client, MQTTv311
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError:
            raise CheepError("--mqtt: needs paho-mqtt: pip install 'paho-mqtt>=2.1,<3'") from None
        client = Client(CallbackAPIVersion.VERSION2, client_id=f"cheep-{self.device.id}", protocol=MQTTv311)
        client.connect_timeout = CONNECT_S
        client.reconnect_delay_set(*retry_s)
        if self.broker.user:
            client.username_pw_set(self.broker.user, self.broker.password or None)
        if self.broker.tls:
            client.tls_set_context(self.broker.tls_context())
        client.will_set(f"cheep/{self.device.id}/availability", b"offline", qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = lambda _client, _data, mid, _reason, _properties: self._tell(
            lambda: self._uplink.acknowledged(mid)
        )
        return client

    def _connect(self) -> None:
        try:
            self._client.connect(self.broker.host, self.broker.port, KEEPALIVE_S)
        except ssl.SSLCertVerificationError as error:
            raise CheepError(
                f"{self.broker.address}: its certificate is refused ({error.verify_message}); give the file of the "
                "authority that has signed it with --mqtt-ca, and the name that stands in it"
            ) from None
        except ssl.SSLError as error:
            raise CheepError(f"{self.broker.address}: speaks no TLS ({error.reason}); mqtt://?") from None
        except OSError as error:
            self._lost(error)
            self._client.connect_async(self.broker.host, self.broker.port, KEEPALIVE_S)
            self._client.loop_start()
            return
        self._client.loop_start()
        with contextlib.suppress(queue.Empty):  # no answer: as if it were away
            refusal = self._answer.get(timeout=CONNECT_S)
            if refusal:
                raise CheepError(f"{self.broker.address}: refuses the connection ({refusal}); --mqtt-login FILE")

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._answer.put(str(reason))
            if not self._away:
                self._away = True
                self._say(f"{self.broker.address}: refuses the connection ({reason})")
            return
        self._answer.put("")
        self._say(f"{self.broker.address}: {'back' if self._away else 'connected'}")
        self._away = False
        self._tell(self._uplink.connected)

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        self._lost(sys.exc_info()[1])

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._tell(self._uplink.disconnected)
        if reason.is_failure:
            self._lost(None)

    def _lost(self, error: BaseException | None) -> None:
        if not self._away:
            self._away = True
            why = f" ({error})" if error else ""
            self._say(f"{self.broker.address}: not reached{why}; events wait in the queue, and it is tried again")
