# SPDX-License-Identifier: MIT
"""A season ranked from a few confirmed clips by another model's ears, and the review that asks in that order."""

import json

import numpy as np
import pytest
import soundfile

from cheep.cli import main
from cheep.review import Desk
from cheep.review.clips import Filter
from cheep.season.rank import read_ranks
from cheep.season.verdicts import Clip, Verdict, VerdictLog
from crow_model import write_crow
from scored_season import LABEL, scored_season

CALLS = (6.0, 15.0, 30.0, 45.0)  # s: clips of 3 s with a tone of 3 kHz, whatever the season's model thought of them


@pytest.fixture
def season(tmp_path):
    """A season of eight recordings, of which a minute each has sound."""
    season, _ = scored_season(tmp_path, nights=4)
    rng = np.random.default_rng(1)
    for row in season.recordings().to_pylist():
        path = tmp_path / "card" / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = 0.01 * rng.standard_normal(60 * 8000)
        for start in CALLS:
            first = round(start * 8000)
            sound[first : first + 24000] += 0.5 * np.sin(2 * np.pi * 3000 * np.arange(24000) / 8000)
        soundfile.write(path, sound, 8000)
    return season


def test_a_few_confirmed_clips_rank_a_season(season, tmp_path, capsys):
    model = write_crow(tmp_path)
    command = ["rank", str(season.folder), "--by", model, "--label", LABEL, "--most", "3000", "--jobs", "1"]
    assert main("season", command) == 2
    assert "0 confirmed clip(s)" in capsys.readouterr().err
    names = season.recordings()["recording"].to_pylist()
    log = VerdictLog(season.folder, "ann")
    for name in names[:3]:
        log.add(Verdict(name, LABEL, 30.0, 33.0, "right"))
    (tmp_path / "card" / season.recordings()["path"].to_pylist()[-1]).write_bytes(b"no sound")
    assert main("season", command) == 0
    said = capsys.readouterr()
    assert "3 right and 0 wrong verdicts, and 50 clips that nobody judged" in said.out and "1 recording(s)" in said.out
    ranks = read_ranks(season.folder)[LABEL]
    best = {clip for clip, _, p in ranks if p > 0.5}
    wanted = {Clip(name, LABEL, round(1000 * at), round(1000 * at) + 3000) for name in names[:-1] for at in CALLS}
    assert best == wanted  # also where the season's model heard nothing
    assert json.loads((season.folder / "ears.json").read_text())[0]["did"] == "ranked clips for verdicts"
    desk = Desk(season, "ann")
    asked = desk.questions(f"rank:{LABEL}", Filter(state="open"), "plan")
    assert desk.about()["ranks"] == {f"rank:{LABEL}": len(ranks)}
    order = [desk.clips.clip(item.number) for item in asked]
    assert order == [clip for clip, *_ in ranks][: len(order)]
    missing = wanted - {Clip(name, LABEL, 30000, 33000) for name in names[:3]}
    assert missing <= set(order[: 20 + len(missing)])  # what teaches most, then the likeliest
    for number in [item.number for item in asked[:30]]:
        truth = "right" if desk.clips.clip(number) in wanted else "wrong"
        desk.answer(number, {"answer": truth}, f"rank:{LABEL}")
    assert main("season", command) == 0  # verdicts refine it; nothing is assumed any more
    assert "nobody judged" not in capsys.readouterr().out
