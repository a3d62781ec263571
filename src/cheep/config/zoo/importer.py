# SPDX-License-Identifier: MIT
"""A zoo file in the form of generations 2 and 3 as a run file: plan, recordings, features, patches."""

from __future__ import annotations

from collections.abc import Mapping

from cheep.config.base import nearest_name
from cheep.config.features import FeatureConfig
from cheep.config.run_file import RunFile
from cheep.config.source import Source
from cheep.config.zoo.generations import is_first_generation
from cheep.config.zoo.names import hint, is_known, leaves, listed, words
from cheep.config.zoo.networks import augmentation, quantization, training
from cheep.config.zoo.tables import (
    CHAINS,
    INNER,
    LISTED,
    MODES,
    ON_TARGET,
    OPEN,
    OPERATIONS,
    PATHS,
    SECTIONS,
    TAKEN,
    WORD_LISTS,
)
from cheep.config.zoo.values import Values

_OVERLAP = 0.25  # of patches, where the file does not say
_VALIDATION = 0.2  # share, where the file does not say
_TELLING = tuple(name for name in SECTIONS if name not in ("steps", "model", "parameters"))
_LOG_OFFSET = 1e-4  # the zoo's, under its logarithm without to_db


def is_zoo(source: Source) -> bool:
    """Tell whether a file has the zoo's form: sections of its, none of a run file's."""
    return is_first_generation(source.values) or any(key in _TELLING for key in source.values)


def import_zoo(source: Source) -> Source:
    """Return a zoo configuration as a run file: values, where each stands in the file, problems and notes."""
    return Import(source).run()


