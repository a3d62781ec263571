# SPDX-License-Identifier: MIT
"""Inspection, sampling, duplicates by sound, the teacher, and a hundred thousand recordings."""

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cheep import cli
from cheep.audio import read_audio
from cheep.datasets import Manifest, load_manifest
from cheep.datasets.contact_sheet import contact_sheet
from cheep.datasets.fingerprint import RATE_HZ, find_duplicates, fingerprint
from cheep.datasets.inspect import inspect_manifest, sample_manifest
from cheep.datasets.inspect_report import inspection_html, inspection_text
from cheep.datasets.teacher import TeacherConfig, read_kept, teach
from cheep.errors import CheepError
from recorder_files import put, wav

RATE = 16000


def chirps(seed, seconds=5.0, low=1500, high=6000, rate=RATE, sweep=4000):
    """Short calls of random pitch at random times: a voice of its own per seed."""
    rng = np.random.default_rng(seed)
    out = rng.normal(0, 0.003, int(seconds * rate))
    for at in np.sort(rng.uniform(0, seconds - 0.3, int(5 * seconds))):
        t = np.arange(int(rng.uniform(0.05, 0.2) * rate)) / rate
        f = rng.uniform(low, high)
        call = 0.2 * np.sin(2 * np.pi * (f * t + rng.uniform(-sweep, sweep) * t**2)) * np.hanning(len(t))
        out[int(at * rate) : int(at * rate) + len(t)] += call
    return out


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two labels, six recordings each; one is there twice, one again as a quieter, cut MP3."""
    root = tmp_path_factory.mktemp("data")
    csv = ["file,label,recordist,licence"]
    for label, band in (("low", (800, 2500)), ("high", (5000, 7500))):
        (root / label).mkdir()
        for i in range(6):
            x = chirps(i + 100 * (label == "high"), low=band[0], high=band[1], sweep=300)
            soundfile.write(root / label / f"{label}{i}.wav", x, RATE)
            csv.append(f"{label}/{label}{i}.wav,{label},p{i},{'CC-BY-NC-4.0' if i else ''}")
    (root / "low" / "again.wav").write_bytes((root / "low" / "low1.wav").read_bytes())
    x, _ = soundfile.read(root / "low" / "low2.wav")
    soundfile.write(root / "low" / "copy.mp3", 0.4 * x[int(0.7 * RATE) :], RATE, format="MP3")
    csv += ["low/again.wav,low,p9,CC0", "low/copy.mp3,low,p8,CC0"]
    (root / "metadata.csv").write_text("\n".join(csv))
    out = root / "dataset.csv"
    options = ["--no-selection", "--sample-rate", "8000", "--window", "1"]
    assert cli.main("split-dataset", [str(root), "-o", str(out), *options]) == 0
    return root


def test_an_inspection_names_what_is_there_and_what_is_wrong(data, capsys):
    page = data / "page.html"
    assert cli.main("dataset", ["inspect", str(data / "dataset.csv"), "--html", str(page)]) == 1
    text = capsys.readouterr().out
    assert re.search(r"low +70 +0.02 +8 +8", text)
    assert "CC-BY-NC-4.0 5" in text and "not stated 1" in text
    assert "same bytes: low/again.wav = low/low1.wav" in text
    assert re.search(r"same sound \(\d+ % agree\): .*(copy.mp3 ~ .*low2.wav|low2.wav ~ .*copy.mp3)", text)
    assert text.count("same sound") == 3  # again.wav sounds like low1.wav, too; and the copy is a leak
    assert re.search(r"leaks: 1\n  same sound .*low2.wav ~ .*copy.mp3: one in (train|val|test), one in ", text)
    assert re.search(r"high: \d+ % of the energy is above 4 kHz: use --sample-rate 16000", text)
    assert "low: " not in "".join(re.findall(r".*use --sample-rate.*", text))
    assert "NonCommercial (NC): 10" in text
    html = page.read_text()
    assert "same bytes: low/again.wav" in html and not re.search(r"https?://|<script|src=", html)
    # the copy is on the side of its original: equal bytes never part
    manifest = load_manifest(data / "dataset.csv")
    side = dict(zip(manifest.column("recording"), manifest.column("split"), strict=True))
    assert side["again"] == side["low1"]


def test_a_copy_on_the_side_of_its_original_is_no_leak(data, capsys):
    text = (data / "metadata.csv").read_text().splitlines()
    rows = [text[0] + ",pair"] + [
        line + (",2" if re.search("low2|copy", line) else "," + line[:13]) for line in text[1:]
    ]
    (data / "pairs.csv").write_text("\n".join(rows))
    options = [
        "--csv",
        str(data / "pairs.csv"),
        "--group-column",
        "pair",
        "--no-selection",
        "-o",
        str(data / "pairs.out.csv"),
    ]
    assert cli.main("split-dataset", options) == 0
    assert cli.main("dataset", ["inspect", str(data / "pairs.out.csv")]) == 0
    assert "leaks: none" in capsys.readouterr().out
    assert cli.main("dataset", ["inspect", str(data / "pairs.out.csv"), "--listen", "3"]) == 0
    assert "3 of 14 files were heard" in capsys.readouterr().out


def test_spoilt_recordings_are_found(tmp_path, capsys):
    """Clipped, nothing but zeros, zeros in part, a wrong header."""
    sound = (20000 * chirps(1, 6.0) / np.abs(chirps(1, 6.0)).max()).astype(np.int16)
    loud = np.clip(sound.astype(int) * 6, -32768, 32767).astype(np.int16)
    half = sound.copy()
    half[len(half) // 2 :] = 0
    for name, pcm in {
        "good0": sound, "good1": sound[::-1], "loud": loud, "quiet_but_clipped": loud // 8, "zero": sound * 0,
        "half": half,
        "hum": (8000 * np.sin(2 * np.pi * 50 * np.arange(96000) / RATE)).astype(np.int16),
    }.items():  # fmt: skip
        put(tmp_path / "set" / "robin" / f"{name}.wav", wav(pcm, RATE))
    put(tmp_path / "set" / "robin" / "lost.wav", wav(sound, RATE, data=0))
    out = tmp_path / "m.csv"
    assert cli.main("split-dataset", [str(tmp_path / "set"), "--no-selection", "-o", str(out)]) == 0
    left = load_manifest(tmp_path / "m.left_out.csv")
    assert set(left.where("recording", "zero").column("reason")) == {"no audio (exact zeros)"}
    assert not len(load_manifest(out).where("recording", "zero"))
    assert {r for r in left.column("recording")} == {"zero", "half"}
    manifest = load_manifest(out)
    rows = [{"path": f"set/robin/{n}.wav", "label": "robin", "start_s": 0, "duration_s": 1, "recording": n}
            for n in ("zero", *sorted(set(manifest.column("recording"))))]  # fmt: skip
    Manifest.from_rows(rows, tmp_path).write(tmp_path / "all.csv")
    cli.main("dataset", ["inspect", str(tmp_path / "all.csv")])
    text = capsys.readouterr().out
    assert re.search(r"1 recording\(s\) hold nothing but zeros.*zero.wav", text)
    assert re.search(r"1 recording\(s\) are zeros in part.*half.wav \(50 %\)", text)
    assert re.search(r"2 recording\(s\) are clipped.*loud.wav \([0-9.]+ % of the samples\); .*quiet_but_clipped", text)
    assert re.search(r"1 recording\(s\) have a wrong header.*lost.wav: the header says 0.0 s", text)


def test_a_leak_ends_with_status_1(data, capsys):
    manifest = load_manifest(data / "dataset.csv")
    splits = manifest.column("split")
    rows = [i for i, name in enumerate(manifest.column("recording")) if name == "low3"]
    splits[rows[0]], splits[rows[1]] = "train", "test"
    manifest.with_column("split", splits).write(data / "leaky.csv")
    assert cli.main("dataset", ["inspect", str(data / "leaky.csv"), "--listen", "0"]) == 1
    out = capsys.readouterr()
    assert "recording 'low3' is in test and train" in out.out and "leak(s)" in out.err


def test_a_folder_is_no_manifest(tmp_path, capsys):
    assert cli.main("dataset", ["inspect", str(tmp_path)]) == 2
    assert f"{tmp_path}: is a folder, no manifest (cheep split-dataset {tmp_path} makes" in capsys.readouterr().err


def test_two_labels_for_one_sound_are_pointed_out():
    rows = [
        {"path": f"{n}.wav", "label": n, "start_s": 1, "duration_s": 1, "recording": n, "sha256": "aa"} for n in "xy"
    ]
    found = inspect_manifest(Manifest.from_rows(rows))
    assert any("two labels for one sound" in text and "x and y" in text for text in found.duplicates)
    assert any("no split yet" in text for text in found.findings)
    nasty = Manifest.from_rows([{**rows[0], "label": "<script>alert(1)</script>"}])
    assert "<script>" not in inspection_html(inspect_manifest(nasty), "t")


def test_fingerprints_know_a_copy_and_no_stranger(tmp_path):
    prints, copies = [], []
    for seed in range(8):
        x = chirps(seed, high=(3500, 7500)[seed % 2], sweep=300)
        soundfile.write(tmp_path / "a.wav", x, RATE)
        prints.append(fingerprint(read_audio(tmp_path / "a.wav", RATE_HZ)))
        y = 0.3 * x[int(0.9 * RATE) :] + np.random.default_rng(seed).normal(0, 0.002, len(x) - int(0.9 * RATE))
        soundfile.write(tmp_path / "b.mp3", y, RATE, format="MP3")
        copies.append(fingerprint(read_audio(tmp_path / "b.mp3", RATE_HZ)))
    found = {(one, other) for one, other, _ in find_duplicates([*prints, *copies])}
    assert found == {(i, i + 8) for i in range(8)}
    assert find_duplicates([]) == [] and len(fingerprint(np.zeros(8000, np.int16))) == 0


def test_a_sample_takes_recordings_in_turn(data):
    manifest = load_manifest(data / "dataset.csv")
    sample = sample_manifest(manifest, 8, seed=1)
    assert {label: len(sample.where("label", label)) for label in sample.labels} == {"high": 8, "low": 8}
    assert len(set(sample.where("label", "low").column("recording"))) == 8
    again = sample_manifest(manifest, 8, seed=1)
    assert again.column("path") == sample.column("path") and again.start_s.tolist() == sample.start_s.tolist()
    assert cli.main("dataset", ["sample", str(data / "dataset.csv"), "-o", str(data / "s.csv"), "-n", "0"]) == 2


def test_the_teacher_finds_planted_errors(data, tmp_path, capsys):
    """Windows of one label filed under the other are the ones that it doubts."""
    manifest = load_manifest(data / "dataset.csv")
    labels = manifest.column("label")
    train = [i for i, split in enumerate(manifest.column("split")) if split == "train"]
    rng = np.random.default_rng(3)
    # a low recording keeps its group: only some of its windows are wrong
    wrong = rng.choice([i for i in train if labels[i] == "low"], 3, replace=False).tolist()
    for i in wrong:
        labels[i] = "high"
    planted = manifest.with_column("label", labels)
    planted.write(data / "planted.csv")
    found = teach(load_manifest(data / "planted.csv"), TeacherConfig(trees=50, drop=0.1, sample_rate_hz=16000), jobs=1)
    assert set(wrong) <= set(found.doubtful) and len(found.doubtful) <= 6
    assert all(manifest.column("split")[row] == "train" for row in found.doubtful)
    sheet = contact_sheet(load_manifest(data / "planted.csv"), found, 16000)
    assert sheet.count("<audio") == sheet.count("<img") == len(found.doubtful)
    assert f"row {wrong[0] + 1})" in sheet and not re.search(r"(src|href)=.https?:", sheet)
    # the command, with one of them kept by a person
    (tmp_path / "keep.txt").write_text(f"{wrong[0] + 1}\n")
    options = ["--sample-rate", "16000", "--drop", "0.1", "--keep", str(tmp_path / "keep.txt"), "--jobs", "1"]
    assert cli.main("dataset", ["teacher", str(data / "planted.csv"), *options]) == 0
    assert "cross-validated accuracy" in capsys.readouterr().out
    taught = load_manifest(data / "planted.taught.csv")
    assert len(planted) - 6 <= len(taught) < len(planted)
    spots = set(zip(taught.column("path"), taught.start_s.tolist(), strict=True))
    path, start = planted.column("path"), planted.start_s.tolist()
    assert (path[wrong[0]], start[wrong[0]]) in spots and (path[wrong[1]], start[wrong[1]]) not in spots
    assert f"value='{wrong[0] + 1}' checked" in (data / "contact_sheet.html").read_text()
    (tmp_path / "keep.txt").write_text("1\nx\n")
    with pytest.raises(CheepError, match=r"keep.txt:2: 'x': must be a row number of 1 to"):
        read_kept(tmp_path / "keep.txt", 10)
    with pytest.raises(CheepError, match="at least 2 to tell apart"):
        teach(planted.where("label", "high"), TeacherConfig())


# Not ru_maxrss: a new process inherits its parent's, and a test worker with TensorFlow in it is large.
PEAK = """
def peak_megabytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
"""

BIG = """
import sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from cheep.datasets import Manifest, SplitConfig, assign_splits, load_manifest
from cheep.datasets.inspect import inspect_manifest, sample_manifest
from cheep.datasets.inspect_report import inspection_text
from cheep.datasets.manifest import TextColumn
n, per = int(sys.argv[3]), 3
rng = np.random.default_rng(1)
rec = np.repeat(np.arange(n, dtype=np.int32), per)
who = rng.zipf(1.5, n).clip(0, n // 20).astype(np.int32)
lab = (rng.integers(0, 40, n)).astype(np.int32)
def text(codes, prefix):
    return TextColumn(codes, [f"{prefix}{i}" for i in range(int(codes.max()) + 1)])
columns = {
    "path": text(rec, "audio/some_species/XC"), "recording": text(rec, "XC"),
    "label": text(np.repeat(lab, per), "species_"),
    "recordist": text(np.repeat(who, per), "recordist "), "group": text(np.repeat(who, per), "recordist "),
    "sha256": text(rec, "0123456789abcdef0123456789abcdef0123456789abcdef01234567"), "licence": text(rec % 3, "CC-BY-"),
    "start_s": np.tile(np.arange(per) * 0.5, n), "duration_s": np.ones(n * per), "snr_db": rng.normal(15, 6, n * per),
}
Manifest(columns).write(sys.argv[2])
begin = time.process_time()
manifest = load_manifest(sys.argv[2])
split = assign_splits(manifest, SplitConfig())
split.write(sys.argv[2])
found = inspect_manifest(split)
text = inspection_text(found)
sample = sample_manifest(split, 100, 1)
assert not found.leaks and len(sample) == 4000 and "species_0" in text
shares = [line["test"] / line["examples"] for line in found.labels]
assert 0.02 < min(shares) and max(shares) < 0.4, (min(shares), max(shares))
print(time.process_time() - begin, peak_megabytes())
"""


def test_a_hundred_thousand_recordings(tmp_path):
    """300,000 windows of 100,000 recordings: load, split, write, inspect and sample."""
    src = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", PEAK + BIG, src, str(tmp_path / "big.csv"), "100000"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seconds, megabytes = map(float, done.stdout.split())
    assert seconds < 60 and megabytes < 1000, (seconds, megabytes)


def test_the_text_report_has_no_ragged_columns():
    rows = [
        {"path": "a", "label": "x" * n, "start_s": 0, "duration_s": 1, "recording": str(n), "snr_db": n}
        for n in (1, 30)
    ]
    text = inspection_text(inspect_manifest(Manifest.from_rows(rows)))
    table = text.splitlines()[2:5]
    assert len({len(line) for line in table}) == 1


def test_splitting_two_hours_of_audio_is_bounded(tmp_path):
    """A two-hour WAV is cut in bounded memory."""
    path = tmp_path / "set" / "robin" / "long.wav"
    path.parent.mkdir(parents=True)
    block = (8000 * chirps(1, 60, rate=8000, high=3500)).astype(np.int16)
    with soundfile.SoundFile(path, "w", 8000, 1, "PCM_16") as out:
        for _ in range(120):
            out.write(block)
    (tmp_path / "set" / "robin" / "short.wav").write_bytes(_wav(block[:80000]))
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from cheep import cli\n"
        "status = cli.main('split-dataset', [sys.argv[2], '-o', sys.argv[3], '--jobs', '1'])\n"
        "print(status, peak_megabytes())"
    )
    src = str(Path(__file__).parents[2] / "src")
    arguments = [sys.executable, "-c", PEAK + code, src, str(tmp_path / "set"), str(tmp_path / "m.csv")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    status, megabytes = done.stdout.split()[-2:]
    assert status == "0" and float(megabytes) < 400
    assert len(load_manifest(tmp_path / "m.csv")) > 13000


def _wav(pcm):
    out = io.BytesIO()
    soundfile.write(out, pcm, 8000, format="WAV")
    return out.getvalue()
