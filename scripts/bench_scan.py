# SPDX-License-Identifier: MIT
"""Speed and memory of cheep scan on this machine, on one core, where the time goes, and what bounds it.

  python scripts/bench_scan.py                           speed by kind of file, with the bounds of its parts
  python scripts/bench_scan.py --json                    a list of {"name", "value", "unit"}
  python scripts/bench_scan.py --parts jobs memory index two processes; a day-long file; tables of 100,000 recordings
  python scripts/bench_scan.py --parts emulated          ten recordings also through an emulated AudioMoth's core
  python scripts/bench_scan.py --birdnet MODEL.tflite    also the inference of BirdNET's own network, on one core

Files of --minutes of noise with calls are made in a folder of their own. Times are processor times (this process alone,
one thread), medians of --rounds rounds; the bounds are measured in the same rounds. --model: default the latest run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import numpy as np  # noqa: E402  (after the number of threads is set)
import soundfile  # noqa: E402
import soxr  # noqa: E402

from cheep.audio import ZeroMeter, open_audio  # noqa: E402
from cheep.device.bundle import ModelBundle, load_bundle  # noqa: E402
from cheep.device.scoring import make_scorer  # noqa: E402
from cheep.features import FrontendStream, quantize  # noqa: E402
from cheep.season import Season  # noqa: E402
from cheep.season.events import detections_of  # noqa: E402
from cheep.season.scan import Item, ScanSettings, prepared, scan_recording  # noqa: E402
from cheep.season.schema import Detection, Recording  # noqa: E402
from cheep.season.store import Part, write_part  # noqa: E402

KINDS = {"wav_8k": ("WAV", 8000, 2000), "wav_48k": ("WAV", 48000, 800), "flac_32k": ("FLAC", 32000, 500)}
PARTS = ("speed", "jobs", "memory", "index", "emulated")
_BLOCK_S = 20


def make_file(path: Path, kind: str, rate: int, minutes: float, seed: int = 0) -> Path:
    """Write noise that falls with the frequency, and a call every few seconds, as 16-bit samples."""
    rng = np.random.default_rng(seed)
    t = np.arange(rate // 2) / rate
    call = 3000 * np.hanning(len(t)) * np.sin(2 * np.pi * (1500 + 2000 * t) * t)
    with soundfile.SoundFile(path, "w", rate, 1, subtype="PCM_16", format=kind) as out:
        for _ in range(round(minutes * 60 / 10)):
            block = rng.normal(0, 200, 10 * rate)
            block[1:] = 0.7 * block[1:] + 0.7 * block[:-1]
            for at in rng.integers(0, 10 * rate - len(t), 3):
                block[at : at + len(t)] += call
            out.write(np.clip(block, -32768, 32767).astype(np.int16))
    return path


def cpu(function: Callable[[], Any]) -> float:
    """Return the processor time of a call, s."""
    start = time.process_time()
    function()
    return time.process_time() - start


def stages(path: Path, bundle: ModelBundle, model: Any, rate: int) -> dict[str, Callable[[], Any]]:
    """Return what a scan does, a stage at a time, and the bounds of the first two, by name."""
    target = bundle.features.sample_rate_hz
    pcm = np.concatenate(list(open_audio(path, target)[1]))
    with soundfile.SoundFile(path) as file:
        raw = file.read(dtype="float32")
    columns = quantize(FrontendStream(bundle.features).push(pcm), bundle.input.scale, bundle.input.zero_point)
    scorer, stride = make_scorer(bundle, "compiled"), bundle.detector.stride_frames
    scores = scorer.slide(columns, stride)
    row = Recording("0" * 16, "/", "x")
    folder = path.parent / "part"
    folder.mkdir(exist_ok=True)
    found = detections_of(model, row, scores)

    def front_end() -> None:
        stream = FrontendStream(bundle.features)
        for first in range(0, len(pcm), _BLOCK_S * target):
            quantize(stream.push(pcm[first : first + _BLOCK_S * target]), bundle.input.scale, bundle.input.zero_point)

    def libsndfile() -> None:
        with soundfile.SoundFile(path) as file:
            while len(file.read(_BLOCK_S * rate, dtype="int16")):
                pass

    def only_soxr() -> None:
        if rate != target:
            stream = soxr.ResampleStream(rate, target, 1, dtype="float32", quality="HQ")
            for first in range(0, len(raw), _BLOCK_S * rate):
                stream.resample_chunk(raw[first : first + _BLOCK_S * rate])

    return {
        "decoding": lambda: _consume(open_audio(path, rate)[1]),
        "decoding and resampling": lambda: _consume(open_audio(path, target)[1]),
        "pauses": lambda: ZeroMeter(target).push(pcm),
        "front end": front_end,
        "network": lambda: scorer.slide(columns, stride),
        "detector": lambda: detections_of(model, row, scores),
        "writing": lambda: write_part(folder / "x.parquet", model, scores, Part(row, found, "", len(scores))),
        "libsndfile alone": libsndfile,
        "soxr alone": only_soxr,
    }


def _consume(blocks: Iterator[Any]) -> None:
    for _ in blocks:
        pass


def speed(bundle: ModelBundle, work: Path, minutes: float, rounds: int) -> tuple[list[dict], list[str]]:
    """Return the rows of the speed benchmark, and a table of where the time goes (s for an hour)."""
    season = Season.create(work / "season")
    model = season.add_model(bundle)
    settings = prepared(ScanSettings(str(season.folder), model))
    rows, lines = [], []
    for name, (kind, rate, bar) in KINDS.items():
        path = make_file(work / f"{name}.{kind.lower()}", kind, rate, minutes)
        parts = stages(path, bundle, model, rate)

        def whole(path: Path = path) -> None:
            for part in season.parts():
                part.unlink()
            scan_recording(settings, Item(str(path.parent), path.name))

        whole()
        times: dict[str, list[float]] = {"whole": [], **{part: [] for part in parts}}
        for _ in range(rounds):
            times["whole"].append(cpu(whole))
            for part, function in parts.items():
                times[part].append(cpu(function))
        hour = {part: statistics.median(values) * 60 / minutes for part, values in times.items()}
        hour["resampling"] = max(0.0, hour.pop("decoding and resampling") - hour["decoding"])
        realtime = 3600 / hour["whole"]
        rows.append({"name": f"scan.realtime_per_core.{name}", "value": round(realtime), "unit": "x", "least": bar})
        rows += [{"name": f"scan.{name}.{part}", "value": round(s, 4), "unit": "s/h"} for part, s in hour.items()]
        lines.append(f"{name}: {realtime:.0f} x real time (bar {bar}), {hour['whole']:.3f} s for an hour")
        shown = ("decoding", "resampling", "pauses", "front end", "network", "detector", "writing")
        bound = {"decoding": "libsndfile alone", "resampling": "soxr alone"}
        lines += [
            f"  {part:<11}{hour[part]:8.3f} s"
            + (f"   {bound[part]} {hour[bound[part]]:.3f} s" if part in bound else "")
            for part in shown
        ]
        path.unlink()
    rows.append({"name": "scan.realtime_per_core", "value": rows[0]["value"], "unit": "x", "least": KINDS["wav_8k"][2]})
    return rows, lines


def tflm(bundle: ModelBundle, work: Path) -> dict:
    """Return how much faster the compiled network is than TFLM, over the same two minutes."""
    path = make_file(work / "short.wav", "WAV", bundle.features.sample_rate_hz, 2)
    took = {}
    for runtime in ("compiled", "tflm"):
        season = Season.create(work / f"season-{runtime}")
        settings = prepared(ScanSettings(str(season.folder), season.add_model(bundle), runtime=runtime))
        took[runtime] = cpu(lambda settings=settings: scan_recording(settings, Item(str(work), path.name)))
    return {"name": "scan.compiled_over_tflm", "value": round(took["tflm"] / took["compiled"], 1), "unit": "x"}


def birdnet(model: Path, work: Path, realtime: float) -> dict:
    """Return how much faster a scan is than BirdNET's network alone, on 48 kHz sound in windows of 3 s."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(model), num_threads=1)
    interpreter.allocate_tensors()
    place = interpreter.get_input_details()[0]
    window = np.random.default_rng(0).normal(0, 0.01, place["shape"]).astype(np.float32)

    def run() -> None:
        for _ in range(20):
            interpreter.set_tensor(place["index"], window)
            interpreter.invoke()

    run()
    seconds = 20 * window.size / 48000
    theirs = seconds / statistics.median(cpu(run) for _ in range(3))
    return {
        "name": "scan.over_birdnet",
        "value": round(realtime / theirs, 1),
        "unit": "x",
        "birdnet_realtime": round(theirs),
    }


