# SPDX-License-Identifier: MIT
"""Splits that keep a recording, a recordist, a site or a day on one side."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TypedDict

import numpy as np

from cheep.config.data import SplitConfig
from cheep.datasets.manifest import SPLITS, Manifest, TextColumn
from cheep.errors import CheepError, GateError

log = logging.getLogger(__name__)

MAX_ORDERS = 50  # orders of the groups tried until every label is trained on and tested on


def components(manifest: Manifest, names: Sequence[str]) -> np.ndarray:
    """Return (n,) int64 ids of the smallest sets of rows that share no non-empty value of any column in ``names``.

    Ids follow the first row of each set.
    """
    size = len(manifest)
    parent = np.arange(size)
    # Rows of the first column are joined at once; later columns join the sets already made.
    for name in names:
        if name not in manifest.columns:
            continue
        codes, values = manifest.codes(name)
        filled = np.array([bool(value.strip()) for value in values], bool)
        first: dict[int, int] = {}
        for row in _first_rows(codes, filled[codes] if len(filled) else np.zeros(0, bool), parent):
            code = int(codes[row])
            if code in first:
                _join(parent, first[code], row)
            else:
                first[code] = row
        parent = _flatten(parent)
    _, ids = np.unique(parent, return_inverse=True)
    return ids


def _first_rows(codes: np.ndarray, filled: np.ndarray, parent: np.ndarray) -> list[int]:
    """One row per distinct (code, set): joining these joins all."""
    rows = np.flatnonzero(filled)
    if not rows.size:
        return []
    pairs = codes[rows].astype(np.int64) * (len(parent) + 1) + parent[rows]
    return rows[np.unique(pairs, return_index=True)[1]].tolist()


def _find(parent: np.ndarray, row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = int(parent[row])
    return row


def _join(parent: np.ndarray, one: int, two: int) -> None:
    one, two = _find(parent, one), _find(parent, two)
    if one != two:
        parent[max(one, two)] = min(one, two)


def _flatten(parent: np.ndarray) -> np.ndarray:
    while True:
        shorter = parent[parent]
        if np.array_equal(shorter, parent):
            return parent
        parent = shorter


def assign_splits(manifest: Manifest, config: SplitConfig) -> Manifest:
    """Return ``manifest`` with column ``split`` filled; the same manifest and seed give the same splits.

    Groups go, the largest first, to the split that lacks most of the group's rarest label, after every split
    has received one group of each label (as far as there are groups).

    Raises
    ------
    CheepError
        For an empty manifest, a label with a single recording, a label whose recordings are all one group, or labels
        that share their groups so that not each can be on both sides.
    """
    if not len(manifest):
        raise CheepError("no examples: nothing to split (were all windows left out? see the counts above)")
    if config.test_folds or config.val_folds:
        result = _by_folds(manifest, config)
        check_leaks(result, config.group_by)
        if config.val and not config.val_folds:
            result = _with_validation(result, config)
    elif config.val_by == "group" and config.val:
        rest = config.model_copy(update={"val": 0.0})
        result = _with_validation(_by_groups(manifest, rest) if config.test else _all_train(manifest), config)
    elif config.val or config.test:
        result = _by_groups(manifest, config)
    else:
        result = _all_train(manifest)
    check_split(result, config)
    return result


def fold_splits(manifest: Manifest, config: SplitConfig) -> Iterator[tuple[str, Manifest]]:
    """Yield (fold, manifest) with each fold as the test set once; a part of the others validates, groups stay whole.

    Rows whose split is settled keep it. The folds are those of column ``fold``, or ``config.fold_count`` parts of the
    groups (column ``config.group_by``) in random order.

    Raises
    ------
    CheepError
        There are fewer than two folds, or rows without one.
    """
    settled = np.array([bool(split) for split in manifest.column("split")], bool)
    open_rows = manifest.select(~settled)
    if config.fold_count:
        ids = components(open_rows, ("recording", "sha256", config.group_by))
        order = np.random.default_rng(config.seed).permutation(int(ids.max()) + 1)
        parts = [f"{part:0{len(str(config.fold_count - 1))}d}" for part in order[ids] % config.fold_count]
    else:
        parts = open_rows.column("fold") if open_rows.has("fold") else []
    folds = sorted(set(parts))
    if len(folds) < 2 or "" in folds:
        raise CheepError(f"cross_validate: needs a column 'fold' with two folds or more, or fold_count; found {folds}")
    for fold in folds:
        test = np.array([part == fold for part in parts], bool)
        drawn = np.full(len(test), "test", object)
        drawn[~test] = _with_validation(_all_train(open_rows.select(~test)), config).column("split")
        names = np.array(manifest.column("split"), object)
        names[~settled] = drawn
        result = manifest.with_column("split", names.tolist())
        check_split(result, config)
        yield fold, result


def _all_train(manifest: Manifest) -> Manifest:
    return manifest.with_column("split", ["train"] * len(manifest))


def _with_validation(manifest: Manifest, config: SplitConfig) -> Manifest:
    """Draw validation from the rows that train: evenly by label, or every n-th group as it comes."""
    names = np.array(manifest.column("split"), object)
    train = np.array(names == "train", bool)
    rows = manifest.select(train)
    if config.val_by == "group":
        names[train] = np.where(every_nth_group(rows, round(1 / config.val), config), "val", "train")
    else:
        shares = config.model_copy(update={"test": 0.0, "test_folds": (), "val_folds": ()})
        names[train] = _by_groups(rows, shares).column("split")
    return manifest.with_column("split", names.tolist())


def every_nth_group(manifest: Manifest, n: int, config: SplitConfig) -> np.ndarray:
    """Return which rows belong to every ``n``-th group in random order, (rows,) bool.

    Where there are fewer than ``n`` groups (speakers), every ``n``-th recording: training keeps the average of its last
    epochs, so that validation is looked at and decides nothing.
    """
    ids = components(manifest, ("recording", "sha256", config.group_by))
    if ids.max() + 1 < n:
        ids = components(manifest, ("recording", "sha256"))
    order = np.random.default_rng([config.seed, 1]).permutation(int(ids.max()) + 1)
    return order[ids] % n == 0


def _by_folds(manifest: Manifest, config: SplitConfig) -> Manifest:
    if not manifest.has("fold"):
        raise CheepError("test_folds: the manifest has no column 'fold' (map one with --columns fold=NAME)")
    codes, values = manifest.codes("fold")
    present = {values[code] for code in np.unique(codes)}
    for fold in (*config.test_folds, *config.val_folds):
        if fold not in present:
            raise CheepError(f"fold {fold!r}: not among the folds of the manifest: {', '.join(sorted(present))}")
    both = set(config.test_folds) & set(config.val_folds)
    if both:
        raise CheepError(f"fold {sorted(both)[0]!r}: is in test_folds and in val_folds: must be in one of them")
    kind = [2 if value in config.test_folds else 1 if value in config.val_folds else 0 for value in values]
    return manifest.with_column("split", TextColumn(np.array(kind, np.int32)[codes], list(SPLITS)))


def _by_groups(manifest: Manifest, config: SplitConfig) -> Manifest:
    ids = components(manifest, ("recording", "sha256", config.group_by))
    labels, names = manifest.codes("label")
    n_groups, n_labels = int(ids.max()) + 1, len(names)
    counts = np.zeros((n_groups, n_labels), np.int64)  # rows per group and label
    np.add.at(counts, (ids, labels), 1)
    recordings = _distinct_per_label(manifest, "recording")
    per_label = (counts > 0).sum(axis=0)
    for code in sorted(np.unique(labels).tolist(), key=lambda code: names[code]):
        if per_label[code] < 2:
            what = (
                "1 recording: at least 2 are needed to test on a recording that training has not heard "
                f"(add recordings of {names[code]!r}, or drop the label)"
                if recordings[code] < 2
                else f"{recordings[code]} recordings, all of one {config.group_by}: at least 2 are needed to test on "
                f"one that training has not heard (add recordings, or keep less together with --group-by recording)"
            )
            raise CheepError(f"label {names[code]!r} has {what}")
        if per_label[code] < 3 and config.val > 0 and config.test > 0:
            log.warning("label %r has 2 groups of recordings: none is left for validation", names[code])

    shares = np.array([1 - config.val - config.test, config.val, config.test])
    rng = np.random.Generator(np.random.PCG64(config.seed))
    present = np.flatnonzero(per_label)
    for attempt in range(MAX_ORDERS):
        order = rng.permutation(n_groups)
        if not attempt:
            order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
        if attempt == MAX_ORDERS // 2 and shares[1] > 0:
            shares = shares * (1, 0, 1)
            log.warning("labels share so many groups of recordings that none is left for validation")
        choice = _place_groups(counts, shares, order)
        heard = np.stack([(counts[choice == place] > 0).any(axis=0) for place in range(3)], axis=1)
        lacking = present[~heard[present][:, np.flatnonzero(shares * (1, 0, 1))].all(axis=1)]
        if not lacking.size:
            return manifest.with_column("split", TextColumn(choice[ids], list(SPLITS)))
    name = names[lacking[0]]
    raise CheepError(
        f"label {name!r} has {per_label[lacking[0]]} groups of recordings that hold other labels too, and no way was "
        f"found to train and test on every label: at least 2 groups of each must be free to go to different sides "
        f"(add recordings of {name!r}, drop the label, or keep less together with --group-by recording)"
    )


def _place_groups(counts: np.ndarray, shares: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the place (train 0, val 1, test 2) of each group, (groups,) int32.

    ``counts`` (groups, labels) are rows, ``shares`` (3,) the places' shares. Groups of rare labels go first, and
    ``order`` (groups,) decides among equals.
    """
    n_groups, n_labels = counts.shape
    per_label = (counts > 0).sum(axis=0)
    need = counts.sum(axis=0)[:, None] * shares  # (n_labels, 3) rows still wanted
    has = np.zeros((n_labels, 3), np.int64)  # groups received
    # A rare label is placed first: its few groups decide whether every split hears it.
    rarest = np.array(
        [min(np.flatnonzero(counts[group]), key=lambda code: (per_label[code], code)) for group in range(n_groups)]
    )
    order = order[np.argsort(per_label[rarest[order]], kind="stable")]
    left = per_label.copy()
    choice = np.zeros(n_groups, np.int32)
    wanted = [place for place in (0, 2, 1) if shares[place] > 0]
    for group in order.tolist():
        label = int(rarest[group])
        codes = np.flatnonzero(counts[group])
        missing = [place for place in wanted if has[label, place] == 0]
        if missing and left[label] <= len(missing):
            place = missing[0]
        else:
            relative = need[label] / np.maximum(shares, 1e-9)
            relative[shares <= 0] = -np.inf
            place = int(np.argmax(relative))
        choice[group] = place
        need[codes, place] -= counts[group, codes]
        has[codes, place] += 1
        left[codes] -= 1
    return choice


