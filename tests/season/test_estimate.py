# SPDX-License-Identifier: MIT
"""Plans and estimates: weights add up, intervals hold the truth, a slip below the threshold is asked about again."""

import dataclasses
import datetime
import itertools
import json

import numpy as np
import pytest

from cheep.cli import main
from cheep.commands._season_plan import _say_threshold
from cheep.device.bundle import load_bundle
from cheep.errors import CheepError
from cheep.evaluate.intervals import Estimate
from cheep.season.curves import ThresholdRow, at_least, not_tried, threshold_for
from cheep.season.frame import frame_of_season, month_of, night_of
from cheep.season.keep import keep_season_threshold
from cheep.season.plan import make_plan, progress, read_plan, to_do
from cheep.season.sampling import BELOW, DETECTED, allocate, draw, strata_of
from cheep.season.simulated import simulate_season
from cheep.season.sizes import parse_want
from cheep.season.store import recording_of
from cheep.season.tell import estimate_season
from cheep.season.trial import try_want
from cheep.season.verdicts import Verdict, VerdictLog, read_verdicts
from scored_season import LABEL, answers, scored_season


@pytest.fixture(scope="module")
def simulated():
    return simulate_season(np.random.default_rng(3), "common", 12_000)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    return scored_season(tmp_path_factory.mktemp("scored"))


def test_strata_hold_every_clip_once(simulated):
    strata = strata_of(simulated.frame)
    rows = np.concatenate([item.rows for item in strata])
    assert np.array_equal(np.sort(rows), np.arange(len(simulated.frame)))
    assert all((simulated.frame.detections[item.rows] > 0).all() for item in strata if item.kind == DETECTED)
    below = [item for item in strata if item.kind == BELOW]
    assert len(below) == 5 and all(a.low >= b.high for a, b in itertools.pairwise(below))


def test_weights_stand_for_the_season(simulated):
    """Whatever is summed over the season is the same, on average, summed over the sample with its weights."""
    frame, present = simulated.frame, simulated.present
    strata = strata_of(frame)
    sizes = np.minimum([item.size for item in strata], 41)
    sums = []
    for seed in range(200):
        sample = draw(strata, sizes, np.random.default_rng(seed))
        assert len(np.unique(sample.rows)) == len(sample) == sizes.sum()
        assert np.isclose(sample.weight.sum(), len(frame), rtol=0.01)
        sums.append(float(sample.weight @ present[sample.rows]))
    error = np.std(sums) / np.sqrt(len(sums))
    assert abs(np.mean(sums) - present.sum()) < 3.5 * error + 0.01 * present.sum()


def test_allocation_keeps_its_bounds():
    sizes = allocate(np.array([5.0, 0.0, 100.0]), np.array([30, 10, 8]), 30, 2)
    assert sizes.tolist() == [20, 2, 8]
    assert allocate(np.ones(3), np.full(3, 4), 100).tolist() == [4, 4, 4]


@pytest.mark.parametrize("text", ["precison:0.1", "precision:2", "rate:-1", "precision:0.1/h", "recall:0"])
def test_a_wish_is_checked(text):
    with pytest.raises(CheepError, match="--want"):
        parse_want(text)


def test_more_certainty_needs_more_clips(simulated):
    counts = [
        len(make_plan(simulated.frame, "bird", parse_want(f"precision:{value}"), name="p").items)
        for value in (0.2, 0.1, 0.06)
    ]
    assert counts == sorted(counts) and counts[0] < counts[-1]


def test_the_same_seed_gives_the_same_plan(tmp_path, scored):
    season, _ = scored
    frame = frame_of_season(season, season.model(), LABEL)
    want = parse_want("recall:0.2")
    one, two, other = (make_plan(frame, LABEL, want, name="p", seed=seed, clips=120) for seed in (1, 1, 2))
    assert one.items == two.items != other.items
    path = one.write(tmp_path)
    first = path.with_suffix(".parquet").read_bytes()
    two.write(tmp_path)
    assert path.with_suffix(".parquet").read_bytes() == first
    back = read_plan(tmp_path)
    assert back.items == one.items and back.promise == one.promise
    assert all(np.array_equal(back.counts[name], one.counts[name]) for name in one.counts)


