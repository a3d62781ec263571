# SPDX-License-Identifier: MIT
"""The parallel parts of the job where every process is spawned, as on macOS and Windows: same results, no fork."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cheep.audio import write_wav
from cheep.datasets.demo import make_demo_dataset
from tone_model import tones, write_tone_run

ROOT = Path(__file__).resolve().parents[2]
# Read by every Python process that is started with this folder in PYTHONPATH, the workers included.
SPAWN = """
import multiprocessing, os
from joblib.externals.loky.backend import context
multiprocessing.set_start_method("spawn", force=True)
context.set_start_method("spawn", force=True)
os.register_at_fork(before=lambda: open(os.environ["FORKS"], "a").write("a fork\\n"))
"""
# A user's script: what a spawned worker imports again, under the name __mp_main__.
JOB = """
import dataclasses, json, sys
from pathlib import Path

from cheep.config import FeatureConfig
from cheep.datasets.inspect import inspect_manifest
from cheep.datasets.manifest import load_manifest
from cheep.datasets.teacher import TeacherConfig, teach
from cheep.device.bundle import load_bundle
from cheep.evaluate.streaming import score_recordings
from cheep.features.cache import build_feature_cache

Path(sys.argv[1], __name__).touch()


def results(out, manifest, run, files, jobs):
    manifest = load_manifest(manifest)
    paths = sorted({*manifest.audio_paths()})[:8]
    names = [path.as_posix() for path in paths]
    cache = build_feature_cache(paths, names, FeatureConfig(), out / f"features{jobs}", jobs)
    scored = list(score_recordings(load_bundle(run), [(path, "", ()) for path in files], jobs=jobs))
    return {
        "columns": float(cache.columns.astype(float).sum()),
        "inspect": dataclasses.asdict(inspect_manifest(manifest, 8, jobs=jobs)),
        "teacher": [int(row) for row in teach(manifest, TeacherConfig(), jobs=jobs).doubtful],
        "scores": [item.scores.tolist() for item in scored],
    }


if __name__ == "__main__":
    out, manifest, run, *files = map(Path, sys.argv[1:])
    here, there = (json.dumps(results(out, manifest, run, files, jobs), default=str) for jobs in (1, 2))
    print("equal" if here == there else f"{here}\\n{there}")
"""


@pytest.fixture
def spawned(tmp_path):
    """Run Python programs in which every process is spawned; returns (output, forks)."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SPAWN)
    forks = tmp_path / "forks"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT / "src")]),
        "FORKS": str(forks),
        "CHEEP_RUNS": str(tmp_path / "runs"),
    }

    def run(*arguments):
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not forks.exists(), "a process was forked: that does not work on macOS and Windows"
        return done.stdout

    return run


def test_the_jobs_loops_over_recordings_under_spawn(spawned, tmp_path):
    make_demo_dataset(tmp_path / "demo", seed=1, size="small")
    for jobs in (1, 2):
        spawned(ROOT / "src" / "split_dataset.py", tmp_path / "demo", "--run", f"jobs{jobs}", "--jobs", jobs)
    one, two = (tmp_path / "runs" / f"jobs{jobs}" / "dataset.csv" for jobs in (1, 2))
    assert one.read_bytes() == two.read_bytes()

    run = write_tone_run(tmp_path / "tones")
    files = []
    for number in range(3):
        files.append(tmp_path / f"{number}.wav")
        write_wav(files[-1], tones([(1, 2.5, "high"), (4, 5, "low")], 7, seed=number), 8000)
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "out").mkdir()
    assert spawned(tmp_path / "job.py", tmp_path / "out", one, run, *files).strip() == "equal"
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"__main__", "__mp_main__"}  # spawn was in force
