# SPDX-License-Identifier: MIT
"""Where and when a recording is from."""

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from cheep.datasets.recorders import RecorderFacts
from cheep.errors import CheepError
from cheep.season.sites import Placing, place, read_deployments

DOC = Path(__file__).parents[2] / "docs" / "season.md"
MOTH = "24F3190261F38D1F"
UTC = timezone.utc


@pytest.fixture
def table(tmp_path):
    """The table of docs/season.md."""
    text = re.search(r"```\n(site,device,.*?)```", DOC.read_text(encoding="utf-8"), re.S)[1]
    path = tmp_path / "deployments.csv"
    path.write_text(text, encoding="utf-8")
    return read_deployments(path)


def at(*time, zone=UTC):
    return datetime(*time, tzinfo=zone)


def placed(deployments, time=None, device=MOTH, path="x.WAV", folder="/media/card", **more):
    facts = RecorderFacts(device=device, time=time, time_source="audiomoth")
    return place(Placing(deployments=deployments, **more), facts, Path(folder), path)


def test_device_and_period_say_the_site(table):
    assert placed(table, at(2026, 6, 14, 21, 59)).site == "ridge"  # 23:59 there: the last day is included
    found = placed(table, at(2026, 6, 14, 22, 1))
    assert (found.site, found.deployment, found.utc_offset_min) == ("creek", f"creek/{MOTH}", 120)
    assert (found.latitude, found.longitude) == (47.5, 15.24)
    assert found.start_local - found.start_utc == 7_200_000
    assert placed(table, at(2026, 4, 1)).site == MOTH  # before any stay: as without a table
    assert placed(table, device="", path="card 07/DCIM/x.WAV").site == "old oak"
    assert placed(table, device="", folder="/media/Card 07").site == "old oak"


def test_without_a_table_the_folder_or_the_recorder_does():
    assert placed((), path="ridge/a/x.WAV").site == "ridge"
    assert placed(()).site == MOTH
    assert placed((), device="").site == "card"
    assert placed((), site="here", path="ridge/x.WAV").site == "here"
    found = placed((), device="", folder="/")
    assert (found.site, found.deployment, found.start_utc) == ("unknown", "unknown", None)


def test_times_with_and_without_a_zone():
    clock = datetime(2026, 6, 1, 5)
    plain, utc = placed((), clock), placed((), at(2026, 6, 1, 5))
    assert plain.start_utc == plain.start_local == utc.start_utc and plain.utc_offset_min is None
    assert utc.utc_offset_min == 0
    vienna = placed((), clock, timezone="Europe/Vienna")
    assert vienna.start_local == plain.start_local and vienna.start_utc == plain.start_utc - 7_200_000
    moved = placed((), at(2026, 6, 1, 5), timezone="-03:30")
    assert moved.start_utc == utc.start_utc and moved.utc_offset_min == -210
    east = placed((), at(2026, 6, 1, 5, zone=timezone(timedelta(hours=10))))
    assert (east.utc_offset_min, east.start_local) == (600, plain.start_local)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("device,from\nA,2026-05-01\n", "no column site"),
        ("site,lat\nridge,123\n", "latitude=123: must lie in -90..90"),
        ("site,from\nridge,1.5.2026\n", "begin='1.5.2026': must be a date"),
        ("site,timezone\nridge,Europe/Wien\n", "timezone='Europe/Wien'"),
        ("site,device\n,A\n", ":2: no site"),
    ],
)
def test_mistakes_in_a_table_are_named(tmp_path, text, said):
    path = tmp_path / "d.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CheepError, match=re.escape(said)):
        read_deployments(path)
