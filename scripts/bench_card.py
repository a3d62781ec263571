# SPDX-License-Identifier: MIT
"""Models from a card: power cuts on the emulated Cortex-M4F and on this machine, fuzzing, signatures.

  python scripts/bench_card.py --json                        two detectors of tones
  python scripts/bench_card.py --old runs/a --new runs/b     these models (of the same feature settings)
  python scripts/bench_card.py --parts fuzz --seconds 600    one part alone

Prints power cuts on the emulated core (1,000, each with a start without the card and one with it behind), the same for
every moment on this machine with sanitizers and a second cut, starts fuzzed, and signatures compared with the package
cryptography.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "helpers")]

from card_firmware import BOARD, build_card_firmware, run_card  # noqa: E402
from card_host import build_card_host, run_card_host  # noqa: E402
from cheep.card import build_image, make_key, public_bytes  # noqa: E402
from cheep.ccore import compile_shared  # noqa: E402
from cheep.export import load_export  # noqa: E402
from cheep.resources import firmware_root  # noqa: E402
from tone_model import LABELS, write_tone_run  # noqa: E402

PARTS = ("emulated", "host", "fuzz", "signatures")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", metavar="RUN", help="model in use (default: a detector of tones)")
    parser.add_argument("--new", metavar="RUN", help="model on the card")
    parser.add_argument("--cuts", type=int, default=1000, help="on the emulated core (%(default)s)")
    parser.add_argument("--seconds", type=float, default=600, help="of fuzzing (%(default)s)")
    parser.add_argument("--signatures", type=int, default=5000, help="right and changed ones (%(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cheep-") as name:
        found = measure(args, Path(name))
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        print("\n".join(f"{part}.{key} = {value}" for part, values in found.items() for key, value in values.items()))


def measure(args: argparse.Namespace, folder: Path) -> dict[str, dict[str, int]]:
    """Return the figures of the parts."""
    key = make_key(folder / "card.key")
    (folder / "key").write_bytes(public_bytes(key))
    exports = {
        "old": load_export(args.old or write_tone_run(folder / "old", labels=("background", "low", "high"))),
        "new": load_export(args.new or write_tone_run(folder / "new", labels=LABELS)),
    }
    files, found = {}, {"image": {}}
    for name, export in exports.items():
        image = build_image(export, BOARD, key)
        files[name] = folder / f"{name}.bin"
        files[name].write_bytes(image.data)
        found["image"] |= {f"{name}_slot_bytes": image.slot_bytes, f"{name}_ram_bytes": image.ram_bytes}
    for part in args.parts:
        begun = time.monotonic()
        print(f"{part} ...", file=sys.stderr)
        found[part] = _PART[part](args, folder, key, exports, files)
        print(f"{part}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return found


def emulated(args, folder, key, exports, files) -> dict[str, int]:
    """Power cuts while the images' own code runs its golden windows."""
    elf = build_card_firmware(exports["old"], key, folder)
    return run_card(elf, "cuts", args.cuts, files["old"], files["new"], timeout_s=20.0 * args.cuts).values


def host(args, folder, _key, _exports, files) -> dict[str, int]:
    """Every moment once, with a second cut behind."""
    return run_card_host(build_card_host(folder, "-O2"), "cuts", folder / "key", *files.values(), timeout_s=36000)


def fuzz(args, folder, _key, _exports, files) -> dict[str, int]:
    """Damaged files, damaged flash, cuts, failing card and flash, in any order."""
    program = build_card_host(folder, "-O2")
    return run_card_host(program, "fuzz", folder / "key", *files.values(), args.seconds, timeout_s=args.seconds + 600)


def signatures(args, _folder, _key, _exports, _files) -> dict[str, int]:
    """Right and changed signatures: the C against the package."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    card, rng = firmware_root() / "card", np.random.default_rng(1)
    sources = [card / "src" / "cheep_sha2.c", card / "src" / "cheep_ed25519.c"]
    core = ctypes.CDLL(str(compile_shared(sources, [card / "include"], [], "cheep_crypto")))
    core.cheep_ed25519_verify.restype = ctypes.c_bool

    def c(key: bytes, message: bytes, signature: bytes) -> bool:
        return core.cheep_ed25519_verify(key, message, ctypes.c_size_t(len(message)), signature)

    def package(key: bytes, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    counts = {"right": 0, "changed": 0, "disagree": 0}
    for _ in range(args.signatures):
        private = Ed25519PrivateKey.from_private_bytes(rng.bytes(32))
        message = rng.bytes(int(rng.integers(1, 300)))
        parts = [private.public_key().public_bytes_raw(), message, private.sign(message)]
        counts["right"] += c(*parts)
        which = int(rng.choice([0, 1, 2, 2]))
        changed = bytearray(parts[which])
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
        parts[which] = bytes(changed)
        counts["changed"] += 1
        counts["disagree"] += c(*parts) != package(*parts)
    return counts


_PART = {"emulated": emulated, "host": host, "fuzz": fuzz, "signatures": signatures}


if __name__ == "__main__":
    main()
