# SPDX-License-Identifier: MIT
"""Events over LoRa: 24 bytes and a tag, the same as ``cheep_lora.h`` of ``firmware/common`` makes and reads."""

from cheep.lora.keys import KeyRing, add_key, key_header, read_keys
from cheep.lora.payload import BODY_BYTES, BYTES, LoraEvent, RefusedPayload, decode, device_of, encode

__all__ = [
    "BODY_BYTES",
    "BYTES",
    "KeyRing",
    "LoraEvent",
    "RefusedPayload",
    "add_key",
    "decode",
    "device_of",
    "encode",
    "key_header",
    "read_keys",
]
