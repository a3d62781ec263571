# SPDX-License-Identifier: MIT
"""``mel_filter_bank.h``: the front end's settings and tables, from the model's own feature settings."""

from __future__ import annotations

from cheep.config import FeatureConfig
from cheep.export.ctext import float32, guard, mark, table
from cheep.export.selfcheck import frontend_memory_bytes
from cheep.features import frontend_spec_tables, frontend_spec_values

TOOL = "mel_filter_bank.py"


def render_mel_filter_bank(config: FeatureConfig, model_sha256: str) -> str:
    """Return the text of ``mel_filter_bank.h``.

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
        f"#define CHEEP_MEL_FEATURE_HASH 0x{config.hash32:08x}u",
        f"#define CHEEP_MEL_SAMPLE_RATE_HZ {values['sample_rate_hz']}",
        f"#define CHEEP_MEL_FRAME_SAMPLES {values['frame_samples']}",
        f"#define CHEEP_MEL_FFT_SIZE {values['fft_size']}",
        f"#define CHEEP_MEL_HOP_SAMPLES {values['hop_samples']}",
        f"#define CHEEP_MEL_BANDS {values['n_mels']}",
        f"#define CHEEP_MEL_SPECTRUM {values['spectrum']}",
        f"#define CHEEP_MEL_COMPRESSION {values['compression']}",
        f"#define CHEEP_MEL_WEIGHT_COUNT {values['weight_count']}",
        f"#define CHEEP_MEL_TWIDDLE_COUNT {values['twiddle_count']}",
        f"#define CHEEP_MEL_FRONTEND_BYTES {frontend_memory_bytes(config)}u /* cheep_frontend_memory_bytes() */",
        f"#define CHEEP_MEL_LOG_FLOOR {float32(values['log_floor'])}",
        *([f"#define CHEEP_MEL_LOG_OFFSET {float32(values['log_offset'])}"] if values["log_offset"] else []),
        f"#define CHEEP_MEL_PCEN_SMOOTHING {float32(values['pcen_smoothing'])}",
        f"#define CHEEP_MEL_PCEN_GAIN {float32(values['pcen_gain'])}",
        f"#define CHEEP_MEL_PCEN_BIAS {float32(values['pcen_bias'])}",
        f"#define CHEEP_MEL_PCEN_POWER {float32(values['pcen_power'])}",
        f"#define CHEEP_MEL_PCEN_EPS {float32(values['pcen_eps'])}",
        "",
        "/* Periodic Hann window with 1/32768 folded in, in the order that cheep_fft.c reads it: no curve to plot. */",
        table("CHEEP_MEL_WINDOW", map(float32, tables.window)),
        "",
        "/* Constants of the FFT, in the order that cheep_fft.c reads them. */",
        table("CHEEP_MEL_TWIDDLE", map(float32, tables.twiddle)),
        "",
        "/* Sparse filter bank: first bin and number of bins of each band, then the weights, band after band. */",
        table("CHEEP_MEL_BAND_START", map(str, tables.band_start)),
        table("CHEEP_MEL_BAND_COUNT", map(str, tables.band_count)),
        table("CHEEP_MEL_BAND_WEIGHT", map(float32, tables.band_weight[: values["weight_count"]])),
    ]
    return guard("mel_filter_bank.h", lines, mark(TOOL, model_sha256, config.hash32))
