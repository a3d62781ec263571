# SPDX-License-Identifier: MIT
"""The review: what the desk offers, what the server lets through, and the page in a real browser."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from cheep.cli import main
from cheep.errors import CheepError
from cheep.review import Desk, alike, make_server
from cheep.review.clips import Filter
from cheep.review.sound import levels
from cheep.season import Season
from cheep.season.schema import DETECTIONS
from cheep.season.verdicts import Verdict, VerdictLog, read_verdicts
from chromium_page import chromium
from recorder_files import put, wav
from tone_model import tones, write_tone_run

CALLS = [(1 + 0.7 * k, 1.4 + 0.7 * k, "high" if k % 2 else "low") for k in range(14)]


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    """Two sites, a recording each."""
    top = tmp_path_factory.mktemp("review")
    model = write_tone_run(top / "run")
    for number, site in enumerate(("ridge", "old oak")):
        put(
            top / f"cards/{site}/{datetime(2026, 6, 1, 5, 59, 58) + timedelta(days=number):%Y%m%d_%H%M%S}.WAV",
            wav(tones(CALLS, 12, seed=number)),
        )
    scan = [str(top / "cards"), "--season", str(top / "season"), "--model", str(model), "--jobs", "1"]
    assert main("scan", scan) == 0
    return top / "season"


@pytest.fixture
def season(card, tmp_path):
    """A season of its own: the tables are shared, the verdicts are not."""
    folder = tmp_path / "season"
    folder.mkdir()
    for item in card.iterdir():
        (folder / item.name).symlink_to(item)
    return Season(folder)


@pytest.fixture
def served(season):
    """A desk and the address of its server."""
    desk = Desk(season, "ann")
    server = make_server(desk)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield desk, server
    server.shutdown()
    server.server_close()


def numbers(desk, order="score", **wanted):
    return [item.number for item in desk.questions("detections", Filter(**wanted), order)]


def test_clips_are_filtered_and_sorted(season):
    desk = Desk(season, "ann")
    everything = numbers(desk)
    scores = desk.clips.score[everything]
    assert len(everything) == season.detections().num_rows > 8
    assert (np.diff(scores) <= 0).all()
    assert numbers(desk, "low score") != everything
    assert sorted(numbers(desk, "random")) == sorted(everything) and numbers(desk, "random") != everything
    assert {desk.clip(n)["label"] for n in numbers(desk, label="low")} == {"low"}
    assert {desk.clip(n)["site"] for n in numbers(desk, site="old oak")} == {"old oak"}
    assert {desk.clip(n)["local"][:10] for n in numbers(desk, first_date="2026-06-02")} == {"2026-06-02"}
    assert numbers(desk, last_date="2026-05-31") == [] == numbers(desk, label="none such")
    middle = float(np.median(scores))
    assert set(numbers(desk, lowest=middle)) & set(numbers(desk, highest=middle - 1e-6)) == set()
    for wrong in ({"state": "odd"}, {"first_date": "June"}):
        with pytest.raises(CheepError):
            numbers(desk, **wrong)


def test_a_verdict_is_on_the_disk_and_can_be_taken_back(season):
    desk = Desk(season, "ann")
    first, second = numbers(desk)[:2]
    box = {"start_s": 1.0, "end_s": 1.4, "label": "low", "low_hz": 800.0, "high_hz": 1200.0}
    desk.answer(first, {"answer": "right", "boxes": [box]}, "detections")
    desk.answer(second, {"answer": "other", "other": "owl"}, "detections")
    found = read_verdicts(season.folder).verdicts
    assert [(item.answer, item.other, item.reviewer) for item in found] == [
        ("right", "", "ann"),
        ("other", "owl", "ann"),
    ]
    assert found[0].clip == desk.clips.clip(first) and found[0].boxes[0].high_hz == 1200
    assert numbers(desk, state="done") == [first, second]
    assert desk.undo() == second and numbers(desk, state="done") == [first]
    assert desk.undo() == first and desk.undo() is None and not numbers(desk, state="done")
    for wrong in ({"answer": "perhaps"}, {"answer": "other"}, {"answer": "right", "boxes": [{"start": 1}]}):
        with pytest.raises(CheepError):
            desk.answer(first, wrong, "detections")


def test_two_reviewers_see_each_other_and_their_agreement(season):
    desk = Desk(season, "ann")
    order = numbers(desk)[:6]
    for place, number in enumerate(order):
        desk.answer(number, {"answer": "right" if place < 3 else "wrong"}, "detections")
        clip = desk.clips.clip(number)
        answer = "right" if place < 2 else "wrong"
        VerdictLog(season.folder, "bob").add(
            Verdict(clip.recording, clip.label, clip.start_ms / 1000, clip.end_ms / 1000, answer)
        )
    status = desk.status("detections")
    assert status["reviewers"] == {"ann": 6, "bob": 6} and status["done"] == 6
    pair = status["agreement"][0]
    assert pair["clips"] == 6 and pair["agreement"] == pytest.approx(5 / 6) and pair["kappa"] == pytest.approx(2 / 3)
    assert numbers(desk, state="disputed") == [order[2]]


def test_a_plan_asks_its_clips_in_its_order_and_some_twice(season):
    command = ["plan", str(season.folder), "--label", "low", "--want", "precision:0.2", "--name", "first"]
    assert main("season", command) == 0
    desk = Desk(season, "ann")
    plan = desk.plans["first"]
    asked = desk.questions("plan:first", Filter(state="open"), "plan")
    assert [desk.clips.clip(item.number) for item in asked] == [item.clip for item in plan.items]
    status = desk.status("plan:first")
    assert status["done"] == 0 and status["of"] >= len(plan.items)
    assert desk.about()["plan"] is None and Desk(season, "ann", plan="first").about()["plan"] == "first"
    with pytest.raises(CheepError, match=r"--plan frist: .*first"):
        Desk(season, "ann", plan="frist")
    for item in asked:
        desk.answer(item.number, {"answer": "right", "ask": item.ask}, "plan:first")
    again = desk.questions("plan:first", Filter(state="open"), "plan")
    assert all(item.ask == 1 for item in again)
    if again:
        assert desk.clip(again[0].number, ask=1)["verdicts"] == []  # not told what was said before
    assert {item.plan for item in read_verdicts(season.folder).verdicts} == {"first"}
    assert desk.status("plan:first")["done"] == len(plan.items)


def test_a_plan_asks_all_its_clips_whatever_their_scores(season):
    """A plan's scores are logits, also below 0; the page shows and filters probabilities."""
    command = ["plan", str(season.folder), "--label", "low", "--want", "recall:0.2", "--name", "all", "--clip-s", "0.6"]
    assert main("season", command) == 0
    desk = Desk(season, "ann")
    items = desk.plans["all"].items
    assert min(item.score for item in items) < 0 < max(item.score for item in items)
    asked = desk.questions("plan:all", Filter(state="open"), "plan")
    assert [desk.clips.clip(item.number) for item in asked] == [item.clip for item in items]
    shown = [desk.clip(item.number)["score"] for item in asked]
    assert all(abs(p - 1 / (1 + np.exp(-item.score))) < 1e-3 for p, item in zip(shown, items, strict=True))


