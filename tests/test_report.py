"""The report: looked at in a real browser, complete, self-contained, the same content three times."""

import dataclasses
import json
import re

import numpy as np
import pytest

from browser import Browser
from cheep.device.bundle import load_bundle
from cheep.errors import CheepError
from cheep.evaluate.windows import WindowScores
from cheep.files import write_json
from cheep.report import History, RunResults, Soundscape, boards, write_report
from cheep.report.collect import results_of_run
from cheep.report.extras import with_extras
from cheep.report.figures import spectrogram_figure
from report_example import LABELS, example_run, example_scores
from tone_model import write_tone_run


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report(example_run(), tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def browser():
    with Browser() as one:
        yield one


@pytest.mark.parametrize("width", [400, 1400])
def test_page_in_chromium(report, browser, width, tmp_path):
    browser.open(report[0], width)
    assert browser.errors() == []
    outside = [url for url in browser.requests() if not url.startswith(("data:", "file:"))]
    assert outside == [] and sum(url.startswith("file:") for url in browser.requests()) == 1
    pictures = browser.run(
        "[...document.images].map(i => [i.naturalWidth, i.naturalHeight, i.getBoundingClientRect().right, i.alt])"
    )
    assert len(pictures) == 15
    for natural_width, natural_height, right, alt in pictures:
        assert natural_width > 100 and natural_height > 50, alt
        assert right <= width and alt
    # Nothing sticks out: wide tables scroll within their own box.
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.querySelectorAll('audio').length") == 4
    durations = browser.run(
        "Promise.all([...document.querySelectorAll('audio')].map(a => new Promise((ok, no) => {"
        "a.onloadedmetadata = () => ok(a.duration); a.onerror = () => no(a.error.message); a.preload = 'metadata';"
        "a.load(); })))"
    )
    assert durations == pytest.approx([2.0] * 4, abs=0.05)
    assert browser.run("getComputedStyle(document.body).color") == "rgb(28, 36, 48)"
    assert browser.run("document.querySelector('h1').textContent") == "Three birds against background"
    links = browser.run("[...document.querySelectorAll('nav a')].map(a => !!document.querySelector(a.hash))")
    assert len(links) == 11 and all(links)
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 50_000
    assert browser.errors() == []


def test_print(report, browser):
    browser.open(report[0], 1000)
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.run("getComputedStyle(document.querySelector('audio')).display") == "none"
    assert browser.print_pages().startswith(b"%PDF")
    browser.call("Emulation.setEmulatedMedia", media="")


def test_html_escapes_names_and_asks_for_nothing(report):
    text = report[0].read_text()
    assert "rock thrush &amp; &lt;kin&gt;" in text and "<kin>" not in text
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    assert "<script" not in text


def test_the_same_results_give_the_same_bytes(report, tmp_path):
    again = write_report(example_run(), tmp_path / "other.html")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in report]
    assert [path.name for path in again] == ["other.html", "other.md", "other.json"]


def test_json_and_markdown_hold_the_same_content(report):
    values = json.loads(report[2].read_text())
    text = report[1].read_text()
    clips = example_scores().clips()
    table = values["test"]["confusion"]
    assert table["labels"] == list(LABELS)
    assert np.sum(table["counts"]) == 100 == values["test"]["clips"]
    assert np.trace(table["counts"]) == (clips.scores.argmax(1) == clips.targets.argmax(1)).sum()
    rows = {row["label"]: row for row in values["soundscapes"][0]["rows"]}
    assert rows["all"]["annotations"] == 48 and rows["all"]["false_alarms"] == 1
    assert rows["all"]["false_alarms_per_hour"] == pytest.approx(6)
    assert len(values["mistakes"]) == 3 and values["boards"][1]["fits"] is False
    for row in values["test"]["per_class"]:
        assert f"| {row['label']} | {row['clips']} | {row['precision']:.3f}" in text
    for line in ("## Robustness", "| noise at 10 dB | 0.42 | 2.50 | 0.902 |", "## Worst mistakes", "## Boards"):
        assert line in text
    assert "| int8 | 95.1 % | 91.0 % | 0.990 | 0.980 | 15,832 | 30,244 | 9,112 | 23,900 | 1,003,121 |" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):  # every table is rectangular
        assert len({line.count("|") - line.count("\\|") for line in block.splitlines()}) == 1, block


