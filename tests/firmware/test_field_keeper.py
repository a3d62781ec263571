# SPDX-License-Identifier: MIT
"""Rows and clips of a board with a card: the pre-roll, clips longer than the ring, losses."""

from __future__ import annotations

import csv
import subprocess

import numpy as np
import soundfile

from cheep.ccore import find_compiler
from cheep.resources import include_dir, source_dir

RATE, RING = 8000, 16384
# Listens to a ramp, block by block; an event begins at 40,000 samples (noticed 3,000 later) and ends at 56,000.
# Arguments, in samples, 0 where nothing else is wanted: a gap, the card is away, the power is cut; once a second the
# network takes as long as so many (late), beside a multiple of 8000 by so many (phase); the pre-roll; the event's end.
PROGRAM = r"""
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "field_keeper.h"
static bool exists(void *context, const char *name)
{
    FILE *file = fopen(name, "rb");
    (void)context;
    if (file != NULL) { fclose(file); }
    return file != NULL;
}
static int16_t memory[16384];
static cheep_app app;
static uint64_t away; /* the card takes nothing before this sample */
static uint64_t cut; /* the power fails behind this sample */
static unsigned in_vain;
static FILE *file;
static char opened[64];
static long before;
static unsigned opens; /* of clips */
static bool open_file(void *context, const char *name)
{
    (void)context;
    if (app.samples < away) { in_vain++; return false; }
    file = fopen(name, "ab");
    if (file == NULL) { return false; }
    opens += strstr(name, ".WAV") != NULL;
    before = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    snprintf(opened, sizeof opened, "%s", name);
    return true;
}
static bool write_file(void *context, const void *data, size_t n)
{
    (void)context;
    return fwrite(data, 1, n, file) == n;
}
static bool close_file(void *context, bool keep)
{
    (void)context;
    return fclose(file) == 0 && (keep || (truncate(opened, before) == 0 && false));
}
static int count;
static char **arguments;
static uint64_t argument(int at, uint64_t otherwise)
{
    return count > at ? strtoull(arguments[at], NULL, 10) : otherwise;
}
static uint64_t heard;
static void listen(cheep_ring *ring, uint64_t until)
{
    for (; heard < until; heard += 500) {
        int16_t pcm[500];
        for (unsigned i = 0; i < 500; i++) { pcm[i] = (int16_t)((heard + i) / 4u); }
        if (cheep_ring_push(ring, pcm, 500) != 500) { exit(3); }
    }
}
int main(int n_arguments, char **given)
{
    cheep_ring ring;
    count = n_arguments;
    arguments = given;
    const uint64_t gap = argument(1, 0), late = argument(4, 0), phase = argument(5, 0), end = argument(7, 56000);
    field_keeper k = {.files = {NULL, exists, open_file, write_file, close_file}, .ring = &ring,
                      .rate_hz = 8000, .lead_samples = (uint32_t)argument(6, 4000),
                      .clip_samples = 40000, .utc = 1779255000, .utc_ms = 500};
    cheep_app_event event = {.label = "robin", .start_sample = 40000, .end_sample = 43000, .score_e6 = 950000};
    cheep_ring_init(&ring, memory, 16384);
    away = argument(2, 0);
    cut = argument(3, 0);
    while (app.samples < (away != 0 ? 640000u : 120000u)) {
        listen(&ring, app.samples + 500);
        const uint32_t waiting = cheep_ring_waiting(&ring);
        if (waiting > app.stats.worst_waiting) { app.stats.worst_waiting = waiting; }
        cheep_ring_consume(&ring, 500);
        app.samples += 500;
        if (app.samples % 8000 == phase) { listen(&ring, app.samples + late); }
        if (gap != 0 && app.samples == gap) { app.stats.lost_samples = 1000; app.origin = heard = app.samples += 1000; }
        if (app.samples == 43000) { field_keeper_event(&k, &app, &event); }
        if (app.samples == end) { event.ended = true; event.end_sample = end; }
        if (app.samples == end) { field_keeper_event(&k, &app, &event); }
        if (app.samples == 540000) { event.ended = false; event.start_sample = 537000; event.end_sample = 540000; }
        if (app.samples == 540000) { field_keeper_event(&k, &app, &event); }
        if (app.samples == 556000) { event.ended = true; event.end_sample = 556000; }
        if (app.samples == 556000) { field_keeper_event(&k, &app, &event); }
        field_keeper_poll(&k, &app);
        if (cut != 0 && app.samples >= cut) { _exit(0); } /* the power: what is not closed is nowhere */
    }
    printf("%u %u", k.losses.lost_rows, k.losses.damaged_clips);
    fprintf(stderr, "%u", opens);
    if (away != 0) { printf(" %u %u", in_vain, k.failing); }
    printf("\n");
    return 0;
}
"""


