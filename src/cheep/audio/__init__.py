# SPDX-License-Identifier: MIT
"""Audio in: which files are audio, decode, mix down, resample, and the one int16 <-> float rule."""

from cheep.audio.files import AudioInfo, Scan, iter_audio, open_audio, probe, read_audio, read_span, scan, write_wav
from cheep.audio.folders import AUDIO_SUFFIXES, AudioIndex, audio_files, list_audio
from cheep.audio.level import NoiseMeter
from cheep.audio.samples import Resampler, float_to_int16, int16_to_float, resample
from cheep.audio.zeros import ZeroMeter

__all__ = [
    "AUDIO_SUFFIXES",
    "AudioIndex",
    "AudioInfo",
    "NoiseMeter",
    "Resampler",
    "Scan",
    "ZeroMeter",
    "audio_files",
    "float_to_int16",
    "int16_to_float",
    "iter_audio",
    "list_audio",
    "open_audio",
    "probe",
    "read_audio",
    "read_span",
    "resample",
    "scan",
    "write_wav",
]
