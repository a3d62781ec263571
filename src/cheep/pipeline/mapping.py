"""A configuration in the words of the stages: features, training, quantization."""

from __future__ import annotations

import math

from cheep.config import AugmentConfig, FeatureConfig, QatConfig, TrainConfig
from cheep.pipeline.schema import PipelineConfig


def feature_config(config: PipelineConfig) -> FeatureConfig:
    """Return the features that a configuration describes."""
    feature, rate = config.feature_extraction, config.preprocessing.target_rate
    return FeatureConfig.parse(
        {
            "sample_rate_hz": rate,
            "frame_samples": feature.window_length or feature.n_fft,
            "fft_size": feature.n_fft,
            "hop_samples": feature.hop_length,
            "n_mels": feature.n_mels,
            "fmin_hz": feature.fmin,
            "fmax_hz": rate / 2 if feature.fmax is None else feature.fmax,
            "mel_scale": "htk" if feature.htk else "slaney",
            "mel_norm": feature.norm or "none",
            "spectrum": "power" if feature.power == 2 else "magnitude",
            "compression": feature.compression,
            "window_frames": feature.patch_length,
        },
        "feature_extraction",
    )


def train_config(config: PipelineConfig) -> TrainConfig:
    """Return the training that a configuration describes."""
    training = config.training
    optimizer = {}
    if training.optimizer is not None:
        optimizer = training.optimizer.Adam or training.optimizer.AdamW or {}
    rate = training.learning_rate or optimizer.get("learning_rate") or TrainConfig().learning_rate
    return TrainConfig.parse(
        {
            "model": training.model.name,
            "epochs": training.epochs,
            "batch_size": training.batch_size,
            "dropout": training.dropout,
            "learning_rate": rate,
            "weight_decay": optimizer.get("weight_decay", training.weight_decay),
            "label_smoothing": training.label_smoothing,
            "warmup_epochs": min(training.warmup_epochs, training.epochs - 1),
            "average_last": training.average_last,
            "examples_per_epoch": training.examples_per_epoch,
            "activation": "sigmoid" if config.dataset.multi_label else "auto",
            "augment": augment_config(config).to_dict(),
            "seed": config.general.global_seed,
        },
        "training",
    )


def augment_config(config: PipelineConfig) -> AugmentConfig:
    """Return the augmentation: Cheep's default without a section; with one, only what it names.

    ``VolumeAugment`` becomes a random level with the standard deviation, in dB, of a factor drawn evenly on the dB
    scale between the two; ``SpecAug`` its widest masks (as many as Cheep draws: one of each kind).
    """
    wanted = config.data_augmentation
    if wanted is None:
        return AugmentConfig()
    volume, masks = wanted.VolumeAugment, wanted.SpecAug
    gain_db = 20 * math.log10(volume.max_scale / volume.min_scale) / math.sqrt(12) if volume.enable else 0.0
    values = {
        "gain_db": gain_db,
        "tilt_db": 0.0,
        "band_db": 0.0,
        "shift_frames": 0,
        "mix_probability": 0.0,
        "mask_frames": masks.time_mask_param if masks.enable and masks.n_time_mask else 0,
        "mask_bands": masks.freq_mask_param if masks.enable and masks.n_freq_mask else 0,
        "mixup_alpha": 0.0,
    }
    own = {name: getattr(wanted, name) for name in (*values, "mix_snr_db") if getattr(wanted, name) is not None}
    return AugmentConfig.parse({**values, **own}, "data_augmentation")


def qat_config(config: PipelineConfig) -> QatConfig:
    """Return the quantization-aware fine-tuning."""
    q = config.quantization
    return QatConfig.parse(
        {
            "epochs": q.epochs,
            "learning_rate": q.learning_rate,
            "batch_size": q.batch_size,
            "seed": config.general.global_seed,
        },
        "quantization",
    )
