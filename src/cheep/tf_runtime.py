# SPDX-License-Identifier: MIT
"""TensorFlow, imported in one way: legacy Keras (tfmot needs it), and quiet."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Iterator

log = logging.getLogger(__name__)


def import_tf():
    """Return the ``tensorflow`` module with ``tf.keras`` being legacy Keras 2; raise CheepError if it is missing."""
    from cheep.errors import CheepError

    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with quiet_stderr():
            import tensorflow as tf
    except ImportError as error:
        raise CheepError(f"tensorflow cannot be imported ({error}); run `make setup`") from None
    tf.get_logger().setLevel("ERROR")
    return tf


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and TensorFlow, ask for deterministic kernels, and number new layers from the start.

    Layer names end up in the ``.tflite``: without a fresh count the same network would have other bytes. On a GPU some
    kernels of quantization-aware training have no deterministic form: there it is not asked for.
    """
    tf = import_tf()
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(seed)
    if not prepare_gpus():
        tf.config.experimental.enable_op_determinism()


@functools.cache
def prepare_gpus() -> int:
    """Let TensorFlow take as much memory of the GPUs as it needs, not all; say that they are used, return how many."""
    tf = import_tf()
    with quiet_stderr():
        gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        with contextlib.suppress(RuntimeError, ValueError):  # in use already, or given a limit
            tf.config.experimental.set_memory_growth(gpu, True)
    if gpus:
        log.info(
            "TensorFlow computes on %s: the last bits of a training differ from run to run "
            "(CUDA_VISIBLE_DEVICES=-1: on the CPU, the same bytes each time)",
            ", ".join(gpu.name for gpu in gpus),
        )
    return len(gpus)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Drop what native code writes to file descriptor 2 (TensorFlow writes much, and nothing a user can act on)."""
    saved = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)
