# SPDX-License-Identifier: MIT
"""The C that checks images: SHA-256, SHA-512, Ed25519 against FIPS, RFC 8032 and the cryptography package."""

from __future__ import annotations

import ctypes
import hashlib

import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cheep.ccore import compile_shared
from cheep.resources import firmware_root

ORDER = 2**252 + 27742317777372353535851937790883648493
P = 2**255 - 19
PER_RUN = 400  # signatures; scripts/bench_card.py takes thousands

# RFC 8032, section 7.1: secret key, message, signature
RFC = [
    ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
    ("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
     "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"),
]  # fmt: skip


@pytest.fixture(scope="module")
def core():
    card = firmware_root() / "card"
    sources = [card / "src" / "cheep_sha2.c", card / "src" / "cheep_ed25519.c"]
    library = ctypes.CDLL(str(compile_shared(sources, [card / "include"], ["-Werror"], "cheep_crypto")))
    library.cheep_ed25519_verify.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p]
    library.cheep_ed25519_verify.restype = ctypes.c_bool
    return library


def verify(core, key, message, signature):
    return core.cheep_ed25519_verify(key, message, len(message), signature)


def public(private):
    return private.public_key().public_bytes_raw()


def digest(core, kind, data, pieces):
    state, out = ctypes.create_string_buffer(512), ctypes.create_string_buffer(64)
    getattr(core, f"cheep_{kind}_init")(state)
    at = 0
    for n in [*pieces, len(data)]:
        piece = data[at : at + n]
        getattr(core, f"cheep_{kind}_add")(state, piece, ctypes.c_size_t(len(piece)))
        at += n
    getattr(core, f"cheep_{kind}_end")(state, out)
    return out.raw[: 32 if kind == "sha256" else 64]


@pytest.mark.parametrize("kind", ["sha256", "sha512"])
def test_digests_of_any_length_in_any_pieces(core, kind):
    rng = np.random.default_rng(1)
    for n in [*range(300), 1000, 4096, 65_537]:
        data = rng.bytes(n)
        pieces = rng.integers(0, 200, 5).tolist()
        assert digest(core, kind, data, pieces) == hashlib.new(kind, data).digest(), n


@pytest.mark.parametrize(("secret", "message", "signature"), RFC)
def test_vectors_of_the_rfc(core, secret, message, signature):
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    text, signed = bytes.fromhex(message), bytes.fromhex(signature)
    assert private.sign(text) == signed
    assert verify(core, public(private), text, signed)
    assert not verify(core, public(private), text + b"x", signed)


def accepted_by_package(key, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def test_signatures_of_the_package_and_changed_ones(core):
    """Right ones are taken; any flipped bit of key, message or signature is refused, as the package refuses it."""
    rng = np.random.default_rng(2)
    for _ in range(PER_RUN):
        private = Ed25519PrivateKey.from_private_bytes(rng.bytes(32))
        message = rng.bytes(int(rng.integers(0, 300)))
        key, signature = public(private), private.sign(message)
        assert verify(core, key, message, signature)
        parts = [bytearray(key), bytearray(message), bytearray(signature)]
        part = parts[int(rng.choice([0, 2] if not message else [0, 1, 2, 2]))]
        part[int(rng.integers(len(part)))] ^= 1 << int(rng.integers(8))
        changed = [bytes(part) for part in parts]
        assert verify(core, *changed) is accepted_by_package(*changed) is False


def test_a_signature_changed_without_the_key_is_refused(core):
    """s + L gives the same point: only the range tells (RFC 8032, 5.1.7); so do s = L and all ones."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        private = Ed25519PrivateKey.from_private_bytes(rng.bytes(32))
        message = rng.bytes(40)
        key, signature = public(private), private.sign(message)
        s = int.from_bytes(signature[32:], "little")
        for other in (s + ORDER, s + 2 * ORDER, s + 8 * ORDER, ORDER, 2**256 - 1):
            if other < 2**256:
                forged = signature[:32] + other.to_bytes(32, "little")
                assert not verify(core, key, message, forged)
                assert not accepted_by_package(key, message, forged)


def test_points_not_in_their_canonical_form_are_refused(core):
    """y >= p in key or R; the wrong sign of x = 0; y of no point of the curve."""
    identity = (1).to_bytes(32, "little")
    nothing = identity + bytes(32)  # R = identity, s = 0: right for the key "identity", whatever the message
    assert verify(core, identity, b"any", nothing)
    beyond = (P + 1).to_bytes(32, "little")
    assert not verify(core, beyond, b"any", nothing)
    assert not verify(core, identity, b"any", beyond + bytes(32))
    signed_zero = bytes([*identity[:31], 0x80])
    assert not verify(core, signed_zero, b"any", nothing)
    assert not verify(core, identity, b"any", signed_zero + bytes(32))
    none = [y for y in range(2, 40) if not is_on_curve(y)]
    assert len(none) > 10
    assert not any(verify(core, y.to_bytes(32, "little"), b"any", nothing) for y in none)


def is_on_curve(y):
    d = -121665 * pow(121666, -1, P) % P
    square = (y * y - 1) * pow(d * y * y + 1, -1, P) % P
    return pow(square, (P - 1) // 2, P) in (0, 1)
