# SPDX-License-Identifier: MIT
"""MODEL.BIN on the emulated Cortex-M4F, in an AudioMoth's flash: taken in, refused with a reason, the power cut."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from card_firmware import BOARD, build_card_firmware, run_card
from cheep import cli
from cheep.bench.application import run_emulated
from cheep.card import build_image, check_file, make_key, public_bytes
from cheep.card.image import HEADER_BYTES, Header
from cheep.config import DetectorConfig, FeatureConfig
from cheep.emulator import M4F
from cheep.errors import CheepError, GateError
from cheep.export import load_export
from tone_model import DETECTOR, LABELS, tones, write_tone_run

pytestmark = [
    pytest.mark.skipif(bool(M4F.missing()), reason="needs arm-none-eabi-gcc and qemu-system-arm"),
    pytest.mark.xdist_group("card"),
]
CUTS = 40  # scripts/bench_card.py takes 1,000
SOUND = tones([(1, 2, "high"), (3, 4, "low")], 6)


@dataclasses.dataclass
class Bench:
    folder: object
    key: object
    elf: object
    exports: dict
    images: dict

    def file(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def log(self, *data):
        """Lines of starts with files of these bytes, one after another."""
        paths = [self.file(f"take{i}.bin", item) if item is not None else "-" for i, item in enumerate(data)]
        return run_card(self.elf, "take", *paths).text.splitlines()


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    key = make_key(folder / "card.key")
    values = DETECTOR.to_dict()
    short = DetectorConfig.parse({**values, "smoothing_windows": 1}, "test")
    turned = DetectorConfig.parse({**values, "threshold": (0.6, None, 0.6)}, "test")
    runs = {
        "built": {},
        "old": {"labels": ("background", "low", "high"), "detector": short},
        "new": {"labels": ("high", *LABELS[::2]), "detector": turned},
    }
    exports = {name: load_export(write_tone_run(folder / name, **options)) for name, options in runs.items()}
    images = {name: build_image(exports[name], BOARD, key).data for name in ("old", "new")}
    return Bench(folder, key, build_card_firmware(exports["built"], key, folder), exports, images)


def model(bench, name):
    return bench.exports[name].sha256[:8]


def test_the_model_from_the_card_gives_the_lines_of_the_model_built_in(bench):
    path, sound = bench.file("new.bin", bench.images["new"]), bench.file("in.pcm", SOUND.tobytes())
    lines = run_card(bench.elf, "listen", path, sound).text.splitlines()
    built_in = run_emulated(bench.exports["new"], [SOUND])
    expected = [line for line in built_in if '"type":"event"' in line]
    assert [line for line in lines if '"type":"event"' in line] == expected
    assert len(expected) == 4
    assert f"model: {model(bench, 'new')} slot 0 listens" in lines


def test_models_take_turns_in_the_slots_and_a_known_one_is_not_written_again(bench):
    old, new = bench.images["old"], bench.images["new"]
    said = [line for line in bench.log(None, old, old, new, None, new, old) if line]
    first, second = model(bench, "old"), model(bench, "new")
    assert said[:-1] == [
        f"model: {model(bench, 'built')} built in listens",
        f"log: MODEL.BIN (model {first}) is in use: slot 0",
        f"model: {first} slot 0 listens",
        f"model: {first} slot 0 listens",
        f"log: MODEL.BIN (model {second}) is in use: slot 1",
        f"model: {second} slot 1 listens",
        f"model: {second} slot 1 listens",
        f"model: {second} slot 1 listens",
        f"log: MODEL.BIN (model {first}) is in use: slot 0",
        f"model: {first} slot 0 listens",
    ]


def signed(key, data, body=None, **fields):
    """The images of a file with other fields or bodies, signed anew."""
    out = b""
    for header, at in zip(check_file(data), offsets(data), strict=True):
        inside = data[at + HEADER_BYTES : at + header.length]
        inside = body(inside) if body else inside
        changed = dataclasses.replace(header, length=HEADER_BYTES + len(inside), sha256=hashlib.sha256(inside).digest())
        packed = dataclasses.replace(changed, **fields).pack()
        out += packed + key.sign(packed) + inside
    return out


class Nobody:
    sign = staticmethod(lambda _message: bytes(64))


def offsets(data):
    at = 0
    for header in check_file(data):
        yield at
        at += header.length


def flipped(data, at, bit=1):
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


REFUSED = {
    "damaged": (lambda b, new: flipped(new, len(new) // 2 + 5000), "it is damaged (SHA-256)"),
    "cut off": (lambda b, new: new[:-7000], "it is damaged (SHA-256)"),
    "header damaged": (lambda b, new: flipped(flipped(new, 130), len(new) // 2 + 130), "its signature is not one"),
    "other key": (lambda b, new: signed(b.other, new), "its signature is not one of this firmware's key"),
    "signature of nobody": (lambda b, new: signed(Nobody, new), "its signature is not one"),
    "other rate": (lambda b, new: signed(b.key, new, sample_rate_hz=16000), "its sample rate is not the one"),
    "other board": (lambda b, new: signed(b.key, new, board=b"esp32"), "it is of another board"),
    "older ABI": (lambda b, new: signed(b.key, new, abi=0), "it was made for another firmware (ABI)"),
    "too large": (lambda b, new: signed(b.key, new, body=lambda d: d + bytes(60_000)), "it is too large for the slot"),
    "too much RAM": (lambda b, new: signed(b.key, new, ram_bytes=16_388), "it is too large for the slot, the memory"),
    "too many labels": (lambda b, new: signed(b.key, new, classes=17), "it is too large for the slot, the memory"),
    "entry outside": (lambda b, new: signed(b.key, new, entry=0x4000), "it is no image of a model"),
    "length 0": (lambda b, new: signed(b.key, new, length=0), "it is of another board, or for other places"),
    "no image": (lambda b, new: b"RIFF" + new[4:], "it is no image of a model"),
    "empty": (lambda b, new: b"", "it is no image of a model"),
}  # fmt: skip


def test_what_is_wrong_is_refused_with_its_reason_and_the_old_model_listens_on(bench):
    bench.other = make_key(bench.folder / "other.key")
    assert public_bytes(bench.other) != public_bytes(bench.key)
    for start in range(0, len(REFUSED), 7):  # a start with each, one after another
        part = list(REFUSED.items())[start : start + 7]
        said = bench.log(bench.images["old"], *(make(bench, bench.images["new"]) for _, (make, _) in part))
        lines = [line for line in said if line.startswith(("log:", "model:"))][2:]
        assert len(lines) == 2 * len(part)
        for (name, (_, reason)), log, listens in zip(part, lines[::2], lines[1::2], strict=True):
            assert f"is not used: {reason}" in log, name
            assert listens == f"model: {model(bench, 'old')} slot 0 listens", name


def test_a_model_that_fails_its_self_check_is_tried_once_until_the_card_comes_without_it(bench):
    window = next(item for item in bench.exports["new"].golden if item.kind == "stored").window.tobytes()

    def other_window(body):
        """A golden window of which the scores are not these."""
        at = body.index(window)
        return body[:at] + window[::-1] + body[at + len(window) :]

    bad = signed(bench.key, bench.images["new"], body=other_window, set_id=bytes(32))
    said = [line for line in bench.log(bench.images["old"], bad, bad, None, bad, bench.images["new"]) if line][2:]
    listens = f"model: {model(bench, 'old')} slot 0 listens"
    refused = [line for line in said if line.startswith("log:")]
    assert said[1:4] == [listens, listens, listens]
    assert said[5] == listens
    assert refused[0] == refused[1] == said[0] == said[4]
    assert "is not used: the model's scores for golden window" in refused[0]
    assert said[6:8] == [
        f"log: MODEL.BIN (model {model(bench, 'new')}) is in use: slot 1",
        f"model: {model(bench, 'new')} slot 1 listens",
    ]


def test_power_cuts_leave_a_listening_device_with_a_whole_model(bench):
    paths = [bench.file(f"{name}.bin", bench.images[name]) for name in ("old", "new")]
    found = run_card(bench.elf, "cuts", CUTS, *paths).values
    assert found["cuts"] == found["listening"] == found["updated"] == CUTS
    assert 0 < found["old_model"] < CUTS  # some of the cuts come behind the last record


def test_an_image_too_large_for_its_slot_or_window_is_not_made(bench):
    small = BOARD.model_copy(update={"card": BOARD.card.model_copy(update={"slot_bytes": 9000})})
    with pytest.raises(GateError, match=r"the slot of 9000 bytes is too small by \d+: choose a smaller network"):
        build_image(bench.exports["new"], small, bench.key)
    narrow = BOARD.model_copy(update={"card": BOARD.card.model_copy(update={"window_bytes": 2048})})
    with pytest.raises(GateError, match=r"the window of RAM of 2048 bytes is too small by \d+"):
        build_image(bench.exports["new"], narrow, bench.key)
    few = BOARD.model_copy(update={"card": BOARD.card.model_copy(update={"max_classes": 2})})
    with pytest.raises(GateError, match="3 labels and smoothing over 2 windows"):
        build_image(bench.exports["new"], few, bench.key)
    none = BOARD.model_copy(update={"card": None})
    with pytest.raises(CheepError, match="its firmware takes no model from a card"):
        build_image(bench.exports["new"], none, bench.key)


def test_the_same_model_and_key_give_the_same_bytes_and_other_features_another_hash(bench, tmp_path):
    assert build_image(bench.exports["new"], BOARD, bench.key).data == bench.images["new"]
    other = load_export(write_tone_run(tmp_path / "other", FeatureConfig(n_mels=32)))
    (first, second) = check_file(build_image(other, BOARD, bench.key).data)
    assert first.feature_hash != check_file(bench.images["new"])[0].feature_hash
    assert (first.address, second.address) == BOARD.card.slots
    assert first.set_id == second.set_id
    with pytest.raises(CheepError, match="damaged"):
        check_file(flipped(bench.images["new"], 9000))
    assert isinstance(first, Header)


def test_a_card_is_written_and_checked_by_command(bench, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CHEEP_CARD_KEY", str(tmp_path / "keys" / "card.key"))
    run, card = str(bench.folder / "new"), tmp_path / "card"
    assert cli.main("export", ["--model", run, "--card", str(card)]) == 2
    assert "no such folder; put the card in" in capsys.readouterr().err
    card.mkdir()
    words = ["--model", run, "--card", str(card)]
    assert cli.main("export", [*words, "--check"]) == 2  # no key is made to check with
    assert "cannot read the key" in capsys.readouterr().err
    assert cli.main("export", words) == 0
    said = capsys.readouterr().out
    assert "(new: keep a copy" in said and "of 57344 bytes of a slot" in said
    assert cli.main("export", [*words, "--check"]) == 0
    (card / "MODEL.BIN").write_bytes(flipped((card / "MODEL.BIN").read_bytes(), 5000))
    assert cli.main("export", [*words, "--check"]) == 1
    assert cli.main("export", ["--card-key", str(tmp_path / "headers")]) == 0
    assert capsys.readouterr().out.startswith("key ")
    assert cli.main("export", ["--card-key", str(tmp_path / "headers"), "--check"]) == 0
    assert cli.main("export", [*words, "--board", "esp32"]) == 2
    assert "its firmware takes no model from a card" in capsys.readouterr().err


def test_a_model_of_other_features_brings_its_front_end_with_it(bench, tmp_path):
    """Levels and PCEN in a column, other bands and lengths: all but the rate of the microphone is in the image."""
    export = load_export(
        write_tone_run(tmp_path / "both", FeatureConfig(compression="both", n_mels=48, fft_size=512), logits="logit")
    )
    path = bench.file("other.bin", build_image(export, BOARD, bench.key).data)
    lines = run_card(bench.elf, "listen", path, bench.file("in.pcm", SOUND.tobytes())).text.splitlines()
    expected = [line for line in run_emulated(export, [SOUND]) if '"type":"event"' in line]
    assert f"model: {export.sha256[:8]} slot 0 listens" in lines
    assert [line for line in lines if '"type":"event"' in line] == expected
    assert len(expected) == 4


def test_a_rate_that_the_microphone_does_not_give_is_refused_before_anything_is_made(bench, tmp_path):
    """11,025 Hz: no whole part of what the converter makes."""
    other = load_export(write_tone_run(tmp_path / "other", FeatureConfig(sample_rate_hz=11025, window_frames=30)))
    with pytest.raises(GateError, match="hears 11025 Hz; the firmware of audiomoth listens at 8000, 12000"):
        build_image(other, BOARD, bench.key)
