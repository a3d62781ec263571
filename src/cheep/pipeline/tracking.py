# SPDX-License-Identifier: MIT
"""MLflow and TensorBoard, by option (requirements-pipelines.txt); nothing is imported where neither is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cheep.config import RunFile
from cheep.errors import CheepError
from cheep.job import OnEpoch
from cheep.runs import LOCK

_PACKAGES = {"mlflow": "mlflow-skinny", "tensorboard": "tensorboard"}  # what pip calls them


class Tracker:
    """Sends parameters, metrics, artefacts and the model of a pipeline to the trackers that the settings name."""

    def __init__(self, config: RunFile, folder: Path, also: OnEpoch | None = None):
        self._also = also
        self._mlflow = self._writer = None
        self._epoch = 0
        if config.track.mlflow:
            self._mlflow = _start_mlflow(config, config.track.mlflow, folder)
        if config.track.tensorboard:
            from cheep.tf_runtime import import_tf

            _import("tensorboard", "track.tensorboard")
            self._writer = import_tf().summary.create_file_writer(str(folder / config.track.tensorboard))

    def on_epoch(self, epoch: int, epochs: int, values: dict[str, float]) -> None:
        """Note the metrics of one epoch; epochs count on over successive trainings."""
        if self._also:
            self._also(epoch, epochs, values)
        if not values:  # a training begins
            return
        self._epoch += 1
        numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
        if self._mlflow is not None:
            self._mlflow.log_metrics(numbers, step=self._epoch)
        if self._writer is not None:
            from cheep.tf_runtime import import_tf

            with self._writer.as_default():
                for name, value in numbers.items():
                    import_tf().summary.scalar(name, value, step=self._epoch)

    def finish(self, rows: list[dict[str, Any]], folder: Path) -> None:
        """Note final metrics and files; close."""
        if self._mlflow is not None:
            for row in rows:
                prefix = "_".join(str(row[key]) for key in ("model", "fold") if key in row)
                numbers = {
                    f"{prefix}_{k}": float(v) for k, v in row.items() if isinstance(v, int | float) and k != "fold"
                }
                self._mlflow.log_metrics(numbers)
            for path in sorted(folder.iterdir()):
                if path.is_file() and path.name != LOCK:
                    self._mlflow.log_artifact(str(path))
            self._mlflow.end_run()
        if self._writer is not None:
            self._writer.close()

    def abort(self) -> None:
        """Close after a failure."""
        if self._mlflow is not None:
            self._mlflow.end_run(status="FAILED")
        if self._writer is not None:
            self._writer.close()


def _start_mlflow(config: RunFile, uri: str, folder: Path) -> Any:
    if "://" not in uri:  # a folder: MLflow 3 wants to be told that it may be one
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        uri = Path(uri).resolve().as_uri()
    mlflow = _import("mlflow", "track.mlflow")
    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment(config.track.experiment or config.run.name)
        mlflow.start_run(run_name=folder.name)
        mlflow.log_params(_flat(config.to_dict()))
    except mlflow.exceptions.MlflowException as error:
        raise CheepError(f"track.mlflow={uri!r}: {str(error).splitlines()[0]}") from None
    return mlflow


def _import(name: str, setting: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise CheepError(
            f"{setting}: needs {name}, which is not installed: pip install {_PACKAGES[name]} "
            "(tested: requirements-pipelines.txt)"
        ) from None


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    out: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            out.update(_flat(value, f"{prefix}{key}."))
        else:
            out[f"{prefix}{key}"] = str(value)[:500]
    return out
