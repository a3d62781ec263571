# SPDX-License-Identifier: MIT
"""The rules by which features, windows, network and training are chosen: one function each, with its reason.

The numbers stand at the top. What each is worth was measured: docs/defaults.md.
"""

from __future__ import annotations

from typing import Any

from cheep.job.choice import STEADY_RISE_DB, Asked, Reason

RATES_HZ = (8000, 16000, 32000)  # the lowest that carries every target is taken
MOST_ABOVE = 0.2  # share of a target's energy that may lie above half the rate
WINDOW_S, LONG_WINDOW_S, HOP_S = 1.0, 2.0, 0.5
LONG_CALL_S = 0.75  # a longer call does not fit into a window of a second with what is around it
PCEN_ROOM_S = 0.8  # what a recording must have beside the window: two time constants of PCEN
# Bands by rate: 25 ms columns of a 32 ms frame; the narrow form is what a small board gets.
_SOUND: dict[int, dict[str, Any]] = {
    8000: {"frame_samples": 256, "fft_size": 256, "hop_samples": 200, "n_mels": 40, "fmin_hz": 100.0},
    16000: {"frame_samples": 512, "fft_size": 512, "hop_samples": 400, "n_mels": 64, "fmin_hz": 50.0},
    32000: {"frame_samples": 1024, "fft_size": 1024, "hop_samples": 800, "n_mels": 64, "fmin_hz": 50.0},
}
NARROW_BANDS = 36
PCEN = {"compression": "pcen", "pcen_eps": 1e-8}  # below the noise of quiet recordings
#: Networks from the best to the smallest.
NETWORKS = ("sepconv_l", "sepconv_m", "sepconv_s")
WORD_NETWORK = "sepconv_time"
TAUGHT = {
    "dropout": 0.1, "label_smoothing": 0.0, "teacher_model": NETWORKS[0], "teachers": ("db", "pcen"),
    "teacher_epochs": 40, "teacher_weight": 0.9,
}  # fmt: skip
RISING_AUGMENT = {"gain_db": 10.0, "tilt_db": 8.0, "mixup_alpha": 0.3}
TAUGHT_AUGMENT = {"gain_db": 10.0, "tilt_db": 8.0, "mix_probability": 0.5, "mix_snr_db": (-5.0, 20.0)}
STEADY_AUGMENT = {"gain_db": 3.0, "tilt_db": 1.0, "mixup_alpha": 0.3}  # the spectrum's slope tells rain from engines
WORD_AUGMENT = {
    "gain_db": 8.0, "tilt_db": 12.0, "frequency_warp": 0.15, "local_frequency_warp": 0.1, "time_warp": 0.2,
    "local_time_warp": 0.4, "noise_probability": 0.6, "noise_snr_db": (25.0, 60.0), "trim_probability": 0.6,
    "mask_frames": 12, "mixup_alpha": 0.3,
}  # fmt: skip


