# SPDX-License-Identifier: MIT
"""Calibration keeps its promises on recordings that it never saw, and says what it cannot promise."""

import dataclasses
import json

import numpy as np
import pytest

from cheep.audio import write_wav
from cheep.cli import main
from cheep.config import DetectorConfig, TrainConfig
from cheep.datasets.manifest import Manifest
from cheep.detector import ScoreScale
from cheep.device.bundle import load_bundle
from cheep.errors import CheepError
from cheep.evaluate import temperature
from cheep.evaluate.calibration import calibrate, parse_rate
from cheep.evaluate.matching import Annotation, add_counts, count_events, match_events
from cheep.evaluate.streaming import Output, ScoredRecording, ScoreTiming, detect
from cheep.report import RunResults
from cheep.report.extras import with_extras
from tone_model import DETECTOR, tones, write_tone_run

TIMING = ScoreTiming(0.25, 1.0)
OUTPUT = Output(("background", "bird"), ScoreScale(), TIMING)
BASE = DetectorConfig(smoothing_windows=2, hold_off_windows=2, threshold=(None, 0.5))


def recording(rng, minutes, alarms_per_hour, calls_per_hour, name, quality=1.0):
    """Scores with bumps of random height: false alarms, and annotated calls that reach higher."""
    n = int(minutes * 240)
    level = rng.normal(0.1, 0.05, n)
    for _ in range(rng.poisson(alarms_per_hour * minutes / 60)):
        at = int(rng.integers(0, n - 8))
        level[at : at + 6] += rng.beta(1.2, 3) * 0.9
    truth = []
    for _ in range(rng.poisson(calls_per_hour * minutes / 60)):
        at = int(rng.integers(0, n - 8))
        level[at : at + 6] += rng.beta(5, 2) * 0.9 * quality
        truth.append(Annotation("bird", at * 0.25 + 0.2, at * 0.25 + 2.0))
    bird = np.clip(np.rint(level * 256) - 128, -128, 127).astype(np.int8)
    return ScoredRecording(name, name, minutes * 60, np.stack([-bird, bird], axis=1), tuple(truth))


def recordings(rng, n=8, minutes=30, alarms_per_hour=40, calls_per_hour=20, **more):
    return [recording(rng, minutes, alarms_per_hour, calls_per_hour, f"r{i}", **more) for i in range(n)]


def measure(detector, held_out):
    """False alarms and hours of a detector on recordings."""
    parts = [
        count_events(
            match_events(detect(item.scores, detector, OUTPUT.labels, TIMING, OUTPUT.scale), item.annotations),
            item.duration_s / 3600,
        )
        for item in held_out
    ]
    return add_counts(parts)


def test_the_promised_interval_holds_on_recordings_never_seen():
    """The heart of it: over many draws, the true rate lies inside the interval about as often as it says."""
    rng = np.random.default_rng(11)
    field = recordings(rng, n=16, minutes=60)  # 16 hours stand for the truth
    inside, rates = 0, []
    for _ in range(20):
        result = calibrate(recordings(rng), OUTPUT, BASE, 2.0, rng=rng, draws=20)
        found = result.labels[0]
        assert found.met
        truth = measure(result.detector, field)
        rates.append(truth.false_alarms_per_hour)
        inside += found.rate.low <= truth.false_alarms_per_hour <= found.rate.high
    assert inside >= 17  # 95 % of 20 is 19
    assert 1.2 < np.mean(rates) <= 2.2  # the target is met in expectation, and not by silence


def test_what_new_recordings_will_show_is_foretold():
    """Recordings that are unlike (one in seven is full of false alarms), 60 to calibrate on, 60 new ones: the count
    in the new ones lies where it was said to lie."""
    rng = np.random.default_rng(5)
    loud = [recording(rng, 1, 500, 0, f"l{i}") for i in range(60)]
    quiet = [recording(rng, 2, 15, 10, f"q{i}") for i in range(360)]
    inside, foretold, seen = 0, 0.0, 0.0
    for _ in range(12):
        pool = [loud[i] for i in rng.permutation(60)[:18]] + [quiet[i] for i in rng.permutation(360)[:102]]
        order = rng.permutation(120)
        first, second = ([pool[i] for i in part] for part in np.array_split(order, 2))
        hours = sum(item.duration_s for item in second) / 3600
        result = calibrate(first, OUTPUT, BASE, 10.0, rng=rng, draws=2, new_hours=hours)
        found, truth = result.labels[0], measure(result.detector, second)
        inside += found.new_rate[0] <= truth.false_alarms_per_hour <= found.new_rate[1]
        foretold, seen = foretold + found.rate.value, seen + truth.false_alarms_per_hour
    assert inside >= 10
    assert seen == pytest.approx(foretold, rel=0.25)


