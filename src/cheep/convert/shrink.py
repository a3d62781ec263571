# SPDX-License-Identifier: MIT
"""Magnitude pruning, weight clustering and quantization-aware training by tfmot, in the order that keeps each.

What they give is measured, not promised: zeros and clusters shrink the *compressed* file; a runtime without sparse
kernels gains nothing, except where TFLM's lookup-table compression applies (:mod:`cheep.convert.lookup`).
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from cheep.convert.config import ConvertConfig
from cheep.convert.data import ConversionData
from cheep.convert.finetune import fine_tune
from cheep.errors import CheepError
from cheep.tf_runtime import import_tf
from cheep.training.qat import mark_levels

log = logging.getLogger(__name__)

_WEIGHTED = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv1D", "SeparableConv1D", "Dense")
_SPARSE = tuple(name for name in _WEIGHTED if name != "DepthwiseConv2D")


def prune_weights(model: Any, data: ConversionData, config: ConvertConfig) -> Any:
    """Return ``model`` with ``config.prune`` of each layer's weights zero (grown over the first 60 % of training)."""
    keras = import_tf().keras
    import tensorflow_model_optimization as tfmot

    steps = int(np.ceil(len(data.x["train"]) / config.batch_size)) * config.epochs
    frequency = max(1, steps // 50)
    schedule = tfmot.sparsity.keras.PolynomialDecay(0.0, config.prune, 0, max(1, int(steps * 0.6)), frequency=frequency)

    def wrap(layer: Any) -> Any:
        if type(layer).__name__ in _SPARSE:
            return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)
        return layer

    wrapped = _tfmot("pruning", lambda: keras.models.clone_model(_copy(model), clone_function=wrap))
    fine_tune(wrapped, data, config, [tfmot.sparsity.keras.UpdatePruningStep()], keep_best=False)
    return tfmot.sparsity.keras.strip_pruning(wrapped)


def _copy(model: Any) -> Any:
    """Return a model of new layers with the same weights: wrappers take the layers that they are given."""
    copy = import_tf().keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def cluster_weights(model: Any, data: ConversionData, config: ConvertConfig) -> Any:
    """Return ``model`` with ``config.cluster`` distinct weights per layer; zeros of pruning stay zeros."""
    import_tf()
    import tensorflow_model_optimization as tfmot

    clustering = tfmot.clustering.keras
    options = {
        "number_of_clusters": config.cluster,
        "cluster_centroids_init": clustering.CentroidInitialization.KMEANS_PLUS_PLUS,
        "preserve_sparsity": bool(config.prune),
    }
    keras = import_tf().keras

    def wrap(layer: Any) -> Any:
        big = layer.weights and max(int(np.prod(w.shape)) for w in layer.weights) > config.cluster
        if type(layer).__name__ in ("Conv2D", "Dense", "Conv1D") and big:
            return clustering.cluster_weights(layer, **options)
        return layer

    wrapped = _tfmot("clustering", lambda: keras.models.clone_model(_copy(model), clone_function=wrap))
    fine_tune(wrapped, data, config)
    return clustering.strip_clustering(wrapped)


def quantization_aware(model: Any, data: ConversionData, config: ConvertConfig) -> Any:
    """Return a quantization-aware, fine-tuned copy; zeros and clusters made before are preserved."""
    import_tf()
    import tensorflow_model_optimization as tfmot

    quantization, model = tfmot.quantization.keras, mark_levels(model)
    if not (config.prune or config.cluster):
        aware = _tfmot("quantization-aware training", lambda: quantization.quantize_model(model))
    else:
        combine = tfmot.experimental.combine
        if config.cluster:
            scheme = combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=bool(config.prune))
        else:
            scheme = combine.Default8BitPrunePreserveQuantizeScheme()
        annotated = _tfmot("quantization-aware training", lambda: quantization.quantize_annotate_model(model))
        aware = _tfmot("quantization-aware training", lambda: quantization.quantize_apply(annotated, scheme))
    fine_tune(aware, data, config.model_copy(update={"learning_rate": config.learning_rate / 2}))
    if config.cluster:
        aware = combine_strip(aware)
    return aware


def combine_strip(aware: Any) -> Any:
    """Freeze the clusters of a cluster-preserving quantization-aware model."""
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (
        cluster_utils,
    )

    return cluster_utils.strip_clustering_cqat(aware)


def _tfmot(what: str, build: Any) -> Any:
    try:
        return build()
    except (RuntimeError, ValueError, NotImplementedError, TypeError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheepError(
            f"{what}: tfmot cannot handle a layer of this network ({line}); leave {what} out "
            "(--ptq quantizes any network)"
        ) from None


def sparsity(model: Any) -> float:
    """Return the share of zeros among the weights of convolutions and dense layers."""
    zeros = total = 0
    for layer in model.layers:
        for weight in layer.get_weights():
            if weight.ndim >= 2 and type(layer).__name__ in _SPARSE:
                zeros, total = zeros + int((weight == 0).sum()), total + weight.size
    return zeros / max(1, total)


def distinct_weights(model: Any) -> int:
    """Return the largest number of distinct values in the kernel of a convolution or dense layer."""
    counts = [
        len(np.unique(layer.get_weights()[0]))
        for layer in model.layers
        if type(layer).__name__ in ("Conv2D", "Dense", "Conv1D") and layer.get_weights()
    ]
    return max(counts, default=0)
