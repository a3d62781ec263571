# SPDX-License-Identifier: MIT
"""Feed mutated files to every parser of other people's data: only clear errors may come back.

    python scripts/fuzz_parsers.py --seconds 600 [--only raven audacity ...]

An error must be a CheepError that names the file and, for text, the line or row. Anything else stops the campaign
and leaves the input beside the script's working folder.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import math
import multiprocessing
import random
import re
import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from cheep.audio import iter_audio, probe, scan
from cheep.datasets import audiomoth, load_manifest
from cheep.datasets.labels.boxes import NoAnnotationsError
from cheep.datasets.labels.files import read_annotations
from cheep.datasets.labels.matching import boxes_for
from cheep.datasets.sources.lists import recordings_in_csv
from cheep.datasets.xeno_canto.recording import XcRecording, annotation_boxes
from cheep.errors import CheepError

RAVEN = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tBegin File\tSpecies\n"
    "1\tWaveform 1\t1\t0.5\t1.25\t0\t8000\ta.wav\trobin\n1\tSpectrogram 1\t1\t0.5\t1.25\t1200\t8000.5\ta.wav\trobin\n"
    "2\tSpectrogram 1\t1\t3,5\t4,25\t0\t8000\tb.wav\t\n"
)
AUDACITY = "0.500000\t1.250000\trobin\n\\\t1200.000000\t3000.000000\n2.5\t2.5\tpoint\n3,25\t4,5\tZo\u00eb's\n"
TIMES = 'file,start_s,end_s,label,low_hz,high_hz\na.wav,0.5,1.25,robin,1000,2000\n"b c.wav",3,4,"a, b",,\n'
SET = json.dumps(
    {"set_name": "s", "annotations": [{"xc_nr": "XC123", "start_time": "1.5", "end_time": 2.0, "frequency_low": None,
                                       "frequency_high": "", "scientific_name": "Turdus merula"}]}
)  # fmt: skip
MANIFEST = (
    "path,label,start_s,duration_s,recording,recordist,licence,attribution,split,sha256,snr_db\n"
    'a.wav,robin,0,1,r1,"O\'Neill, Z",CC0,x,train,00ff,12.5\nb.wav,robin,0.5,1,r2,,,,test,,\n'
)
LIST = "file,label,author,begin_s,end_s,fold\na.wav,robin,ann,0,2.5,1\na.wav,wren,bob,,,2\n"
ROW = json.dumps(
    {"id": "12", "gen": "Turdus", "sp": "merula", "length": "1:05", "date": "2004-00-00", "file": "//x.org/12/download",
     "lic": "//creativecommons.org/licenses/by/4.0/", "also": ["", "a"], "rec": "&amp;amp;", "file-name": "XC12.mp3",
     "annotations": [{"start_time": "1", "end_time": "2"}]}
)  # fmt: skip
BIRDNET = (
    "Start (s),End (s),Scientific name,Common name,Confidence,File\n0.0,3.0,Turdus merula,Blackbird,0.91,/data/a.wav\n"
    '3.0,6.0,Turdus merula,"Blackbird",0.1203,/data/a.wav\n'
)
KALEIDOSCOPE = (
    "INDIR,FOLDER,IN FILE,OFFSET,DURATION,AUTO ID*,MATCH RATIO,MANUAL ID\nD:\\card,x,a.wav,0.0,3.0,EPTSER,0.8,\n"
    "D:\\card,x,a.wav,3,0.5,EPTSER,0.7,Noise\n"
)
PACKAGE = "\ufeffinput;start_time;end_time;species_name;confidence\r\n" + (
    "a.flac;00:00:00,00;00:00:03,00;Turdus merula_Blackbird;0,97\r\n"
)
TEXTGRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 6.5\ntiers? <exists>\nsize = 2\nitem []:\n'
    'item [1]:\nclass = "IntervalTier"\nname = "birds"\nxmin = 0\nxmax = 6.5\nintervals: size = 2\nintervals [1]:\n'
    'xmin = 0\nxmax = 1.25\ntext = "robin"\nintervals [2]:\nxmin = 1.25\nxmax = 6.5\ntext = ""\nitem [2]:\n'
    'class = "TextTier"\nname = "n"\nxmin = 0\nxmax = 6.5\npoints: size = 1\npoints [1]:\nnumber = 3\nmark = "x"\n'
)
ELAN = (
    '<?xml version="1.0"?>\n<ANNOTATION_DOCUMENT>\n<HEADER>'
    '<MEDIA_DESCRIPTOR MEDIA_URL="a.wav" TIME_ORIGIN="0"/></HEADER>\n'
    '<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="1" TIME_VALUE="1500"/>\n<TIME_SLOT TIME_SLOT_ID="2" TIME_VALUE="2750"/>'
    '</TIME_ORDER>\n<TIER TIER_ID="b"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a" TIME_SLOT_REF1="1" '
    'TIME_SLOT_REF2="2"><ANNOTATION_VALUE>robin</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>\n<ANNOTATION>'
    '<REF_ANNOTATION ANNOTATION_ID="c" ANNOTATION_REF="a"><ANNOTATION_VALUE>call</ANNOTATION_VALUE></REF_ANNOTATION>'
    "</ANNOTATION></TIER></ANNOTATION_DOCUMENT>\n"
)
LAYER = (
    '<?xml version="1.0"?>\n<sv><data>\n<model sampleRate="48000" subtype="box"/>\n<dataset>\n'
    '<point frame="48000" value="1200" duration="24000" extent="800" label="robin"/>\n</dataset></data></sv>\n'
)
AVIANZ = (
    '[{"Operator": "A", "Duration": 60.0},\n[1.5, 3, 0, 0, [{"species": "Kiwi", "certainty": 100, "filter": "M"}]],\n'
    '[4, 5, 1000, 5000, [{"species": "Morepork", "certainty": 50}]]]\n'
)
ARBIMON = (
    "id,recording,site,year,month,day,hour,minute,species,songtype,x1,x2,y1,y2,validated,score\n"
    "1,S_20240319_135700.WAV,S,2024,3,19,14,1,robin,Call,9.5,11.25,1000,9000,present,0.21\n"
)
ONE_HOT = "file,start_time,end_time,robin,wren\na.wav,0.0,1.0,0,1\na.wav,1.0,2.0,0,0\nb.wav,0,1,1,\n"
STRETCHES = "file,start_s,end_s,label,score\na.wav,0.5,1.25,robin,0.91\na.wav,1.5,2.5,robin,0.4\na.wav,3,4,noise,0.7\n"
COMMENT = (
    "Recorded at 19:17:30 25/09/2020 (UTC+5:30) by AudioMoth 24F3190261F38D1F at medium gain while battery was 4.2V "
    "and temperature was 23.1C."
)


def wav(comment: str, samples: int = 2, block: Sequence[int] = ()) -> bytes:
    """Return an AudioMoth WAV, or its start."""
    text = comment.encode() + b"\0"
    text += b"\0" * (len(text) % 2)
    info = b"INFOICMT" + struct.pack("<I", len(text)) + text + b"IART" + struct.pack("<I", 10) + b"AudioMoth\0"
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    pcm = [*([37] * samples if block or samples > 2 else [0] * samples), *block]
    data = struct.pack(f"<{len(pcm)}h", *pcm)
    body = (
        b"WAVE" + form + b"LIST" + struct.pack("<I", len(info)) + info + b"data" + struct.pack("<I", len(data)) + data
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def coded(container: str) -> bytes:
    """Return half a second of noise in a container of libsndfile's."""
    out = io.BytesIO()
    soundfile.write(out, np.random.default_rng(1).normal(0, 0.1, 4000), 8000, format=container)
    return out.getvalue()


