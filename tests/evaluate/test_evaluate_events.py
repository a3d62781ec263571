# SPDX-License-Identifier: MIT
"""Events against annotations, and long recordings through the device path."""

import json

import numpy as np
import pytest

from cheep.audio import audio_files, write_wav
from cheep.cli import main
from cheep.config import DetectorConfig
from cheep.datasets.labels.matching import boxes_for, groups_for
from cheep.detector import Detector, ScoreScale
from cheep.device.bundle import load_bundle
from cheep.device.engine import Engine
from cheep.errors import CheepError
from cheep.evaluate.field import evaluate_field, robustness_table
from cheep.evaluate.matching import (
    IGNORE,
    Annotation,
    Detection,
    EventCounts,
    add_counts,
    count_events,
    interpolated_average_precision,
    match_events,
    truth_of,
)
from cheep.evaluate.robustness import add_noise, clip_at, conditions, drift, loud_level
from cheep.evaluate.streaming import (
    ScoreTiming,
    best_scorer,
    detect,
    detect_at_levels,
    score_blocks,
    score_recording,
    score_recordings,
)
from tone_model import DETECTOR, LABELS, tones, write_tone_run

SPANS = [(3.0, 4.5, "low"), (8.0, 9.0, "high"), (15.0, 17.0, "low")]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_tone_run(tmp_path_factory.mktemp("tones") / "run")


def test_overlap_rule():
    truth = [Annotation("a", 10, 11), Annotation("a", 12, 13), Annotation("b", 20, 21), Annotation(IGNORE, 30, 40)]
    found = [
        Detection("a", 10.5, 12.5, 0.9),  # joins two calls: right once, finds both
        Detection("a", 11.0, 12.0, 0.8),  # touches both ends without overlap
        Detection("b", 10.0, 11.0, 0.7),  # right time, wrong label
        Detection("a", 35.0, 36.0, 0.6),  # in the time nobody could label
        Detection("a", 39.5, 41.0, 0.5),  # reaches into it: left out as well
    ]
    matching = match_events(found, truth)
    assert matching.right == (True, False, False, None, None)
    assert matching.found == (True, True, False)
    assert [item.start_s for item in matching.false_alarms] == [11.0, 10.0]
    counts = count_events(matching, 0.5)
    assert (counts.annotations, counts.found, counts.detections, counts.right) == (3, 2, 3, 1)
    assert counts.false_alarms_per_hour == 4
    assert counts.precision == pytest.approx(1 / 3)
    assert counts.f1 == pytest.approx(2 * (1 / 3) * (2 / 3) / 1)
    assert count_events(matching, 0.5, "b").recall == 0
    assert match_events(found[1:2], truth, collar_s=0.1).right == (True,)
    assert match_events(found[:1], truth, min_overlap_s=0.6).right == (False,)
    assert match_events(found[2:3], truth, ignore=("a",)).right == (None,)


def test_a_detector_that_never_falls_silent_is_not_one_event():
    endless = Detection("a", 0.0, 95.0, 0.9)
    matching = match_events([endless], [Annotation("a", 12.0, 13.0)])
    assert len(matching.detections) == 10 and matching.detections[-1].end_s == 95.0
    assert matching.right.count(False) == 9
    assert matching.found == (True,)
    assert match_events([endless], [Annotation("a", 12.0, 13.0)], max_event_s=1000).right == (True,)


def test_counts_without_events_have_no_rates():
    counts = count_events(match_events([], []), 0.0)
    assert (counts.precision, counts.recall, counts.f1, counts.false_alarms_per_hour) == (None, None, None, None)
    nothing_found = count_events(match_events([], [Annotation("a", 0, 1)]), 1.0)
    assert (nothing_found.precision, nothing_found.recall, nothing_found.f1) == (None, 0.0, 0.0)
    assert add_counts([nothing_found, nothing_found], [2, 1]).annotations == 3


def test_average_precision_by_hand():
    def point(found, detections, right):
        return EventCounts(annotations=10, found=found, detections=detections, right=right, hours=1.0)

    points = [point(2, 2, 2), point(5, 10, 5), point(4, 5, 3), point(8, 40, 8), point(7, 50, 7)]
    expected = 0.2 * 1 + 0.2 * 0.6 + 0.1 * 0.5 + 0.2 * 0.2 + 0.1 * 0.2
    assert interpolated_average_precision(points) == pytest.approx(expected)
    assert interpolated_average_precision([EventCounts(0, 0, 3, 0, 1.0)]) is None
    assert interpolated_average_precision([point(0, 0, 0)]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label,start\nx.wav,a,1\n", r"events.csv:1: a start \(start\) without an end or a duration: add end_s"),
        ("file,label,start_s,end_s\n,low,1,2\n", "speaks of no audio"),
        ("file,label,start_s,end_s\nx.wav,,1,2\n", "x.wav: annotation at 1-2 s: the label is empty"),
        ("file,label,start_s,end_s\nx.wav,lwo,1,2\n", r"label='lwo': not a label.*did you mean 'low'"),
        ("file,label,start_s,end_s\nx.wav,low,one,2\n", "events.csv:2: start_s='one': must be a number"),
        ("file,label,start_s,end_s\nx.wav,low,nan,2\n", "events.csv:2: start_s='nan': must be a number"),
        ("file,label,start_s,end_s\nx.wav,low,3,2\n", "events.csv:2: start=3, end=2: must be 0 <= start < end"),
        ("file,label,start_s,end_s\nx.wav,low,1,2\nz.wav,low,1,2\n", "names 'z.wav': no such recording"),
        ("file,label,start_s,end_s,score\nx.wav,low,1,2,0.7\n", "1 at 0.7-0.8.*--min-confidence"),
    ],
)
def test_wrong_annotations_name_file_line_and_rule(tmp_path, text, message):
    path = tmp_path / "events.csv"
    path.write_text(text)
    with pytest.raises(CheepError, match=message):
        truth_of(boxes_for([path], [tmp_path / "x.wav"], every=True), LABELS)