def test_counting_plainly_would_promise_too_little():
    """A threshold just above the next false alarm: over many draws its true rate is (k + 1) / hours, not k / hours."""
    rng = np.random.default_rng(8)
    plain, said, true = 0.0, 0.0, 0.0
    for _ in range(12):
        data = recordings(rng, n=8, minutes=15)
        result = calibrate(data, OUTPUT, BASE, 4.0, rng=rng, draws=2)
        found = result.labels[0]
        plain, said = plain + found.observed / found.hours, said + found.rate.value
        true += measure(result.detector, recordings(rng, n=8, minutes=60)).false_alarms_per_hour
    assert said == pytest.approx(true, rel=0.15)
    assert plain < 0.9 * true


def test_hours_foretold_can_be_chosen(rng):
    data = recordings(rng)
    short, long = (calibrate(data, OUTPUT, BASE, 3.0, rng=rng, draws=2, new_hours=h).labels[0] for h in (1.0, 400.0))
    assert short.new_rate[0] <= long.new_rate[0] and short.new_rate[1] > long.new_rate[1]
    assert long.new_rate == pytest.approx((long.rate.low, long.rate.high), rel=0.2)  # nearly the long run
    assert "1 new hours of such recordings will show" in short.note()
    with pytest.raises(CheepError, match="new_hours=0: must be above 0"):
        calibrate(data, OUTPUT, BASE, 3.0, new_hours=0)


def test_few_groups_are_named(rng):
    few = calibrate(recordings(rng, n=3), OUTPUT, BASE, 3.0, rng=rng, draws=2).labels[0]
    assert few.groups == 3 and "only 3 independent recording(s)" in few.note()
    assert "independent" not in calibrate(recordings(rng), OUTPUT, BASE, 3.0, rng=rng, draws=2).labels[0].note()


def test_too_few_hours_are_said(rng):
    result = calibrate(recordings(rng, n=2, minutes=15), OUTPUT, BASE, 0.1, rng=rng, draws=20)
    found = result.labels[0]
    assert (found.met, found.promised, found.observed) == (False, False, 0)
    assert found.hours_needed == pytest.approx(found.groups_needed * 0.25, rel=1e-3)
    assert "0.50 h without a false alarm are too few to speak of 0.1 per hour" in found.note()
    assert "a promise needs at least" in found.note() and "groups like these without a false alarm" in found.note()


def test_hours_needed_are_enough_when_nothing_is_heard(rng):
    silent = np.full((480, 2), -120, np.int8)
    quiet = [ScoredRecording(f"q{i}", f"q{i}", 120.0, silent) for i in range(4)]
    needed = calibrate(quiet, OUTPUT, BASE, 60.0, rng=rng, draws=20).labels[0].groups_needed
    for share, enough in ((0.8, False), (1.25, True)):
        many = [dataclasses.replace(quiet[0], name=f"m{i}", group=f"m{i}") for i in range(round(needed * share))]
        found = calibrate(many, OUTPUT, BASE, 60.0, rng=rng, draws=20).labels[0]
        assert found.observed == 0 and found.promised == enough
    assert "promised with 95%" in found.note()


def test_minutes_of_quiet_do_not_lower_the_threshold_of_the_model(rng):
    """Two minutes without a sound would be silent at 0.2; what the model came with stays, and is said."""
    quiet = [recording(rng, 1, 0, 0, f"q{i}") for i in range(2)]
    found = calibrate(quiet, OUTPUT, BASE, 1.0, rng=rng, draws=2).labels[0]
    assert found.unfloored < 0.3 and found.threshold == pytest.approx(0.5, abs=0.003) and not found.met
    assert "the threshold stays at 0.501, the model's own: these recordings would let it fall to 0." in found.note()
    assert "give more --background" in found.note() and found.observed == 0
    # enough hours for the target may lower it
    enough = calibrate(quiet, OUTPUT, BASE, 200.0, rng=rng, draws=2).labels[0]
    assert enough.met and enough.unfloored is None and enough.threshold < 0.3
    # and minutes that are loud may raise it
    loud = [recording(rng, 2, 600, 0, f"l{i}") for i in range(2)]
    raised = calibrate(loud, OUTPUT, BASE, 1.0, rng=rng, draws=2).labels[0]
    assert raised.threshold > 0.5 and raised.unfloored is None