def _rows(path: Path) -> None:
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return
    try:
        row = XcRecording.from_row(data, "https://xeno-canto.org")
        assert row.file_url == "" or "://" in row.file_url
        assert row.length_s is None or 0 < row.length_s < 1e12
    except ValueError as error:
        if not re.match(r"(id|row): |address .*: malformed", str(error)):
            raise
    if isinstance(data, dict):
        annotation_boxes(data)


def _boxes(path: Path) -> None:
    for boxes in read_annotations(path).values():
        for box in boxes:
            assert 0 <= box.start_s < box.end_s and (box.end_s < 1e13 or box.end_s == math.inf)


def _scored(path: Path) -> None:
    audio = path.with_name("a.wav")
    with contextlib.suppress(NoAnnotationsError):
        for boxes in boxes_for([path.parent], [audio], 0.5).values():
            assert all(box.score is None or 0.5 <= box.score <= 1 for box in boxes)
    _boxes(path)


def _audio(path: Path) -> None:
    told = probe(path).duration_s
    heard = sum(len(block) for block in iter_audio(path, None, notes=[])) / probe(path).sample_rate_hz
    assert abs(told - heard) < 0.5 + 0.05 * heard, (told, heard)
    scan(path)


def _list(path: Path) -> None:
    for recording in recordings_in_csv(path, min_confidence=0.5):
        assert recording.label and recording.path.is_file()


def _manifest(path: Path) -> None:
    manifest = load_manifest(path)
    digest = manifest.write(path.with_name("again.csv"))
    assert load_manifest(path.with_name("again.csv")).write(path.with_name("third.csv")) == digest


def _moth(path: Path) -> None:
    header = audiomoth.read_card_header(path)
    assert header is None or header.battery_v is None or 0 <= header.battery_v <= 20