def test_orders_by_value_and_by_likeness(season, monkeypatch):
    """With embeddings that tell the labels apart; the tones' own network has none, and says so."""
    desk = Desk(season, "ann")
    with pytest.raises(CheepError, match="order='value'"):
        numbers(desk, "value")
    with pytest.raises(CheepError, match="does not end in a dense layer"):
        desk.embed(10)

    def embeddings(season, model, places, progress):
        rng = np.random.default_rng(0)
        codes = desk.clips.label[: len(places)]
        return np.eye(8)[codes].astype(np.float32) + rng.normal(0, 0.05, (len(places), 8)).astype(np.float32), []

    monkeypatch.setattr(alike, "cut_at_embedding", lambda _: None)
    monkeypatch.setattr(alike, "embeddings_of", embeddings)
    assert desk.embed(1000) == []
    everything = numbers(desk)
    by_value = numbers(desk, "value", state="open")
    assert sorted(by_value) == sorted(everything)
    seen = desk.questions("detections", Filter(), "like this one", like=everything[0])
    assert seen[0].number == everything[0] and len(seen) == len(everything)
    label = desk.clip(everything[0])["label"]
    nearest = [desk.clip(item.number)["label"] for item in seen[: len(seen) // 3]]
    assert set(nearest) == {label}
    for number in by_value[:3]:
        desk.answer(number, {"answer": "wrong"}, "detections")
    rest = numbers(desk, "value", state="open")
    assert set(rest) == set(everything) - set(by_value[:3])
    with pytest.raises(CheepError, match="no embedding"):
        desk.questions("detections", Filter(), "like this one", like=99_999)


def test_levels_show_a_tone_where_it_is():
    rate, hz = 8000, 1500
    picture, top = levels(np.sin(2 * np.pi * hz * np.arange(rate) / rate).astype(np.float32), rate)
    loudest = picture.astype(int).sum(axis=1).argmax()
    assert abs((loudest + 0.5) * top / len(picture) - hz) < top / len(picture)
    assert picture.max() == 255
    assert levels(np.zeros(10, np.float32), rate)[0].shape[1] == 1


def get(server, path, token=None, host=None, data=None):
    request = urllib.request.Request(f"http://127.0.0.1:{server.server_port}{path}", data=data)
    request.add_header("X-Cheep-Token", server.token if token is None else token)
    if host:
        request.add_header("Host", host)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_only_who_has_the_token_is_answered(served):
    _, server = served
    assert get(server, "/", token="")[0] == 200  # the page holds nothing of the season
    assert get(server, "/api/about")[0] == 200
    for path, wrong in (
        ("/api/about", {"token": ""}),
        ("/api/questions", {"token": server.token[:-1]}),
        ("/api/undo", {"token": "x", "data": b"{}"}),
        ("/", {"host": "example.org"}),
        ("/api/about", {"host": "example.org:80"}),
    ):
        status, text = get(server, path, **wrong)
        assert status == 403 and json.loads(text)["error"], path
    assert get(server, "/../server.py")[0] == 404 and get(server, "/server.py")[0] == 404
    for path in (
        "/api/clips/100000",
        "/api/questions?order=odd",
        "/api/questions?lowest=x",
        "/api/status?source=plan:x",
    ):
        status, text = get(server, path)
        assert status == 400 and json.loads(text)["error"], path
    assert get(server, "/api/clips/0/verdict", data=b"[1]")[0] == 400


def test_a_recording_that_is_gone_is_said(served, tmp_path):
    desk, server = served
    desk._recording = lambda _: {"folder": str(tmp_path), "path": "gone.wav"}
    status, text = get(server, "/api/clips/0/sound")
    assert status == 400 and "gone.wav" in json.loads(text)["error"]


def test_no_work_is_told_while_the_page_waits(season, monkeypatch, capsys):
    from cheep.commands import _progress

    told = []

    def serve(self):
        told.append(_progress._REPORTER._stop)  # what looks at the clock, to say "still working"
        raise KeyboardInterrupt

    monkeypatch.setattr("cheep.review.server._Server.serve_forever", serve)
    assert main("review", [str(season.folder), "--reviewer", "ann", "--no-browser"]) == 0
    assert told == [None] and "Ctrl-C ends" in capsys.readouterr().out


PICTURES_A_FRAME = """new Promise(done => {
  const player = document.getElementById("sound"), next = window.requestAnimationFrame;
  let frames = 0, asked = 0;
  window.requestAnimationFrame = (work) => { asked += 1; return next(work); };
  const count = () => frames++ < 20 ? next(count) : done(asked / frames);
  player.loop = true;
  player.play().then(() => next(count));
})"""


def test_review_by_keyboard_survives_reload_and_kill(season):
    """The page in Chromium: keys only; a reload and a SIGKILL of the server in the middle lose nothing."""
    total = season.detections().num_rows
    command = [sys.executable, "-m", "cheep", "review", str(season.folder), "--reviewer", "ann", "--no-browser"]

    def start():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": "src"})
        for line in process.stdout:
            if found := re.search(r"http://\S+", line):
                return process, found[0]
        raise AssertionError("no address")

    def press(key, then):
        browser.evaluate(
            f"document.body.dispatchEvent(new KeyboardEvent('keydown', {{ key: {key!r}, bubbles: true }})), true"
        )
        browser.wait_for(then)

    left = "cheepReview.clips.length"
    process, url = start()
    try:
        with chromium() as browser:
            browser.open(url)
            browser.wait_for("cheepReview.ready")
            assert browser.evaluate(left) == total
            press("1", f"{left} === {total - 1}")
            assert len(read_verdicts(season.folder)) == 1
            press("2", f"{left} === {total - 2}")
            press("z", f"{left} === {total - 1}")
            press("3", f"{left} === {total - 2}")
            assert 0 < browser.evaluate(PICTURES_A_FRAME) < 1.5  # whatever was played before
            press("b", "cheepReview.active")
            press("Enter", "cheepReview.boxes.length === 1")
            press("1", f"{left} === {total - 3}")
            press("4", "document.getElementById('other').open")
            browser.evaluate("document.querySelector('#other input').value = 'owl'")
            browser.evaluate("document.querySelector('#other button').click()")
            browser.wait_for(f"{left} === {total - 4}")
            browser.evaluate("cheepReview.before = true")
            browser.reload()
            browser.wait_for(f"!cheepReview.before && cheepReview.ready && {left} === {total - 4}")
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert browser.console == []
            browser.evaluate("document.querySelector('[data-answer=wrong]').click()")
            browser.wait_for("document.getElementById('message').textContent.includes('the server has ended')")
            process, url = start()
            browser.open(url)
            browser.wait_for(f"cheepReview.ready && {left} === {total - 4}")
            assert all(url.split("/#")[0] in one for one in browser.requests[-8:] if one.startswith("http"))
            assert browser.console == []
    finally:
        process.kill()
        process.wait()
    found = read_verdicts(season.folder)
    assert [item.answer for item in found.verdicts] == ["right", "unsure", "right", "other"]
    assert len(found.verdicts[2].boxes) == 1 and found.undone == 1 and not found.problems


def test_a_hundred_thousand_detections_open_at_once(season):
    """Filter, sort and first clip of a large season in CPU seconds; the bar is two."""
    some = season.detections()
    n = 100_000
    rows = np.arange(n) % some.num_rows
    table = some.take(pa.array(rows))
    start = pa.array(np.arange(n) * 0.5)
    table = table.set_column(table.schema.get_field_index("start_s"), "start_s", start)
    table = table.set_column(table.schema.get_field_index("end_s"), "end_s", pa.compute.add(start, 1.0)).cast(
        DETECTIONS
    )
    season.detections = lambda model=None: table
    began = time.process_time()
    desk = Desk(season, "ann")
    found = numbers(desk, state="open")
    desk.clip(found[0])
    assert len(found) == n
    assert time.process_time() - began < 2
