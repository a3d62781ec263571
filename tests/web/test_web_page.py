# SPDX-License-Identifier: MIT
"""The page in a real Chromium, a WAV as its microphone: the same bits as the host build, no error, no backlog."""

import base64
import json
import threading
import urllib.request

import numpy as np
import pytest
import soundfile

from cheep.boards.host import HostApplication
from cheep.cli import main
from cheep.config import DetectorConfig, FeatureConfig
from cheep.device import Engine
from cheep.errors import CheepError
from cheep.export import load_export
from cheep.features import compute_features, quantize
from cheep.web import build, build_page, build_wasm
from cheep.web.serve import make_server
from chromium_page import chromium
from tone_model import overloaded, tones, write_tone_run

# 62.5 columns a second: more than the 60 that must be kept up with
FEATURES = FeatureConfig(hop_samples=128, window_frames=60)
DETECTOR = DetectorConfig(stride_frames=16, smoothing_windows=2, hold_off_windows=2, threshold=(None, 0.6, 0.6))
SPANS = [(1.0, 2.0, "high"), (3.5, 5.0, "low"), (6.5, 7.2, "high")]
SECONDS = 9.0
RATE = FEATURES.sample_rate_hz


COLOURS = (
    "(() => { const c = document.getElementById('spectrogram');"
    "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const s = new Set();"
    "for (let i = 0; i < d.length; i += 4) s.add(d[i] * 65536 + d[i + 1] * 256 + d[i + 2]); return s.size })()"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_tone_run(tmp_path_factory.mktemp("tone"), FEATURES, DETECTOR)


@pytest.fixture(scope="module")
def pcm():
    return tones(SPANS, SECONDS)


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    """The built page on a server of our own; yields its address."""
    folder = tmp_path_factory.mktemp("page")
    build_page(run, folder)
    with make_server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def host_lines(run, pcm):
    application = HostApplication(load_export(run))
    lines = [json.loads(line) for line in [*application.run(pcm), *application.finish()]]
    application.close()
    return [line for line in lines if line["type"] == "event"]


def java_script_hash(values):
    total = 0
    for value in values.reshape(-1).tolist():
        total = (total * 31 + value) & 0xFFFFFFFF
    return total - (1 << 32) if total >= 1 << 31 else total


def test_microphone_gives_the_bits_of_the_host_build(run, page, pcm, tmp_path):
    wav = tmp_path / "microphone.wav"
    soundfile.write(wav, np.concatenate([np.zeros(RATE, np.int16), pcm]), RATE)  # played again from its end on
    options = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with chromium(*options, f"--use-file-for-fake-audio-capture={wav}") as browser:
        browser.open(page + "?keep-all")
        browser.wait_for("cheep.seen.state === 'ready'")
        assert browser.evaluate("cheep.seen.boot.type") == "boot"
        browser.evaluate("document.getElementById('start').click()")
        browser.wait_for("cheep.seen.state === 'listening'")
        browser.wait_for(f"cheep.seen.counts.samples > {int((SECONDS + 2.5) * RATE)}")
        browser.wait_for("cheep.seen.counts.columns - cheep.seen.drawn <= 20")  # drawn as they come: no backlog
        browser.evaluate("document.getElementById('start').click()")
        browser.wait_for("cheep.seen.state === 'stopped'")
        audio = base64.b64decode(
            browser.evaluate(
                "(async () => { const b = new Uint8Array(await (await cheep.save()).arrayBuffer()); let s = '';"
                "for (const x of b) s += String.fromCharCode(x); return btoa(s) })()"
            )
        )
        seen = browser.evaluate("({...cheep.seen, hash: cheep.columnHash})")  # the worker answers in order: all is in
        assert browser.console == []
        assert all(url.startswith((page, "data:", "blob:")) for url in browser.requests)
        for width in (400, 1400):
            browser.screenshot(tmp_path / f"page-{width}.png", width)
            assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            browser.wait_for(f"{COLOURS} > 30")  # the spectrogram shows something, at this width too
    (tmp_path / "heard.wav").write_bytes(audio)
    heard, rate = soundfile.read(tmp_path / "heard.wav", dtype="int16")
    assert rate == RATE and len(heard) == seen["counts"]["samples"]

    # the same bits: columns, scores and events of the host build on what the page heard
    engine = Engine(run)
    columns = quantize(compute_features(heard, FEATURES), engine.bundle.input.scale, engine.bundle.input.zero_point)
    result = engine.push(heard)
    assert seen["counts"]["columns"] == len(columns) == seen["columns"]
    assert seen["hash"] == java_script_hash(columns)
    assert seen["scores"] == [window.scores.tolist() for window in result.windows]
    events = [line for line in seen["lines"] if line["type"] == "event"]
    assert events == host_lines(run, heard)

    # the same events as the file itself gives, shifted by the start
    offline = Engine(run).run(pcm)
    found = [event for event in events if event["state"] == "end"][: len(offline)]
    if [event["label"] for event in found] != [event.label for event in offline] and overloaded():
        pytest.skip(overloaded())  # the browser's microphone lost samples
    assert [event["label"] for event in found] == [event.label for event in offline] == ["high", "low", "high"]
    shift = found[0]["start_s"] - offline[0].start_s
    for event, expected in zip(found, offline, strict=True):
        assert abs(event["start_s"] - shift - expected.start_s) <= 2 * engine.bundle.stride_s

    # a small part of one core is enough for more than 60 columns a second
    seconds = seen["counts"]["samples"] / RATE
    assert seen["counts"]["columns"] / seconds == pytest.approx(62.5, rel=0.02)
    assert seen["counts"]["busyMs"] / 1000 / seconds < 0.25


def test_a_recording_from_disk_gives_its_events(run, page, pcm, tmp_path):
    wav = tmp_path / "recording.wav"
    soundfile.write(wav, pcm, RATE)
    with chromium() as browser:
        browser.open(page)
        browser.wait_for("cheep.seen.state === 'ready'")
        root = browser.page("DOM.getDocument")["root"]["nodeId"]
        node = browser.page("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        browser.page("DOM.setFileInputFiles", nodeId=node, files=[str(wav)])
        browser.wait_for("cheep.seen.state === 'done'")
        events = browser.evaluate("cheep.seen.lines.filter(l => l.state === 'end')")
        assert [event["label"] for event in events] == ["high", "low", "high"]
        assert browser.evaluate("document.querySelectorAll('#events tr').length") == 3
        assert browser.console == []


@pytest.mark.parametrize(
    ("options", "setup", "words"),
    [
        (("--use-fake-device-for-media-stream",), "denied", "The microphone is blocked for this page"),
        (("--use-fake-ui-for-media-stream",), "", "No microphone was found"),
    ],
)
def test_a_refused_or_missing_microphone_says_what_to_do(page, options, setup, words):
    with chromium(*options) as browser:
        if setup:
            browser.call("Browser.setPermission", permission={"name": "microphone"}, setting=setup)
        browser.open(page)
        browser.wait_for("cheep.seen.state === 'ready'")
        browser.evaluate("document.getElementById('start').click()")
        browser.wait_for("cheep.seen.state === 'failed'")
        assert words in browser.evaluate("document.getElementById('message').textContent")
        assert not browser.evaluate("document.getElementById('start').disabled")  # may try again


def test_the_module_is_the_same_every_time_and_small(run):
    export = load_export(run)
    module = build_wasm(export)
    assert module[:4] == b"\0asm" and module == build_wasm(export)
    assert len(module) < 100_000


def test_the_command_writes_a_folder_to_host(run, tmp_path, capsys):
    assert main("listen", ["--model", str(run), "--web-folder", str(tmp_path / "site")]) == 0
    assert "host the folder" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "site").iterdir()} == {*build.PAGE_FILES, build.WASM, build.MODEL}


def test_the_server_speaks_the_right_types_and_says_when_its_port_is_taken(page):
    with urllib.request.urlopen(page + "cheep.wasm") as answer:
        assert answer.headers["Content-Type"] == "application/wasm"
    port = int(page.rsplit(":", 1)[1].strip("/"))
    with pytest.raises(CheepError, match="choose another"):
        make_server(".", port)


def test_without_a_compiler_the_message_says_what_to_install(monkeypatch):
    build.find_wasm_compiler.cache_clear()
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    try:
        with pytest.raises(CheepError, match="apt-get install clang lld"):
            build.find_wasm_compiler()
    finally:
        build.find_wasm_compiler.cache_clear()