def test_recordings_at_the_paths_that_a_table_names_are_taken(tmp_path, caplog, monkeypatch):
    far, here = tmp_path / "Füße far", tmp_path / "here"
    for path in (far / "a.wav", far / "deep" / "b.wav", here / "a.wav", here / "c.wav"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(far)
    table = here / "events.csv"
    names = [far / "a.wav", "deep/b.wav", here / ".." / "here" / "c.wav"]  # whole, from the current folder, in the set
    table.write_text("file,label,start_s,end_s\n" + "".join(f"{name},low,1,2\n" for name in names), encoding="utf-8")
    set_of = [here / "a.wav", here / "c.wav"]
    found = boxes_for([table], set_of, every=True, named=True)
    assert {path.resolve() for path in found} == {far / "a.wav", far / "deep" / "b.wav", here / "c.wav"}
    assert here / "c.wav" in found, "by the name that the set has for it"
    assert "2 recording(s) taken from the paths that the table names" in caplog.text
    # with a folder given, only that one counts: the same name in it is meant, and what is not there is an error
    with pytest.raises(CheepError, match=r"names 'deep/b.wav': no such recording .*--audio"):
        boxes_for([table], set_of, every=True)
    # of another machine: found by name beside the table, as ever
    table.write_text("file,label,start_s,end_s\nD:\\card\\a.wav,low,1,2\n/gone/c.wav,low,1,2\n")
    assert list(boxes_for([table], set_of, every=True, named=True)) == set_of


def test_a_file_without_events_is_background(tmp_path, caplog):
    path = tmp_path / "events.csv"
    path.write_text(
        "file;label;start_s;end_s;group\nx.wav;Low;1,5;2;a\ny.wav;;;;b\nx.wav;?;4;5;a\nx.wav;noise;6;7;a\n"
        "x.wav;Parus major;0:08;0:09;a\n"
    )
    audio = [tmp_path / "x.wav", tmp_path / "y.wav"]
    found = truth_of(boxes_for([path], audio, every=True), LABELS)
    assert found == {audio[1]: [], audio[0]: [Annotation("low", 1.5, 2), Annotation(IGNORE, 4, 5)]}
    assert groups_for(path, audio) == {audio[0]: "a", audio[1]: "b"}
    assert "are nothing to find: Parus major 1" in caplog.text


def test_streamed_scores_and_events_are_those_of_the_live_engine(run):
    bundle = load_bundle(run)
    pcm = tones(SPANS, 20.0)
    scorer, name = best_scorer(bundle)
    scores, samples = score_blocks(bundle, scorer, np.array_split(pcm, 37))
    assert samples == len(pcm)
    engine = Engine(run, backend="tflm")
    rows = np.array([window.scores for window in engine.push(pcm).windows])
    np.testing.assert_array_equal(scores, rows)
    found = detect(scores, bundle.detector, bundle.labels, ScoreTiming.of(bundle), bundle.scale)
    expected = engine.run(pcm)
    assert [(e.label, e.start_s, e.end_s) for e in found] == [(e.label, e.start_s, e.end_s) for e in expected]
    assert len(found) == 3
    assert name in ("compiled", "tflm")


def test_many_thresholds_in_one_pass_are_many_detectors(rng):
    column = rng.integers(-128, 128, 500).astype(np.int8)
    config = DetectorConfig(smoothing_windows=3, hold_off_windows=2, hysteresis=0.05, threshold=(0.5,))
    timing = ScoreTiming(0.25, 1.0)
    levels = np.linspace(0.2, 0.95, 150)
    together = detect_at_levels(column.astype(np.int16), levels, config, "x", timing, ScoreScale())
    assert len(together) == 150
    for level, found in zip(levels[::13], together[::13], strict=True):
        single = Detector(config.model_copy(update={"threshold": (float(level),)}), 1, ScoreScale())
        events = [e for e in (*single.push(column[:, None]), *single.flush()) if e.ended]
        assert [(round(d.start_s / 0.25), d.score) for d in found] == [(e.first_window, e.peak) for e in events]
    assert len(together[0]) > 0


def test_short_recording_gives_no_windows(run):
    bundle = load_bundle(run)
    scores, samples = score_blocks(bundle, best_scorer(bundle)[0], [np.zeros(100, np.int16)])
    assert scores.shape == (0, 3) and samples == 100


def _recordings(run, folder, n=4):
    bundle = load_bundle(run)
    scorer, _ = best_scorer(bundle)
    out, paths = [], []
    for i in range(n):
        path = folder / f"r{i}.wav"
        write_wav(path, tones(SPANS, 20.0, seed=i), 8000)
        truth = [Annotation(label, a, b) for a, b, label in SPANS]
        if i == 0:
            truth = truth[1:]  # one call that nobody annotated: a false alarm
        out.append(score_recording(bundle, scorer, path, annotations=truth))
        paths.append((path, truth))
    return bundle, out, paths


def test_scores_do_not_depend_on_the_workers(run, tmp_path):
    bundle, expected, paths = _recordings(run, tmp_path)
    plan = [(path, str(path), truth) for path, truth in paths]
    for jobs in (1, 2):
        seen = []
        found = list(score_recordings(bundle, plan, jobs=jobs, progress=lambda *at, seen=seen: seen.append(at)))
        assert seen == [(done, 4) for done in range(1, 5)]
        for item, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(item.scores, other.scores)
            assert (item.name, item.annotations) == (other.name, other.annotations)
    with pytest.raises(CheepError, match=r"gone\.wav"):
        list(score_recordings(bundle, [*plan, (tmp_path / "gone.wav", "x", ())], jobs=2))


def test_field_figures_of_known_recordings(run, tmp_path):
    bundle, recordings, paths = _recordings(run, tmp_path)
    result = evaluate_field(recordings, LABELS, DETECTOR, ScoreTiming.of(bundle), bundle.scale, draws=200)
    rows = {row.label: row for row in result.rows}
    assert set(rows) == {"high", "low", "all"}
    assert result.hours == pytest.approx(80 / 3600)
    assert (rows["low"].counts.annotations, rows["low"].counts.found, rows["low"].counts.false_alarms) == (7, 7, 1)
    assert rows["low"].precision.value == pytest.approx(7 / 8)
    assert rows["low"].precision.low < 7 / 8 <= rows["low"].precision.high
    assert rows["high"].recall.value == 1 and rows["high"].average_precision == pytest.approx(1)
    rate = rows["low"].false_alarms_per_hour
    assert rate.value == pytest.approx(45)
    assert rate.low < 45 < rate.high
    json.dumps([row.to_dict() for row in result.rows], allow_nan=False)

    table = robustness_table(
        bundle, paths, DETECTOR, only=["as recorded", "noise 0 dB below the calls", "clock 2 % slow"]
    )
    recall = {row["condition"]: row["recall"] for row in table}
    assert recall["as recorded"] == 1
    assert recall["clock 2 % slow"] == 1  # annotations stretch with the clock
    assert recall["noise 0 dB below the calls"] < 1


def test_conditions_change_what_they_say(rng):
    x = (0.05 * rng.standard_normal(16000)).astype(np.float32)
    assert np.mean(np.abs(clip_at(x, 0.02)) >= 1) == pytest.approx(0.02, abs=0.002)
    noisy = add_noise(x, 10, rng)
    assert 10 * np.log10(loud_level(x) ** 2 / np.mean((noisy - x) ** 2)) == pytest.approx(10, abs=0.3)
    assert len(drift(x, 20_000)) == pytest.approx(16000 * 1.02, abs=10)
    for name, change in conditions(8000).items():
        out = change(x, 8000, rng)
        assert np.isfinite(out).all(), name
        assert (name == "as recorded") == (len(out) == len(x) and np.array_equal(out, x)), name


def test_evaluate_command_writes_what_it_prints(run, tmp_path, capsys):
    _recordings(run, tmp_path)
    lines = ["file,label,start_s,end_s"] + [f"r{i}.wav,{c},{a},{b}" for i in range(4) for a, b, c in SPANS]
    (tmp_path / "events.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "field.json"
    arguments = ["--model", str(run), "--recordings", str(tmp_path / "events.csv"), "--json", str(out)]
    assert main("evaluate", arguments) == 0
    text = capsys.readouterr().out
    assert "4 recordings, 0.02 h" in text
    values = json.loads(out.read_text())
    assert [row["label"] for row in values["rows"]] == ["high", "low", "all"]
    assert values["rows"][2]["found"] == 12


def test_commands_say_what_is_missing(run, tmp_path, capsys):
    assert main("calibrate", ["--model", str(run), "--max-false-alarms", "1/h"]) == 2
    assert "no held-out recordings: give --recordings" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheepError, match="holds no audio file"):
        audio_files(tmp_path / "empty")
    with pytest.raises(CheepError, match="no such file or folder"):
        audio_files(tmp_path / "missing")
