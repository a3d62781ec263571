# SPDX-License-Identifier: MIT
"""The firmware's application on this machine: same events as in Python, gaps, wrap-arounds, refusals at boot."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess

import numpy as np
import pytest

from cheep.boards.host import BootError, HostApplication, application_sources
from cheep.ccore import find_compiler
from cheep.cli import main
from cheep.detector import Detector
from cheep.device import Engine
from cheep.errors import CheepError
from cheep.export import load_export, render_headers
from cheep.features import compute_features, quantize
from cheep.resources import firmware_root, include_dir
from cheep.tflite.tflm import TflmModel
from tone_model import CENTRES_HZ, DETECTOR, tone_model, tones, write_tone_run

RATE = 8000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_tone_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def export(run):
    return load_export(run)


@pytest.fixture(scope="module")
def recording():
    return tones([(2, 4, "high"), (6, 9, "low"), (9.5, 11, "high"), (13, 13.2, "low"), (14, 20, "high")], 21)


def lines_of(application, pcm, chunks=None):
    """Messages without the boot line and statistics; samples pushed and polled in chunks."""
    application.lines()
    at = 0
    for n in chunks if chunks is not None else [len(pcm)]:
        if chunks is None:
            list_of = application.run(pcm)
            out = [json.loads(line) for line in list_of]
            break
        assert application.push(pcm[at : at + n]) == len(pcm[at : at + n])
        application.poll()
        at += n
    else:
        out = [json.loads(line) for line in application.lines()]
    out += [json.loads(line) for line in application.finish()]
    return [message for message in out if message["type"] == "event"]


@pytest.fixture(scope="module")
def expected(export, recording):
    """Scores of all windows and events, by the Python path."""
    features, bundle = export.features, export.bundle
    q = quantize(compute_features(recording, features), bundle.input.scale, bundle.input.zero_point)
    stride, frames = export.detector.stride_frames, features.window_frames
    windows = np.stack([q[i : i + frames] for i in range(0, len(q) - frames + 1, stride)])
    scores = TflmModel(bundle.model.data).scores(windows)
    detector = Detector(export.detector, len(bundle.labels), bundle.scale)
    events = []
    for row in scores:
        events += detector.push(row[None])
    return scores, events


def test_the_application_hears_what_python_hears(export, recording, expected):
    scores, events = expected
    seen = []
    application = HostApplication(export, on_scores=lambda sample, row: seen.append((sample, row)))
    lines = lines_of(application, recording)
    np.testing.assert_array_equal(np.array([row for _, row in seen]), scores)
    hop = export.features.hop_samples * export.detector.stride_frames
    assert [sample for sample, _ in seen] == [i * hop for i in range(len(scores))]
    span = export.features.window_samples
    assert len(events) >= 6
    for line, event in zip(lines, events, strict=False):
        assert line["state"] == ("end" if event.ended else "start")
        assert line["label"] == export.bundle.labels[event.label]
        assert line["start_s"] == int(event.first_window * hop * 1000 / RATE) / 1000
        assert line["end_s"] == int((event.last_window * hop + span) * 1000 / RATE) / 1000
        assert line["score"] == pytest.approx(event.peak, abs=6e-5)
    assert all(line["state"] == "end" for line in lines[len(events) :])  # closed by finish


@pytest.mark.parametrize("kind", ["logit", "log_odds"])
def test_a_model_of_logits_is_heard_alike(tmp_path, recording, kind):
    """Scores, thresholds near 1, and what the lines show: the firmware's own numbers are Python's."""
    config = DETECTOR.model_copy(update={"threshold": (None, 0.9, 0.995)})
    export = load_export(write_tone_run(tmp_path, detector=config, logits=kind))
    assert export.bundle.scale.kind == kind and "LOGISTIC" not in export.bundle.model.operators
    engine = Engine(export.bundle)
    events = [*engine.push(recording).events, *engine.flush()]
    lines = lines_of(HostApplication(export), recording)
    assert len(events) >= 6 and {event.label for event in events} == {"high", "low"}
    for line, event in zip(lines, events, strict=True):
        assert (line["label"], line["state"]) == (event.label, "end" if event.ended else "start")
        assert line["score"] == round(event.score, 6) and 0.9 < line["score"] < 1
        assert line["logit"] == pytest.approx(event.logit, abs=6e-4)


@pytest.mark.parametrize("seed", [1, 2])
def test_any_chunks_give_the_same_lines(export, recording, seed):
    whole = lines_of(HostApplication(export), recording)
    rng = np.random.default_rng(seed)
    chunks = []
    while sum(chunks) < len(recording):
        chunks.append(int(rng.choice([1, 2, 7, 199, 200, 201, 256, int(rng.integers(1, 4097))])))
    assert lines_of(HostApplication(export), recording, chunks) == whole


def test_single_samples_and_polls_of_any_size(export, recording):
    part = recording[: 3 * RATE]
    whole = lines_of(HostApplication(export), part)
    application = HostApplication(export, ring_samples=2)
    assert lines_of(application, part, [1] * len(part)) == whole
    application = HostApplication(export, ring_samples=32768)
    application.push(part)
    consumed = 0
    while (n := application.poll(777)) > 0:
        assert n <= 777
        consumed += n
    assert consumed == len(part)
    lines = [json.loads(line) for line in [*application.lines()[1:], *application.finish()]]
    assert lines == whole


def test_counters_and_clock_wrap_unnoticed(export, recording):
    long = np.concatenate([recording] * 4)  # 84 s: one report
    whole = lines_of(HostApplication(export), long)
    application = HostApplication(export)
    application.set_ring_counters(2**32 - 50_000)
    application.clock_add_us(-int(3e6))
    application.lines()
    out = []
    for block in np.array_split(long, 40):
        application.clock_add_us(200_000)
        out += [json.loads(line) for line in application.run(block)]
    out += [json.loads(line) for line in application.finish()]
    assert [message for message in out if message["type"] == "event"] == whole
    stats = [message for message in out if message["type"] == "stats"]
    assert len(stats) == 1 and stats[0]["t_s"] == pytest.approx(60, abs=0.1)
    assert max(stats[0][f"{stage}_ms"] for stage in ("frontend", "model", "detector")) < 2000


def test_a_gap_is_counted_and_time_does_not_drift(export):
    # Events before and after 5 s that nobody took out of the ring.
    pcm = tones([(2, 4, "high"), (20, 22, "low")], 24)
    application = HostApplication(export, ring_samples=16384)
    application.lines()
    lines = []
    at, lost = 0, 0
    while at < len(pcm):
        block = pcm[at : at + 160]
        taken = application.push(block)
        assert taken in (0, len(block))
        lost += len(block) - taken
        at += len(block)
        if not 9 * RATE <= at < 16 * RATE:  # the consumer sleeps for 7 s
            application.poll()
            lines += application.lines()
    events = [json.loads(line) for line in [*lines, *application.finish()] if '"event"' in line]
    assert lost > 4 * RATE
    assert [(e["label"], e["state"]) for e in events] == [
        ("high", "start"), ("high", "end"), ("low", "start"), ("low", "end"),
    ]  # fmt: skip
    whole = lines_of(HostApplication(export), pcm)
    assert events[0] == whole[0]
    assert events[2]["start_s"] == pytest.approx(whole[2]["start_s"], abs=0.26)  # one stride: windows begin anew
    silence = np.zeros(60 * RATE, np.int16)
    stats = next(json.loads(line) for line in application.run(silence) if '"stats"' in line)
    assert stats["overruns"] == 1 and stats["lost_samples"] == lost
    assert stats["t_s"] == pytest.approx(60, abs=0.05)


def test_no_window_joins_what_lies_on_the_two_sides_of_a_gap(export):
    seen = []
    application = HostApplication(export, ring_samples=8192, on_scores=lambda sample, _: seen.append(sample))
    noise = tones([], 4)
    assert application.push(noise[:8192]) == 8192
    assert application.push(noise[:100]) == 0  # lost
    application.poll()
    before = len(seen)
    assert application.push(noise[:8000]) == 8000
    application.poll()
    assert application.push(noise[:2000]) == 2000
    application.poll()
    assert before == 1 and seen[0] == 0
    assert seen[1:] and seen[1] == 8192 + 100  # the first window after the gap begins right after it


def test_an_event_of_silence_never_comes(export):
    assert lines_of(HostApplication(export), np.zeros(10 * RATE, np.int16)) == []


def test_a_failing_runtime_is_reported(export):
    class Broken:
        def scores(self, windows):
            raise CheepError("no more")

    with pytest.raises(CheepError, match="no more"):
        HostApplication(export, runtime=Broken())


# What must be refused at boot


def refuse(export, **options):
    with pytest.raises(BootError) as caught:
        HostApplication(export, **options)
    return caught.value


def changed(export, name, pattern, replacement):
    headers = render_headers(export)
    headers[name], count = re.subn(pattern, replacement, headers[name], count=1)
    assert count == 1
    return headers


def test_a_model_that_scores_otherwise_is_refused(export):
    class Other:
        def scores(self, windows):
            return np.zeros((len(windows), 3), np.int8)

    error = refuse(export, runtime=Other())
    first = export.golden[0]
    assert error.stage == "golden" and "golden window silence differ from those in training" in error.reason
    assert f"(background: 0, not {first.scores[0]}): TFLM's kernels" in error.reason


@pytest.mark.parametrize("which", range(5))
def test_a_kernel_that_is_wrong_for_one_kind_of_window_is_named(export, which):
    """A kernel may be right for most inputs: what each window is for."""
    model, golden = TflmModel(export.bundle.model.data), export.golden[which]

    class Wrong:
        def scores(self, windows):
            found = model.scores(windows).copy()
            if np.array_equal(windows[0], golden.window):
                found[0, 2] ^= 1
            return found

    assert f"golden window {golden.name} differ" in refuse(export, runtime=Wrong()).reason


def test_stages_before_the_network_are_told_apart(export):
    flipped = int(re.search(r"FRONTEND_CRC 0x(\w+)u", render_headers(export)["golden_window.h"]).group(1), 16) ^ 1
    error = refuse(
        export, headers=changed(export, "golden_window.h", r"(FRONTEND_CRC 0x)\w+u", rf"\g<1>{flipped:08x}u")
    )
    assert error.stage == "input" and "not as int8" in error.reason
    error = refuse(export, headers=changed(export, "golden_window.h", r"(DETECTOR_CRC 0x)\w+u", r"\g<1>12345678u"))
    assert error.stage == "detector" and "other events" in error.reason


def test_a_front_end_that_computes_otherwise_is_refused(export):
    values = re.search(r"BAND_WEIGHT \{ \\\n    (\S+),", render_headers(export)["mel_filter_bank.h"]).group(1)
    headers = changed(export, "mel_filter_bank.h", re.escape(values), "0.5f")
    error = refuse(export, headers=headers)
    assert error.stage == "frontend" and "columns of the test sound differ" in error.reason


def test_another_model_is_refused(export):
    data = bytearray(export.bundle.model.data)
    data[-1] ^= 1
    model = dataclasses.replace(export.bundle.model, data=bytes(data))
    other = dataclasses.replace(export, bundle=dataclasses.replace(export.bundle, model=model))
    error = refuse(other, headers=render_headers(export), runtime=TflmModel(export.bundle.model.data))
    assert error.stage == "model" and "checksum of the model's bytes" in error.reason


def test_a_truncated_model_is_refused(export):
    model = dataclasses.replace(export.bundle.model, data=export.bundle.model.data[:-100])
    other = dataclasses.replace(export, bundle=dataclasses.replace(export.bundle, model=model))
    error = refuse(other, headers=render_headers(export), runtime=TflmModel(export.bundle.model.data))
    n = len(export.bundle.model.data)
    assert error.stage == "model"
    assert f"bytes of the model: model.h says {n}, the model has {n - 100}" in error.reason


def test_a_header_of_other_shape_or_scale_is_refused(export):
    cases = [
        (r"(FACTS \{ 0, \d+u, 0x\w+u, 1, )1560u", r"\g<1>1561u", "values in the input: model.h says 1561"),
        (r"(FACTS .*, )60(, -128 \})", r"\g<1>59\g<2>", "zero point of the input: model.h says 59"),
        (r"(FACTS .*)0\.00390625f", r"\g<1>0.00390626f", "scale of the output"),
    ]
    for pattern, replacement, reason in cases:
        error = refuse(export, headers=changed(export, "model.h", pattern, replacement))
        assert error.stage == "model" and reason in error.reason


def test_a_too_small_arena_is_refused(export):
    headers = changed(export, "model.h", r"ARENA_BYTES \d+u", "ARENA_BYTES 1024u")
    error = refuse(export, headers=headers)
    assert error.stage == "model" and "arena of model.h" in error.reason
    with pytest.raises(CheepError, match="TFLM cannot run it"):
        TflmModel(export.bundle.model.data, 1024)


def test_too_little_memory_is_refused(export):
    error = refuse(export, memory_bytes=512)
    assert error.stage == "settings" and "CHEEP_APP_MEMORY_BYTES" in error.reason


def test_headers_of_other_features_do_not_compile(export):
    headers = changed(export, "mel_filter_bank.h", r"(FEATURE_HASH 0x)\w+u", r"\g<1>12345678u")
    with pytest.raises(CheepError, match="different feature settings"):
        HostApplication(export, headers=headers)


# The commands


@pytest.fixture
def wav(tmp_path, recording):
    from cheep.audio import write_wav

    path = tmp_path / "recording.wav"
    write_wav(path, recording, RATE)
    return path


def test_simulate_prints_what_the_board_prints(run, wav, capsys):
    assert main("simulate", ["--model", str(run), str(wav)]) == 0
    messages = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert messages[0]["type"] == "boot" and messages[0]["board"] == "host"
    events = [m for m in messages if m["type"] == "event" and m["state"] == "end"]
    assert [e["label"] for e in events] == ["high", "low", "high", "high"]
    assert CENTRES_HZ.keys() == {"high", "low"}


def test_simulate_needs_a_model(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CHEEP_RUNS", str(tmp_path / "none"))
    assert main("simulate", ["x.wav"]) == 2
    assert "no run yet" in capsys.readouterr().err


@pytest.fixture(scope="module")
def sanitizers(tmp_path_factory):
    """Flags that let the program stop at any undefined behaviour or bad access, where the compiler has them."""
    source = tmp_path_factory.mktemp("sanitize") / "empty.c"
    source.write_text("int main(void) { return 0; }\n")
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = [*find_compiler(), *flags, str(source), "-o", str(source.with_suffix(""))]
    return flags if subprocess.run(command, capture_output=True, check=False).returncode == 0 else []


def test_the_host_program_reads_a_wav_and_a_pipe(run, wav, tmp_path, capsys, recording, sanitizers):
    generated = tmp_path / "generated"
    for command in ("model_convert", "mel_filter_bank"):
        assert main(command, ["--model", str(run), "--output", str(generated)]) == 0
    assert main("compile", [str(run), "--output", str(generated)]) == 0
    assert main("simulate", ["--model", str(run), str(wav), "--events"]) == 0
    expected = [line for line in capsys.readouterr().out.splitlines() if line.startswith('{"type":"event"')]
    root = firmware_root()
    sources = [*application_sources(), root / "host/src/host_api.c", root / "host/src/main.c"]
    program = tmp_path / "cheep-host"
    subprocess.run(
        [*find_compiler(), "-std=c11", "-O1", *sanitizers, "-ffp-contract=off", "-DCHEEP_BACKEND_COMPILED",
         f"-I{tmp_path}", f"-I{include_dir()}", f"-I{root / 'host/src'}", *map(str, sources),
         str(generated / "model_compiled.c"), "-o", str(program)],
        check=True,
    )  # fmt: skip
    found = subprocess.run([program, wav], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line for line in found if '"type":"event"' in line] == expected
    piped = subprocess.run([program, "-"], input=recording.tobytes(), capture_output=True, check=True).stdout.decode()
    assert [line for line in piped.splitlines() if '"type":"event"' in line] == expected
    for content, reason in ((b"RIFF", "not a WAV file"), (wav.read_bytes()[:30], "cut off")):
        bad = tmp_path / "bad.wav"
        bad.write_bytes(content)
        result = subprocess.run([program, bad], capture_output=True, text=True, check=False)
        assert result.returncode == 2 and reason in result.stderr


def test_tone_model_is_what_the_tests_think(export):
    assert tone_model() != b"" and export.bundle.input.shape == (1, 39, 40, 1)