def test_a_frame_counts_every_detection_once(scored):
    season, truth = scored
    frame = frame_of_season(season, season.model(), LABEL)
    assert len(frame) == len(truth)
    assert frame.detections.sum() == sum(item["label"] == LABEL for item in season.detections().to_pylist())
    assert frame.total_hours == pytest.approx(2.0)
    assert frame.found[frame.detections > 0].all()
    assert frame.sites == ("creek", "ridge") and frame.months == ("2026-05", "2026-06")
    loud = [truth[frame.recordings[r], float(s)] for r, s in zip(frame.recording, frame.start_s, strict=True)]
    assert frame.score[loud].mean() > frame.score[~np.array(loud)].mean() + 3
    lower = season.model().detector.model_copy(update={"threshold": (None, None, 0.2)})
    assert frame_of_season(season, season.model(), LABEL, detector=lower).detections.sum() > frame.detections.sum()
    with pytest.raises(CheepError, match="did you mean 'low'"):
        frame_of_season(season, season.model(), "lov")


def test_a_right_below_the_threshold_is_asked_again(scored):
    season, truth = scored
    frame = frame_of_season(season, season.model(), LABEL)
    plan = make_plan(frame, LABEL, parse_want("recall:0.2"), name="p", clips=100)
    first = to_do(plan, [])
    assert [item.item for item in first] == list(plan.items)
    below = next(item for item in plan.items if item.kind == BELOW and not item.repeat)
    about = (below.recording, LABEL, below.start_s, below.end_s)
    slip = Verdict(*about, "right")
    others = [item for item in answers(plan.items, dict.fromkeys(truth, False)) if item.clip != slip.clip]
    again = [question for question in to_do(plan, [slip, *others]) if question.item.clip == slip.clip]
    assert [question.ask for question in again] == [1]
    twice = [slip, Verdict(*about, "wrong", ask=1), *others]
    assert not [q for q in to_do(plan, twice) if q.item.clip == slip.clip]
    sure = [slip, Verdict(*about, "right", ask=1), *others]
    assert [q.ask for q in to_do(plan, sure) if q.item.clip == slip.clip] == [2]
    assert sum(item.item.repeat for item in to_do(plan, twice)) == plan.promise.repeats
    done, of = progress(plan, twice)
    assert (done, of - done) == (len(plan.items) + 1, plan.promise.repeats)
    found = estimate_season(plan, twice)
    assert (found.slips, found.whole.calls is not None) == (1, True)
    assert found.whole.calls.value < 1e-6


def test_everything_heard_is_the_truth(scored):
    season, truth = scored
    frame = frame_of_season(season, season.model(), LABEL)
    plan = make_plan(frame, LABEL, parse_want("recall:0.01"), name="p", clips=len(frame))
    assert len(plan.items) == len(frame)
    found = estimate_season(plan, answers(plan.items, truth))
    there = np.array([truth[item.recording, item.start_s] for item in plan.items])
    peaks = np.array([item.detections for item in plan.items])
    assert found.whole.precision.value == pytest.approx(peaks @ there / peaks.sum(), abs=1e-9)
    assert found.whole.false_alarms.value == pytest.approx(peaks @ ~there / 2.0, rel=1e-4)
    assert found.whole.calls.value == pytest.approx(there.sum() / 2.0, rel=1e-4)
    assert found.whole.calls.high - found.whole.calls.low < 1.0
    sites = {row.name: row.estimates for row in found.rows if row.by == "site"}
    assert sites["creek"].calls.value > sites["ridge"].calls.value


