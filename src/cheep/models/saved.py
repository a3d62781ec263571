# SPDX-License-Identifier: MIT
"""Keras networks on disk: legacy HDF5, whole or not at all."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from cheep.errors import CheepError
from cheep.files import atomic_path, needed
from cheep.runs import TRAIN_COMMAND
from cheep.tf_runtime import import_tf


def save_keras(model: Any, path: Path) -> None:
    """Save a legacy-Keras model as HDF5, whole or not at all."""
    with atomic_path(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # HDF5 is what users of legacy Keras expect
        model.save(str(part), save_format="h5", include_optimizer=False)


def load_keras(path: Path) -> Any:
    """Load a Keras HDF5 model; CheepError where it is missing or damaged."""
    keras = import_tf().keras
    try:
        return keras.models.load_model(needed(path, TRAIN_COMMAND), compile=False)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise CheepError(f"{path}: not a Keras model ({reason}); train again with {TRAIN_COMMAND}") from None
