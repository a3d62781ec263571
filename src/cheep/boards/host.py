# SPDX-License-Identifier: MIT
"""The firmware's application on this machine: the same C files and generated headers, the model in TFLM."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cheep.ccore import compile_shared
from cheep.errors import CheepError
from cheep.export import (
    ExportModel,
    render_headers,
)
from cheep.files import atomic_folder
from cheep.resources import cache_dir, firmware_root, include_dir, source_dir
from cheep.tflite.model import TfliteModel

RING_SAMPLES = 16384
_LINE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_SCORES = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t)
_FORGET = ctypes.CFUNCTYPE(None)
_INVOKE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class _Output(ctypes.Structure):
    _fields_ = [("line", _LINE), ("scores", _SCORES), ("context", ctypes.c_void_p), ("real_time", ctypes.c_bool)]


class _Facts(ctypes.Structure):
    """``cheep_model_facts``."""

    _fields_ = [
        ("data", ctypes.c_char_p),
        ("bytes", ctypes.c_size_t),
        ("crc32", ctypes.c_uint32),
        ("is_int8", ctypes.c_int),
        ("input_elements", ctypes.c_uint32),
        ("output_elements", ctypes.c_uint32),
        ("input_scale", ctypes.c_float),
        ("output_scale", ctypes.c_float),
        ("input_zero_point", ctypes.c_int32),
        ("output_zero_point", ctypes.c_int32),
    ]


def _give_scores(
    to: Callable[[int, np.ndarray], None], _context: Any, sample: int, scores: int, n_classes: int
) -> None:
    to(sample, np.frombuffer(ctypes.string_at(scores, n_classes), np.int8))


class BootError(CheepError):
    """The application refused to start; :attr:`stage` says where."""

    def __init__(self, stage: str, reason: str):
        super().__init__(f"the firmware refuses to start at stage '{stage}': {reason}")
        self.stage, self.reason = stage, reason


def application_sources() -> list[Path]:
    """Return the C files of ``firmware/common`` that the application links (no model)."""
    files = sorted(source_dir().glob("cheep_*.c"))
    return [path for path in files if not path.name.startswith("cheep_hdc")]


def build_application(headers: Mapping[str, str], model_sources: list[Path] | None = None) -> Path:
    """Compile the application with these generated headers as a shared library; return its path.

    Parameters
    ----------
    headers : mapping of str to str
        Texts by file name (:func:`render_headers`).
    model_sources : list of Path, optional
        C files behind ``cheep_model.h``; default: the callback to this program.

    Raises
    ------
    CheepError
        The headers disagree with each other (the compiler's static assertion is quoted), or no compiler.
    """
    host = firmware_root() / "host" / "src"
    sources = [*application_sources(), host / "host_api.c", *(model_sources or [host / "model_callback.c"])]
    folder = _header_folder(headers)
    includes = [folder / "generated", folder, include_dir(), host]
    return compile_shared(sources, includes, ["-DCHEEP_CLASSES_OF_MODEL"], name="cheep_application")


def _header_folder(headers: Mapping[str, str]) -> Path:
    """Keep the headers under the cache, in a folder named by their content (it is part of the compile key)."""
    digest = hashlib.sha256("\0".join(f"{n}\0{headers[n]}" for n in sorted(headers)).encode()).hexdigest()[:20]
    folder = cache_dir() / f"headers-{digest}"
    if not (folder / "generated").is_dir():
        with atomic_folder(folder) as partial:
            (partial / "generated").mkdir()
            for name, text in headers.items():
                (partial / "generated" / name).write_text(text, encoding="utf-8")
    return folder


class HostApplication:
    """The application, booted, fed with samples; yields what a board writes to its serial port.

    Parameters
    ----------
    export : ExportModel
        The model and its settings.
    headers : mapping, optional
        Other generated headers than those of ``export`` (tests of mismatches).
    runtime : object, optional
        With ``scores(windows)`` as :class:`cheep.tflite.tflm.TflmModel`; default: TFLM.
    ring_samples : int
        Length of the ring, a power of two.
    on_scores : callable, optional
        Called with (first sample of the window, scores as (classes,) int8) for every window.
    model_sources : list of Path, optional
        As for :func:`build_application`: C files that are the model, instead of ``runtime``.
    real_time : bool
        As on a board: a network that takes longer than its stride leaves windows out, and says so.
    """

    def __init__(
        self,
        export: ExportModel,
        headers: Mapping[str, str] | None = None,
        runtime: Any = None,
        ring_samples: int = RING_SAMPLES,
        on_scores: Callable[[int, np.ndarray], None] | None = None,
        memory_bytes: int = 0,
        arena_bytes: int | None = None,
        model_sources: list[Path] | None = None,
        real_time: bool = False,
    ):
        self._lines: list[str] = []
        self._shape = (export.features.window_frames, export.features.n_mels)
        self._error: BaseException | None = None
        self._library = _load_copy(build_application(headers or render_headers(export), model_sources))
        if runtime is None:
            from cheep.tflite.state import tflm_scorer

            runtime = tflm_scorer(export.bundle.model.data)
        self._runtime = runtime
        self._second(export)
        self._describe(export.bundle.model, export.arena_bytes if arena_bytes is None else arena_bytes)
        take_scores = _SCORES(functools.partial(_give_scores, on_scores)) if on_scores else _SCORES()
        self._output = _Output(_LINE(self._take_line), take_scores, None, real_time)
        status = self._library.cheep_host_boot(ring_samples, memory_bytes, ctypes.byref(self._output))
        self._raise_pending()
        if status != 0:
            refusal = json.loads(self._lines[-1])
            raise BootError(refusal["stage"], refusal["reason"])

    def _describe(self, model: TfliteModel, arena_bytes: int) -> None:
        tensor, out = model.inputs[0], model.outputs[0]
        self._data = model.data
        self._facts = _Facts(
            model.data, len(model.data), 0, int(tensor.dtype == "int8" and out.dtype == "int8"),
            int(np.prod(tensor.shape)), int(np.prod(out.shape)),
            tensor.scale, out.scale, tensor.zero_point, out.zero_point,
        )  # fmt: skip
        self._invoke_pointer = _INVOKE(functools.partial(self._run, self._runtime, self._shape))
        forget = getattr(self._runtime, "forget", None)
        self._forget_pointer = _FORGET(forget) if forget else _FORGET()
        self._library.cheep_callback_model(
            ctypes.byref(self._facts), ctypes.c_size_t(arena_bytes), self._invoke_pointer, self._forget_pointer
        )

    def _second(self, export: ExportModel) -> None:
        """Give the application its second network, where it has one and does not bring it itself."""
        self._second_pointer = _INVOKE()
        if export.verifier is not None and hasattr(self._library, "cheep_callback_second"):
            from cheep.tflite.state import tflm_scorer

            features = export.verifier.features
            shape = (features.window_frames, features.n_mels)
            run = functools.partial(self._run, tflm_scorer(export.verifier.bundle.model.data), shape)
            self._second_pointer = _INVOKE(run)
            self._library.cheep_callback_second(self._second_pointer)

    def push(self, pcm: np.ndarray) -> int:
        """Put samples (n,) int16 into the ring as the audio interrupt does; return those taken (all or none)."""
        pcm = np.ascontiguousarray(pcm, np.int16)
        return int(self._library.cheep_host_push(pcm.ctypes.data, pcm.size))

    def capture(self, factor: int = 1) -> None:
        """Feed the ring through a microphone's driver from here on, at ``factor`` times the model's rate."""
        if self._library.cheep_host_capture(factor) != 0:
            raise CheepError(f"factor={factor}: must be 1, 2 or 3")

    def took(self, pcm: np.ndarray, dropped: int = 0) -> None:
        """The driver has given samples (n,) int16, and lost ``dropped`` before them."""
        pcm = np.array(pcm, np.int16)
        self._library.cheep_host_took(pcm.ctypes.data, pcm.size, dropped)

    def failed(self) -> int:
        """A read of the driver has failed; return for how many milliseconds to wait."""
        return int(self._library.cheep_host_failed())

    def poll(self, max_samples: int = 2**62) -> int:
        """Work on what waits in the ring as the main loop does; return the samples consumed."""
        done = int(self._library.cheep_host_poll(max_samples))
        self._raise_pending()
        return done

    def run(self, pcm: np.ndarray) -> Iterator[str]:
        """Process a block of (n,) int16 samples; yield the lines that it gives."""
        pcm = np.ascontiguousarray(pcm, np.int16)
        self._library.cheep_host_run(pcm.ctypes.data, pcm.size)
        self._raise_pending()
        yield from self.lines()

    def finish(self) -> Iterator[str]:
        """End of the recording: running events end; yield the lines."""
        self._library.cheep_host_finish()
        yield from self.lines()

    def lines(self) -> list[str]:
        """Return (and forget) the lines written since the last call."""
        lines, self._lines = self._lines, []
        return lines

    def set_ring_counters(self, start: int) -> None:
        """Start the ring's counters elsewhere (tests of their wrap-around)."""
        self._library.cheep_host_set_ring_counters(start)

    def clock_add_us(self, microseconds: int) -> None:
        """Let the clock jump (tests of its wrap-around)."""
        self._library.cheep_host_clock_add_us(microseconds & 0xFFFFFFFF)

    def close(self) -> None:
        """Free the application's memory."""
        self._library.cheep_host_close()

    def _take_line(self, _context: Any, text: int, length: int) -> None:
        self._lines.append(ctypes.string_at(text, length).decode("utf-8", "replace").rstrip("\n"))

    def _run(self, runtime: Any, shape: tuple[int, int], window: int, scores: int) -> int:
        try:
            values = np.frombuffer(ctypes.string_at(window, shape[0] * shape[1]), np.int8)
            result = runtime.scores(values.reshape(1, *shape))[0]
            ctypes.memmove(scores, np.ascontiguousarray(result, np.int8).tobytes(), result.size)
        except BaseException as error:  # must not cross the C frames; raised again by the caller
            self._error = error
            return 1
        return 0

    def _raise_pending(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error


def _load_copy(path: Path) -> ctypes.CDLL:
    """Load a private copy: the application's state is one per library."""
    with tempfile.TemporaryDirectory(prefix="cheep-") as folder:
        copy = Path(folder) / path.name
        shutil.copy(path, copy)
        library = ctypes.CDLL(str(copy))
    size = ctypes.c_size_t
    library.cheep_callback_model.argtypes = [ctypes.POINTER(_Facts), size, _INVOKE, _FORGET]
    library.cheep_callback_model.restype = None
    library.cheep_host_boot.argtypes = [ctypes.c_uint32, size, ctypes.POINTER(_Output)]
    library.cheep_host_boot.restype = ctypes.c_int
    library.cheep_host_push.argtypes = [ctypes.c_void_p, size]
    library.cheep_host_push.restype = size
    library.cheep_host_capture.argtypes = [ctypes.c_uint32]
    library.cheep_host_capture.restype = ctypes.c_int
    library.cheep_host_took.argtypes = [ctypes.c_void_p, size, ctypes.c_uint32]
    library.cheep_host_took.restype = None
    library.cheep_host_failed.restype = ctypes.c_uint32
    library.cheep_host_poll.argtypes = [size]
    library.cheep_host_poll.restype = size
    library.cheep_host_run.argtypes = [ctypes.c_void_p, size]
    library.cheep_host_run.restype = None
    library.cheep_host_set_ring_counters.argtypes = [ctypes.c_uint32]
    library.cheep_host_clock_add_us.argtypes = [ctypes.c_uint32]
    for name in ("finish", "close", "set_ring_counters", "clock_add_us"):
        getattr(library, f"cheep_host_{name}").restype = None
    return library