def test_labels_of_which_the_same_is_true_share_a_line(rng):
    data = recordings(rng, n=2, minutes=15)
    result = calibrate(data, OUTPUT, BASE, 0.1, rng=rng, draws=2)
    first = dataclasses.replace(result.labels[0], threshold=0.5, unfloored=0.25)
    other = dataclasses.replace(first, label="b", rate=dataclasses.replace(first.rate, value=7.0), unfloored=0.125)
    more = dataclasses.replace(first, label="c", observed=3, unfloored=None)
    both, alone = dataclasses.replace(result, labels=(first, other, more)).notes()
    assert both.startswith(f"{first.label}, b: 0.50 h without a false alarm are too few")
    assert f"expect {first.rate.value:.2g} to 7 per hour (below" in both
    assert f"stays at 0.5, 0.5 ({first.label}, b), the model's own" in both
    assert "let it fall to 0.25, 0.125, and" in both
    assert alone == f"c: {more.note()}" and "with 3 false alarm(s)" in alone and "stays" not in alone
    met = calibrate(data, OUTPUT, BASE, 200.0, rng=rng, draws=2)
    twice = dataclasses.replace(met, labels=(met.labels[0], dataclasses.replace(met.labels[0], label="b")))
    assert twice.notes() == [f"{met.labels[0].label}, b: {met.labels[0].note()}"]


def test_needs_do_not_jump_as_recordings_are_added(rng):
    """One group with most of the false alarms: each quiet one more changes hours and interval by a little."""
    data = [recording(rng, 6, 300, 0, "loud"), *(recording(rng, 6, 5, 0, f"q{i}") for i in range(24))]
    found = [calibrate(data[:n], OUTPUT, BASE, 30.0, rng=rng, draws=2).labels[0] for n in range(6, 26)]
    for name in ("hours_needed", "high"):
        values = np.array([item.hours_needed if name == "hours_needed" else item.rate.high for item in found])
        assert np.all(values[1:] / values[:-1] < 1.6) and np.all(values[1:] / values[:-1] > 0.6), name


def test_a_wide_interval_says_what_narrows_it(rng):
    data = [recording(rng, 12, 480, 0, "cricket"), *(recording(rng, 12, 3, 0, f"q{i}") for i in range(4))]
    found = calibrate(data, OUTPUT, BASE, 60.0, rng=rng, draws=2).labels[0]
    assert found.loudest[0] == "cricket" and found.narrow_hours > found.hours
    assert "come from cricket: more places tell how rare it is" in found.note()
    assert "other groups like these (sites, nights), narrow it" in found.note()
    many = [dataclasses.replace(item, group=f"{item.name}-{i}") for i in range(12) for item in data]
    assert "narrow" not in calibrate(many, OUTPUT, BASE, 60.0, rng=rng, draws=2).labels[0].note()


def test_a_promise_is_stricter_than_an_expectation(rng):
    data = recordings(rng, n=48, minutes=5)
    expected, promised = (
        calibrate(data, OUTPUT, BASE, 30.0, rng=rng, draws=20, promise=promise).labels[0] for promise in (False, True)
    )
    assert expected.met and not expected.promised and promised.promised
    assert promised.threshold > expected.threshold
    assert promised.rate.high <= 30.0 < expected.rate.high


def test_the_threshold_is_the_lowest_that_keeps_the_rate(rng):
    data = recordings(rng)
    result = calibrate(data, OUTPUT, BASE, 3.0, rng=rng, draws=20)
    found, detector = result.labels[0], result.detector
    assert measure(detector, data).false_alarms == found.observed
    on = OUTPUT.scale.on_sum(detector.threshold[1], detector.smoothing_windows)
    lower = OUTPUT.scale.threshold_of(on - 1, detector.smoothing_windows)
    assert OUTPUT.scale.on_sum(lower, detector.smoothing_windows) == on - 1
    looser = detector.model_copy(update={"threshold": (None, lower)})
    hours = found.hours
    assert (found.observed + found.dispersion) / hours <= 3.0
    assert (measure(looser, data).false_alarms + 2 * found.dispersion) / hours > 3.0


