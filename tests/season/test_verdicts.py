# SPDX-License-Identifier: MIT
"""Verdicts: nothing lost, nothing counted twice; two reviewers; files of other programs and back."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from cheep.errors import CheepError
from cheep.season.exchange import import_verdicts, read_verdict_files, write_verdict_files
from cheep.season.export import export_detections, file_of, plain_name
from cheep.season.lookup import Recordings
from cheep.season.verdicts import MarkedBox, Verdict, VerdictLog, agreements, judge, read_verdicts
from scored_season import scored_season


def verdict(start=3.0, answer="right", label="bird", recording="a", **more):
    return Verdict(recording, label, start, start + 3, answer, **more)


def test_what_was_said_is_read_again(tmp_path):
    box = MarkedBox(3.5, 4.25, "bird", 1000.0, 3000.0)
    log = VerdictLog(tmp_path, "anna")
    given = [
        log.add(verdict(0.0, boxes=(box,), plan="p", note='says "tseep"')),
        log.add(verdict(3.0, "other", other="Parus major")),
        log.add(verdict(6.0, "unsure", ask=1)),
    ]
    found = read_verdicts(tmp_path)
    assert list(found.verdicts) == given
    assert [item.present for item in given] == [True, False, None]
    assert (found.undone, found.replaced, found.torn, found.problems) == (0, 0, 0, ())


def test_undo_brings_back_what_was_replaced(tmp_path):
    log = VerdictLog(tmp_path, "anna")
    log.add(verdict(answer="right"))
    second = log.add(verdict(answer="wrong"))
    assert [item.answer for item in read_verdicts(tmp_path).verdicts] == ["wrong"]
    assert read_verdicts(tmp_path).replaced == 1
    log.undo(second.id)
    assert [item.answer for item in read_verdicts(tmp_path).verdicts] == ["right"]
    with pytest.raises(CheepError, match="no verdict"):
        log.undo(second.id)


def test_asked_again_is_another_verdict(tmp_path):
    log = VerdictLog(tmp_path, "anna")
    log.add(verdict(answer="right"))
    log.add(verdict(answer="wrong", ask=1))
    (found,) = judge(read_verdicts(tmp_path).verdicts).values()
    assert found.present is None and found.disputed
    log.add(verdict(answer="wrong", ask=2))
    (found,) = judge(read_verdicts(tmp_path).verdicts).values()
    assert found.present is False


def test_a_torn_line_costs_itself_only(tmp_path):
    log = VerdictLog(tmp_path, "anna")
    log.add(verdict(0.0))
    whole = log.path.read_bytes()
    for cut in range(1, len(whole)):  # wherever a kill cuts the second line
        log.path.write_bytes(whole + whole[:cut])
        found = read_verdicts(tmp_path)
        assert len(found) == 1 and found.torn == (cut < len(whole) - 1), cut
        log.add(verdict(3.0))
        assert {item.start_s for item in read_verdicts(tmp_path).verdicts} == {0.0, 3.0}


def test_killed_while_it_writes_loses_no_answered_verdict(tmp_path):
    code = (
        "import sys; from cheep.season.verdicts import *\n"
        "log = VerdictLog(sys.argv[1], 'anna')\n"
        "for i in range(10**6):\n"
        "    log.add(Verdict('a', 'bird', float(i), i + 3.0, 'right')); print(i, flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    answered = [int(process.stdout.readline()) for _ in range(60)]
    process.kill()
    answered += [int(line) for line in process.stdout.read().split("\n") if line]
    process.wait()
    process.stdout.close()
    have = {int(item.start_s) for item in read_verdicts(tmp_path).verdicts}
    assert have >= set(answered) and len(have) <= len(answered) + 1


def test_a_damaged_line_is_named(tmp_path):
    log = VerdictLog(tmp_path, "anna")
    log.add(verdict())
    with open(log.path, "a") as stream:
        stream.write("{nonsense\n")
        for end, answer in ((-1, "right"), (1, "rigth")):
            values = {"recording": "a", "label": "bird", "start_s": 0, "end_s": end, "answer": answer}
            stream.write(json.dumps(values) + "\n")
    found = read_verdicts(tmp_path)
    assert len(found) == 1
    assert [":2:" in found.problems[0], ":3:" in found.problems[1], "did you mean 'right'" in found.problems[2]] == [
        True, True, True
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 41])
def test_a_reviewers_name_is_a_file_name(tmp_path, name):
    with pytest.raises(CheepError, match="reviewer="):
        VerdictLog(tmp_path, name)


def test_agreement_of_two_reviewers(tmp_path):
    answers = {"anna": "rrrrrwwwww?", "ben": "rrrrwwwwwrr"}
    words = {"r": "right", "w": "wrong", "?": "unsure"}
    for reviewer, text in answers.items():
        VerdictLog(tmp_path, reviewer).add_all([verdict(3.0 * i, words[c]) for i, c in enumerate(text)])
    (pair,) = agreements(read_verdicts(tmp_path).verdicts)
    assert (pair.first, pair.second, pair.clips, pair.unsure) == ("anna", "ben", 10, 1)
    assert pair.agreement == 0.8
    assert pair.kappa == pytest.approx((0.8 - 0.5) / (1 - 0.5))  # by hand: both say right in half of the clips
    judged = judge(read_verdicts(tmp_path).verdicts)
    assert sum(item.disputed for item in judged.values()) == 2


@pytest.fixture
def card(tmp_path):
    """Two recordings of 20 s, and verdicts of all kinds on them."""
    paths = {}
    for name in ("a", "b"):
        path = tmp_path / "card" / f"2026060{len(paths) + 1}_200000.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.1 * np.sin(np.arange(8000 * 20) * (0.1 + len(paths))), 8000)
        paths[name] = path
    box = MarkedBox(3.5, 4.25, "bird", 1000.0, 3000.0)
    return Recordings(paths), [
        verdict(0.0, "wrong", reviewer="anna"),
        verdict(3.0, boxes=(box,), reviewer="anna"),
        verdict(6.0, "unsure", recording="b", reviewer="ben"),
        verdict(12.0, "other", recording="b", other="Parus major", reviewer="ben"),
    ]


def told(verdicts, reviewer=True):
    return sorted(
        (item.clip, item.answer, item.other, item.boxes, item.reviewer if reviewer else "") for item in verdicts
    )


@pytest.mark.parametrize("kind", ["raven", "audacity", "csv", "whombat"])
def test_files_of_others_bring_back_the_verdicts(tmp_path, card, kind):
    if kind == "whombat":
        pytest.importorskip("soundevent", reason="requirements-exchange.txt is optional")
    recordings, verdicts = card
    target = tmp_path / {"csv": "v.csv", "whombat": "v.json"}.get(kind, "out")
    written = write_verdict_files(kind, target, verdicts, recordings)
    assert all(path.is_file() for path in written)
    found = read_verdict_files(target, recordings)
    assert not found.passed_over
    names = kind != "audacity"  # a label track has no place for them
    assert told(found.verdicts, names) == told(verdicts, names)
    assert import_verdicts(tmp_path / "season", "carla", found) == (4, 0)
    assert import_verdicts(tmp_path / "season", "carla", found) == (0, 4)


@pytest.fixture
def alike(tmp_path):
    """Two sites whose recorders named their files alike, as recorders do."""
    paths = {}
    for name, site in (("a", "ridge"), ("b", "old oak")):
        paths[name] = tmp_path / "card" / site / "20260601_200000.wav"
        paths[name].parent.mkdir(parents=True)
        soundfile.write(paths[name], 0.1 * np.sin(np.arange(8000 * 20) * 0.1), 8000)
    return Recordings(paths), [verdict(3.0), verdict(6.0, "wrong"), verdict(3.0, "wrong", recording="b")]


@pytest.mark.parametrize("kind", ["raven", "audacity", "csv", "birdnet", "whombat"])
def test_recordings_of_one_name_are_told_apart(tmp_path, alike, kind):
    if kind == "whombat":
        pytest.importorskip("soundevent", reason="requirements-exchange.txt is optional")
    recordings, verdicts = alike
    target = tmp_path / ("out.json" if kind == "whombat" else "out")
    written = write_verdict_files(kind, target, verdicts[1:], recordings)
    assert len(set(written)) == {"csv": 1, "whombat": 1}.get(kind, 2)
    found = read_verdict_files(target, recordings).verdicts
    assert sorted((item.clip, item.present) for item in found) == [
        (verdicts[1].clip, False), (verdicts[2].clip, False)
    ]  # fmt: skip
    target = tmp_path / target.name.replace("out", "one")
    write_verdict_files(kind, target, verdicts[:1], recordings)  # alone it needs its folder, too
    assert [item.clip for item in read_verdict_files(target, recordings).verdicts] == [verdicts[0].clip]


@pytest.mark.parametrize("kind", ["raven", "csv"])
def test_a_second_answer_comes_back_as_one(tmp_path, card, kind):
    recordings, verdicts = card
    given = [*verdicts, verdict(3.0, "wrong", reviewer="anna", ask=1)]
    write_verdict_files(kind, tmp_path / "out", given, recordings)
    VerdictLog(tmp_path / "season", "anna").add_all(item for item in given if item.reviewer == "anna")
    VerdictLog(tmp_path / "season", "ben").add_all(item for item in given if item.reviewer == "ben")
    assert import_verdicts(tmp_path / "season", "", read_verdict_files(tmp_path / "out", recordings)) == (0, 5)


def test_a_whombat_file_is_named_json(tmp_path, card):
    with pytest.raises(CheepError, match=r"--output .*out\.json"):
        write_verdict_files("whombat", tmp_path / "out", card[1], card[0])


def test_detections_are_no_verdicts(tmp_path):
    """What cheep season export writes is a model's; names it gives to files are understood."""
    season, _ = scored_season(tmp_path, nights=1)
    rows = season.recordings().to_pylist()
    recordings = Recordings({row["recording"]: file_of(row) for row in rows})
    for kind in ("csv", "birdnet", "raven", "audacity", "kaleidoscope"):
        target = tmp_path / kind
        export_detections(season, kind, target, model=season.model())
        if kind == "audacity":
            found = read_verdict_files(target, recordings, season.model().labels)
            assert not found.verdicts and set(found.passed_over) == {"detections without a verdict"}
            track = next(target.rglob("*.txt"))
            track.write_text("1.0\t2.0\tlow: right\n")
            (item,) = read_verdict_files(track, recordings).verdicts
            assert plain_name(recordings.path(item.recording).parent.name) in track.name
        else:
            with pytest.raises(CheepError, match=r"verdict"):
                read_verdict_files(target, recordings, season.model().labels)