def _distinct_per_label(manifest: Manifest, name: str, known: bool = False) -> np.ndarray:
    labels, names = manifest.codes("label")
    codes, values = manifest.codes(name)
    told = np.array([not known or bool(value.strip()) for value in values], bool)[codes]
    pairs = np.unique(labels[told].astype(np.int64) * max(len(values), 1) + codes[told])
    return np.bincount(pairs // max(len(values), 1), minlength=len(names))


def find_leaks(manifest: Manifest, names: Sequence[str] = ("recording", "sha256", "group")) -> list[str]:
    """Return one sentence per value of columns ``names`` that lies in more than one split."""
    found: list[str] = []
    split_codes, split_values = manifest.codes("split")
    for name in dict.fromkeys(names):
        if name not in manifest.columns:
            continue
        codes, values = manifest.codes(name)
        pairs = np.unique(codes.astype(np.int64) * (len(split_values) + 1) + split_codes)
        owners, n_splits = np.unique(pairs // (len(split_values) + 1), return_counts=True)
        for code in owners[n_splits > 1].tolist():
            if values[code].strip():
                where = sorted({split_values[s] or "(none)" for s in np.unique(split_codes[codes == code])})
                found.append(f"{name} {values[code]!r} is in {' and '.join(where)}")
    return found


def check_leaks(manifest: Manifest, group_by: str = "group") -> None:
    """Raise :class:`GateError` if a recording, a file content or a group lies in more than one split."""
    leaks = find_leaks(manifest, ("recording", "sha256", group_by))
    if leaks:
        more = f" (and {len(leaks) - 1} more)" if len(leaks) > 1 else ""
        raise GateError(
            f"leak: {leaks[0]}{more}: training would hear what it is tested on "
            "(split again with: cheep split-dataset, or correct the folds)"
        )


def check_split(manifest: Manifest, config: SplitConfig) -> None:
    """Raise :class:`GateError` for a leak; where groups validate as they come, few of them may train as well."""
    if config.val_by == "group":
        names = ["train" if name == "val" else name for name in manifest.column("split")]
        manifest = manifest.with_column("split", names)
    check_leaks(manifest, config.group_by)


class LabelBalance(TypedDict):
    """How much of one label there is: examples in all and by split, their seconds, recordings and recordists."""

    label: str
    examples: int
    seconds: float
    recordings: int
    recordists: int
    train: int
    val: int
    test: int


def balance(manifest: Manifest) -> list[LabelBalance]:
    """Return per label: examples, seconds, recordings, recordists, and examples per split."""
    labels, names = manifest.codes("label")
    split_codes, split_values = manifest.codes("split")
    n_labels = len(names)
    examples = np.bincount(labels, minlength=n_labels)
    seconds = np.bincount(labels, weights=manifest.duration_s, minlength=n_labels)
    recordings = _distinct_per_label(manifest, "recording")
    recordists = _distinct_per_label(manifest, "recordist", known=True)
    per_split = np.zeros((n_labels, max(len(split_values), 1)), np.int64)
    np.add.at(per_split, (labels, split_codes), 1)
    in_split = {
        split: per_split[:, split_values.index(split)] if split in split_values else np.zeros(n_labels, np.int64)
        for split in SPLITS
    }
    return [
        {
            "label": names[code],
            "examples": int(examples[code]),
            "seconds": float(seconds[code]),
            "recordings": int(recordings[code]),
            "recordists": int(recordists[code]),
            "train": int(in_split["train"][code]),
            "val": int(in_split["val"][code]),
            "test": int(in_split["test"][code]),
        }
        for code in sorted((c for c in range(n_labels) if examples[c]), key=lambda c: names[c])
    ]