def jobs(bundle: ModelBundle, work: Path, minutes: float) -> list[dict]:
    """Return two processes against one over the same 32 files: by the clock, and by processor time.

    Processor time is that of all processes, less that of starting them and doing the first few files. With two free
    cores the clock's ratio is twice its inverse, less what waiting for the last file costs.
    """
    for i in range(2):
        made = make_file(work / f"many{i}.wav", "WAV", bundle.features.sample_rate_hz, minutes, seed=i)
        for copy in range(15):  # the same sound under other names
            os.link(made, work / f"many{i}_{copy}.wav")
    wall, used = {}, {}
    for n in (1, 2):
        took = []
        for only_warm in ("warm", "all"):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [sys.executable, str(Path(__file__)), "--scan-only", str(work), str(work / f"jobs{n}{only_warm}")]
            command += [str(bundle.path.parent), str(n), only_warm]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        wall[n], used[n] = float(said), took[1] - took[0]
    return [
        {"name": "scan.two_processes", "value": round(wall[1] / wall[2], 2), "unit": "x", "least": 1.85},
        {"name": "scan.two_processes.processor_time", "value": round(used[2] / used[1], 3), "unit": "x"},
        {"name": "scan.one_process.processor_time", "value": round(used[1], 2), "unit": "s"},
        {"name": "scan.load", "value": round(os.getloadavg()[0], 1), "unit": ""},
    ]


