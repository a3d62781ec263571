# SPDX-License-Identifier: MIT
"""How long a training will take, measured on a few steps, and the plan that fits a given time."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable

from cheep.config import TrainConfig
from cheep.config.training import BACKBONES
from cheep.errors import CheepError
from cheep.job.choice_rules import NETWORKS
from cheep.job.windows import Windows
from cheep.models.backbone import network_of
from cheep.tf_runtime import seed_everything
from cheep.training.backbone import frozen_part, frozen_seconds
from cheep.training.loop import fit, predict_windows

_STEPS, _EPOCHS = 8, 3  # of the trial; its first epoch, which compiles the network, is not counted
_START_S = 5.0  # building, compiling, saving
_TEACHING = 0.35  # what one teacher's judgement of a batch takes, of a step of its student
LEAST_SHARE, LEAST_EPOCHS = 1 / 3, 3  # epochs below a third cost more accuracy than a smaller network does


@dataclasses.dataclass(frozen=True)
class Pace:
    """What one epoch of each network takes, s, and what comes before the first: frozen layers, run once."""

    student_s: float
    teacher_s: float
    frozen_s: float = 0.0

    def seconds(self, config: TrainConfig) -> float:
        """Return the wall time of a training, s."""
        teachers = len(config.teachers) if config.teacher_model else 0
        own = config.epochs * self.student_s * (1 + _TEACHING * teachers) * max(1, len(config.towers))
        return _START_S + self.frozen_s + own + teachers * (_START_S + config.teacher_epochs * self.teacher_s)


def measure_pace(windows: Windows, config: TrainConfig) -> Pace:
    """Train for a few steps and return the pace; nothing of the trial is kept.

    The training that follows seeds everything anew: it is the same with and without a trial.
    """
    student_s, frozen_s = _epoch_s(windows, config)
    if not config.teacher_model or config.teacher_model == config.model:
        return Pace(student_s, student_s, frozen_s)
    teacher_s, _ = _epoch_s(windows, config.model_copy(update={"model": config.teacher_model}))
    return Pace(student_s, teacher_s, frozen_s)


def _epoch_s(windows: Windows, config: TrainConfig) -> tuple[float, float]:
    """Return what an epoch takes, and what comes before the first one, s."""
    train, val = windows.splits["train"], windows.splits["val"]
    size = config.examples_per_epoch or len(train)
    steps = max(1, -(-size // config.batch_size))
    trial = min(steps, _STEPS)
    short = config.model_copy(update={"epochs": _EPOCHS, "examples_per_epoch": trial * config.batch_size})
    seed_everything(config.seed)
    config = config.model_copy(update={"towers": ()})
    model = network_of(config, windows.features, len(windows.plan.labels), windows.plan.activation)
    parts = frozen_part(model, len(train), len(val), config) if config.model in BACKBONES else None
    if parts is not None:
        once_s, epoch_s = frozen_seconds(*parts, train, val, config, trial)
        return epoch_s, once_s
    ends: list[float] = []
    fit(model, train, val, short, on_epoch=lambda epoch, *_: ends.append(time.monotonic()) if epoch else None)
    begin = time.monotonic()
    predict_windows(model, val)  # is a part of every epoch, however long
    judging_s = time.monotonic() - begin
    step_s = max((ends[-1] - ends[0]) / (_EPOCHS - 1) - judging_s, 1e-4) / trial
    return steps * step_s + judging_s, 0.0


def plan_within(
    config: TrainConfig, left_s: Callable[[], float], pace_of: Callable[[TrainConfig], Pace]
) -> tuple[TrainConfig, list[str]]:
    """Return the plan for a training that ends in time, and what was given up for it.

    Teachers go first, then epochs down to a third, then the network becomes a smaller one of the registry, with as
    many epochs as the time allows (:data:`LEAST_EPOCHS` at least).

    Parameters
    ----------
    left_s
        Returns the seconds that are left (measuring takes some, too).
    pace_of
        Measures the pace of a plan.
    """
    wanted, network = config.epochs, config.model
    said: list[str] = []
    pace = pace_of(config)
    if pace.seconds(config) <= left_s():
        return config, said
    if config.teacher_model:
        config = config.model_copy(update={"teacher_model": ""})
        said.append("no teachers")
    smaller = list(NETWORKS[NETWORKS.index(config.model) + 1 :]) if config.model in NETWORKS else []
    while True:
        epochs = min(wanted, int((left_s() - _START_S - pace.frozen_s) / pace.student_s))
        if epochs >= LEAST_SHARE * wanted or not smaller:
            break
        config = config.model_copy(update={"model": smaller.pop(0)})
        pace = pace_of(config)
    epochs = max(LEAST_EPOCHS, epochs)
    if config.model != network:
        said.append(f"{config.model} in place of {network}")
    if epochs < wanted:
        said.append(f"{epochs} epochs in place of {wanted}")
    return config.model_copy(update={"epochs": epochs, "warmup_epochs": min(config.warmup_epochs, epochs // 3)}), said


def seconds_of(text: str) -> float:
    """Return the seconds that ``90s``, ``10m``, ``1.5h`` or ``1h30m`` say.

    Raises
    ------
    CheepError
        Anything else, or no time at all.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", text.strip().lower())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip().lower():
        raise CheepError(f"--time {text}: must be a time such as 90s, 10m or 1h30m")
    seconds = sum(float(number) * {"s": 1, "m": 60, "h": 3600}[unit] for number, unit in parts)
    if seconds <= 0:
        raise CheepError(f"--time {text}: must be more than no time, such as 10m")
    return seconds