def test_recall_without_evidence_is_not_one(scored):
    """No clip below the threshold judged, too few, none with a call: said, and never "1.00"."""
    season, truth = scored
    plan = make_plan(
        frame_of_season(season, season.model(), LABEL), LABEL, parse_want("recall:0.2"), name="p", clips=120
    )
    below = [item for item in plan.items if item.kind == BELOW]
    above = [item for item in plan.items if item.kind != BELOW]

    def found(items, said):
        return estimate_season(plan, answers(items, said))

    for few, why in ((0, "no clip below the threshold was judged"), (3, "at least 5 are needed")):
        none = found([*above, *below[:few]], truth)
        assert none.whole.recall is None is none.whole.calls and any(why in note for note in none.notes)
        assert none.whole.recall_text() == "-" and none.whole.verdicts_below == few
    silent = found(plan.items, {**truth, **{(item.recording, item.start_s): False for item in below}})
    assert silent.whole.recall.value == 1 and silent.whole.recall.low < 0.99
    assert silent.whole.recall_text() == f"{silent.whole.recall.low:.2f} or more"
    assert any("no miss was met" in note for note in silent.notes)
    met = found(plan.items, truth)
    assert met.whole.recall.value < 1 and not any("recall" in note and "not known" in note for note in met.notes[:1])


def test_thresholds_that_were_not_tried_are_said(scored):
    season, truth = scored
    plan = make_plan(frame_of_season(season, season.model(), LABEL), LABEL, parse_want("precision:0.1"), name="p")
    table = list(estimate_season(plan, answers(plan.items, truth)).thresholds)
    of = np.isin(plan.counts["stratum"], [i for i, kind in enumerate(plan.kinds) if kind == DETECTED])
    levels = np.unique(plan.counts["score"][of & (plan.counts["detections"] > 0)])
    text = not_tried(table, plan.kinds, plan.counts)
    assert text.startswith(f"tried: {len(table)} of {len(levels)} thresholds")
    assert "above, up to" not in not_tried(
        [*table, dataclasses.replace(table[-1], score=levels[-1])], plan.kinds, plan.counts
    )
    assert f"not tried: {len(levels) - 1} above" in not_tried(
        [dataclasses.replace(table[0], score=levels[0])], plan.kinds, plan.counts
    )
    assert "none of" in not_tried([], plan.kinds, plan.counts)


