# SPDX-License-Identifier: MIT
"""Which features, windows, network and training a data set and a board ask for.

The rules are those of ``choice_rules``; a board takes the first of ever smaller detectors that fits. What the user has
set stands, and the other choices follow it.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cheep.boards.budget import check_need, estimated_instructions, load_on, needs_compiled, untrained_network
from cheep.boards.data import Board
from cheep.config import DataConfig, FeatureConfig, QatConfig, RunFile, TrainConfig
from cheep.datasets.facts import LabelFacts
from cheep.errors import CheepError, GateError
from cheep.job.choice import Asked, Choice, Reason
from cheep.job.choice_rules import (
    NARROW_BANDS,
    NETWORKS,
    PCEN,
    RATES_HZ,
    WINDOW_S,
    augment_of,
    beware,
    compression_of,
    network_of,
    rate_of,
    sound_of,
    usual_sound,
    window_of,
)

log = logging.getLogger(__name__)
EPOCHS, WORD_EPOCHS, FEWEST_EPOCHS = 60, 120, 15
MOST_WINDOWS = 4000  # training windows up to which all epochs are taken; more of them need fewer
BUSIEST = 0.8  # share of the core's time while it listens
COMPUTING_SHARE = 0.25  # a day's computing may take this share of the charge that listening all day takes
DAY_S = 86400.0
QAT = {"epochs": 6, "learning_rate": 5e-5}  # further from the averaged weights costs accuracy


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
    asked = Asked(facts, given)
    rate, why_rate = rate_of(asked)
    window_s, hop_s, why_window = window_of(asked)
    compression, why_compression = compression_of(asked, window_s)
    sound = {**sound_of(rate, window_s, asked), **compression}
    network, why_network = network_of(asked)
    augment, why_augment = augment_of(asked)
    train = {**network, "epochs": WORD_EPOCHS if asked.words else EPOCHS}
    reasons = [why_rate, why_window, why_compression, why_network, why_augment, *beware(asked, rate)]
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


def _settings(
    asked: Asked,
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


def _for_board(asked: Asked, choice: Choice, board: Board, seconds_per_day: float | None) -> Choice:
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


def _ever_smaller(asked: Asked, choice: Choice) -> Iterator[Choice]:
    """Yield the choice, then smaller ones: fewer bands, a smaller network, a shorter window, a lower rate."""
    seen = set()
    for rate, window_s in _shapes(asked, choice):
        for network in _from(choice.train.model, asked):
            for bands in _bands(asked, rate):
                compression = {name: getattr(choice.features, name) for name in PCEN}
                sound = {**sound_of(rate, window_s, asked), **compression, "n_mels": bands}
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


def _shapes(asked: Asked, choice: Choice) -> Iterator[tuple[int, float]]:
    rate = choice.features.sample_rate_hz
    rates = [rate, *(lower for lower in reversed(RATES_HZ) if lower < rate)]
    windows = [choice.window_s] if asked.value("windows", "window_s") else [choice.window_s, WINDOW_S]
    for lower in rates if asked.value("features", "sample_rate_hz") is None else rates[:1]:
        for window_s in windows:
            yield lower, min(window_s, choice.window_s)


def _from(network: str, asked: Asked) -> Sequence[str]:
    if asked.value("train", "model") is not None:
        return (network,)
    return NETWORKS[NETWORKS.index(network) :] if network in NETWORKS else (network, *NETWORKS[1:])


def _bands(asked: Asked, rate: int) -> Sequence[int]:
    usual = usual_sound(rate)["n_mels"]
    return (usual,) if asked.value("features", "n_mels") is not None else (usual, NARROW_BANDS)


def _fits(asked: Asked, choice: Choice, board: Board, seconds_per_day: float | None) -> str:
    """Return what the detector takes of the board, in words; raise GateError where that is too much."""
    board.check_rate(choice.features.sample_rate_hz, choice.train.model)
    outputs = len(asked.facts) if len(asked.targets) > 1 else 1
    compiled = untrained_network(choice.train, choice.features, outputs)
    need = needs_compiled(compiled, choice.features, outputs)
    try:
        check_need(need, board, f"{choice.train.model} with {choice.features.n_mels} bands")
    except GateError as error:
        raise GateError(str(error).split("; largest")[0]) from None
    rate = choice.features.sample_rate_hz
    share = load_on(estimated_instructions(compiled, choice.features), board, rate)["duty"]
    most, why = BUSIEST, "so that no sound is lost"
    if seconds_per_day is not None:
        charge = COMPUTING_SHARE * board.idle_ma / (board.active_ma - board.idle_ma) * DAY_S / seconds_per_day
        charge += load_on(0.0, board, rate)["duty"]  # the microphone's filters are no choice
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