def scan_only(work: str, target: str, model: str, n: str, only_warm: str) -> None:
    """Scan ``many*.wav`` with n processes that are already there, and print the seconds."""
    from cheep.season.run import scan_folders

    bundle = load_bundle(model)
    files = sorted(Path(work).glob("many*.wav"))
    scan_folders(Season.create(target + "-warm"), files[:4], bundle, jobs=int(n))
    start = time.monotonic()
    if only_warm != "warm":
        scan_folders(Season.create(target), files, bundle, jobs=int(n))
    print(time.monotonic() - start)


def memory(bundle: ModelBundle, work: Path) -> list[dict]:
    """Return the memory of a process that scans a file of 24 hours (a sparse one: its samples are zeros)."""
    rows = []
    for rate in (8000, 24000):
        path = work / f"day{rate}.wav"
        with soundfile.SoundFile(path, "w", rate, 1, subtype="PCM_16", format="RF64") as out:
            out.write(np.ones(rate, np.int16))
        size = 86400 * rate * 2
        header = path.stat().st_size - 2 * rate
        data = bytearray(path.read_bytes()[:header])
        at = data.index(b"ds64") + 8
        data[at : at + 24] = b"".join(value.to_bytes(8, "little") for value in (header + size - 8, size, size // 2))
        with open(path, "wb") as out:
            out.write(data)
            out.truncate(header + size)
        code = (
            "import resource, sys; from pathlib import Path; from cheep.device.bundle import load_bundle;"
            "from cheep.season import Season; from cheep.season.run import scan_folders;"
            f"s = Season.create({str(work / f'day-season{rate}')!r});"
            f"r = scan_folders(s, [Path({str(path)!r})], load_bundle({str(bundle.path.parent)!r}), jobs=1);"
            "print(r.hours, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
        )
        hours, peak = _python(code).split()
        assert float(hours) > 23.9, hours
        rows.append({"name": f"scan.memory.day_{rate}", "value": round(float(peak)), "unit": "MB", "most": 300})
        path.unlink()
    return rows


def index(bundle: ModelBundle, work: Path, n: int) -> list[dict]:
    """Return time and memory of making the tables of n recordings, three detections each."""
    season = Season.create(work / "large")
    model = season.add_model(bundle)
    scores = np.zeros((120, len(model.labels)), np.int8)
    sync, os.fsync = os.fsync, lambda _: None  # nobody wants these after a power cut
    like = Recording(
        "", "/archive/2026", "", bytes=960044, time_source="audiomoth", length_s=60.0, sample_rate_hz=8000, channels=1,
        container="WAV", temperature_c=9.5, battery_v=4.2, gain="medium",
    )  # fmt: skip
    for i in range(n):
        site, start = f"site{i % 50:02d}", 1_780_000_000_000 + 60_000 * i
        row = dataclasses.replace(
            like, recording=f"{i:016x}", path=f"{site}/{i:08d}.WAV", site=site, deployment=f"{site}/D{i % 50}",
            device=f"D{i % 50}", mtime_ns=i, digest=f"{i:032x}", start_utc=start, start_local=start,
        )  # fmt: skip
        found = tuple(
            Detection(model.labels[-1], at, at + 1, 0.9, int(2 * at), int(2 * at), 99) for at in (1.0, 20.0, 40.0)
        )
        write_part(season.part_path(model.model, row), model, scores, Part(row, found, model.settings, 120))
    os.fsync = sync
    code = (
        "import resource, time; from cheep.season import Season; from cheep.season.tables import make_tables;"
        f"s = Season({str(season.folder)!r}); t = time.process_time(); make_tables(s); t = time.process_time() - t;"
        "r = s.recordings(['recording']).num_rows;"
        "print(r, t, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    rows, took, peak = _python(code).split()
    assert int(rows) == n, rows
    return [
        {"name": f"scan.index_{n}.memory", "value": round(float(peak)), "unit": "MB", "most": 1024},
        {"name": f"scan.index_{n}.time", "value": round(float(took), 1), "unit": "s"},
    ]


def emulated(bundle: ModelBundle, work: Path, audio: Path) -> list[dict]:
    """Return in how many of ten recordings a scan and the application on an emulated AudioMoth's core hear the same."""
    from cheep.audio import audio_files
    from cheep.export import load_export
    from cheep.job.simulate import simulate
    from cheep.season.run import scan_folders

    files = audio_files(audio)
    files = files[:: max(1, len(files) // 10)][:10]
    season = Season.create(work / "emulated")
    scan_folders(season, files, bundle, jobs=1)
    paths = {row["recording"]: row["path"] for row in season.recordings(["recording", "path"]).to_pylist()}
    found: dict[str, list] = {path.name: [] for path in files}
    for row in season.detections().to_pylist():
        found[paths[row["recording"]]].append((row["label"], round(row["start_s"], 3), round(row["end_s"], 3)))
    export, same = load_export(bundle.path.parent), 0
    for path in files:
        lines = [json.loads(line) for line in simulate(export, path, "cortex-m4")]
        events = [line for line in lines if line["type"] == "event" and line["state"] == "end"]
        there = [(event["label"], event["start_s"], event["end_s"]) for event in events]
        same += sorted(there) == sorted(found[path.name])
    detections = sum(map(len, found.values()))
    return [
        {"name": "scan.same_on_emulated_audiomoth", "value": same, "unit": "files", "least": len(files)},
        {"name": "scan.same_on_emulated_audiomoth.detections", "value": detections, "unit": "", "least": 1},
    ]


def _python(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, env=environment
    ).stdout.splitlines()[-1]


def main() -> int:
    """Run the benchmark."""
    if sys.argv[1:2] == ["--scan-only"]:
        scan_only(*sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="RUN", help="run or model folder (default: the latest run)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["speed"])
    parser.add_argument("--minutes", type=float, default=20, help="of each file (%(default)g)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--recordings", type=int, default=100_000, help="of the index (%(default)s)")
    parser.add_argument(
        "--audio",
        type=Path,
        default=Path("datasets/demo"),
        metavar="DIR",
        help="ten of these are emulated (%(default)s)",
    )
    parser.add_argument("--birdnet", type=Path, metavar="TFLITE", help="BirdNET's audio model, from its package")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    bundle = load_bundle(args.model)
    rows: list[dict] = []
    lines: list[str] = []
    with tempfile.TemporaryDirectory(prefix="cheep-bench-") as folder:
        work = Path(folder)
        if "speed" in args.parts:
            found, lines = speed(bundle, work, args.minutes, args.rounds)
            rows += [*found, tflm(bundle, work)]
            if args.birdnet:
                at_48k = next(row["value"] for row in found if row["name"].endswith("wav_48k"))
                rows.append(birdnet(args.birdnet, work, at_48k))
        if "jobs" in args.parts:
            rows += jobs(bundle, work, args.minutes)
        if "memory" in args.parts:
            rows += memory(bundle, work)
        if "index" in args.parts:
            rows += index(bundle, work, args.recordings)
        if "emulated" in args.parts:
            rows += emulated(bundle, work, args.audio)
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        print("\n".join(lines))
        for row in rows:
            if not lines or not row["name"].startswith(tuple(f"scan.{kind}." for kind in KINDS)):
                print("  ".join(str(value) for value in row.values()))
    failed = [row["name"] for row in rows if row["value"] < row.get("least", 0) or row["value"] > row.get("most", 1e99)]
    if failed:
        print(f"below the bar: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