def test_intervals_hold_the_truth_of_simulated_seasons():
    """The short form of scripts/bench_loop.py: the design's intervals hold it, the naive ones of recall do not."""
    held: dict[str, list[bool]] = {"precision": [], "recall": [], "naive": [], "kept": []}
    for number in range(12):
        kind = ("common", "rare")[number % 2]
        season = simulate_season(np.random.default_rng([8, number]), kind, 12_000)
        first = try_want(season, parse_want("precision:0.1"), (0.0, 0.03)[number // 2 % 2], number)
        held["precision"].append(first.held["precision"])
        if first.promised:
            held["kept"].append(first.half <= first.wanted)
        plan = make_plan(season.frame, "bird", parse_want("recall:0.1"), name="p", seed=number, clips=300)
        names = [season.frame.recordings[code] for code in season.frame.recording]
        truth = dict(zip(zip(names, season.frame.start_s.tolist(), strict=True), season.present.tolist(), strict=True))
        found = estimate_season(plan, answers(plan.items, truth), details=False)
        real = (season.present & season.frame.found).sum() / season.present.sum()
        held["recall"].append(found.whole.recall.low <= real <= found.whole.recall.high)
        naive = found.without_design.recall
        held["naive"].append(naive.low <= real <= naive.high)
    assert np.mean(held["precision"]) >= 0.9 and np.mean(held["recall"]) >= 0.9 and np.mean(held["kept"]) >= 0.9
    assert np.mean(held["naive"]) <= np.mean(held["recall"]) - 0.25


def test_plan_verify_estimate_keep(tmp_path, capsys):
    season, truth = scored_season(tmp_path)
    folder = str(season.folder)
    assert main("season", ["plan", folder, "--want", "rate:1/h", "--want", "recall:0.2"]) == 2
    assert "one wish a plan" in capsys.readouterr().err
    assert main("season", ["plan", folder, "--label", LABEL, "--want", "recall:0.2", "--clips", "700"]) == 0
    assert "700 clips (56 of them twice)" in capsys.readouterr().out
    assert main("season", ["estimate", folder]) == 2
    assert "no verdict on low yet" in capsys.readouterr().err
    plan = read_plan(folder)
    log, given = VerdictLog(folder, "anna"), []
    while questions := to_do(plan, given):
        log.add_all(answers([q.item for q in questions], truth, [q.ask for q in questions]))
        given = list(read_verdicts(folder).verdicts)
    run = str(tmp_path / "run")
    command = ["estimate", folder, "--precision", "0.6", "--keep", run, "--json", str(tmp_path / "e.json")]
    assert main("season", command) == 0
    text = capsys.readouterr().out
    assert "site creek" in text and "for precision 0.6" in text and "never calibrated" in text
    assert "tried: " in text and "thresholds, 0." in text and "cheep season detect" in text
    assert main("season", command[:2]) == 0  # the season's copy of the model knows what was kept
    assert "not of the calibrated one, 0." in (told := capsys.readouterr().out) and "never calibrated" not in told
    (copy,) = (season.folder / "models").glob("*/manifest.json")
    copy.write_text("{")  # a damaged one is replaced, too
    assert main("season", ["detect", folder, "--like", run]) == 0 == main("season", command[:2])
    assert "never calibrated" not in capsys.readouterr().out
    values = json.loads((tmp_path / "e.json").read_text())
    real = sum(truth.values()) / 2.0
    low, high = (values["rows"][0]["estimates"]["calls"][end] for end in ("low", "high"))
    assert low <= real <= high
    out = season.folder / "estimates" / plan.name
    assert {path.name for path in out.iterdir()} >= {"report.html", "estimates.csv", "thresholds.csv", "occupancy.csv"}
    lines = (out / "occupancy.csv").read_text().splitlines()
    assert lines[0] == "site,night,hours,detections,verified_right,verified_wrong" and len(lines) == 13
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    background, high_tone, threshold = manifest["detector"]["threshold"]
    assert (background, high_tone) == (None, 0.6) and threshold >= 0.6
    (calibration,) = manifest["calibration"]["labels"]
    assert calibration["label"] == LABEL and calibration["threshold"] == threshold
    assert manifest["calibration"]["season"]["sites"] == ["creek", "ridge"]
    assert not calibration["promised"] and "others may differ" in calibration["note"]
    assert 0 < calibration["recall"]["value"] < 1 and "recall is not known" not in text  # the plan's own
    found = estimate_season(plan, given)
    one, whole = found.thresholds[0], found.whole  # all detections: one figure in both tables
    assert (one.precision, one.false_alarms) == (whole.precision, whole.false_alarms)
    bundle = load_bundle(run)
    keep_season_threshold(bundle, found, found.thresholds[1])  # recall of a lower threshold is not this one's
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["calibration"]["season"]["recall"] is None is manifest["calibration"]["labels"][0]["recall"]
    _say_threshold(0.6, found.thresholds[1], found)
    assert "its recall is not known: below the 0.63 (" in capsys.readouterr().out
    assert main("season", ["verdicts", folder, "--export", "csv", "-o", str(tmp_path / "v.csv")]) == 0
    assert main("season", ["verdicts", folder, "--import", str(tmp_path / "v.csv")]) == 0
    assert f"0 verdict(s) added, {len(given)} were known" in capsys.readouterr().out


def test_a_site_noisier_or_quieter_than_what_was_calibrated_on_is_named():
    from cheep.season.keep import _noise_warnings

    noise = [("creek", -40.0), ("creek", -41.0), ("ridge", -61.0), ("ridge", None), ("wood", -70.0), ("far", None)]
    loud, quiet = _noise_warnings([-65.0, -55.0], noise)
    assert "site creek: its quiet is -40 dB" in loud and "above the -65 to -55 dB" in loud and "less far" in loud
    assert "site wood" in quiet and "below" in quiet
    assert not _noise_warnings(None, noise) and not _noise_warnings([-75.0, -35.0], noise)


def test_what_a_model_is_not_gets_no_threshold(tmp_path, capsys, scored):
    from tone_model import write_tone_run

    season, truth = scored
    folder = str(season.folder)
    assert main("season", ["plan", folder, "--label", LABEL, "--clips", "40", "--name", "few"]) == 0
    plan = read_plan(folder, "few")
    VerdictLog(folder, "ben").add_all(answers(plan.items, truth))
    other = write_tone_run(tmp_path / "other", labels=("background", "high", "low", "more"))
    assert main("season", ["estimate", folder, "--plan", "few", "--precision", "0.5", "--keep", str(other)]) == 2
    assert "is not" in capsys.readouterr().err
    assert main("season", ["estimate", folder, "--plan", "few", "--precision", "0.9999", "--sure"]) == 2
    assert "no threshold reaches it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        "plan --label low --clips -5",
        "plan --label low --clips 0",
        "plan --label low --seed -1",
        "plan --label low --want precision:2",
        "plan --label lwo",
        "estimate --plan p --precision 2",
        "estimate --plan p --precision 0",
        "estimate --plan p --precision nan",
        "estimate --plan p --sure",
        "estimate --plan p --keep run",
        "estimate --plan p --model ffff",
        "verdicts --label lwo",
        "verdicts --output out",
    ],
)
def test_a_wish_without_sense_is_an_error_and_writes_nothing(scored, capsys, arguments):
    folder = scored[0].folder
    if not (folder / "plans/p.json").is_file():
        assert main("season", ["plan", str(folder), "--label", LABEL, "--clips", "40", "--name", "p"]) == 0
        VerdictLog(folder, "eve").add_all(answers(read_plan(folder, "p").items, scored[1]))
    before = sorted(path for path in folder.rglob("*") if path.name != ".lock")
    action, *options = arguments.split()
    capsys.readouterr()
    assert main("season", [action, str(folder), *options]) == 2
    assert options[-1] in capsys.readouterr().err
    assert sorted(path for path in folder.rglob("*") if path.name != ".lock") == before


