# SPDX-License-Identifier: MIT
"""Events over LoRa: keys, payloads of 24 bytes and a tag, the script for The Things Network.

  cheep lora keys ~/lora.json 2a                    a new key for device 2a; --header lora_key.h for its build
  cheep lora decode --keys ~/lora.json HEX ...      check and read payloads; JSON lines, with --model RUN labels by name
  cheep lora decode --keys ~/lora.json < uplinks    lines of hexadecimal digits, base64, or The Things Network's JSON
  cheep lora encode --keys ~/lora.json --device 2a --counter 7 --label 1 --logit 6.668
  cheep lora ttn -o formatter.js                    the uplink formatter (it reads, and proves nothing)

Payloads that are not taken are said with their reason; exit status 1 when there was one.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from cheep.errors import CheepError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="keys|decode|encode|ttn")
    keys = commands.add_parser("keys", help="draw a device's key")
    keys.add_argument("keys", type=Path, metavar="FILE", help="the file of keys (mode 0600)")
    keys.add_argument("device", metavar="DEVICE", help="up to eight hexadecimal digits")
    keys.add_argument("--replace", action="store_true", help="a new key in place of the old one")
    keys.add_argument("--header", type=Path, metavar="FILE", help="write its key as C header (mode 0600)")
    decode = commands.add_parser("decode", help="check and read payloads")
    decode.add_argument("payloads", nargs="*", metavar="HEX", help="payloads (default: lines of standard input)")
    decode.add_argument("--keys", type=Path, required=True, metavar="FILE", help="the file of keys")
    decode.add_argument("--model", metavar="MODEL", help="run or .tflite file whose labels name the classes")
    encode = commands.add_parser("encode", help="make a payload")
    encode.add_argument("--keys", type=Path, required=True, metavar="FILE", help="the file of keys")
    encode.add_argument("--device", required=True, metavar="DEVICE", help="whose payload")
    encode.add_argument("--counter", type=int, required=True, metavar="N", help="larger than any before")
    encode.add_argument("--label", type=int, required=True, metavar="N", help="class of the model, from 0")
    encode.add_argument("--model-id", default="0", metavar="HEX", help="first eight digits of the model's sha256")
    encode.add_argument("--utc", type=int, metavar="S", help="start, s since 1970 (default: --since-start)")
    encode.add_argument("--since-start", type=int, default=0, metavar="S", help="start, s since listening (0)")
    score = encode.add_mutually_exclusive_group(required=True)
    score.add_argument("--logit", type=float, help="score as a logit")
    score.add_argument("--score", type=float, help="score as a probability")
    encode.add_argument("--duration", type=float, default=0.0, metavar="S", help="of the event (%(default)s)")
    encode.add_argument("--battery", type=float, default=0.0, metavar="V", help="0: unknown (%(default)s)")
    ttn = commands.add_parser("ttn", help="write the formatter for The Things Network")
    ttn.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to (default: standard output)")


def run(args: argparse.Namespace) -> int:
    """Do one of the four."""
    return {"keys": _keys, "decode": _decode, "encode": _encode, "ttn": _ttn}[args.what](args)


def _keys(args: argparse.Namespace) -> int:
    from cheep.lora.keys import add_key, key_header, parse_device, read_keys, write_private

    device = parse_device(args.device)
    known = args.header and args.keys.exists() and device in read_keys(args.keys)
    if args.replace or not known:
        add_key(args.keys, device, args.replace)
        print(f"{args.keys}: key of device {device:08x} drawn")
    if args.header:
        write_private(args.header, key_header(args.keys, device))
        print(f"{args.header}: written for the build of device {device:08x}; keep it out of any repository")
    return 0


def _decode(args: argparse.Namespace) -> int:
    from cheep.lora import KeyRing, RefusedPayload

    ring = KeyRing(args.keys)
    labels, model = _labels(args.model)
    refused = 0
    with ring.receiving() as counters:
        for number, text in enumerate(args.payloads or _lines(sys.stdin), 1):
            try:
                event = ring.take(_payload(text), counters)
            except RefusedPayload as error:
                refused += 1
                print(f"payload {number}: refused ({error.rule}): {error}", file=sys.stderr)
                continue
            values = event.to_dict()
            if labels:
                known = event.model == model and event.label < len(labels)
                values["name"] = labels[event.label] if known else None
            print(json.dumps(values), flush=True)
    if refused:
        print(f"{refused} payloads refused", file=sys.stderr)
    return 1 if refused else 0


def _labels(model: str | None) -> tuple[tuple[str, ...], int]:
    if model is None:
        return (), 0
    from cheep.device.bundle import load_bundle

    bundle = load_bundle(model)
    return tuple(bundle.labels), int(bundle.model.sha256[:8], 16)


def _lines(stream: Iterable[str]) -> Iterator[str]:
    return (line.strip() for line in stream if line.strip())


def _payload(text: str) -> bytes:
    """Bytes of hexadecimal digits, of base64, or of an uplink of The Things Network; RefusedPayload for others."""
    from cheep.lora import RefusedPayload

    if text.startswith("{"):
        try:
            found = json.loads(text)
            found = found.get("data", found) if "uplink_message" not in found else found
            text = found["uplink_message"]["frm_payload"]
            return base64.b64decode(text, validate=True)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise RefusedPayload("length", "a JSON line without uplink_message.frm_payload") from None
    digits = re.sub(r"[\s:-]", "", text)
    try:
        return bytes.fromhex(digits)
    except ValueError:
        pass
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RefusedPayload("length", f"{text[:40]!r}: neither hexadecimal digits nor base64") from None


def _encode(args: argparse.Namespace) -> int:
    from cheep.lora import LoraEvent, encode, read_keys
    from cheep.lora.keys import parse_device

    device = parse_device(args.device)
    keys = read_keys(args.keys)
    if device not in keys:
        raise CheepError(f"{args.keys}: no key of device {device:08x}; cheep lora keys {args.keys} {device:x}")
    is_logit = args.logit is not None
    event = LoraEvent(
        device=device,
        counter=args.counter,
        time_s=args.since_start if args.utc is None else args.utc,
        since_start=args.utc is None,
        label=args.label,
        model=parse_device(args.model_id),
        is_logit=is_logit,
        score=round(1000 * args.logit) if is_logit else round(1_000_000 * args.score),
        duration_ms=round(1000 * args.duration),
        battery_mv=round(1000 * args.battery),
    )
    print(encode(event, keys[device]).hex())
    return 0


def _ttn(args: argparse.Namespace) -> int:
    from cheep.files import write_text
    from cheep.resources import package_file

    text = package_file("lora", "ttn.js").read_text(encoding="utf-8")
    if args.output is None:
        print(text, end="")
    else:
        write_text(args.output, text)
        print(f"{args.output}: paste it as the application's uplink formatter (custom JavaScript)")
    return 0