def test_more_false_alarms_allowed_means_more_found(rng):
    data = recordings(rng)
    recall = [calibrate(data, OUTPUT, BASE, rate, rng=rng, draws=20).labels[0].recall.value for rate in (0.5, 3, 20)]
    assert recall[0] < recall[1] <= recall[2]
    found = calibrate(data, OUTPUT, BASE, 3.0, rng=rng, draws=200).labels[0].recall
    assert found.low < found.value < found.high


def test_smoothing_that_finds_clearly_more_wins(rng):
    data = []
    for item in recordings(rng, alarms_per_hour=5):  # clicks: one window each, higher than any call
        scores = item.scores.copy()
        scores[rng.integers(0, len(scores), 20), 1] = 126
        data.append(dataclasses.replace(item, scores=scores))
    single = [
        calibrate(data, OUTPUT, BASE, 2.0, smoothing=[s], rng=rng, draws=2).labels[0].recall.value for s in (1, 4)
    ]
    assert single[1] > single[0] + 0.3
    for order in ([1, 4], [4, 1]):
        chosen = calibrate(data, OUTPUT, BASE, 2.0, smoothing=order, rng=rng, draws=2)
        assert chosen.detector.smoothing_windows == 4
    few = recordings(rng, n=1, calls_per_hour=4)
    assert calibrate(few, OUTPUT, BASE, 2.0, smoothing=[4, 1], rng=rng, draws=20).detector.smoothing_windows == 4


def test_the_models_own_smoothing_stays_where_nothing_is_clearly_better(rng):
    """Recall alone would often choose what one group happens to favour."""
    own = BASE.model_copy(update={"smoothing_windows": 3})
    data = recordings(rng, n=3, calls_per_hour=30)
    recall = {
        s: calibrate(data, OUTPUT, own, 2.0, smoothing=[s], rng=rng, draws=2).labels[0].recall.value for s in (2, 3, 4)
    }
    assert max(recall, key=recall.get) != 3  # another one finds a few more
    chosen = calibrate(data, OUTPUT, own, 2.0, smoothing=[2, 3, 4], rng=rng, draws=2)
    assert chosen.detector.smoothing_windows == 3


def test_clusters_in_one_recording_widen_the_interval(rng):
    even = recordings(rng, n=8, alarms_per_hour=60, calls_per_hour=0)
    uneven = [recording(rng, 30, 480 if i == 0 else 0, 0, f"u{i}") for i in range(8)]
    a, b = (calibrate(data, OUTPUT, BASE, 10.0, rng=rng, draws=20).labels[0] for data in (even, uneven))
    assert b.dispersion > 5
    assert 1 <= a.dispersion < 3
    assert b.rate.high - b.rate.low > 1.3 * (a.rate.high - a.rate.low)
    assert b.hours_needed > a.hours_needed


@pytest.mark.parametrize(
    ("text", "per_hour"), [("0.5/h", 0.5), ("3/day", 0.125), ("2 per hour", 2.0), ("1", 1.0), ("1/week", 1 / 168)]
)
def test_rates(text, per_hour):
    assert parse_rate(text) == pytest.approx(per_hour)


@pytest.mark.parametrize("text", ["0/h", "-1/h", "many", "1/fortnight", "", "nan", "1/"])
def test_wrong_rates(text):
    with pytest.raises(CheepError, match="--max-false-alarms"):
        parse_rate(text)


def test_impossible_calibrations_are_refused(rng):
    with pytest.raises(CheepError, match="needs held-out recordings"):
        calibrate([], OUTPUT, BASE, 1.0)
    with pytest.raises(CheepError, match="all are silent"):
        calibrate(recordings(rng, n=1), OUTPUT, BASE, 1.0, silent=("bird", "background"))
    short = ScoredRecording("s", "s", 1.0, np.zeros((1, 2), np.int8))
    with pytest.raises(CheepError, match="shorter than 2 windows"):
        calibrate([short], OUTPUT, BASE, 1.0, silent=("background",))


