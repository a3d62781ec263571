# SPDX-License-Identifier: MIT
"""The key pair that signs images for a card: the private half in a file of its owner only, never replaced."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cheep.errors import CheepError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ENVIRONMENT = "CHEEP_CARD_KEY"


def default_key_path() -> Path:
    """Return where the private key lies: ``$CHEEP_CARD_KEY``, or ``cheep/card.key`` in the user's configuration."""
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(base) / "cheep" / "card.key"


def make_key(path: Path) -> Ed25519PrivateKey:
    """Make a key pair and keep its private half in ``path``, which must not exist.

    The file is readable by its owner only from its first byte on, and appears whole or not at all.

    Raises
    ------
    CheepError
        There is a file already, or it cannot be written.
    """
    serialization, ed25519 = _package()
    key = ed25519.Ed25519PrivateKey.generate()
    data = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".card-", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(name, path)  # unlike a rename, it replaces nothing
        finally:
            os.unlink(name)
    except FileExistsError:
        raise CheepError(f"{path}: there is a key already; it is not replaced (name another file with --key)") from None
    except OSError as error:
        raise CheepError(f"{path}: cannot write the key: {error.strerror}; name another place with --key") from None
    return key


def load_key(path: Path) -> Ed25519PrivateKey:
    """Load the private key.

    Raises
    ------
    CheepError
        No such file; others can read it; it is no Ed25519 key without a password.
    """
    serialization, ed25519 = _package()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        data = path.read_bytes()
    except OSError as error:
        raise CheepError(f"{path}: cannot read the key: {error.strerror}; name its file with --key") from None
    if os.name == "posix" and mode & 0o077:
        raise CheepError(
            f"{path}: mode {mode:03o}: others than its owner have access to this private key; chmod 600 it"
        )
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnicodeDecodeError):
        key = None
    except Exception as error:  # an algorithm that the package does not know has an exception of its own
        if type(error).__name__ != "UnsupportedAlgorithm":
            raise
        key = None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise CheepError(f"{path}: holds no Ed25519 private key in PEM without a password; name another with --key")
    return key


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Return the public half, 32 bytes."""
    return key.public_key().public_bytes_raw()


def fingerprint(public: bytes) -> str:
    """Return a short name of a public key: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(public).hexdigest()[:16]


def render_key(public: bytes) -> str:
    """Return ``card_key.h``: the key whose images a firmware takes."""
    values = ", ".join(f"0x{value:02x}" for value in public)
    return (
        f"/* Made by Cheep (cheep export --card-key): the public key {fingerprint(public)}. DO NOT EDIT. */\n"
        "#ifndef CHEEP_GENERATED_CARD_KEY_H\n#define CHEEP_GENERATED_CARD_KEY_H\n\n"
        f"#define CHEEP_CARD_PUBLIC_KEY {{{values}}}\n\n#endif\n"
    )


def _package():
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise CheepError(
            "images for a card are signed with the package cryptography: pip install cryptography "
            "(tested: requirements-crypto.txt)"
        ) from None
    return serialization, ed25519
