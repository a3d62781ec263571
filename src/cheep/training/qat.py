# SPDX-License-Identifier: MIT
"""Quantization-aware fine-tuning with tfmot (legacy Keras)."""

from __future__ import annotations

import functools
from typing import Any

from cheep.config import QatConfig, TrainConfig
from cheep.errors import CheepError
from cheep.models.registry import RANGE_DB, UNDER_PEAK, UNDER_PEAK_RANGE
from cheep.tf_runtime import import_tf


def quantization_aware(model: Any) -> Any:
    """Return a copy of ``model`` with fake quantization as TFLite int8 does it (per-channel weights).

    Raises
    ------
    CheepError
        A layer that tfmot cannot quantize, named.
    """
    import_tf()
    import tensorflow_model_optimization as tfmot

    try:
        return tfmot.quantization.keras.quantize_model(mark_levels(model))
    except (RuntimeError, ValueError) as error:
        raise CheepError(
            f"{model.name}: quantization-aware training cannot handle a layer: {str(error).splitlines()[0]}; "
            "use post-training quantization (cheep convert --ptq) or another network"
        ) from None


def mark_levels(model: Any) -> Any:
    """Return ``model`` marked for tfmot: levels under the window's peak take the range 0..``RANGE_DB``.

    Quantization clips them there, so that no operator has to. A network on plain levels is returned as it is.
    """
    keras = import_tf().keras
    import tensorflow_model_optimization as tfmot

    if UNDER_PEAK not in {layer.name for layer in model.layers}:
        return model

    def mark(layer: Any) -> Any:
        if layer.name == UNDER_PEAK:
            return tfmot.quantization.keras.quantize_annotate_layer(layer, _range_config()())
        return keras.layers.Activation("linear", name=layer.name) if layer.name == UNDER_PEAK_RANGE else layer

    return keras.models.clone_model(model, clone_function=mark)


@functools.cache
def _range_config() -> type:
    keras = import_tf().keras
    import tensorflow_model_optimization as tfmot

    @keras.utils.register_keras_serializable(package="cheep")
    class Range(tfmot.quantization.keras.QuantizeConfig):
        """Levels under the peak, quantized by what they can be rather than by what was seen."""

        def get_output_quantizers(self, layer: Any) -> list[Any]:
            return [tfmot.quantization.keras.quantizers.FixedQuantizer(8, 0.0, RANGE_DB, narrow_range=False)]

        def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
            return []

        def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
            return []

        def set_quantize_weights(self, layer: Any, quantize_weights: Any) -> None:
            pass

        def set_quantize_activations(self, layer: Any, quantize_activations: Any) -> None:
            pass

        def get_config(self) -> dict[str, Any]:
            return {}

    return Range


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
