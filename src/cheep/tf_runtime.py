"""TensorFlow, imported in one way: legacy Keras (tfmot needs it), quiet, two threads at most by default."""

from __future__ import annotations

import os


def import_tf():
    """Return the ``tensorflow`` module with ``tf.keras`` being legacy Keras 2; raise CheepError if it is missing."""
    from cheep.errors import CheepError

    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise CheepError(f"tensorflow cannot be imported ({error}); run `make setup`") from None
    tf.get_logger().setLevel("ERROR")
    return tf


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and TensorFlow, and ask for deterministic kernels."""
    tf = import_tf()
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