def test_segments_of_birdnet_analyzer(tmp_path, card):
    recordings, verdicts = card
    paths = write_verdict_files("birdnet", tmp_path / "out", verdicts, recordings, {verdicts[1].clip: 0.91})
    assert "out/bird/Positive/0.910_2_20260601_200000_3s_6s.wav" in paths[1].as_posix()
    cut, rate = soundfile.read(paths[1], dtype="int16")
    whole, _ = soundfile.read(recordings.path("a"), dtype="int16")
    assert rate == 8000 and np.array_equal(cut, whole[3 * 8000 : 6 * 8000])
    found = read_verdict_files(tmp_path / "out", recordings)
    assert {(item.clip, item.present) for item in found.verdicts} == {
        (item.clip, item.present) for item in (verdicts[0], verdicts[3], verdicts[1])
    }  # of the unsure one nobody says anything


def test_a_table_of_plain_selections_is_of_right_ones(tmp_path, card):
    recordings, _ = card
    table = tmp_path / "20260601_200000.Table.1.selections.txt"
    table.write_text("Selection\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies\n"
                     "1\t1.5\t2.5\t900\t2000\tbird\n")  # fmt: skip
    (item,) = read_verdict_files(table, recordings).verdicts
    assert (item.recording, item.answer, item.boxes) == ("a", "right", (MarkedBox(1.5, 2.5, "bird", 900.0, 2000.0),))