def test_a_plan_with_verdicts_is_not_overwritten(tmp_path, capsys):
    season, truth = scored_season(tmp_path)
    command = ["plan", str(season.folder), "--label", LABEL, "--name", "p", "--clips"]
    assert main("season", [*command, "40"]) == 0 == main("season", [*command, "50"])
    items = read_plan(season.folder, "p").items
    log = VerdictLog(season.folder, "eve")
    log.add_all(dataclasses.replace(item, plan="p") for item in answers(items[:3], truth))
    assert main("season", [*command, "50"]) == 0  # the same
    capsys.readouterr()
    assert main("season", [*command, "40"]) == 2
    assert "3 verdict(s)" in capsys.readouterr().err and read_plan(season.folder, "p").items == items


def test_a_threshold_is_never_below_the_one_that_made_the_detections():
    """Scores are counted in steps of 0.1, from below: the lowest begins where nothing was detected."""
    sure = Estimate(0.9, 0.8, 1.0)
    row = ThresholdRow(-0.2, 171.0, 28, sure, sure)
    assert at_least(row, 0.4727).score == pytest.approx(np.log(0.4727 / 0.5273))
    assert at_least(row, 0.3) == at_least(row, None) == row


def test_a_sure_threshold_is_found_though_few_verdicts_lie_above_the_highest():
    """Five right of five prove no precision of 0.9: they may not take the proof of forty below away."""
    alarms = Estimate(0.0, 0.0, 1.0)

    def row(score, value, low, verdicts):
        return ThresholdRow(score, 30.0, verdicts, Estimate(value, low, 1.0), alarms)

    table = [row(1.0, 0.88, 0.7, 60), row(2.0, 0.97, 0.91, 40), row(3.0, 1.0, 0.55, 5)]
    assert threshold_for(table, 0.9).score == 2.0 == threshold_for(table, 0.9, sure=True).score
    with pytest.raises(CheepError, match=r"lower end.*0\.97 \(0\.91–1\.00\) on 40 verdicts; judge more"):
        threshold_for(table, 0.95, sure=True)
    with pytest.raises(CheepError, match="verdicts on the detections above it"):
        threshold_for([], 0.9)
    with pytest.raises(CheepError, match="every higher one"):
        threshold_for([*table, row(4.0, 0.6, 0.3, 5)], 0.9)


