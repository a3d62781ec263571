# SPDX-License-Identifier: MIT
"""The key pair: of its owner only, whole or not there, never replaced."""

from __future__ import annotations

import os
import stat

import pytest

from cheep.card import default_key_path, load_key, make_key, public_bytes, render_key
from cheep.errors import CheepError


def test_a_key_is_its_owners_only_and_never_replaced(tmp_path):
    path = tmp_path / "a" / "card.key"
    before = os.umask(0)
    try:
        key = make_key(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["card.key"]
    data = path.read_bytes()
    with pytest.raises(CheepError, match="there is a key already; it is not replaced"):
        make_key(path)
    assert path.read_bytes() == data
    assert [p.name for p in path.parent.iterdir()] == ["card.key"]
    assert public_bytes(load_key(path)) == public_bytes(key)
    assert data.decode().splitlines()[1] not in render_key(public_bytes(key))


def test_a_key_that_cannot_be_used_is_said(tmp_path):
    path = tmp_path / "card.key"
    with pytest.raises(CheepError, match="cannot read the key: No such file"):
        load_key(path)
    make_key(path)
    path.chmod(0o640)
    with pytest.raises(CheepError, match=r"mode 640: others than its owner have access .*chmod 600"):
        load_key(path)
    for data in (b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\xff" * 40):
        path.write_bytes(data)
        path.chmod(0o600)
        with pytest.raises(CheepError, match="holds no Ed25519 private key"):
            load_key(path)
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    other = X25519PrivateKey.generate().private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    path.write_bytes(other)
    with pytest.raises(CheepError, match="holds no Ed25519 private key"):
        load_key(path)


def test_where_the_key_lies(monkeypatch, tmp_path):
    monkeypatch.delenv("CHEEP_CARD_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_key_path() == tmp_path / "cheep" / "card.key"
    monkeypatch.setenv("CHEEP_CARD_KEY", str(tmp_path / "mine.pem"))
    assert default_key_path() == tmp_path / "mine.pem"