class Import(Values):
    """One import."""

    def run(self) -> Source:
        """Return the run file."""
        mixed = [key for key in self.values if key not in SECTIONS]
        for zoo, ours in TAKEN.items():
            self.made.written[tuple(ours.split("."))] = self.given.as_written(tuple(zoo.split(".")))
        self.made.written[("data", "folder")] = self.given.as_written(("dataset", "training_audio_path"))
        if self.get("general.output_dir") is None:
            self.made.written[("run", "folder")] = ("hydra", "run", "dir")
        self.put("data.windows", {"selection": False})
        self.put("data.clips", {})
        self.put("data.split", {"val": _VALIDATION, "test": 0.0})
        if self.get("parameters") is not None:
            self.refuse("parameters", ": is a form of its own, for the evaluation on a board with an NPU, by a program "
                        "of the vendor's; for the evaluation here write operation_mode: evaluation")  # fmt: skip
            self.made.problems = self.problems
            self.made.values = {"run": {"steps": ["deploy"], "model": "."}}  # so that no second error follows
            return self.made
        self._unknown(mixed)
        for part in (
            self._plan,
            self._taken,
            self._foreign,
            self._seeds,
            self._recordings,
            self._tracking,
            self._features,
        ):
            part()
        self._over(mixed)  # patches are those of the features that will be
        self._patches()
        for of_network in (augmentation, training, quantization):
            of_network(self)
        self._elsewhere()
        self._listed()
        self._over(mixed)
        self.made.problems = self.problems
        return self.made

    def _over(self, sections: list[str]) -> None:
        """Put settings of ours, given as overrides, over what was taken."""
        for key in sections:
            if key in RunFile.model_fields and isinstance(self.values[key], Mapping):
                for name, value in leaves(self.values[key], key):
                    self.put(name, value)
                    self.made.written.pop(tuple(name.split(".")), None)
                    self.made.shown.pop(tuple(name.split(".")), None)

    # -- the parts ----------------------------------------------------------------------------

    def _unknown(self, mixed: list[str]) -> None:
        """Refuse settings that are none, with the nearest one."""
        for key in mixed:
            line = self.given.line((key,))
            if key not in RunFile.model_fields:
                self.refuse(key, f": unknown setting{nearest_name(key, SECTIONS)}")
            elif isinstance(line, int):
                other = next(name for name in SECTIONS if name in self.values)
                self.refuse(key, f": is a section of a run file, {other!r} one of the model zoo's form; write one form")
        for section in (name for name in SECTIONS[2:] if name in self.values and name not in OPEN):
            values = self.values[section]
            if values is None:
                continue
            if not isinstance(values, Mapping):
                self.refuse(section, f"={values!r}: must be a section: its settings go below it, indented")
                continue
            for name, value in leaves(values, section):
                if not is_known(name):
                    self.refuse(name, f": unknown setting{hint(name)}")
                elif value is not None and name in INNER:
                    self.refuse(name, f"={value!r}: must be a section: its settings go below it, indented")

    def _plan(self) -> None:
        mode, steps = self.get("operation_mode"), self.get("steps")
        if mode is not None and steps is not None:
            self.refuse("steps", ": contradicts operation_mode; keep one of the two")
        elif mode is None and steps is None:
            self.refuse("operation_mode", f": missing; one of {', '.join(MODES)} (or a list 'steps')")
        elif mode is not None and mode not in MODES:
            self.refuse(
                "operation_mode", f"={mode!r}: must be one of {', '.join(MODES)}{nearest_name(str(mode), MODES)}"
            )
        steps = steps if isinstance(steps, list) else [steps] if steps is not None else CHAINS.get(mode, (mode,))
        known = [OPERATIONS[step] for step in steps if step in OPERATIONS]
        if self.get("steps") is not None:
            for step in (step for step in steps if step not in OPERATIONS):
                self.refuse("steps", f": {step!r}: must be one of {', '.join(OPERATIONS)}"
                            f"{nearest_name(str(step), OPERATIONS)}")  # fmt: skip
            if not steps:
                self.refuse("steps", ": is empty; name at least one step")
        if known:
            self.put("run.steps", known, "steps" if mode is None else "operation_mode")

    def _taken(self) -> None:
        for zoo, ours in TAKEN.items():
            value = self.get(zoo)
            if zoo.endswith("unknown_class_threshold") and value == 0:
                continue  # the zoo's way to switch it off
            if ours == "data.clips.silence_db" and "top_db" in (self.values.get("preprocessing") or {}):
                self.put(ours, value)
            elif value is not None and not (zoo == "hydra.run.dir" and self.get("general.output_dir") is not None):
                value = self.path(zoo) if zoo in PATHS else value
                self.put(ours, words(value) if ours in WORD_LISTS else value, zoo)

    def _foreign(self) -> None:
        """A model that was made elsewhere, where the file names one."""
        if not self.made_elsewhere:
            return
        if self.get("feature_extraction.layout") is None:
            self.put("run.model_layout", "bands" if self.get("feature_extraction") is None else "auto")
        if "quantize" in self.steps:  # the zoo's networks always say one of their classes
            self.put("evaluate.may_fire_on", ["all"])
            self.note("general.model_path", "a network that was not trained to keep quiet without sound is not refused "
                      "for it (evaluate.may_fire_on)")  # fmt: skip

    def _seeds(self) -> None:
        seed = self.get("general.global_seed")
        if seed is not None:
            for name in ("train.seed", "quantize.qat.seed", "data.split.seed"):
                self.put(name, seed, "general.global_seed")
        if self.get("dataset.seed") is not None:
            self.put("data.split.seed", self.get("dataset.seed"), "dataset.seed")

    def _recordings(self) -> None:
        for zoo, ours in self._sources().items():
            folder, table = (self.path(f"dataset.{zoo}_{kind}_path") for kind in ("audio", "csv"))
            if table is not None and folder is None and zoo == "test" and ours == "test.":
                folder = self.path("dataset.training_audio_path")  # as in generation 1
            if table is not None:
                self.put(f"data.{ours}csv", table, f"dataset.{zoo}_csv_path")
                if folder is None and ours:
                    self.refuse(f"dataset.{zoo}_csv_path", f": needs dataset.{zoo}_audio_path, the folder of its files")
            if folder is not None:
                kind = "folder" if table is None else "audio_root"
                self.put(f"data.{ours}{kind}", folder, f"dataset.{zoo}_audio_path")
        if self.flag("dataset.use_garbage_class"):
            name = "dataset.n_samples_per_garbage_class"
            self.put("data.garbage", self.get(name, 2), name if self.get(name) else "dataset.use_garbage_class")
            if self.made_elsewhere:  # whose outputs stand in the order of names, this among them
                self.put("data.rename", {"garbage": "other"})
        given = [name for name in ("test_folds", "test_csv_path", "test_audio_path", "test_split")
                 if self.get(f"dataset.{name}")]  # fmt: skip
        if given and given[-1] == "test_split" and len(given) > 1:
            if is_first_generation(self.given.values) or "test_path" in self.given.name_of(("dataset", given[0])):
                self.put("data.split.test", 0.0)  # which ignores it then
            else:
                self.refuse("dataset.test_split", f": contradicts dataset.{given[0]}; keep one test set")
        if given and self.get("dataset.cross_validate") is True:
            self.refuse("dataset.cross_validate", "=true: contradicts test_folds, test_csv_path and test_split; every "
                        "fold is the test set once")  # fmt: skip
            self.put("data.split.cross_validate", False)
        if self.get("dataset.multi_label") is True:
            self.put("train.activation", "sigmoid")
        if self.get("dataset.classes_file_path") is not None:
            self.refuse("dataset.classes_file_path", ": is not read; write its names into dataset.class_names")
        if str(self.get("dataset.name")).lower() == "fsd50k" and self.ours("data.csv") is None and (
            any(step in ("train", "quantize", "evaluate") for step in self.steps)
        ):  # fmt: skip
            self.refuse("dataset.name", ": the tables of FSD50K are not joined with AudioSet's ontology here; make a "
                        "CSV with the columns filename and category and name it in dataset.training_csv_path "
                        "(dataset.csv_path)")  # fmt: skip
            self.put("data.folder", ".", "dataset.training_audio_path")  # so that no second error follows

    def _sources(self) -> dict[str, str]:
        """Return which recordings of the zoo become which of ours: where there are none to train on, others do."""
        sources = {"training": "", "validation": "validation.", "test": "test.", "quantization": "calibration."}
        if any(self.get(f"dataset.training_{kind}_path") for kind in ("audio", "csv")):
            return sources
        if "quantize" in self.steps and self.get("dataset.quantization_audio_path"):
            share = self.number("dataset.quantization_split", 1.0)
            self.note("dataset.quantization_audio_path", f"of its clips, {1 - _VALIDATION:.0%} give the ranges "
                      f"({'all' if share is None else f'{share:.0%}'} of their windows), the others the first "
                      "thresholds")  # fmt: skip
            return {"validation": "validation.", "test": "test.", "quantization": ""}
        return sources

    def _tracking(self) -> None:
        if self.flag("general.tensorboard"):
            self.put("track.tensorboard", self.get("general.logs_dir", "logs"), "general.logs_dir")
        elif self.get("general.logs_dir") is not None:
            self.note("general.logs_dir", "learning curves are in the report (TensorBoard's: general.tensorboard)")

    def _features(self) -> None:
        if self.get("feature_extraction.window_length") is None:
            self.put("features.frame_samples", self.get("feature_extraction.n_fft", FeatureConfig().fft_size),
                     "feature_extraction.n_fft")  # fmt: skip
        rate = self.number("preprocessing.target_rate", FeatureConfig().sample_rate_hz)
        if rate is not None and self.get("feature_extraction.fmax") is None:
            self.put("features.fmax_hz", rate / 2)
        power = self.number("feature_extraction.power", 2)
        if power not in (1, 2):
            self.refuse("feature_extraction.power",
                        f"={self.get('feature_extraction.power')}: must be 1 (magnitude) or 2 (power)")  # fmt: skip
        self.put("features.spectrum", "magnitude" if power == 1 else "power")
        window = self.get("feature_extraction.window", "hann")
        if window != "hann":
            self.refuse("feature_extraction.window",
                        f"={window!r}: must be 'hann', the window of the C core that trains and runs")  # fmt: skip
        norm = self.get("feature_extraction.norm", "none" if self.says_null("feature_extraction", "norm") else "slaney")
        self.put("features.mel_norm", norm, "feature_extraction.norm")
        self.put("features.mel_scale", "htk" if self.flag("feature_extraction.htk") else "slaney")
        if self.get("feature_extraction.to_db") is not None and not self.flag("feature_extraction.to_db"):
            self._natural_logarithm()
        elif self.made_elsewhere and self.get("feature_extraction") is not None:
            self.note("feature_extraction.to_db", "dB over full scale here; its network was trained on dB over the "
                      "maximum of the clip, which a device does not know: its accuracy is another here")  # fmt: skip

    def _natural_logarithm(self) -> None:
        """``to_db: false``: the natural logarithm of a level plus an offset; in dB here, by a constant factor."""
        if self.made_elsewhere:
            self.put("run.model_unit", "ln", "feature_extraction.to_db")
        if self.get("feature_extraction.compression", "db") == "db":
            self.put("features.log_offset", self.get("feature_extraction.log_offset", _LOG_OFFSET),
                     "feature_extraction.to_db")  # fmt: skip

    def _patches(self) -> None:
        """Patches of columns as windows of seconds."""
        try:
            features = FeatureConfig.model_validate(self.made.values.get("features", {}))
        except ValueError:
            return  # said by the reader
        overlap = self.number("feature_extraction.overlap", _OVERLAP)
        if overlap is None or not 0 <= overlap < 1:
            given = self.get("feature_extraction.overlap")
            self.refuse("feature_extraction.overlap", f"={given!r}: must be a number from 0 to below 1")
            return
        step = features.window_frames - int(features.window_frames * overlap)
        self.put("data.windows.window_s", features.window_s, "feature_extraction.patch_length")
        self.put("data.windows.hop_s", min(step * features.hop_s, features.window_s), "feature_extraction.overlap")
        if self.flag("feature_extraction.center"):
            self.put("data.clips.pad_samples", features.fft_size // 2, "feature_extraction.center")
        shape = listed(self.get("training.model.input_shape"))
        wanted = [features.n_mels, features.window_frames, 1]
        if shape is not None and shape not in (wanted, wanted[:2]):
            self.refuse("training.model.input_shape",
                        f"={shape}: must be [n_mels, patch_length, 1] = {wanted} (or leave it out)")  # fmt: skip

    def _elsewhere(self) -> None:
        """Refuse what only the vendor's programs and boards do."""
        for section in ("evaluation", "prediction"):
            target = self.get(f"{section}.target", "host")
            named = [name for name in ON_TARGET if self.get(f"{section}.{name}") is not None]
            if target != "host":
                self.refuse(f"{section}.target", f"={target!r}: a connected board with an NPU, whose results only the "
                            "vendor's program gets; here it is the device's own arithmetic on this machine: remove "
                            f"{', '.join(named)}")  # fmt: skip
            elif named:
                self.note(f"{section}.{named[0]}", "of a connected board; results are the device's own arithmetic")
        if self.get("custom_data_augmentation") is not None:
            self.refuse("custom_data_augmentation", ": is Python code of the zoo; take settings of train.augment")

    def _listed(self) -> None:
        for name, why in LISTED.items():
            if self.get(name) not in (None, False, {}, ""):
                self.note(name, why)