@pytest.fixture
def field(tmp_path):
    """A tone detector, and recordings with a call that nobody annotated."""
    run = write_tone_run(tmp_path / "run")
    lines = ["file,label,start_s,end_s"]
    for i in range(6):
        spans = [(2 + 4 * k + 0.3 * i, 3 + 4 * k + 0.3 * i, "low" if k % 2 else "high") for k in range(6)]
        write_wav(tmp_path / f"f{i}.wav", tones(spans, 30.0, seed=i), 8000)
        lines += [f"f{i}.wav,{label},{a},{b}" for a, b, label in spans[1 if i == 0 else 0 :]]
    (tmp_path / "events.csv").write_text("\n".join(lines) + "\n")
    return run, tmp_path / "events.csv"


def test_calibrate_writes_the_manifest_and_nothing_else_changes(field, tmp_path, capsys):
    run, events = field
    before = json.loads((run / "manifest.json").read_text())
    options = ["--model", str(run), "--recordings", str(events), "--headers", str(tmp_path / "none")]
    assert main("calibrate", ["--max-false-alarms", "100/h", *options, "--dry-run"]) == 0
    assert json.loads((run / "manifest.json").read_text()) == before
    assert main("calibrate", ["--max-false-alarms", "100/h", *options]) == 0
    text = capsys.readouterr().out
    assert "target: at most 100 false alarms per hour" in text
    assert "low: WARNING: fires on hum, a signal without any sound" in text, "it holds the label's own 1 kHz"
    after = json.loads((run / "manifest.json").read_text())
    assert after["detector"]["threshold"][0] is None  # background stays silent
    assert after["detector"]["threshold"] != before["detector"]["threshold"]
    assert {k: v for k, v in after.items() if k not in ("detector", "calibration")} == {
        k: v for k, v in before.items() if k != "detector"
    }
    assert [item["label"] for item in after["calibration"]["labels"]] == ["high", "low"]
    bundle = load_bundle(run)  # the file is whole, hashes agree
    assert bundle.detector.threshold == tuple(after["detector"]["threshold"])
    assert bundle.detector.stride_frames == DETECTOR.stride_frames
    details = json.loads((run / "calibration.json").read_text())
    assert details["model_sha256"] == bundle.model.sha256
    assert len(details["labels"][0]["curve"]["recall"]) == len(details["labels"][0]["curve"]["threshold"])


def test_a_temperature_is_fitted_to_validation_windows_and_kept(field, tmp_path, capsys):
    run, events = field
    options = ["--model", str(run), "--recordings", str(events), "--max-false-alarms", "100/h"]
    assert main("calibrate", [*options, "--dry-run"]) == 0
    assert "scores stay scores" in capsys.readouterr().out
    rows = []
    for i in range(12):
        label = ("high", "low", "background")[i % 3]
        spans = [] if label == "background" else [(0, 2, label)]
        write_wav(run / f"v{i}.wav", tones(spans, 2.0, seed=i), 8000)
        true = "background" if i < 3 else label  # a quarter of the labels is wrong: scores of 1 are too sure
        rows += [
            {"path": f"v{i}.wav", "label": true, "start_s": start, "duration_s": 1.0, "recording": f"v{i}",
             "split": "val" if i < 9 else "train"}
            for start in (0, 0.5, 1)
        ]  # fmt: skip
    Manifest.from_rows(rows, run).write(run / "dataset.csv")
    training = TrainConfig(activation="softmax").to_dict()
    (run / "training.json").write_text(json.dumps({"train": training}))
    assert main("calibrate", options) == 0
    assert "fitted on 27 validation windows of 9 groups" in capsys.readouterr().out
    found = json.loads((run / "manifest.json").read_text())["calibration"]["temperature"]
    assert (found["windows"], found["clips"]) == (27, 9)
    assert found["value"] > 1.5 and found["error_after"] < found["error_before"]
    assert json.loads((run / "calibration.json").read_text())["temperature"] == found
    shown = with_extras(RunResults("t", ("a",), model_sha256=load_bundle(run).model.sha256), run)
    assert shown.temperature == found["value"]

    # recordings that have moved: training ones are not needed; without the others thresholds are written, and the
    # temperature of before stays
    (run / "v11.wav").unlink()
    assert main("calibrate", options) == 0
    assert json.loads((run / "manifest.json").read_text())["calibration"]["temperature"] == found
    (run / "v1.wav").unlink()
    for more in (["--dry-run"], []):
        untouched = (run / "manifest.json").read_bytes()
        assert main("calibrate", [*options[:-1], "200/h", *more]) == 0
        out = capsys.readouterr().out
        assert "no new temperature, the one fitted before (" in out and "v1.wav: no such recording" in out
        assert ((run / "manifest.json").read_bytes() == untouched) == bool(more)
    after = json.loads((run / "manifest.json").read_text())["calibration"]
    assert after["labels"][0]["target_per_hour"] == 200 and after["temperature"] == found