def test_a_run_of_which_little_is_known_still_gives_a_page(browser, tmp_path):
    paths = write_report(RunResults("Bare", ("bird",)), tmp_path / "bare.html")
    browser.open(paths[0], 400)
    assert browser.errors() == []
    assert browser.run("document.querySelectorAll('section').length") == 2
    one = WindowScores(("bird",), "sigmoid", np.ones((3, 1)), np.full((3, 1), 0.7), np.arange(3))  # one kind only
    odd = RunResults(
        "Odd", ("bird",), test=one, histories=(History("none", {"loss": []}),), reject_below=0.9,
        soundscapes=(Soundscape("quiet", 30.0, (), ()),),
    )  # fmt: skip
    paths = write_report(odd, tmp_path / "odd.html")
    browser.open(paths[0], 1400)
    assert browser.errors() == []
    assert json.loads(paths[2].read_text())["test"]["per_class"][0]["window_roc_auc"] is None


def test_spectrogram_of_next_to_nothing():
    for pcm in (np.zeros(8000, np.int16), np.zeros(10, np.int16), np.full(300, -32768, np.int16)):
        assert spectrogram_figure(pcm, 8000).startswith(b"\x89PNG")


def test_what_calibration_and_evaluation_leave_is_shown(tmp_path):
    run = dataclasses.replace(example_run(), operating=(), robustness=(), tables=())
    rate = {"value": 0.5, "low": 0.1, "high": 1.2, "confidence": 0.95}
    label = {
        "label": LABELS[1], "threshold": 0.7, "false_alarms_per_hour": rate, "recall": rate, "hours": 3.0,
        "note": "few",
        "curve": {"threshold": [0.2, 0.7], "false_alarms_per_hour": [9.0, 0.5], "recall": [0.9, None]},
    }  # fmt: skip
    write_json(tmp_path / "calibration.json", {"labels": [label], "model_sha256": run.model_sha256})
    row = {
        "label": "a", "annotations": 3, "found": 2, "false_alarms": 1, "average_precision": None, "recall_ci": rate,
        "precision_ci": None, "f1_ci": None, "false_alarms_per_hour_ci": rate,
    }  # fmt: skip
    spoilt = {"condition": "rain", "recall": 0.4, "false_alarms_per_hour": 2.0}
    write_json(
        tmp_path / "field.json",
        {"hours": 2.0, "rows": [row], "robustness": [spoilt], "model_sha256": run.model_sha256},
    )
    shown = with_extras(run, tmp_path)
    assert shown.operating[0].chosen_false_alarms_per_hour == (0.5, 0.1, 1.2)
    assert shown.robustness[0].condition == "rain" and "0.50 (0.10–1.20)" in shown.tables[0][2][0]
    text = write_report(shown, tmp_path / "r.html")[1].read_text()
    assert "rain" in text and "## False alarms per hour" in text
    other = dataclasses.replace(run, model_sha256="another")  # results of another model are not shown
    assert with_extras(other, tmp_path) == other


def test_board_table_is_measured_else_computed(tmp_path, monkeypatch):
    bundle = load_bundle(write_tone_run(tmp_path))
    rows = boards.board_rows(bundle)
    assert len(rows) >= 3 and all(row.fits for row in rows)
    moth, esp32 = rows[0], rows[1]
    assert "AudioMoth" in moth.board and "ESP32" in esp32.board
    assert moth.ms_per_second == pytest.approx(esp32.ms_per_second * 5 / 1.6)  # 48 against 240 MHz at 1.6 cycles
    assert moth.flash_used == esp32.flash_used and moth.flash_budget < esp32.flash_budget
    assert "days of 2500 mAh" in moth.note

    def no_tools(*_):
        raise CheepError("arm-none-eabi-gcc: not found\nmore")

    monkeypatch.setattr(boards, "size_report", no_tools)
    computed = boards.board_rows(bundle)[0]
    assert computed.ms_per_second is None and computed.note == "compiled, not measured (arm-none-eabi-gcc: not found)"
    assert computed.ram_used == pytest.approx(moth.ram_used, rel=0.5)
    monkeypatch.setattr(boards, "compile_model", no_tools)
    tflm = boards.board_rows(bundle)[0]
    assert tflm.note.startswith("tflm") and tflm.flash_used > computed.flash_used + 30_000


def test_results_of_a_missing_run_name_the_command(tmp_path):
    with pytest.raises(CheepError, match=r"training.json: missing; make it with python src/train.py"):
        results_of_run(tmp_path, "x")