def test_clips_passed_over_are_said_and_a_beginning_is_no_hole(scored):
    plan = make_plan(frame_of_season(*_parts(scored[0])), LABEL, parse_want("precision:0.1"), name="h")
    told = answers(plan.items, scored[1])

    def notes(items):
        return " ".join(estimate_season(plan, items, details=False).notes)

    assert "have no verdict" not in notes(told) and "are judged" not in notes(told)
    some = notes(told[:30])
    assert f"the first 30 of {len(told)} clips are judged" in some and "have no verdict" not in some
    assert f"2 of the plan's first {len(told)} clips have no verdict" in notes([*told[:5], *told[7:]])


def test_recordings_that_a_table_does_not_name_stay_open_and_are_said(tmp_path, scored, capsys):
    season, _ = scored
    folder, table = str(season.folder), tmp_path / "truth.csv"
    assert main("season", ["plan", folder, "--label", LABEL, "--clips", "60", "--name", "open"]) == 0
    files = [row["path"] for row in season.recordings(["path"]).to_pylist()]
    lines = [f"{name},3,6,{LABEL}" for name in files[1:]]
    table.write_text("\n".join(["file,start_s,end_s,label", *lines]))
    capsys.readouterr()
    command = ["verdicts", folder, "--annotations", str(table), "--plan", "open", "--reviewer", "table"]
    assert main("season", command) == 0
    assert f"does not name their 1 recording(s), such as {files[0]}" in capsys.readouterr().out
    assert main("season", ["estimate", folder, "--plan", "open"]) == 0
    assert "have no verdict, though later ones have" in capsys.readouterr().out
    table.write_text("\n".join(["file,start_s,end_s,label", *lines, f"{files[0]},,,"]))
    assert main("season", command) == 0 and "stay open" not in capsys.readouterr().out


def test_contradictions_are_said(scored):
    plan = make_plan(frame_of_season(*_parts(scored[0])), LABEL, parse_want("precision:0.1"), name="n")
    one = answers(plan.items, dict.fromkeys(scored[1], True))
    other = answers(plan.items, dict.fromkeys(scored[1], False), [1] * len(plan.items))
    assert any("slips in" in note for note in estimate_season(plan, [*one, *other], details=False).notes)
    again = answers(plan.items, dict.fromkeys(scored[1], True), [1] * len(plan.items))
    assert not any("slips in" in note for note in estimate_season(plan, [*one, *again], details=False).notes)


def test_the_month_is_that_of_the_calendar(scored):
    season = scored[0]
    row = recording_of(season.recordings().to_pylist()[0])
    at = datetime.datetime(2026, 6, 1, 5) - datetime.datetime(1970, 1, 1)
    row = dataclasses.replace(row, start_local=int(at.total_seconds() * 1000))
    assert (night_of(row, 0), month_of(row, 0)) == ("2026-05-31", "2026-06")
    frame = frame_of_season(*_parts(season))
    local = {item["recording"]: item["start_local"] for item in season.recordings().to_pylist()}
    for row in range(0, len(frame), 37):
        moment = local[frame.recordings[frame.recording[row]]] + datetime.timedelta(seconds=float(frame.start_s[row]))
        assert frame.months[frame.month[row]] == f"{moment:%Y-%m}"


def _parts(season):
    return season, season.model(), LABEL
