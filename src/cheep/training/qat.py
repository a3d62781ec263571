"""Quantization-aware fine-tuning with tfmot (legacy Keras)."""

from __future__ import annotations

from typing import Any

from cheep.config import QatConfig, TrainConfig
from cheep.errors import CheepError


def quantization_aware(model: Any) -> Any:
    """Return a copy of ``model`` with fake quantization as TFLite int8 does it (per-channel weights).

    Raises
    ------
    CheepError
        A layer that tfmot cannot quantize, named.
    """
    from cheep.tf_runtime import import_tf

    import_tf()
    import tensorflow_model_optimization as tfmot

    try:
        return tfmot.quantization.keras.quantize_model(model)
    except (RuntimeError, ValueError) as error:
        raise CheepError(
            f"{model.name}: quantization-aware training cannot handle a layer: {str(error).splitlines()[0]}; "
            "use post-training quantization (python src/convert.py --ptq) or another network"
        ) from None


def fine_tune_config(base: TrainConfig, qat: QatConfig) -> TrainConfig:
    """Return the training settings of the fine-tuning: those of the float training, shorter and slower."""
    return base.model_copy(
        update={
            "epochs": qat.epochs,
            "learning_rate": qat.learning_rate,
            "batch_size": qat.batch_size,
            "seed": qat.seed,
            "warmup_epochs": 1 if qat.epochs > 2 else 0,
            "weight_decay": 0.0,
        }
    )