def rate_of(asked: Asked) -> tuple[int, Reason]:
    """Choose the lowest rate that carries every target's energy."""
    given = asked.value("features", "sample_rate_hz")
    if given is not None:
        return given, Reason(f"{given / 1000:g} kHz", "as you set it")
    for rate in RATES_HZ:
        worst = [item for item in asked.targets if item.above.get(rate // 2, 0.0) > MOST_ABOVE]
        if not worst or rate == RATES_HZ[-1]:
            break
    if rate == RATES_HZ[0]:
        if not any(item.above for item in asked.targets):
            return rate, Reason("8 kHz", "the recordings carry nothing above 4 kHz")
        label, share = max(((i.label, i.above.get(4000, 0.0)) for i in asked.targets), key=lambda pair: pair[1])
        return rate, Reason(
            "8 kHz", f"no target has more than {MOST_ABOVE:.0%} of its energy above 4 kHz ({label}: {share:.0%})"
        )
    half = rate // 4
    above = sorted(((i.above.get(half, 0.0), i.label) for i in asked.targets), reverse=True)
    named = ", ".join(f"{share:.0%} of {label}'s" for share, label in above[:3] if share > MOST_ABOVE)
    return rate, Reason(f"{rate / 1000:g} kHz", f"{named} energy lies above {half / 1000:g} kHz")


def window_of(asked: Asked) -> tuple[float, float, Reason]:
    """Choose two seconds where calls are long and the recordings hold as much."""
    hop_s = asked.value("windows", "hop_s")
    given = asked.value("windows", "window_s")
    if given is not None:
        return given, hop_s or min(HOP_S, given), Reason(f"windows of {given:g} s", "as you set it")
    longest = max(asked.targets, key=lambda item: item.call_s)
    shortest = min(asked.targets, key=lambda item: item.recording_s)
    if longest.call_s <= LONG_CALL_S:
        window_s, why = WINDOW_S, f"half of the calls are shorter than {longest.call_s:.1f} s ({longest.label})"
    elif shortest.recording_s < LONG_WINDOW_S:
        window_s, why = WINDOW_S, f"the recordings are short ({shortest.label}: {shortest.recording_s:.1f} s)"
    else:
        window_s, why = LONG_WINDOW_S, f"half of {longest.label}'s calls last longer than {longest.call_s:.1f} s"
    return window_s, hop_s or HOP_S, Reason(f"windows of {window_s:g} s", why)


def sound_of(rate: int, window_s: float, asked: Asked) -> dict[str, Any]:
    """Return frame, bands and columns of a rate; words change faster than song."""
    sound = usual_sound(rate)
    if asked.words:
        sound["hop_samples"] = rate // 100
    sound |= {"sample_rate_hz": rate, "fmax_hz": rate / 2}
    frame = asked.value("features", "frame_samples") or sound["frame_samples"]
    hop = asked.value("features", "hop_samples") or sound["hop_samples"]
    sound["window_frames"] = max(1, (round(window_s * rate) - frame) // hop + 1)
    return sound


def usual_sound(rate: int) -> dict[str, Any]:
    """Return frame, bands and columns of a rate, whatever is heard."""
    return dict(_SOUND.get(rate) or _scaled(rate))


def _scaled(rate: int) -> dict[str, Any]:
    """Return the 32 ms and 25 ms of the usual rates at another."""
    frame = round(0.032 * rate)
    fft = 1 << max(6, (frame - 1).bit_length())
    return {
        "frame_samples": min(frame, 2048), "fft_size": min(fft, 2048), "hop_samples": round(0.025 * rate),
        "n_mels": 40 if rate < 12000 else 64, "fmin_hz": 100.0 if rate < 12000 else 50.0,
    }  # fmt: skip


def compression_of(asked: Asked, window_s: float) -> tuple[dict[str, Any], Reason]:
    """Choose PCEN where several targets rise over their recordings: it takes away what belongs to the microphone."""
    given = asked.value("features", "compression")
    if given is not None:
        return {}, Reason({"db": "levels", "pcen": "PCEN"}[given], "as you set it")
    steady, shortest = asked.steadiest, min(asked.targets, key=lambda item: item.recording_s)
    if asked.words:
        return {}, Reason("levels under the window's peak", "words cut out have no floor of their own")
    if steady.rise_db < STEADY_RISE_DB:
        why = f"{steady.label} rises only {steady.rise_db:.0f} dB over its recordings: PCEN would take part of it away"
        return {}, Reason("levels", why)
    if asked.taught:
        return {}, Reason("levels", "a teacher on PCEN says what can be learned from it")
    if shortest.recording_s < window_s + PCEN_ROOM_S:
        why = f"{shortest.label}'s recordings ({shortest.recording_s:.1f} s) leave PCEN no time to settle"
        return {}, Reason("levels", why)
    why = f"every target rises over its recordings ({steady.label} least, {steady.rise_db:.0f} dB)"
    return dict(PCEN), Reason("PCEN", f"{why}, and it takes the microphone away")


def network_of(asked: Asked) -> tuple[dict[str, Any], Reason]:
    """Choose the network, and its teachers."""
    given = asked.value("train", "model")
    if given is not None:
        return {}, Reason(given, "as you set it")
    if asked.words:
        return {"model": WORD_NETWORK, "hears": "peak", "dropout": 0.3}, Reason(WORD_NETWORK, "made for words")
    if asked.taught:
        why = "one target alone against all other sounds: a teacher on levels and one on PCEN err in different places"
        return {"model": NETWORKS[0], **TAUGHT}, Reason(f"{NETWORKS[0]}, two teachers", why)
    return {"model": NETWORKS[0], "dropout": 0.3}, Reason(
        f"{NETWORKS[0]}, no teachers", "the most accurate of the small networks"
    )


def augment_of(asked: Asked) -> tuple[dict[str, Any], Reason]:
    """Choose how examples are changed in training."""
    steady = asked.steadiest
    if asked.words:
        return dict(WORD_AUGMENT), Reason("other voices by warps, noise and trim", "speakers and cuts differ")
    if steady.rise_db < STEADY_RISE_DB:
        why = f"{steady.label} is told by its steady spectrum"
        return dict(STEADY_AUGMENT), Reason("little change of level and colour in training", why)
    spread = max(item.spread_db for item in asked.targets)
    why = f"a microphone's level and colour say nothing of the species (here recordings differ by {spread:.0f} dB)"
    if asked.taught:
        return dict(TAUGHT_AUGMENT), Reason("background mixed into half of the examples", why)
    return dict(RISING_AUGMENT), Reason("much change of level and colour in training", why)


def beware(asked: Asked, rate: int) -> list[Reason]:
    """Return what the rules cannot mend and the user should know."""
    found = []
    if len(asked.facts) == 1:
        found.append(
            Reason(
                "beware",
                f"{asked.facts[0].label} is the only label: training needs something to tell it from (a folder named "
                "background, or another species)",
            )
        )
    for item in asked.facts:
        narrow = sum(count for made, count in item.rates_hz.items() if made < rate)
        if narrow and item.heard:
            found.append(
                Reason(
                    "beware",
                    f"{narrow} of {item.heard} recordings of {item.label} were made below {rate / 1000:g} kHz: their "
                    "empty upper bands can tell where a sound comes from",
                )
            )
    for item in asked.facts:
        if item.groups < 10:
            found.append(
                Reason("beware", f"{item.label} has {item.groups} groups of recordings: results on it will be rough")
            )
    return found[:4]
