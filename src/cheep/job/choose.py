# SPDX-License-Identifier: MIT
"""Which features, windows, network and training a data set and a board ask for.

Each choice is one function below that returns settings and its reason; the numbers stand at the top. What each is
worth was measured: docs/defaults.md. What the user has set stands, and the other choices follow it.
"""

from __future__ import annotations

import dataclasses
import logging
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cheep.boards.budget import check_need, estimated_instructions, load_on, needs_compiled, untrained_network
from cheep.boards.data import Board
from cheep.config import DataConfig, FeatureConfig, QatConfig, RunFile, TrainConfig
from cheep.datasets.facts import LabelFacts
from cheep.errors import CheepError, GateError

log = logging.getLogger(__name__)

# -- the numbers ------------------------------------------------------------------------------

RATES_HZ = (8000, 16000, 32000)  # the lowest that carries every target is taken
MOST_ABOVE = 0.2  # share of a target's energy that may lie above half the rate
WINDOW_S, LONG_WINDOW_S, HOP_S = 1.0, 2.0, 0.5
LONG_CALL_S = 0.75  # a longer call does not fit into a window of a second with what is around it
STEADY_RISE_DB = 20.0  # a sound that rises less over its own recording is partly its floor, which PCEN takes away
PCEN_ROOM_S = 0.8  # what a recording must have beside the window: two time constants of PCEN
WORD_S = 1.0  # recordings below are words or calls that someone cut out
EPOCHS, WORD_EPOCHS, FEWEST_EPOCHS = 60, 120, 15
MOST_WINDOWS = 4000  # training windows up to which all epochs are taken; more of them need fewer
BUSIEST = 0.8  # share of the core's time while it listens
COMPUTING_SHARE = 0.25  # a day's computing may take this share of the charge that listening all day takes
DAY_S = 86400.0

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
QAT = {"epochs": 6, "learning_rate": 5e-5}  # further from the averaged weights costs accuracy
RISING_AUGMENT = {"gain_db": 10.0, "tilt_db": 8.0, "mixup_alpha": 0.3}
TAUGHT_AUGMENT = {"gain_db": 10.0, "tilt_db": 8.0, "mix_probability": 0.5, "mix_snr_db": (-5.0, 20.0)}
STEADY_AUGMENT = {"gain_db": 3.0, "tilt_db": 1.0, "mixup_alpha": 0.3}  # the spectrum's slope tells rain from engines
WORD_AUGMENT = {
    "gain_db": 8.0, "tilt_db": 12.0, "frequency_warp": 0.15, "local_frequency_warp": 0.1, "time_warp": 0.2,
    "local_time_warp": 0.4, "noise_probability": 0.6, "noise_snr_db": (25.0, 60.0), "trim_probability": 0.6,
    "mask_frames": 12, "mixup_alpha": 0.3,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Reason:
    """One choice: what, and why."""

    choice: str
    why: str

    def __str__(self) -> str:
        return f"{self.choice}: {self.why}"


@dataclasses.dataclass(frozen=True)
class Choice:
    """The settings that a data set and a board ask for, and the reasons in words."""

    features: FeatureConfig
    window_s: float
    hop_s: float
    train: TrainConfig
    qat: QatConfig
    reasons: tuple[Reason, ...]

    @property
    def paragraph(self) -> str:
        """All reasons as one paragraph."""
        return "Chosen: " + "; ".join(map(str, self.reasons)) + "."

    @property
    def comment(self) -> str:
        """The reasons as lines for the head of a run file."""
        lines = ["What split chose, and why (docs/defaults.md):", *(f"- {reason}" for reason in self.reasons)]
        return "\n".join(line for text in lines for line in textwrap.wrap(text, 116, subsequent_indent="  "))

    def applied_to(self, config: DataConfig) -> DataConfig:
        """Return the settings of data building with the chosen rate and windows."""
        windows = {**config.windows.to_dict(), "window_s": self.window_s, "hop_s": self.hop_s}
        return DataConfig.parse(
            {**config.to_dict(), "sample_rate_hz": self.features.sample_rate_hz, "windows": windows}, "options"
        )


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What decides: the targets among the labels, and what the user has set (section -> name -> value)."""

    facts: Sequence[LabelFacts]
    given: Mapping[str, Mapping[str, Any]]

    @property
    def targets(self) -> list[LabelFacts]:
        return [item for item in self.facts if not item.background and item.heard] or list(self.facts)

    @property
    def words(self) -> bool:
        """Every recording is a short sound that someone cut out."""
        return all(0 < item.recording_s < WORD_S for item in self.targets)

    @property
    def steadiest(self) -> LabelFacts:
        return min(self.targets, key=lambda item: item.rise_db)

    @property
    def taught(self) -> bool:
        """One target that rises over its recordings is told from background: two teachers serve it."""
        alone = len(self.targets) == 1 and any(item.background for item in self.facts)
        free = self.value("train", "model") is None and self.value("features", "compression") is None
        return alone and free and not self.words and self.steadiest.rise_db >= STEADY_RISE_DB

    def shift_frames(self, window_s: float, features: FeatureConfig) -> int:
        """How far the start of an example moves in training, columns."""
        return 8 if self.taught else round(window_s / 4 / features.hop_s)

    def value(self, section: str, name: str) -> Any:
        return self.given.get(section, {}).get(name)


def choose(
    facts: Sequence[LabelFacts],
    given: Mapping[str, Mapping[str, Any]],
    board: Board | None = None,
    seconds_per_day: float | None = None,
) -> Choice:
    """Choose features, windows, network and training.

    Parameters
    ----------
    facts
        What was heard of each label.
    given
        What the user has set: sections ``features``, ``windows``, ``train`` (with ``augment``) and ``qat``, each
        name -> value. It stands.
    board
        What the detector must fit into.
    seconds_per_day
        Audio that the board hears a day, s; with ``board``, it bounds the instructions by the battery. Without it they
        are bounded by the core's time alone.

    Raises
    ------
    CheepError
        What the user has set contradicts itself.
    GateError
        No network of the registry fits the board with what the user has set.
    """
    asked = _Asked(facts, given)
    rate, why_rate = _rate(asked)
    window_s, hop_s, why_window = _window(asked)
    compression, why_compression = _compression(asked, window_s)
    sound = {**_sound(rate, window_s, asked), **compression}
    network, why_network = _network(asked)
    augment, why_augment = _augment(asked)
    train = {**network, "epochs": WORD_EPOCHS if asked.words else EPOCHS}
    reasons = [why_rate, why_window, why_compression, why_network, why_augment, *_beware(asked, rate)]
    choice = _settings(asked, sound, train, augment, window_s, hop_s, reasons)
    if board is None:
        return choice
    return _for_board(asked, choice, board, seconds_per_day)


def with_windows(choice: Choice, training_windows: int, given: Mapping[str, Mapping[str, Any]]) -> Choice:
    """Return ``choice`` with the epochs that so many training windows need."""
    if "epochs" in given.get("train", {}):
        return choice
    full = choice.train.epochs
    epochs = max(FEWEST_EPOCHS, round(full * min(1.0, MOST_WINDOWS / max(1, training_windows))))
    why = "as many as the recipes measured best"
    if epochs < full:
        why = f"{training_windows:,} training windows say in them what {full} epochs say of {MOST_WINDOWS:,}"
    train = choice.train.model_copy(update={"epochs": epochs})
    return dataclasses.replace(choice, train=train, reasons=(*choice.reasons, Reason(f"{epochs} epochs", why)))


def chosen_run_file(base: RunFile, choice: Choice, data: DataConfig, board: str | None = None) -> RunFile:
    """Return ``base`` with a choice: what the following commands, and ``cheep run``, go on with."""
    values = base.to_dict()
    values |= {"features": choice.features.to_dict(), "data": data.to_dict(), "train": choice.train.to_dict()}
    values["quantize"]["qat"] = choice.qat.to_dict()
    if board:
        values["deploy"]["board"] = board
    return RunFile.parse(values, "the choice")


# -- the rules --------------------------------------------------------------------------------


def _rate(asked: _Asked) -> tuple[int, Reason]:
    """The lowest rate that carries every target's energy."""
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


def _window(asked: _Asked) -> tuple[float, float, Reason]:
    """Two seconds where calls are long and the recordings hold as much."""
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


def _sound(rate: int, window_s: float, asked: _Asked) -> dict[str, Any]:
    """Frame, bands and columns of a rate; words change faster than song."""
    sound = dict(_SOUND.get(rate) or _scaled(rate))
    if asked.words:
        sound["hop_samples"] = rate // 100
    sound |= {"sample_rate_hz": rate, "fmax_hz": rate / 2}
    frame = asked.value("features", "frame_samples") or sound["frame_samples"]
    hop = asked.value("features", "hop_samples") or sound["hop_samples"]
    sound["window_frames"] = max(1, (round(window_s * rate) - frame) // hop + 1)
    return sound


def _scaled(rate: int) -> dict[str, Any]:
    """Return the 32 ms and 25 ms of the usual rates at another."""
    frame = round(0.032 * rate)
    fft = 1 << max(6, (frame - 1).bit_length())
    return {
        "frame_samples": min(frame, 2048), "fft_size": min(fft, 2048), "hop_samples": round(0.025 * rate),
        "n_mels": 40 if rate < 12000 else 64, "fmin_hz": 100.0 if rate < 12000 else 50.0,
    }  # fmt: skip


def _compression(asked: _Asked, window_s: float) -> tuple[dict[str, Any], Reason]:
    """PCEN where several targets rise over their recordings: it takes away what belongs to the microphone."""
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


def _network(asked: _Asked) -> tuple[dict[str, Any], Reason]:
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


def _augment(asked: _Asked) -> tuple[dict[str, Any], Reason]:
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


def _beware(asked: _Asked, rate: int) -> list[Reason]:
    """What the rules cannot mend and the user should know."""
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


def _settings(
    asked: _Asked,
    sound: Mapping[str, Any],
    train: Mapping[str, Any],
    augment: Mapping[str, Any],
    window_s: float,
    hop_s: float,
    reasons: Sequence[Reason],
) -> Choice:
    """Put what the user has set over what was chosen, and check both together."""
    features = FeatureConfig.parse({**sound, **asked.given.get("features", {})}, "features")
    shift = {"shift_frames": asked.shift_frames(window_s, features)}
    said = dict(asked.given.get("train", {}))
    changes = {**shift, **augment, **said.pop("augment", {})}
    return Choice(
        features,
        window_s,
        hop_s,
        TrainConfig.parse({**train, **said, "augment": changes}, "train"),
        QatConfig.parse({**QAT, **asked.given.get("qat", {})}, "qat"),
        tuple(reasons),
    )


# -- the board --------------------------------------------------------------------------------


def _for_board(asked: _Asked, choice: Choice, board: Board, seconds_per_day: float | None) -> Choice:
    """Return the first of ever smaller detectors that fits the board."""
    too_big = ""
    for smaller in _ever_smaller(asked, choice):
        try:
            need = _fits(asked, smaller, board, seconds_per_day)
        except GateError as error:
            too_big = too_big or str(error)
            log.info("%s", error)
            continue
        said = f"{smaller.train.model} with {smaller.features.n_mels} bands, windows of {smaller.window_s:g} s"
        why = f"{need}" + (f"; the first choice does not fit ({too_big})" if too_big else "")
        return dataclasses.replace(smaller, reasons=(*smaller.reasons, Reason(f"for {board.name}, {said}", why)))
    raise GateError(
        f"no network of the registry fits {board.name} with what you have set: the first was too big ({too_big}); "
        "leave model, window and bands to the choice, or take another board"
    )


def _ever_smaller(asked: _Asked, choice: Choice) -> Iterator[Choice]:
    """Yield the choice, then smaller ones: fewer bands, a smaller network, a shorter window, a lower rate."""
    seen = set()
    for rate, window_s in _shapes(asked, choice):
        for network in _from(choice.train.model, asked):
            for bands in _bands(asked, rate):
                compression = {name: getattr(choice.features, name) for name in PCEN}
                sound = {**_sound(rate, window_s, asked), **compression, "n_mels": bands}
                train = choice.train.model_copy(update={"model": network})
                try:
                    features = FeatureConfig.parse({**sound, **asked.given.get("features", {})}, "features")
                except CheepError:  # what the user has set does not go with this rate
                    continue
                shift = {"shift_frames": asked.shift_frames(window_s, features)}
                if "shift_frames" not in asked.given.get("train", {}).get("augment", {}):
                    train = train.model_copy(update={"augment": train.augment.model_copy(update=shift)})
                key = (features.to_json(), network)
                if key not in seen:
                    seen.add(key)
                    yield dataclasses.replace(choice, features=features, window_s=window_s, train=train)


def _shapes(asked: _Asked, choice: Choice) -> Iterator[tuple[int, float]]:
    rate = choice.features.sample_rate_hz
    rates = [rate, *(lower for lower in reversed(RATES_HZ) if lower < rate)]
    windows = [choice.window_s] if asked.value("windows", "window_s") else [choice.window_s, WINDOW_S]
    for lower in rates if asked.value("features", "sample_rate_hz") is None else rates[:1]:
        for window_s in windows:
            yield lower, min(window_s, choice.window_s)


def _from(network: str, asked: _Asked) -> Sequence[str]:
    if asked.value("train", "model") is not None:
        return (network,)
    return NETWORKS[NETWORKS.index(network) :] if network in NETWORKS else (network, *NETWORKS[1:])


def _bands(asked: _Asked, rate: int) -> Sequence[int]:
    usual = (_SOUND.get(rate) or _scaled(rate))["n_mels"]
    return (usual,) if asked.value("features", "n_mels") is not None else (usual, NARROW_BANDS)


def _fits(asked: _Asked, choice: Choice, board: Board, seconds_per_day: float | None) -> str:
    """Return what the detector takes of the board, in words; raise GateError where that is too much."""
    board.check_rate(choice.features.sample_rate_hz, choice.train.model)
    outputs = len(asked.facts) if len(asked.targets) > 1 else 1
    compiled = untrained_network(choice.train, choice.features, outputs)
    need = needs_compiled(compiled, choice.features, outputs)
    try:
        check_need(need, board, f"{choice.train.model} with {choice.features.n_mels} bands")
    except GateError as error:
        raise GateError(str(error).split("; largest")[0]) from None
    share = load_on(estimated_instructions(compiled, choice.features), board)["duty"]
    most, why = BUSIEST, "so that no sound is lost"
    if seconds_per_day is not None:
        charge = COMPUTING_SHARE * board.idle_ma / (board.active_ma - board.idle_ma) * DAY_S / seconds_per_day
        if charge < most:
            most, why = charge, f"for the battery, with {seconds_per_day:g} s of audio a day"
    if share > most:
        raise GateError(
            f"{choice.train.model} with {choice.features.n_mels} bands keeps the core busy {share:.0%} of the time: "
            f"must be at most {most:.0%} on {board.name} {why}"
        )
    return (
        f"{need.ram_bytes:,} of {board.free_ram_bytes:,} bytes of RAM, "
        f"{need.flash_bytes:,} of {board.free_flash_bytes:,} of flash, about {share:.0%} of the core while it listens"
    )
