# SPDX-License-Identifier: MIT
"""What a board does with the head: learning by command and button, events, what it keeps over a restart."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import numpy as np
import pytest

from cheep.ccore import compile_shared, core_sources
from cheep.hdc import HdcConfig, HdcModel
from cheep.hdc import core as c_core
from cheep.hdc.core import CoreHdc, HdcState
from cheep.hdc.model import fit_scaling, prototypes_of
from cheep.live.monitor import describe
from cheep.live.serial_lines import LineReader
from cheep.resources import firmware_root, include_dir
from hdc_storage import Storage

LINE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)


def check_schema(message: dict) -> None:
    """Names and types of a line's members are those of the published schema."""
    schema = json.loads((Path(__file__).parents[2] / "docs" / "serial-lines.schema.json").read_text())
    kind = next(k for k in schema["oneOf"] if k["properties"]["type"]["const"] == message["type"])
    assert list(message) == list(kind["properties"]) == kind["required"]
    types = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list}
    for name, value in message.items():
        rule = kind["properties"][name]
        assert "type" not in rule or isinstance(value, types[rule["type"]])


class Io(ctypes.Structure):
    _fields_ = [("context", ctypes.c_void_p), ("line", LINE), ("storage", ctypes.POINTER(c_core.Storage))]


class App(ctypes.Structure):
    _fields_ = [
        ("hdc", HdcState),
        ("labels", ctypes.c_void_p),
        ("io", Io),
        *((name, ctypes.c_uint16) for name in ("learning", "left", "taken", "last", "reported", "pressed")),
    ]


