# SPDX-License-Identifier: MIT
"""The report: looked at in a real browser, complete, self-contained, the same content three times."""

import dataclasses
import json
import re

import numpy as np
import pytest

from cheep import runs
from cheep.boards.data import find_board
from cheep.device.bundle import load_bundle
from cheep.errors import CheepError
from cheep.evaluate.windows import WindowScores
from cheep.export import load_export, render_detector_settings, write_files
from cheep.files import write_json
from cheep.live.upload import targets as upload_targets
from cheep.report import DataRow, DataSummary, History, RunResults, Soundscape, Threshold, boards, write_report
from cheep.report.boards import where_it_fits
from cheep.report.collect import commands_shown, next_step, results_of_run, season_table, thresholds_of
from cheep.report.content import test_content as content_of
from cheep.report.content import words_of
from cheep.report.extras import with_extras
from cheep.report.figures import spectrogram_figure
from cheep.report.results import BoardRow
from cheep.report.words import Words
from chromium_page import chromium
from report_example import LABELS, example_run, example_scores
from tone_model import write_tone_run


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report(example_run(), tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


@pytest.mark.parametrize("width", [400, 1400])
def test_page_in_chromium(report, browser, width, tmp_path):
    browser.open(report[0], width)
    assert browser.console == []
    outside = [url for url in browser.requests if not url.startswith(("data:", "file:"))]
    assert outside == [] and sum(url.startswith("file:") for url in browser.requests) == 1
    browser.evaluate("Promise.all([...document.images].map(picture => picture.decode()))")
    pictures = browser.evaluate(
        "[...document.images].map(i => [i.naturalWidth, i.naturalHeight, i.getBoundingClientRect().right, i.alt])"
    )
    assert len(pictures) == 15
    for natural_width, natural_height, right, alt in pictures:
        assert natural_width > 100 and natural_height > 50, alt
        assert right <= width and alt
    # Nothing sticks out: wide tables scroll within their own box, and on a desktop none has to.
    hidden = browser.evaluate("[...document.querySelectorAll('.scroll')].map(e => e.scrollWidth - e.clientWidth)")
    assert width < 1000 or max(hidden) <= 0
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("document.querySelectorAll('audio').length") == 4
    durations = browser.evaluate(
        "Promise.all([...document.querySelectorAll('audio')].map(a => new Promise((ok, no) => {"
        "a.onloadedmetadata = () => ok(a.duration); a.onerror = () => no(a.error.message); a.preload = 'metadata';"
        "a.load(); })))"
    )
    assert durations == pytest.approx([2.0] * 4, abs=0.05)
    assert browser.evaluate("getComputedStyle(document.body).color") == "rgb(28, 36, 48)"
    assert browser.evaluate("document.querySelector('h1').textContent") == "Three birds against background"
    assert "from 0:01.5" in browser.evaluate("document.querySelector('#mistakes').textContent")
    links = browser.evaluate("[...document.querySelectorAll('nav a')].map(a => !!document.querySelector(a.hash))")
    assert len(links) == 11 and all(links)
    browser.screenshot(tmp_path / "page.png", width)
    assert (tmp_path / "page.png").stat().st_size > 50_000
    assert browser.console == []


def test_print(report, browser):
    browser.open(report[0], 1000)
    browser.page("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.evaluate("getComputedStyle(document.querySelector('audio')).display") == "none"
    assert browser.pdf().startswith(b"%PDF")
    browser.page("Emulation.setEmulatedMedia", media="")


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
        low, high = row["recall_interval"] or (0, 0)
        interval = f"{low:.2f}–{high:.2f}" if high else "–"
        assert f"| {row['label']} | {row['clips']} | {row['recall']:.3f} | {interval} | {row['precision']:.3f}" in text
        assert not high or low < row["recall"] <= high
    for line in ("## Robustness", "| noise at 10 dB | 0.42 | 2.50 | 0.902 |", "## Worst mistakes", "## Boards"):
        assert line in text
    figures = "0.990 | 0.980 | 15,832 | 30,244 | 9,112 | 23,900 | 1,003,121 |"
    assert f"| int8 | 95.1 % | 89.3–97.9 | 91.0 % | 88.4–93.1 | {figures}" in text
    assert values["choices"] == list(example_run().choices)
    assert "What was chosen for these recordings, and why:\n\n- 16 kHz: 80% of <wren>" in text
    assert "80% of &lt;wren&gt;&#39;s energy lies above 4 kHz</li>" in report[0].read_text()
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):  # every table is rectangular
        assert len({line.count("|") - line.count("\\|") for line in block.splitlines()}) == 1, block


def test_a_run_of_which_little_is_known_still_gives_a_page(browser, tmp_path):
    paths = write_report(RunResults("Bare", ("bird",)), tmp_path / "bare.html")
    browser.open(paths[0], 400)
    assert browser.console == []
    assert browser.evaluate("document.querySelectorAll('section').length") == 2
    one = WindowScores(("bird",), "sigmoid", np.ones((3, 1)), np.full((3, 1), 0.7), np.arange(3))  # one kind only
    odd = RunResults(
        "Odd", ("bird",), test=one, histories=(History("none", {"loss": []}),), reject_below=0.9,
        soundscapes=(Soundscape("quiet", 30.0, (), ()),),
    )  # fmt: skip
    paths = write_report(odd, tmp_path / "odd.html")
    browser.open(paths[0], 1400)
    assert browser.console == []
    assert json.loads(paths[2].read_text())["test"]["per_class"][0]["window_roc_auc"] is None


def test_spectrogram_of_next_to_nothing():
    for pcm in (np.zeros(8000, np.int16), np.zeros(10, np.int16), np.full(300, -32768, np.int16)):
        assert spectrogram_figure(pcm, 8000).startswith(b"\x89PNG")


def test_what_calibration_and_evaluation_leave_is_shown(tmp_path):
    run = dataclasses.replace(example_run(), operating=(), robustness=(), tables=(), thresholds=())
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
    assert not shown.stale
    moved = dataclasses.replace(run, thresholds=(Threshold(LABELS[1], 0.6),))
    assert with_extras(moved, tmp_path).operating == ()  # curves whose point is not the detector's threshold
    other = dataclasses.replace(run, model_sha256="another")  # results of another model are not shown
    assert with_extras(other, tmp_path) == other


def test_board_table_is_measured_else_computed(tmp_path, monkeypatch):
    bundle = load_bundle(write_tone_run(tmp_path))
    rows = boards.board_rows(bundle)
    assert len(rows) >= 3 and all(row.fits for row in rows)
    moth, esp32 = rows[0], rows[1]
    assert "AudioMoth" in moth.board and "ESP32" in esp32.board
    board = find_board("audiomoth")
    filters_ms = 1000 * board.microphone_instructions(bundle.features.sample_rate_hz) / board.clock_hz
    assert filters_ms > 100  # an ESP32's are hardware
    detector_ms = moth.ms_per_second - filters_ms
    assert detector_ms == pytest.approx(esp32.ms_per_second * 5 / 1.6)  # 48 against 240 MHz at 1.6 cycles
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
    with pytest.raises(CheepError, match=r"training.json: missing; make it with cheep train"):
        results_of_run(tmp_path, "x")


def words(run):
    return words_of(run, content_of(run))


def test_plain_words_begin_with_false_alarms():
    run = example_run()
    found = words(run)
    assert found.good[0] == (
        f"{LABELS[1]}: finds 50 % (40 % to 61 %) of the calls with 0.9 (0.3 to 2.1) false alarms an hour, at threshold "
        "0.800, measured on 4.2 hours."
    )
    assert "soundscape.wav (10 min): 36 of 48 calls found, 1 false alarm (6 an hour)." in found.good
    assert any(line.startswith(f"Recognizes {LABELS[1]} in 100 % (") for line in found.good)
    assert "noise at 10 dB: finds 42 % of the calls in place of 71 %." in found.weak
    assert "Fits AudioMoth." in found.good and "Does not fit tiny." in found.weak
    # deaf, or not calibrated: said first, with what to do
    deaf = dataclasses.replace(run.thresholds[1], recall=(0.04, 0.01, 0.1))
    found = words(dataclasses.replace(run, thresholds=(deaf,)))
    assert found.weak[0].startswith(f"{LABELS[1]}: finds 4 % (1 % to 10 %) of the calls")
    raw = tuple(Threshold(label, 0.5 if i else None) for i, label in enumerate(LABELS))
    found = words(dataclasses.replace(run, thresholds=raw, operating=()))
    assert found.weak[0].startswith("How often it will be wrong is not known")
    assert "up to about 144 an hour and label" in found.weak[0]
    assert found.following[0].startswith("Record some hours where it will work")


def test_plain_words_name_what_is_weak():
    targets = np.eye(2)[np.repeat([0, 1], 40)]
    scores = np.where(np.arange(80)[:, None] % 40 < 22, targets, targets[:, ::-1]).astype(np.float32)
    test = WindowScores(("a", "b"), "softmax", targets, scores, np.arange(80), np.arange(80) // 2)
    data = DataSummary((DataRow("a", 40, 0, 40, 12, 0, 0.1), DataRow("b", 40, 0, 40, 90, 0, 0.1)))
    found = words(RunResults("poor", ("a", "b"), test=test, data=data))
    assert found.good == ()
    assert any(line.startswith("Recognizes only a in 55 % (") for line in found.weak)
    assert "a is taken for b in 18 of 40 clips." in found.weak
    assert "Learned from fewer than 20 recordings: a." in found.weak
    assert any("add recordings of a, b" in line for line in found.following)
    assert words(RunResults("bare", ("a",))) == Words((), (), ())


def test_sixty_labels_can_be_read(browser, tmp_path):
    labels = tuple(f"species {i:02d}" for i in range(60))
    true = np.repeat(np.arange(60), 4)
    guess = np.where(true == 7, 8, true)
    test = WindowScores(labels, "softmax", np.eye(60)[true], np.eye(60)[guess].astype(np.float32), np.arange(240))
    thresholds = tuple(Threshold(label, 0.5) for label in labels)
    paths = write_report(RunResults("Sixty", labels, test=test, thresholds=thresholds), tmp_path / "many.html")
    for width in (400, 1400):
        browser.open(paths[0], width)
        assert browser.console == []
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        shown = browser.evaluate("document.querySelector('.matrix img').getBoundingClientRect().width")
        assert shown >= 900  # 15 pixels a label, scrolled on a telephone
    opened = browser.evaluate("document.querySelectorAll('#summary details[open]').length")
    assert opened == 0  # nothing measured to show
    text = browser.evaluate("document.querySelector('#accuracy').textContent")
    assert "Most frequent confusions" in text
    assert words(RunResults("", labels, test=test)).weak[0].startswith("Recognizes only species 07 in 0 %")


def test_a_field_evaluation_with_other_thresholds_is_not_shown(tmp_path):
    run = dataclasses.replace(example_run(), settings={"detector": {"threshold": [None, 0.7]}}, operating=())
    field = {"hours": 2.0, "rows": [], "robustness": [], "model_sha256": run.model_sha256}
    write_json(tmp_path / "field.json", {**field, "detector": {"threshold": [None, 0.6]}})
    shown = with_extras(run, tmp_path)
    assert shown.tables == run.tables and "cheep evaluate again" in shown.stale
    assert shown.stale in words(shown).weak
    write_json(tmp_path / "field.json", {**field, "detector": {"threshold": [None, 0.7]}})
    assert len(with_extras(run, tmp_path).tables) == len(run.tables) + 1


def test_thresholds_and_the_next_step_follow_calibration(tmp_path, monkeypatch):
    monkeypatch.setenv("CHEEP_RUNS", str(tmp_path / "runs"))
    folder = write_tone_run(tmp_path / "run")
    generated = tmp_path / "generated"
    monkeypatch.setattr("cheep.export.generated_folder", lambda: generated)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert next_step(folder, manifest).startswith("cheep calibrate --max-false-alarms 1/h --recordings EVENTS.csv")
    assert [(t.value, t.rate) for t in thresholds_of(manifest)] == [(None, None), (0.6, None), (0.6, None)]
    rate = {"value": 0.5, "low": 0.1, "high": 1.2, "confidence": 0.95}
    manifest["detector"]["threshold"] = [None, 0.7, 0.8]
    manifest["calibration"] = {
        "labels": [
            {"label": "high", "threshold": 0.7, "false_alarms_per_hour": rate, "recall": rate, "hours": 3.0},
            {"label": "low", "threshold": 0.8, "false_alarms_per_hour": rate, "recall": None, "hours": 3.0},
        ]
    }
    write_json(folder / "manifest.json", manifest)
    shown = thresholds_of(manifest)
    assert (shown[1].value, shown[1].rate, shown[1].recall) == (0.7, (0.5, 0.1, 1.2), (0.5, 0.1, 1.2))
    assert shown[2].recall is None
    assert next_step(folder, manifest) == (
        f"cheep model-convert --model {folder} && cheep mel-filter-bank --model {folder} && cheep compile {folder}"
    )
    write_files(generated, {"detector_settings.h": render_detector_settings(load_export(folder))})
    assert next_step(folder, manifest).startswith(f"cheep upload audiomoth --model {folder}")
    assert season_table(manifest) == []
    said = {"label": "high", "plan": "p", "sites": ["a", "b"], "verdicts": 40, "precision": rate, "recall": None}
    manifest["calibration"]["season"] = said
    ((_, head, (row,)),) = season_table(manifest)
    assert row[:5] == ("high", "p", "a, b", "40", "0.50 (0.10–1.20)") and row[-1] == "–" and len(head) == len(row)
    manifest["detector"]["threshold"] = [None, 0.6, 0.8]  # edited by hand: nothing is known of it
    assert thresholds_of(manifest)[1].rate is None
    assert next_step(folder, manifest).startswith("cheep calibrate")


def test_what_does_not_fit_an_audiomoth_is_uploaded_elsewhere():
    rows = [BoardRow(board, 10, 100, ram, 50, note="compiled") for board, ram in (("moth", 60), ("e", 40), ("s3", 40))]
    upload = "cheep upload audiomoth --model runs/a    (or another board: cheep upload --help)"
    elsewhere = where_it_fits(upload, rows)
    assert elsewhere == upload.replace("audiomoth", "esp32-compiled")
    assert elsewhere.split()[2] in upload_targets()
    assert where_it_fits("cheep calibrate", rows) == "cheep calibrate"
    assert where_it_fits(upload, [dataclasses.replace(row, ram_used=10) for row in rows]) == upload
    assert "--board audiomoth" in where_it_fits(upload, [dataclasses.replace(row, ram_used=99) for row in rows])


def test_how_a_run_was_made_is_kept_as_it_was_typed(tmp_path):
    runs.note_command(tmp_path, "split-dataset", "cheep split-dataset 'my birds' --seed 3")
    runs.note_command(tmp_path, "train", "cheep train --epochs 3")
    runs.note_command(tmp_path, "train-qat", "cheep train-qat")
    runs.note_command(tmp_path, "train", "cheep train --epochs 9")  # outdates the fine-tuning
    assert [command for _, command in runs.commands_of(tmp_path)] == [
        "cheep split-dataset 'my birds' --seed 3",
        "cheep train --epochs 9",
    ]
    other = tmp_path / "other"
    other.mkdir()
    runs.note_command(other, "augment", "cheep augment", before=tmp_path)
    assert [step for step, _ in runs.commands_of(other)] == ["split-dataset", "augment"]
    runs.note_command(tmp_path, "demo", "cheep demo")
    assert runs.commands_of(tmp_path) == [["demo", "cheep demo"]]
    assert commands_shown(tmp_path)[0] == "cheep demo"
    assert "was not kept" in commands_shown(tmp_path / "nothing")[0]
    (old := tmp_path / "old").mkdir()
    runs.note_command(old, "calibrate", "cheep calibrate --max-false-alarms 1/h")
    shown = commands_shown(old)
    assert shown[0].startswith("# what came before") and shown[1].startswith("cheep calibrate")
