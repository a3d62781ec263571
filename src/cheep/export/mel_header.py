# SPDX-License-Identifier: MIT
"""``mel_filter_bank.h``: the front end's settings and tables, from the model's own feature settings."""

from __future__ import annotations

from cheep.config import FeatureConfig
from cheep.export.ctext import float32, guard, mark, table
from cheep.export.selfcheck import frontend_memory_bytes
from cheep.features import frontend_spec_tables, frontend_spec_values

TOOL = "mel_filter_bank.py"


def render_mel_filter_bank(
    config: FeatureConfig, model_sha256: str, name: str = "mel_filter_bank.h", prefix: str = "CHEEP_MEL"
) -> str:
    """Return the text of ``mel_filter_bank.h``; ``name`` and ``prefix`` are of another network's.

    Parameters
    ----------
    config : FeatureConfig
        The model's copy of the feature settings.
    model_sha256 : str
        Of the model they were read from, for the first line.

    Returns
    -------
    str
        C header; the same arguments give the same bytes. Floats have nine significant digits.
    """
    values = frontend_spec_values(config)
    tables = frontend_spec_tables(config)
    lines = [
        f"/* {config.sample_rate_hz} Hz, frames of {config.frame_samples} every {config.hop_samples} samples, "
        f"{config.bands} {config.mel_scale} bands {config.fmin_hz:g}-{config.fmax_hz:g} Hz, {config.spectrum}, "
        f"{config.compression}. */",
        f"#define {prefix}_FEATURE_HASH 0x{config.hash32:08x}u",
        f"#define {prefix}_SAMPLE_RATE_HZ {values['sample_rate_hz']}",
        f"#define {prefix}_FRAME_SAMPLES {values['frame_samples']}",
        f"#define {prefix}_FFT_SIZE {values['fft_size']}",
        f"#define {prefix}_HOP_SAMPLES {values['hop_samples']}",
        f"#define {prefix}_BANDS {values['n_mels']}",
        f"#define {prefix}_SPECTRUM {values['spectrum']}",
        f"#define {prefix}_COMPRESSION {values['compression']}",
        f"#define {prefix}_WEIGHT_COUNT {values['weight_count']}",
        f"#define {prefix}_TWIDDLE_COUNT {values['twiddle_count']}",
        f"#define {prefix}_FRONTEND_BYTES {frontend_memory_bytes(config)}u /* cheep_frontend_memory_bytes() */",
        f"#define {prefix}_LOG_FLOOR {float32(values['log_floor'])}",
        *([f"#define {prefix}_LOG_OFFSET {float32(values['log_offset'])}"] if values["log_offset"] else []),
        f"#define {prefix}_PCEN_SMOOTHING {float32(values['pcen_smoothing'])}",
        f"#define {prefix}_PCEN_GAIN {float32(values['pcen_gain'])}",
        f"#define {prefix}_PCEN_BIAS {float32(values['pcen_bias'])}",
        f"#define {prefix}_PCEN_POWER {float32(values['pcen_power'])}",
        f"#define {prefix}_PCEN_EPS {float32(values['pcen_eps'])}",
        "",
        "/* Periodic Hann window with 1/32768 folded in, in the order that cheep_fft.c reads it: no curve to plot. */",
        table(f"{prefix}_WINDOW", map(float32, tables.window)),
        "",
        "/* Constants of the FFT, in the order that cheep_fft.c reads them. */",
        table(f"{prefix}_TWIDDLE", map(float32, tables.twiddle)),
        "",
        "/* Sparse filter bank: first bin and number of bins of each band, then the weights, band after band. */",
        table(f"{prefix}_BAND_START", map(str, tables.band_start)),
        table(f"{prefix}_BAND_COUNT", map(str, tables.band_count)),
        table(f"{prefix}_BAND_WEIGHT", map(float32, tables.band_weight[: values["weight_count"]])),
    ]
    return guard(name, lines, mark(TOOL, model_sha256, config.hash32))