def build(tmp_path):
    (tmp_path / "main.c").write_text(PROGRAM)
    names = ("field_keeper.c", "field_records.c", "field_time.c", "cheep_ring.c", "cheep_text.c")
    flags = ["-std=c11", "-O1", "-Wall", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    command = [*find_compiler(), *flags, f"-I{include_dir()}", str(tmp_path / "main.c")]
    command += [*(str(source_dir() / name) for name in names), "-o", str(tmp_path / "keep")]
    subprocess.run(command, check=True)


def keep(tmp_path, *arguments):
    build(tmp_path)
    done = subprocess.run([tmp_path / "keep", *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
    return [int(value) for value in done.stdout.split()]


def test_a_clip_with_its_pre_roll_and_a_row(tmp_path):
    """Five seconds out of a ring of two: half a second before the event, the rest as it was heard."""
    assert keep(tmp_path) == [0, 0]
    rows = list(csv.DictReader((tmp_path / "20260520.CSV").open()))
    assert [(r["utc"], r["label"], r["score"], r["duration_s"]) for r in rows] == [
        ("2026-05-20T05:30:05.500Z", "robin", "0.950000", "2.00")
    ]
    assert rows[0]["clip"] == "20260520_053005.WAV"
    pcm, rate = soundfile.read(tmp_path / rows[0]["clip"], dtype="int16")
    assert rate == RATE
    assert np.array_equal(pcm, ((36_000 + np.arange(40_000)) // 4).astype(np.int16))
    # again on the same card: another name, one more row, one header
    assert keep(tmp_path) == [0, 0]
    rows = list(csv.DictReader((tmp_path / "20260520.CSV").open()))
    assert [r["clip"] for r in rows] == ["20260520_053005.WAV", "20260520_053005_1.WAV"]


def test_behind_a_gap_a_clip_is_silent_and_counted(tmp_path):
    assert keep(tmp_path, "50000") == [0, 1]
    pcm, _ = soundfile.read(tmp_path / "20260520_053005.WAV", dtype="int16")
    assert len(pcm) == 40_000
    heard = 49_500 - 36_000
    assert np.array_equal(pcm[:heard], ((36_000 + np.arange(heard)) // 4).astype(np.int16))
    assert not pcm[heard:].any()


def test_what_waits_in_the_ring_is_there_when_a_slow_network_is_done(tmp_path):
    """A window takes 13,000 of the ring's 16,384 samples: less than a quarter of it may be left there."""
    assert keep(tmp_path, "0", "0", "0", "13000", "4000") == [0, 0]
    pcm, _ = soundfile.read(tmp_path / "20260520_053005.WAV", dtype="int16")
    assert np.array_equal(pcm, ((36_000 + np.arange(40_000)) // 4).astype(np.int16))


def test_behind_a_pre_roll_that_is_overwritten_a_clip_holds_sound(tmp_path):
    """At the event 10,000 samples wait, 6,384 of the past are left, and 7,000 were wanted."""
    assert keep(tmp_path, "0", "0", "0", "13000", "0") == [0, 1]
    pcm, _ = soundfile.read(tmp_path / "20260520_053005.WAV", dtype="int16")
    assert not pcm[:616].any()
    assert np.array_equal(pcm[616:], ((36_616 + np.arange(40_000 - 616)) // 4).astype(np.int16))


def test_a_pre_roll_reaches_back_to_a_gap(tmp_path):
    """What lies before the gap would be dated wrong by its length."""
    assert keep(tmp_path, "38000") == [0, 0]
    pcm, _ = soundfile.read(tmp_path / "20260520_053005.WAV", dtype="int16")
    assert np.array_equal(pcm, ((39_000 + np.arange(40_000)) // 4).astype(np.int16))


def test_a_row_names_the_clip_that_waits_in_the_ring(tmp_path):
    assert keep(tmp_path, "0", "0", "0", "0", "0", "0", "44000") == [0, 0]
    (row,) = csv.DictReader((tmp_path / "20260520.CSV").open())
    assert row["clip"] == "20260520_053005.WAV" and (tmp_path / row["clip"]).is_file()


def test_where_all_names_of_a_second_are_taken_no_clip_is_spoilt(tmp_path):
    taken = [tmp_path / f"20260520_053005{copy}.WAV" for copy in ("", *(f"_{i}" for i in range(1, 9)))]
    for path in taken:
        path.write_bytes(b"another")
    assert keep(tmp_path) == [0, 1]
    assert {path.read_bytes() for path in taken} == {b"another"}
    (row,) = csv.DictReader((tmp_path / "20260520.CSV").open())
    assert row["clip"] == ""


def test_a_card_that_takes_nothing_is_counted(tmp_path):
    (tmp_path / "20260520.CSV").mkdir()
    for copy in ("", *(f"_{i}" for i in range(1, 9))):
        (tmp_path / f"20260520_053005{copy}.WAV").mkdir()
    assert keep(tmp_path) == [1, 1]


def test_a_card_that_is_gone_is_left_alone_and_taken_up_again(tmp_path):
    """One try in vain at the first event; a minute later the card is back, and the next event is on it."""
    assert keep(tmp_path, "0", "500000") == [1, 1, 1, 0]
    rows = list(csv.DictReader((tmp_path / "20260520.CSV").open()))
    assert [(r["utc"], r["clip"]) for r in rows] == [("2026-05-20T05:31:07.625Z", "20260520_053107.WAV")]
    assert soundfile.info(tmp_path / rows[0]["clip"]).frames == 40_000


def test_a_clip_opens_its_file_a_few_times_and_a_power_cut_leaves_what_was_closed(tmp_path):
    """A quarter of the ring at a time; cut anywhere, the file is its header and a beginning of the sound, on time."""
    build(tmp_path)
    done = subprocess.run([tmp_path / "keep"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(done.stderr) <= 2 + 40_000 // (RING // 4)
    whole = (tmp_path / "20260520_053005.WAV").read_bytes()
    head = len(whole) - 80_000
    for number, cut in enumerate(range(43_000, 78_000, 2_500)):
        place = tmp_path / str(number)
        place.mkdir()
        subprocess.run([tmp_path / "keep", "0", "0", str(cut)], cwd=place, check=True)
        part = (place / "20260520_053005.WAV").read_bytes()
        assert part == whole[: len(part)] and (len(part) - head) % 2 == 0
        heard = min(cut - 36_000, 40_000)
        assert heard - RING // 4 < (len(part) - head) // 2 <= heard
        rows = place / "20260520.CSV"
        assert rows.exists() == (cut >= 56_000) and (cut < 56_000 or rows.read_bytes().endswith(b".WAV\n"))