class Board:
    """The C application with a list for its serial line."""

    def __init__(self, model: HdcModel, slots: int, storage: Storage | None):
        names = ("cheep_hdc_app.c", "cheep_lines.c", "cheep_text.c")
        sources = [*core_sources(), *(firmware_root() / "common" / "src" / name for name in names)]
        self.core = ctypes.CDLL(str(compile_shared(sources, [include_dir()], name="cheep_hdc_app")))
        self.constants = CoreHdc(model, slots)
        self.lines: list[dict] = []
        self.serial = LineReader()
        self._line = LINE(self._take)
        self._labels = (ctypes.c_char_p * len(model.labels))(*(label.encode() for label in model.labels))
        self._memory = np.zeros(self.constants.memory_bytes // 8 + 1, np.uint64)
        self._app, self._storage = App(), storage
        kept = ctypes.cast(ctypes.pointer(storage), ctypes.POINTER(c_core.Storage)) if storage else None
        io = Io(None, self._line, kept)
        boot = self.core.cheep_hdc_app_boot
        memory = ctypes.c_void_p(self._memory.ctypes.data)
        size = ctypes.c_size_t(self.constants.memory_bytes)
        spec, n = ctypes.byref(self.constants.spec), ctypes.c_uint16(slots)
        assert boot(ctypes.byref(self._app), spec, self._labels, n, memory, size, ctypes.byref(io)) == 0
        self.sample = 0

    def _take(self, _context: object, text: bytes) -> None:
        (message,) = self.serial.feed(text + b"\n")  # the checksum holds
        check_schema(json.loads(text))
        assert len(describe(message)) > 10
        self.lines.append(message)

    def window(self, embedding: np.ndarray, times: int = 1) -> None:
        q = np.ascontiguousarray(embedding, np.int8)
        for _ in range(times):
            at, sample = ctypes.c_void_p(q.ctypes.data), ctypes.c_uint64(self.sample)
            self.core.cheep_hdc_app_window(ctypes.byref(self._app), at, sample)
            self.sample += 2000

    def command(self, text: str) -> list[dict]:
        before = len(self.lines)
        self.core.cheep_hdc_app_command(ctypes.byref(self._app), text.encode())
        return self.lines[before:]

    def button(self) -> None:
        self.core.cheep_hdc_app_button(ctypes.byref(self._app))

    def events(self) -> list[str]:
        return [line["class"] for line in self.lines if line["type"] == "hdc_event"]


CENTERS = np.random.default_rng(8).normal(size=(5, 32)) * 40


def near(cls: int, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.rint(CENTERS[cls] + rng.normal(size=32) * 6), -128, 127).astype(np.int8)


def make_model(form: str = "int8") -> HdcModel:
    config = HdcConfig(hyper=512, form=form, normalize="center")
    scaling = fit_scaling(np.clip(np.rint(CENTERS), -128, 127).astype(np.int8), config)
    rows = np.clip(np.rint(CENTERS[:2]), -128, 127).astype(np.int8)
    empty = HdcModel(config, scaling, np.ones((2, 512), np.int8), ("dog", "rain"))
    return HdcModel(config, scaling, prototypes_of(empty.encode(rows).astype(int), form), ("dog", "rain"), reject=8000)


@pytest.mark.parametrize("form", ["int8", "binary"])
def test_a_class_learned_by_command_is_known_from_then_on_and_after_a_restart(form):
    rng, model = np.random.default_rng(1), make_model(form)
    storage = Storage(64 * 200)
    board = Board(model, 2, storage)
    board.window(near(0, rng), 2)
    board.window(near(2, rng), 2)
    assert board.events() == ["dog", "unknown"]
    board.command("learn knock 5")
    for _ in range(5):
        board.window(near(2, rng))
    assert board.lines[-1] == {"type": "hdc_learned", "class": "knock", "windows": 5, "saved": True}
    board.window(near(2, rng), 2)
    board.window(near(1, rng), 2)
    assert board.events()[2:] == ["knock", "rain"]
    score = next(line["score"] for line in board.lines if line.get("class") == "knock" and "score" in line)
    assert 0.3 < score <= 1
    again = Board(model, 2, storage)
    again.window(near(2, rng), 2)
    assert again.events() == ["knock"]
    assert again.command("classes")[0]["learned"] == [{"class": "knock", "windows": 5}]


def test_one_odd_window_is_no_event():
    rng = np.random.default_rng(2)
    board = Board(make_model(), 1, None)
    for cls in (0, 0, 1, 0, 0, 1, 1):
        board.window(near(cls, rng))
    assert board.events() == ["dog", "rain"]


def test_the_button_names_new_classes_and_the_slots_run_out():
    rng = np.random.default_rng(3)
    board = Board(make_model(), 2, None)
    for cls in (2, 3):
        board.button()
        for _ in range(10):
            board.window(near(cls, rng))
    board.window(near(2, rng), 2)
    board.window(near(3, rng), 2)
    assert board.events() == ["new1", "new2"]
    board.button()
    assert board.lines[-1] == {"type": "hdc_error", "why": "no class can be added; forget one first"}
    assert board.command("forget new1")[0]["free"] == 1
    board.button()
    board.window(near(4, rng), 10)
    assert board.lines[-1]["class"] == "new4"  # new3 was refused


def test_more_examples_of_a_fixed_class_adopt_it():
    rng = np.random.default_rng(4)
    board = Board(make_model(), 1, None)
    board.command("learn rain 3")
    board.window(near(2, rng), 3)
    assert board.lines[-1] == {"type": "hdc_learned", "class": "rain", "windows": 3, "saved": False}
    assert board.command("classes")[0]["learned"] == [{"class": "rain", "windows": 13}]
    board.window(near(1, rng), 2)
    assert board.events() == ["rain"]
    board.command("forget rain")
    assert board.command("classes")[0]["learned"] == []


@pytest.mark.parametrize(
    "text",
    ["", "learn", "learn bad!name", "learn sixteen-letters-x", "learn a 0", "learn a 70000", "learn a x", "forget dog",
     "sing", "learn " + "x" * 500, "learn a 99999999999"],
)  # fmt: skip
def test_wrong_commands_are_answered_and_change_nothing(text):
    board = Board(make_model(), 1, None)
    answers = board.command(text)
    assert [a["type"] for a in answers] == ["hdc_error"]
    assert board.command("classes") == [{"type": "hdc_classes", "fixed": 2, "learned": [], "free": 1}]


def test_a_record_of_another_model_is_reported_and_the_fixed_classes_work():
    rng = np.random.default_rng(5)
    storage = Storage(64 * 200)
    board = Board(make_model("binary"), 1, storage)
    board.command("learn knock 1")
    board.window(near(2, rng))
    other = Board(make_model("int8"), 1, storage)
    assert other.lines[0]["why"] == "what was learned belongs to another model; learn it again"
    other.window(near(0, rng), 2)
    assert other.events() == ["dog"]


def test_a_failing_storage_is_said():
    rng = np.random.default_rng(6)
    board = Board(make_model(), 1, Storage(64 * 200, cut_after=100))
    board.command("learn knock 1")
    board.window(near(2, rng))
    assert [line["type"] for line in board.lines] == ["hdc_error", "hdc_learned"]
    assert board.lines[1]["saved"] is False