def test_a_temperature_that_makes_probabilities_worse_is_not_kept(field, monkeypatch, capsys):
    run, events = field
    rows = []
    for i in range(12):  # scores are honest: half of the calls are sure and right
        label = ("high", "low", "background")[i % 3]
        write_wav(run / f"v{i}.wav", tones([] if label == "background" else [(0, 2, label)], 2.0, seed=i), 8000)
        rows.append({"path": f"v{i}.wav", "label": label, "start_s": 0, "duration_s": 1.0, "recording": f"v{i}",
                     "group": f"g{i // 2}", "split": "val"})  # fmt: skip
    Manifest.from_rows(rows, run).write(run / "dataset.csv")
    training = TrainConfig(activation="softmax").to_dict()
    (run / "training.json").write_text(json.dumps({"train": training}))
    real = temperature.calibrate_scores

    def worse(scores, rng):
        return dataclasses.replace(real(scores, rng), error_before=0.088, error_after=0.112)

    monkeypatch.setattr("cheep.job.calibrate.calibrate_scores", worse)
    assert main("calibrate", ["--model", str(run), "--recordings", str(events), "--max-false-alarms", "100/h"]) == 0
    out = capsys.readouterr().out
    assert "of 6 groups" in out and "is off by 0.112 on average (scores as they are: 0.088)" in out
    assert "is not kept: scores stay scores" in out
    assert json.loads((run / "manifest.json").read_text())["calibration"]["temperature"] is None


def test_a_promise_that_cannot_be_given_writes_nothing(field, tmp_path, capsys):
    run, events = field
    before = (run / "manifest.json").read_bytes()
    options = ["--model", str(run), "--recordings", str(events), "--max-false-alarms", "1/h", "--promise"]
    assert main("calibrate", options) == 1
    assert "nothing written: high, low: 0.05 h without a false alarm are too few" in capsys.readouterr().err
    assert (run / "manifest.json").read_bytes() == before


def test_calibrate_renews_the_header_of_the_same_model(field, tmp_path):
    run, events = field
    headers = tmp_path / "headers"
    assert main("model_convert", ["--model", str(run), "--output", str(headers)]) == 0
    before = (headers / "detector_settings.h").read_text()
    model = (headers / "model.h").read_text()
    options = [
        "--model",
        str(run),
        "--recordings",
        str(events),
        "--headers",
        str(headers),
        "--max-false-alarms",
        "100/h",
    ]
    assert main("calibrate", options) == 0
    assert (headers / "detector_settings.h").read_text() != before
    assert (headers / "model.h").read_text() == model
    assert main("model_convert", ["--model", str(run), "--output", str(headers), "--check"]) == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--max-false-alarms", "none"], "must be a number per hour or day"),
        (["--max-false-alarms", "1/h", "--smoothing", "3,x"], "--smoothing 3,x: must be whole numbers"),
        (["--max-false-alarms", "1/h", "--smoothing", "64"], "--smoothing 64: 64 must lie in 1..32"),
        (["--max-false-alarms", "1/h", "--silent", "lwo"], "--silent lwo: not a label of the model"),
        (["--max-false-alarms", "1/h", "--new-hours", "-4"], "--new-hours -4: must be above 0"),
        (["--max-false-alarms", "1/h", "--collar-s", "-1"], "--collar-s -1: must be 0 or more"),
    ],
)
def test_wrong_options_are_told_before_anything_is_scored(field, capsys, option, message):
    run, events = field
    assert main("calibrate", [*option, "--model", str(run), "--recordings", str(events)]) == 2
    said = capsys.readouterr()
    assert message in said.err and "scoring" not in said.out