def test_what_is_wrong_in_a_table_is_named(tmp_path, card):
    recordings, _ = card
    table = tmp_path / "v.csv"
    table.write_text("file,start_s,end_s,label,verdict\n20260601_200000.wav,0,3,bird,perhaps\n")
    with pytest.raises(CheepError, match=r"v.csv:2: verdict 'perhaps': must be right"):
        read_verdict_files(table, recordings)
    table.write_text("file,start_s,end_s,label,verdict\nelsewhere.wav,0,3,bird,yes\n20260601_200000.wav,0,3,bird,\n")
    found = read_verdict_files(table, recordings)
    assert dict(found.passed_over) == {"of recordings that the season does not have": 1, "without a verdict": 1}
    with pytest.raises(CheepError, match="no such file"):
        read_verdict_files(tmp_path / "nothing", recordings)


def test_a_whombat_project_of_somebody_else(tmp_path, card):
    data = pytest.importorskip("soundevent.data", reason="requirements-exchange.txt is optional")
    io = pytest.importorskip("soundevent.io", reason="requirements-exchange.txt is optional")
    recordings, _ = card
    path = recordings.path("a")
    recording = data.Recording(path=path, duration=20, channels=1, samplerate=8000)
    term = data.term_from_key("species")
    clips = [data.Clip(recording=recording, start_time=at, end_time=at + 3) for at in (0, 3, 6)]
    done = data.StatusBadge(state=data.AnnotationState.completed)
    project = data.AnnotationProject(
        name="theirs",
        clip_annotations=[
            data.ClipAnnotation(clip=clips[0], tags=[data.Tag(term=term, value="bird")]),
            data.ClipAnnotation(clip=clips[1]),
            data.ClipAnnotation(clip=clips[2]),
        ],
        tasks=[data.AnnotationTask(clip=clip, status_badges=[done] if clip is clips[1] else []) for clip in clips],
    )
    io.save(project, tmp_path / "theirs.json")
    found = read_verdict_files(tmp_path / "theirs.json", recordings, ["bird"])
    assert [(item.start_s, item.answer) for item in found.verdicts] == [(0.0, "right"), (3.0, "wrong")]
