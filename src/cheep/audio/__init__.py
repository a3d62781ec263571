"""Audio in: decode, mix down, resample, and the one int16 <-> float rule."""

from cheep.audio.files import AudioInfo, iter_audio, probe, read_audio, write_wav
from cheep.audio.samples import Resampler, float_to_int16, int16_to_float, resample

__all__ = [
    "AudioInfo",
    "Resampler",
    "float_to_int16",
    "int16_to_float",
    "iter_audio",
    "probe",
    "read_audio",
    "resample",
    "write_wav",
]
