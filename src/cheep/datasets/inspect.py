# SPDX-License-Identifier: MIT
"""What a manifest holds, and what is wrong with it: counts, credits, levels, duplicates, leaks."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cheep.audio import Scan, iter_audio, probe, scan
from cheep.config import ActivityConfig
from cheep.datasets.activity import LevelMeter
from cheep.datasets.bands import share_above
from cheep.datasets.credits import licence_hints
from cheep.datasets.fingerprint import RATE_HZ, find_duplicates, fingerprint
from cheep.datasets.manifest import Manifest
from cheep.datasets.split import LabelBalance, balance, find_leaks
from cheep.errors import CheepError
from cheep.parallel import map_each

log = logging.getLogger(__name__)

SNR_EDGES_DB = (0, 3, 6, 9, 12, 15, 20, 25, 30, 40)
BAND_EDGES_HZ = (0, 500, 1000, 2000, 3000, 4000, 6000, 8000, 12000, 24000)
_FINGERPRINT_S = 120.0


@dataclasses.dataclass
class Inspection:
    """Facts for a report; lists of tables by label, and findings as sentences."""

    rows: int
    hours: float
    labels: list[LabelBalance]
    licences: dict[str, dict[str, int]]  # label -> licence -> recordings
    recordists: dict[str, dict[str, int]]  # label -> recordist -> examples, the largest first
    snr: dict[str, list[int]]  # label -> examples per bin of SNR_EDGES_DB; the last: above
    bands: dict[str, list[float]]  # label -> mean share of energy per bin of BAND_EDGES_HZ
    duplicates: list[str]
    leaks: list[str]
    findings: list[str]
    listened_files: int


def inspect_manifest(
    manifest: Manifest,
    listen: int = 0,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
    jobs: int | None = None,
    sample_rate_hz: int = 8000,
) -> Inspection:
    """Gather the facts of ``manifest``.

    Parameters
    ----------
    listen
        Audio files to open (drawn at random, 0: none) for fingerprints and the bands of the energy.
    seed
        Of that draw.
    progress
        Called with (files heard, files).
    sample_rate_hz
        Rate of the detector to be: energy above half of it is pointed out.
    """
    labels = balance(manifest)
    findings = _findings(manifest, labels)
    duplicates = _same_content(manifest)
    heard = _Heard({}, [], [], [], 0)
    if listen:
        heard = _listen(manifest, listen, seed, progress, jobs)
        duplicates += heard.pairs
        findings += [*heard.findings, *_bandwidth(heard.bands, sample_rate_hz)]
    leaks = [*find_leaks(manifest, ("recording", "sha256", "group")), *heard.leaks]
    both = [text for text in find_leaks(manifest, ("recordist",)) if text not in leaks]
    if both and not leaks:
        findings.append(f"{len(both)} recordist(s) are heard in more than one split (e.g. {both[0]})")
    licence_codes, licence_names = manifest.codes("licence")
    by_recording = _one_row_per(manifest, "recording")
    findings += licence_hints([licence_names[licence_codes[row]] for row in by_recording])
    return Inspection(
        rows=len(manifest),
        hours=float(np.nansum(manifest.duration_s)) / 3600,
        labels=labels,
        licences=_cross(manifest.select(by_recording), "licence", "not stated"),
        recordists=_cross(manifest, "recordist", "not stated", 5),
        snr=_snr(manifest),
        bands=heard.bands,
        duplicates=duplicates,
        leaks=leaks,
        findings=findings,
        listened_files=heard.files,
    )


def sample_manifest(manifest: Manifest, per_label: int, seed: int) -> Manifest:
    """Return up to ``per_label`` rows of each label, recordings in turn, in the order of the manifest."""
    if per_label < 1:
        raise CheepError(f"per_label={per_label}: must be at least 1")
    rng = np.random.Generator(np.random.PCG64(seed))
    labels, _ = manifest.codes("label")
    recordings, _ = manifest.codes("recording")
    order = rng.permutation(len(manifest))
    # the how-manieth row of its recording and label: the first ones of all recordings come first
    key = labels[order].astype(np.int64) * (int(recordings.max(initial=0)) + 1) + recordings[order]
    by_key = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(np.concatenate([[-1], key[by_key]])))
    rank = np.empty(len(key), np.int64)
    rank[by_key] = np.arange(len(key)) - np.repeat(starts, np.diff(np.concatenate([starts, [len(key)]])))
    chosen = []
    for label in np.unique(labels):
        mine = np.flatnonzero(labels[order] == label)
        chosen.append(order[mine[np.argsort(rank[mine], kind="stable")[:per_label]]])
    return manifest.select(np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, int))


def _findings(manifest: Manifest, labels: list[LabelBalance]) -> list[str]:
    found = []
    if not manifest.has("split"):
        found.append("no split yet: cheep split-dataset --csv MANIFEST")
    for line in labels:
        for split in ("train", "val", "test"):
            if manifest.has("split") and not line[split]:
                found.append(f"label {line['label']!r} has no example in {split}")
        if line["recordings"] < 10:
            found.append(f"label {line['label']!r} has {line['recordings']} recording(s): results on it will be rough")
    counts = [line["examples"] for line in labels]
    if len(counts) > 1 and max(counts) > 5 * min(counts):
        found.append(f"labels are out of balance: {min(counts)} to {max(counts)} examples")
    for name in ("recordist", "licence"):
        codes, values = manifest.codes(name)
        empty = int(np.isin(codes, [at for at, value in enumerate(values) if not value]).sum())
        if empty:
            found.append(f"{empty} of {len(manifest)} examples name no {name}")
    return found


def _bandwidth(bands: dict[str, list[float]], sample_rate_hz: int) -> list[str]:
    found = []
    for label, shares in bands.items():
        above = share_above(BAND_EDGES_HZ, shares, sample_rate_hz / 2)
        if above > 0.2:
            found.append(
                f"{label}: {100 * above:.0f} % of the energy is above {sample_rate_hz / 2000:g} kHz: "
                f"use --sample-rate {2 * sample_rate_hz}"
            )
    return found


def _one_row_per(manifest: Manifest, name: str) -> np.ndarray:
    codes, _ = manifest.codes(name)
    return np.sort(np.unique(codes, return_index=True)[1])


def _cross(manifest: Manifest, name: str, empty: str, most: int = 0) -> dict[str, dict[str, int]]:
    labels, label_names = manifest.codes("label")
    codes, values = manifest.codes(name)
    size = max(len(values), 1)
    pairs, counts = np.unique(labels.astype(np.int64) * size + codes, return_counts=True)
    table: dict[str, dict[str, int]] = collections.defaultdict(dict)
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        table[label_names[pair // size]][values[pair % size] or empty] = count
    result = {}
    for label in sorted(table):
        items = sorted(table[label].items(), key=lambda item: (-item[1], item[0]))
        kept = dict(items[:most] if most else items)
        if most and len(items) > most:
            kept[f"{len(items) - most} others"] = sum(count for _, count in items[most:])
        result[label] = kept
    return result


def _snr(manifest: Manifest) -> dict[str, list[int]]:
    if not manifest.has("snr_db"):
        return {}
    labels, names = manifest.codes("label")
    snr = manifest.numbers("snr_db")
    table = {}
    for code in np.unique(labels):
        mine = snr[(labels == code) & np.isfinite(snr)]
        if len(mine):
            table[names[code]] = np.histogram(mine, [-1e9, *SNR_EDGES_DB[1:], 1e9])[0].tolist()
    return dict(sorted(table.items()))


def _same_content(manifest: Manifest) -> list[str]:
    codes, values = manifest.codes("sha256")
    paths, path_names = manifest.codes("path")
    size = max(len(path_names), 1)
    pairs = np.unique(codes.astype(np.int64) * size + paths)
    owners, counts = np.unique(pairs // size, return_counts=True)
    found = []
    for code in owners[counts > 1].tolist():
        if values[code]:
            files = [path_names[pair % size] for pair in pairs[pairs // size == code].tolist()]
            found.append(f"same bytes: {' = '.join(sorted(files))}")
        if len(found) >= 1000:
            break
    labels, _ = manifest.codes("label")
    span = int(labels.max(initial=0)) + 1
    spot = np.round(manifest.start_s * 1000).astype(np.int64)
    key = np.stack([codes, spot], axis=1)
    _, place = np.unique(key, axis=0, return_inverse=True)
    two = np.unique(place.astype(np.int64) * span + labels) // span
    conflict = np.unique(two)[np.unique(two, return_counts=True)[1] > 1]
    for item in conflict[:20].tolist():
        rows = np.flatnonzero(place == item)
        if values[codes[rows[0]]]:
            names = sorted({manifest.codes("label")[1][labels[row]] for row in rows.tolist()})
            where = path_names[paths[rows[0]]]
            found.append(
                f"two labels for one sound: {where} at {manifest.start_s[rows[0]]:g} s is {' and '.join(names)}"
            )
    return found


# -- listening, in worker processes -----------------------------------------------------------


def _hear(path: Path) -> tuple[np.ndarray, list[float], Scan]:
    """Fingerprint (start of the file), shares of energy per bin of BAND_EDGES_HZ, and what the samples tell."""
    rate = probe(path).sample_rate_hz
    head: list[np.ndarray] = []
    samples = 0
    for block in iter_audio(path, RATE_HZ):
        head.append(block)
        samples += len(block)
        if samples >= _FINGERPRINT_S * RATE_HZ:
            break
    meter = LevelMeter(rate, ActivityConfig(low_hz=100))
    for number, block in enumerate(iter_audio(path, rate)):
        meter.push(block)
        if number >= 6:
            break
    edges, energy = meter.band_energy()
    shares = []
    for low, high in itertools.pairwise(BAND_EDGES_HZ):
        part = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None)
        shares.append(float(np.sum(energy * part / np.maximum(np.diff(edges), 1e-9))))
    return fingerprint(np.concatenate(head)), shares, scan(path)


@dataclasses.dataclass
class _Heard:
    """What listening found: energy by label and band, pairs of one sound, those of them in two splits, findings."""

    bands: dict[str, list[float]]
    pairs: list[str]
    leaks: list[str]
    findings: list[str]
    files: int


def _listen(
    manifest: Manifest, most: int, seed: int, progress: Callable[[int, int], None] | None, jobs: int | None
) -> _Heard:
    rows = _one_row_per(manifest, "path")
    files = len(rows)
    if files > most:
        rng = np.random.Generator(np.random.PCG64(seed))
        rows = np.sort(rng.choice(rows, most, replace=False))
    paths = [manifest.audio_path(int(row)) for row in rows]
    prints: list[np.ndarray] = []
    drawn = manifest.select(rows)
    labels, recordings, splits = (drawn.column(name) for name in ("label", "recording", "split"))
    by_label: dict[str, list[list[float]]] = collections.defaultdict(list)
    scans: list[tuple[Path, Scan]] = []
    for path, label, outcome in zip(paths, labels, map_each(_hear, paths, jobs=jobs, progress=progress), strict=True):
        if isinstance(outcome.error, CheepError):
            log.warning("not heard: %s", outcome.error)
            prints.append(np.zeros((0, 2), np.int64))
            continue
        found, shares, scanned = outcome.value
        prints.append(found)
        scans.append((path, scanned))
        if sum(shares) > 0:
            by_label[label].append(shares)
    heard = _Heard({}, [], [], _levels_of(scans), len(paths))
    for one, other, share in find_duplicates(prints):
        if recordings[one] == recordings[other]:
            continue
        text = f"same sound ({100 * share:.0f} % agree): {paths[one]} ~ {paths[other]}"
        heard.pairs.append(text)
        if splits[one] and splits[other] and splits[one] != splits[other]:
            heard.leaks.append(
                f"{text}: one in {splits[one]}, one in {splits[other]} (remove one, or give both one value in a column "
                "and split with --group-column)"
            )
    if files > most:
        heard.findings.append(
            f"{most} of {files} files were heard: the same sound in others is not looked for (--listen {files})"
        )
    heard.bands = {label: np.mean(values, axis=0).tolist() for label, values in sorted(by_label.items())}
    return heard


def _levels_of(scans: list[tuple[Path, Scan]]) -> list[str]:
    """Say which recordings are spoilt: clipped, nothing but zeros, much of them zeros, wrong headers."""
    silent = [
        (path, sum(end - start for start, end in item.zeros) / max(item.duration_s, 1e-9)) for path, item in scans
    ]
    kinds = {
        "hold nothing but zeros: record them again, or leave them out": [
            str(path) for path, part in silent if part > 0.99
        ],
        "are zeros in part (a recorder's pauses, a file that was not written to its end)": [
            f"{path} ({100 * part:.0f} %)" for path, part in silent if 0.05 < part <= 0.99
        ],
        "are clipped: the gain was too high, and what was too loud is distorted": [
            f"{path} ({100 * item.clipped:.1f} % of the samples)" for path, item in scans if item.clipped
        ],
        "have a wrong header": [f"{path}: {note}" for path, item in scans for note in item.notes],
    }
    return [
        f"{len(items)} recording(s) {text}: {'; '.join(items[:3])}{', ...' if len(items) > 3 else ''}"
        for text, items in kinds.items()
        if items
    ]
