# SPDX-License-Identifier: MIT
"""Where the broker is, and how one logs in: nothing secret on a command line."""

from __future__ import annotations

import dataclasses
import os
import ssl
import stat
import sys
from pathlib import Path
from urllib.parse import urlsplit

from cheep.errors import CheepError

PORTS = {"mqtt": 1883, "mqtts": 8883}
USER, PASSWORD = "CHEEP_MQTT_USER", "CHEEP_MQTT_PASSWORD"


@dataclasses.dataclass(frozen=True)
class Broker:
    """Address and login of a broker; the password is not part of its text."""

    host: str
    port: int
    tls: bool
    ca: Path | None = None
    user: str = ""
    password: str = dataclasses.field(default="", repr=False)

    @property
    def address(self) -> str:
        """``mqtt(s)://HOST:PORT``, without a login."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    @property
    def exposed(self) -> bool:
        """A password that would cross a network unencrypted."""
        return bool(self.password) and not self.tls and self.host not in ("localhost", "127.0.0.1", "::1")

    def tls_context(self) -> ssl.SSLContext:
        """Return a context that checks the broker's certificate and name.

        Raises
        ------
        CheepError
            The CA file cannot be read.
        """
        try:
            return ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        except (OSError, ssl.SSLError) as error:
            raise CheepError(f"{self.ca}: holds no CA certificate ({error}); give a PEM file") from None


def read_broker(url: str, ca: Path | None = None, login: Path | None = None) -> Broker:
    """Return what ``mqtt(s)://[USER@]HOST[:PORT]`` says, with the login of a file or of the environment.

    Parameters
    ----------
    url : str
        Without a password: command lines are seen by others.
    ca : Path, optional
        PEM file of the authority that has signed the broker's certificate (default: those that the system trusts).
    login : Path, optional
        Two lines, user and password; a file that only its owner can read. Without it ``$CHEEP_MQTT_USER`` and
        ``$CHEEP_MQTT_PASSWORD``.

    Raises
    ------
    CheepError
        The address is none, holds a password, or the login file is readable by others.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise CheepError(f"--mqtt: {_without_login(url)}: is no address; mqtt://HOST or mqtts://HOST:8883") from None
    if parts.password is not None:
        raise CheepError(
            "--mqtt: holds a password, which others can see in the list of processes; put user and password, a line "
            f"each, into a file (chmod 600) and name it with --mqtt-login, or set {USER} and {PASSWORD}"
        )
    if parts.scheme not in PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise CheepError(f"--mqtt {_without_login(url)}: must be mqtt://HOST[:PORT] or, with TLS, mqtts://HOST[:PORT]")
    if ca and parts.scheme != "mqtts":
        raise CheepError("--mqtt-ca: a certificate is only checked with TLS; write mqtts:// in --mqtt")
    user, password = _read_login(login) if login else (os.environ.get(USER, ""), os.environ.get(PASSWORD, ""))
    return Broker(
        parts.hostname, PORTS[parts.scheme] if port is None else port, parts.scheme == "mqtts", ca,
        user or parts.username or "", password,
    )  # fmt: skip


def _without_login(url: str) -> str:
    before, at, after = url.rpartition("@")
    return f"{before.split('//')[0]}//…@{after}" if at else url


def _read_login(path: Path) -> tuple[str, str]:
    try:
        with open(path, encoding="utf-8") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            lines = stream.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CheepError(f"--mqtt-login {path}: cannot be read ({type(error).__name__})") from None
    if sys.platform != "win32" and stat.S_IMODE(mode) & 0o077:
        raise CheepError(f"--mqtt-login {path}: others can read it (mode {stat.S_IMODE(mode):o}); chmod 600 {path}")
    if len(lines) != 2 or not all(lines):
        raise CheepError(f"--mqtt-login {path}: has {len(lines)} line(s); must have two: user, password")
    return lines[0], lines[1]
