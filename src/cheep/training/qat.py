"""Quantization-aware fine-tuning with tfmot (legacy Keras)."""

from __future__ import annotations

from typing import Any

from cheep.config import QatConfig, TrainConfig
from cheep.errors import CheepError
from cheep.models.registry import RANGE_DB, UNDER_PEAK, UNDER_PEAK_RANGE


def quantization_aware(model: Any) -> Any:
    """Return a copy of ``model`` with fake quantization as TFLite int8 does it (per-channel weights).

    Levels under the window's peak are quantized to 0..``RANGE_DB``, which clips them, so that no operator has to.

    Raises
    ------
    CheepError
        A layer that tfmot cannot quantize, named.
    """
    from cheep.tf_runtime import import_tf

    keras = import_tf().keras
    import tensorflow_model_optimization as tfmot

    quantization = tfmot.quantization.keras

    class Range(quantization.QuantizeConfig):
        """Levels under the peak, quantized by what they can be rather than by what was seen."""

        def get_output_quantizers(self, layer: Any) -> list[Any]:
            return [quantization.quantizers.FixedQuantizer(8, 0.0, RANGE_DB, narrow_range=False)]

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

    def annotate(layer: Any) -> Any:
        if layer.name == UNDER_PEAK:
            return quantization.quantize_annotate_layer(layer, Range())
        return keras.layers.Activation("linear", name=layer.name) if layer.name == UNDER_PEAK_RANGE else layer

    try:
        with quantization.quantize_scope({"Range": Range}):
            return quantization.quantize_model(keras.models.clone_model(model, clone_function=annotate))
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
