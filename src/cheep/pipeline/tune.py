# SPDX-License-Identifier: MIT
"""Hyperparameter search: accuracy on validation clips against instructions per second of audio, under a budget."""

from __future__ import annotations

import dataclasses
import io
import logging
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from cheep.config import RunFile, default_stride
from cheep.errors import CheepError
from cheep.files import read_json
from cheep.parallel import Outcome, map_each
from cheep.pipeline.checks import load_config
from cheep.pipeline.runner import output_folder, run_pipeline

log = logging.getLogger(__name__)

#: Searched where no space is given.
DEFAULT_SPACE: dict[str, Any] = {
    "train.model": ["sepconv_s", "sepconv_m", "sepconv_l"],
    "features.n_mels": [32, 40, 48],
    "features.hop_samples": [160, 200, 256],
    "train.learning_rate": {"low": 5e-4, "high": 1e-2, "log": True},
    "train.dropout": {"low": 0.0, "high": 0.4},
}
GENERATION = 12  # trials that are chosen together, whoever runs them: their choice does not depend on the workers
TRIAL = ("train", "quantize", "evaluate", "benchmark")
ACCURACY, COST = "validation clip accuracy (int8)", "instructions per second of audio"


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a model may take, bytes; None: unlimited."""

    ram_bytes: int | None = None
    flash_bytes: int | None = None

    def excess(self, row: dict[str, Any]) -> list[str]:
        """Return what is over budget and by how much."""
        out = []
        for key, name in (("ram_bytes", "RAM"), ("flash_bytes", "flash")):
            limit, used = getattr(self, key), row.get(key)
            if limit is not None and used is not None and used > limit:
                out.append(f"{name} {used:,} bytes, {used - limit:,} over")
        return out


@dataclasses.dataclass(frozen=True)
class Trial:
    """One finished trial."""

    number: int
    settings: dict[str, Any]
    accuracy: float
    instructions_per_s: float
    ram_bytes: int
    best: bool  # on the Pareto front


def read_space(path: Path | None) -> dict[str, Any]:
    """Return the search space: setting -> list of values, or {low, high, [log], [step]}.

    Raises
    ------
    CheepError
        A missing file, or an entry that is neither.
    """
    if path is None:
        return DEFAULT_SPACE
    if not path.is_file():
        raise CheepError(f"{path}: no such search space; leave --space out for the default one")
    try:
        space = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CheepError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(space, dict) or not space:
        raise CheepError(f"{path}: must name settings, such as 'train.dropout: {{low: 0, high: 0.4}}'")
    for name, choice in space.items():
        numbers = isinstance(choice, dict) and {"low", "high"} <= set(choice) <= {"low", "high", "log", "step"}
        if not (isinstance(choice, list) and choice) and not numbers:
            raise CheepError(f"{path}: {name}={choice!r}: must be a list of values or {{low: ..., high: ...}}")
        if numbers and not choice["low"] < choice["high"]:
            raise CheepError(f"{path}: {name}: low={choice['low']} must be below high={choice['high']}")
    return space


def tune(
    config_path: Path,
    overrides: Sequence[str],
    space: dict[str, Any],
    *,
    study: str,
    storage: str,
    trials: int,
    folder: Path,
    budget: Budget,
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Trial]:
    """Run ``trials`` more trials of a study (made where it does not exist) and return all finished ones.

    Trials are chosen a generation at a time and run one after another, or side by side on a cluster
    (:func:`cheep.parallel.using`): the same trials either way. Several processes, also on several machines, may work on
    one storage at the same time; a study goes on where it was.
    """
    optuna = import_optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config = load_config(config_path, overrides)
    if "train" not in config.run.steps:
        raise CheepError(f"{config_path}: run.steps must train: each trial trains a network")
    for name, choice in space.items():  # every setting of the space must exist: found now, not after an hour
        value = choice[0] if isinstance(choice, list) else choice["low"]
        load_config(config_path, [*overrides, f"{name}={value}"])
    seed = config.train.seed
    open_storage(storage)
    search = optuna.create_study(
        study_name=study, storage=storage, load_if_exists=True, directions=["maximize", "minimize"],
        sampler=optuna.samplers.NSGAIISampler(
            population_size=GENERATION, seed=None if trials_of(storage, study) else seed
        ),
    )  # fmt: skip

    def task_of(trial: Any) -> tuple[Path, RunFile]:
        chosen = {name: _suggest(trial, name, choice) for name, choice in space.items()}
        texts = [f"{name}={yaml.safe_dump(value).splitlines()[0]}" for name, value in chosen.items()]
        target = folder / f"trial-{trial.number:04d}"
        extra = [f"run.steps=[{', '.join(TRIAL)}]", f"run.folder={target}"]
        extra += ["data.split.cross_validate=false", "data.split.fold_count=0"]
        return config_path, load_config(config_path, [*overrides, *texts, *extra])

    progress(0, trials)
    for first in range(0, trials, GENERATION):
        asked = [search.ask() for _ in range(min(GENERATION, trials - first))]
        told = 0
        try:
            outcomes = map_each(_run_trial, [task_of(trial) for trial in asked], jobs=1)
            for trial, outcome in zip(asked, outcomes, strict=True):
                _tell(search, trial, outcome, budget, say)
                told += 1
                progress(first + told, trials)
        finally:  # all of them, or Ctrl-C, or a defect
            for trial in asked[told:]:
                search.tell(trial, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
    return finished(search)


def _run_trial(task: tuple[Path, RunFile]) -> tuple[float, float, dict[str, Any]]:
    """Train and measure one network; return accuracy, instructions per second, and all that was measured."""
    _, settings = task
    outcome = run_pipeline(settings)
    row = next(row for row in outcome.rows if row["model"] == "int8")
    found = read_json(output_folder(settings) / "evaluation_int8.json", "cheep tune")
    accuracy = found["metrics"]["val"]["clip_accuracy"]
    return accuracy, instructions_per_s(row["instructions"], settings), row


def _tell(search: Any, trial: Any, outcome: Outcome, budget: Budget, say: Callable[[str], None]) -> None:
    pruned = import_optuna().trial.TrialState.PRUNED
    if isinstance(outcome.error, CheepError):  # a network that these features are too small for, for example
        say(f"trial {trial.number}: impossible: {outcome.error}")
        search.tell(trial, state=pruned)
        return
    accuracy, cost, row = outcome.value
    trial.set_user_attr("ram_bytes", row["ram_bytes"])
    over = budget.excess(row)
    if over:
        say(f"trial {trial.number}: over budget ({'; '.join(over)})")
        search.tell(trial, state=pruned)
        return
    say(f"trial {trial.number}: accuracy {accuracy:.3f}, {cost / 1e6:.2f} M instructions per second, {trial.params}")
    search.tell(trial, (accuracy, cost))


def instructions_per_s(per_window: int, config: RunFile) -> float:
    """Return the network's instructions for each second of audio, at the detector's default stride."""
    hop_s = config.features.hop_s
    return per_window / (default_stride(hop_s) * hop_s)


def finished(study: Any) -> list[Trial]:
    """Return the finished trials of a study; those on the Pareto front are marked."""
    best = {trial.number for trial in study.best_trials}
    return [
        Trial(
            t.number, dict(t.params), t.values[0], t.values[1], int(t.user_attrs.get("ram_bytes", 0)), t.number in best
        )
        for t in study.trials
        if t.values is not None
    ]


def open_storage(storage: str, tries: int = 20) -> None:
    """Make the tables of a storage where they are missing.

    Processes that start together all find them missing, and all but one then fail with "already exists" (or find the
    file locked): they try again.

    Raises
    ------
    CheepError
        No such kind of storage, or it cannot be opened.
    """
    optuna = import_optuna()
    from sqlalchemy.exc import SQLAlchemyError

    for attempt in range(tries):
        try:
            optuna.storages.get_storage(storage)
            return
        except (SQLAlchemyError, ImportError, ValueError) as error:
            reason = str(error).splitlines()[0]
            race = "already exists" in str(error) or "locked" in str(error) or "UNIQUE" in str(error)
            if not race or attempt + 1 == tries:
                raise CheepError(f"--storage {storage}: cannot be opened: {reason}") from None
            time.sleep(0.1 + 0.2 * random.random())


def trials_of(storage: str, study: str) -> int:
    """Return how many trials a study has (0 where it does not exist)."""
    optuna = import_optuna()
    try:
        return len(optuna.load_study(study_name=study, storage=storage).trials)
    except KeyError:
        return 0


def pareto_picture(trials: Sequence[Trial]) -> bytes:
    """Return accuracy over instructions per second as PNG, the Pareto front joined."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    front = sorted((t for t in trials if t.best), key=lambda t: t.instructions_per_s)
    axes.scatter([t.instructions_per_s / 1e6 for t in trials], [t.accuracy for t in trials], s=16, color="#99a")
    axes.step([t.instructions_per_s / 1e6 for t in front], [t.accuracy for t in front], where="post", color="#0072B2")
    axes.scatter([t.instructions_per_s / 1e6 for t in front], [t.accuracy for t in front], s=34, color="#0072B2")
    for t in front:
        axes.annotate(
            str(t.number), (t.instructions_per_s / 1e6, t.accuracy), xytext=(4, 4), textcoords="offset points"
        )
    axes.set(xscale="log", xlabel=f"million {COST}", ylabel=ACCURACY)
    for which, subs in ((axes.xaxis.set_major_locator, (1.0,)), (axes.xaxis.set_minor_locator, (2.0, 5.0))):
        which(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.margins(0.08)
    axes.grid(color="#e4e6ea")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=140, metadata={"Software": None})
    return out.getvalue()


def import_optuna() -> Any:
    """Return the optuna module; CheepError where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise CheepError("cheep tune needs optuna: pip install optuna (tested: requirements-pipelines.txt)") from None
    return optuna


def _suggest(trial: Any, name: str, choice: Any) -> Any:
    if isinstance(choice, list):
        return trial.suggest_categorical(name, choice)
    low, high, step = choice["low"], choice["high"], choice.get("step")
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, step=step or 1, log=bool(choice.get("log")))
    return trial.suggest_float(name, low, high, step=step, log=bool(choice.get("log")))
