# SPDX-License-Identifier: MIT
"""From verdicts to the next model: which windows, which nights, which of two models; the order of review."""

import json

import numpy as np
import pytest
import soundfile

from cheep.errors import CheepError
from cheep.files import nothing_left
from cheep.season.compare import Judged, compare
from cheep.season.embed import best_window
from cheep.season.lessons import _windows, lessons_manifest, lessons_of, part_groups
from cheep.season.order import by_value, like
from cheep.season.verdicts import MarkedBox, Verdict, VerdictLog, judge
from scored_season import LABEL, scored_season


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A season of which two recordings have sound: noise, with a tone of 1 kHz from 30 s to 33 s."""
    folder = tmp_path_factory.mktemp("learn")
    season, truth = scored_season(folder, nights=4)
    rng = np.random.default_rng(1)
    for row in season.recordings().to_pylist():
        path = folder / "card" / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = 0.01 * rng.standard_normal(60 * 16000)
        sound[30 * 16000 : 33 * 16000] += 0.3 * np.sin(2 * np.pi * 1000 * np.arange(3 * 16000) / 16000)
        soundfile.write(path, sound, 16000)
    return season, truth


def judged_clip(answer, **more):
    (item,) = judge([Verdict("r", "bird", 6.0, 9.0, answer, **more)]).values()
    return item


def test_windows_of_a_verdict():
    known = {"bird", "fox", "background"}
    assert _windows(judged_clip("right"), 7.5, 1.0, "background", known) == [("bird", 7.5)]
    assert _windows(judged_clip("right"), 8.9, 1.0, "background", known) == [("bird", 8.0)]  # inside the clip
    wrong = _windows(judged_clip("wrong"), 7.5, 1.0, "background", known)
    assert wrong == [("background", 6.0), ("background", 7.0), ("background", 8.0)]
    assert _windows(judged_clip("other", other="fox"), 7.5, 1.0, "background", known) == [("fox", 7.5)]
    assert {name for name, _ in _windows(judged_clip("other", other="wolf"), 7.5, 1.0, "background", known)} == {
        "background"
    }
    boxes = (MarkedBox(6.2, 6.6, "bird"), MarkedBox(8.6, 9.0, "fox"))
    assert _windows(judged_clip("right", boxes=boxes), 7.5, 1.0, "background", known) == [("bird", 6.0), ("fox", 8.0)]


def test_nights_of_the_judge_stay_the_judges(scored, tmp_path):
    class Here:
        folder = tmp_path

    groups = [f"site{i} night{j}" for i in range(2) for j in range(10)]
    judges = part_groups(Here, groups)
    assert 4 <= len(judges) <= 8
    assert part_groups(Here, groups) == judges
    more = part_groups(Here, [*groups, *(f"site3 night{j}" for j in range(10))])
    assert more > judges
    with pytest.raises(CheepError, match="two nights"):
        part_groups(Here, groups[:1])


def test_lessons_are_cut_and_keep_their_groups(scored, tmp_path):
    season, _ = scored
    rows = season.recordings().to_pylist()
    log = VerdictLog(season.folder, "anna")
    for row in rows[:3]:
        log.add(Verdict(row["recording"], LABEL, 30.0, 33.0, "right"))
        log.add(Verdict(row["recording"], LABEL, 3.0, 6.0, "wrong"))
    log.add(Verdict(rows[0]["recording"], LABEL, 9.0, 12.0, "unsure"))
    lessons = lessons_of(season, LABEL)
    assert len(lessons) == 6 and len({item.group for item in lessons}) == 3
    run = tmp_path / "run"
    run.mkdir()
    (run / "training.json").write_text(
        json.dumps({"labels": ["background", "high", "low"], "background": "background"})
    )
    found = lessons_manifest(season, season.model(), lessons, tmp_path / "clips", run)
    assert sorted(set(found.column("label"))) == ["background", LABEL]
    assert set(found.column("group")) == {item.group for item in lessons}
    by_group = {(group, split) for group, split in zip(found.column("group"), found.column("split"), strict=True)}
    assert len(by_group) == 3 and {split for _, split in by_group} == {"train", "val"}
    first = found.audio_path(found.column("label").index(LABEL))
    cut, rate = soundfile.read(first)
    assert rate == 16000 and 3.0 <= len(cut) / rate < 3.2 and np.abs(cut).mean() > 0.1
    assert (found.start_s + found.duration_s <= 3.06).all()


def judged_set(rng, gain, n=600, groups=20, tilt=0.0):
    present = rng.random(n) < 0.4
    group = rng.integers(0, groups, n)
    before = np.where(present, 1.0, -1.0) + rng.normal(0, 1.2, n)
    after = before + np.where(present, gain, -gain) + rng.normal(0, 0.3, n) + tilt
    return Judged(present, before, after, np.ones(n), np.full(n, 3 / 3600), group, 1.0)


def test_a_round_that_fails_is_none(tmp_path):
    with pytest.raises(CheepError), nothing_left(tmp_path / "rounds/01"):
        (tmp_path / "rounds/01/clips").mkdir(parents=True)
        raise CheepError("no recordings")
    assert list((tmp_path / "rounds").iterdir()) == []


def test_the_better_model_is_promoted_and_no_other():
    rng = np.random.default_rng(5)
    better = compare(judged_set(rng, 0.6, tilt=3.0), rng)  # another level of scores is no matter
    promoted, why = better.verdict()
    assert promoted and better.new_recall > better.old_recall and "more" in why
    assert better.gain.low > 0 and better.alarms_ratio.high < 1
    same = [compare(judged_set(np.random.default_rng(seed), 0.0), rng, draws=200).verdict()[0] for seed in range(30)]
    assert sum(same) <= 3
    worse = compare(judged_set(rng, -0.5), rng)
    assert not worse.verdict()[0] and "the old model stays" in worse.verdict()[1]
    few = compare(judged_set(rng, 1.0, n=12, groups=4), rng)
    assert not few.verdict()[0] and "too few to say" in few.verdict()[1]


def test_false_alarms_are_kept_equal():
    judged = Judged(
        np.array([True, True, True, False, False, False]), np.array([3.0, 2, 0, 2.5, -1, -2]),
        np.array([3.0, 2, 1, 2.5, 0.5, -2]), np.ones(6), np.full(6, 0.1), np.arange(6), 1.0,
    )  # fmt: skip
    found = compare(judged, np.random.default_rng(0), draws=50)
    assert (found.old_recall, found.new_recall) == (pytest.approx(2 / 3), 1.0)
    assert found.old_false_alarms == pytest.approx(1 / 0.6) and 0.5 < found.new_threshold <= 1.0


def test_order_by_value_asks_for_what_is_unsure_and_various():
    rng = np.random.default_rng(2)
    kind = rng.integers(0, 10, 2000)
    embedding = np.eye(10)[kind] * 5 + rng.normal(0, 0.2, (2000, 10))
    logit = rng.normal(-4, 2, 2000)
    rows = by_value(logit, embedding, 10, threshold=0.0)
    assert len(set(rows.tolist())) == 10 and np.sum(np.abs(logit[rows]) < 1) >= 5 and logit[rows].max() > 1
    assert len(set(kind[rows].tolist())) >= 7  # not ten times the same sound
    again = by_value(logit, embedding, 10, threshold=0.0, heard=rows)
    assert not set(again.tolist()) & set(rows.tolist())
    assert len(by_value(logit, embedding, 5, heard=np.arange(1998))) == 2
    heard = np.r_[np.flatnonzero(kind == 3)[:20], np.flatnonzero(kind != 3)[:20]]
    taught = by_value(logit, embedding, 20, heard=heard, present=kind[heard] == 3)
    assert not set(taught.tolist()) & set(heard.tolist())
    found, distance = like(embedding, embedding[7], 5)
    assert found[0] == 7 and distance[0] == pytest.approx(0, abs=1e-5) and set(kind[found]) == {kind[7]}


def test_the_best_window_lies_in_the_clip(scored):
    model = scored[0].model()
    logits = np.zeros(40)
    logits[[3, 30]] = 5.0, 9.0
    middle = 3 * model.stride_s + model.window_s / 2
    assert best_window(model, logits, middle - 1, middle + 1) == pytest.approx(3 * model.stride_s)
    assert best_window(model, logits, 1000.0, 1003.0) == 1000.0  # no window reaches there