TARGETS = {
    "raven": ("a.txt", RAVEN.encode(), _boxes),
    "audacity": ("a.txt", AUDACITY.encode(), _boxes),
    "times": ("a.csv", TIMES.encode(), _boxes),
    "xc-set": ("a.json", SET.encode(), _boxes),
    "xc-row": ("a.json", ROW.encode(), _rows),
    "manifest": ("a.csv", MANIFEST.encode(), _manifest),
    "birdnet": ("a.csv", BIRDNET.encode(), _scored),
    "kaleidoscope": ("a.csv", KALEIDOSCOPE.encode(), _scored),
    "package": ("a.csv", PACKAGE.encode("utf-16-le"), _scored),
    "textgrid": ("a.TextGrid", TEXTGRID.encode(), _boxes),
    "elan": ("a.eaf", ELAN.encode(), _boxes),
    "layer": ("a.svl", LAYER.encode(), _boxes),
    "avianz": ("a.data", AVIANZ.encode(), _boxes),
    "arbimon": ("a.csv", ARBIMON.encode(), _boxes),
    "one-hot": ("a.csv", ONE_HOT.encode(), _boxes),
    "stretches": ("list.csv", STRETCHES.encode(), _list),
    "wav": ("b.wav", wav(COMMENT, 700), _audio),
    "triggered": ("20240601_050000T.WAV", wav(COMMENT, 300, [1, 1] + [-1] * 30 + [0] * 224), _audio),
    "flac": ("b.flac", coded("FLAC"), _audio),
    "mp3": ("b.mp3", coded("MP3"), _audio),
    "list": ("list.csv", LIST.encode(), _list),
    "audiomoth": ("a.wav", wav(COMMENT), _moth),
}
TOKENS = [
    *(b"\t", b",", b";", b'"', b"\n", b"\r\n", b"\0", b"-1", b"1e999", b"nan", b"inf", b"\xff", b"\xef\xbb\xbf", b"\\"),
    *(b"9" * 30, b"0", b"{}", b"[]", b"null", b"[" * 3000, b"UTC-", b"1,5", b".", b"http://[", b"//["),
    "\u2028\u0665".encode(),
]


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Return ``data`` with a few bytes, tokens, lines or pieces changed."""
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        at = draw.randrange(len(out) + 1)
        kind = draw.randrange(7)
        if kind == 0 and out:
            out[at % len(out)] = draw.randrange(256)
        elif kind == 1:
            out[at:at] = draw.choice(TOKENS)
        elif kind == 2:
            del out[at : at + draw.choice((1, 2, 5, 40))]
        elif kind == 3:
            out[at:at] = out[max(0, at - draw.randrange(1, 60)) : at]
        elif kind == 4:
            del out[at:]
        elif kind == 5:
            cells = re.split(rb"([\t,\n])", bytes(out))
            cells[draw.randrange(len(cells))] = draw.choice(TOKENS)
            out = bytearray(b"".join(cells))
        else:
            lines = bytes(out).splitlines(keepends=True)
            draw.shuffle(lines)
            out = bytearray(b"".join(lines))
    return bytes(out)


def campaign(name: str, seconds: float, seed: int, most: int = 1 << 60) -> tuple[str, int, int]:
    """Fuzz one parser for some time or ``most`` inputs; return (name, inputs, of them refused)."""
    logging.disable(logging.CRITICAL)
    file_name, good, target = TARGETS[name]
    draw = random.Random(f"{name}-{seed}")
    inputs = refused = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file_name
        (Path(folder) / "a.wav").write_bytes(b"x")
        path.write_bytes(good)
        target(path)  # the unchanged file is accepted
        end = time.monotonic() + seconds
        while time.monotonic() < end and inputs < most:
            data = mutate(good, draw)
            path.write_bytes(data)
            inputs += 1
            begin = time.process_time()
            try:
                target(path)
            except CheepError as error:
                refused += 1
                text = str(error)
                if str(path) not in text and "again.csv" not in text:
                    raise AssertionError(f"{name}: the error does not name the file: {text!r} for {data!r}") from error
            except Exception as error:
                raise AssertionError(f"{name}: {type(error).__name__}: {error} for {data!r}") from error
            if time.process_time() - begin > 5:
                raise AssertionError(f"{name}: took {time.process_time() - begin:.1f} s for {data!r}")
    return name, inputs, refused


def main() -> int:
    """Run the campaigns, two at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="per parser")
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    with multiprocessing.Pool(args.jobs) as pool:
        jobs = [pool.apply_async(campaign, (name, args.seconds, args.seed)) for name in args.only]
        for job in jobs:
            name, inputs, refused = job.get()
            print(f"{name}: {inputs} inputs, {refused} refused with a clear error, none slipped or crashed", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
