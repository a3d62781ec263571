# SPDX-License-Identifier: MIT
"""In which order to hear clips, so that a verdict teaches most; and clips that sound like one.

By value: half of what the model would report first (calls, and the false alarms that matter), half of what it is not
sure of; and of neither the same thing twice: candidates are clustered by the network's own embedding (what stands
before its last layer), and each cluster gives one. Where there are verdicts already, a logistic head on the embeddings
says what is likely and what unsure, so that every batch learns from the one before it.
"""

from __future__ import annotations

import numpy as np

from cheep.errors import CheepError

#: Candidates of a batch, for each clip that it gives.
CANDIDATES = 8
#: Verdicts of each kind that a head needs.
MIN_VERDICTS = 5


def by_value(
    logit: np.ndarray,
    embedding: np.ndarray,
    n: int,
    *,
    threshold: float = 0.0,
    heard: np.ndarray | None = None,
    present: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Return the rows of the next ``n`` clips to hear, (n,) int64, the most telling first.

    Parameters
    ----------
    logit : (clips,) float
        Scores of the season's model.
    embedding : (clips, dims) float or int8
        Of the network, of each clip's window of the largest score.
    threshold : float
        Logit at which the model decides.
    heard : (k,) int, optional
        Rows that have a verdict; they are not given again.
    present : (k,) bool
        What it was.
    seed : int
        Of the clustering.
    """
    logit = np.asarray(logit, float)
    heard = np.zeros(0, int) if heard is None else np.asarray(heard, int)
    sure = logit - threshold
    if present is not None and min(np.sum(present), np.sum(~np.asarray(present, bool))) >= MIN_VERDICTS:
        sure = head_logits(embedding, heard, np.asarray(present, bool), logit)
    chosen = np.zeros(0, np.int64)
    for doubt, count in ((-sure, (n + 1) // 2), (np.abs(sure), n)):
        left = np.setdiff1d(np.arange(len(logit)), np.concatenate([heard, chosen]))
        wanted = min(count - len(chosen), len(left)) if len(chosen) else min(count, len(left))
        if wanted <= 0:
            continue
        candidates = left[np.argsort(doubt[left], kind="stable")[: max(CANDIDATES * wanted, 50)]]
        chosen = np.r_[chosen, candidates[_one_of_each(_unit(embedding[candidates]), doubt[candidates], wanted, seed)]]
    return _by_turns(chosen, (n + 1) // 2)


def _by_turns(rows: np.ndarray, half: int) -> np.ndarray:
    """Return the two halves of ``rows`` shuffled into each other, so that any beginning has some of both."""
    place = np.r_[2 * np.arange(min(half, len(rows))), 2 * np.arange(max(0, len(rows) - half)) + 1]
    return rows[np.argsort(place, kind="stable")]


def head_logits(embedding: np.ndarray, rows: np.ndarray, present: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Return what verdicts on ``rows`` make of all clips, (clips,) float: a logistic head on embedding and score."""
    from sklearn.linear_model import LogisticRegression

    x = np.column_stack([_unit(embedding) * 4, np.asarray(logit, float)[:, None] / 4])
    head = LogisticRegression(C=1.0, class_weight="balanced", max_iter=300).fit(x[rows], present)
    return head.decision_function(x)


def like(embedding: np.ndarray, example: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the ``k`` embeddings nearest to ``example``, and their distance (cosine, 0..2).

    Parameters
    ----------
    embedding : (clips, dims) float32 or int8
    example : (dims,) float32 or int8
    k : int

    Returns
    -------
    (rows (k,) int64, distance (k,) float64)
    """
    from sklearn.neighbors import NearestNeighbors

    if len(embedding) == 0:
        raise CheepError("no embeddings to search in")
    found = NearestNeighbors(n_neighbors=min(k, len(embedding)), metric="cosine").fit(np.asarray(embedding, np.float32))
    distance, rows = found.kneighbors(np.asarray(example, np.float32)[None])
    return rows[0], distance[0]


def _one_of_each(embedding: np.ndarray, doubt: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Cluster ``embedding`` into ``n`` and return the least sure row of each, the least sure cluster first."""
    from sklearn.cluster import KMeans

    if len(embedding) <= n or np.ptp(embedding, axis=0).max() == 0:
        return np.argsort(doubt, kind="stable")[:n]
    cluster = KMeans(n, n_init=1, random_state=seed, max_iter=50).fit_predict(embedding)
    order = np.argsort(doubt, kind="stable")
    _, first = np.unique(cluster[order], return_index=True)
    chosen = order[np.sort(first)]
    rest = order[~np.isin(order, chosen)]  # clusters that coincide
    return np.concatenate([chosen, rest])[:n]


def _unit(embedding: np.ndarray) -> np.ndarray:
    values = np.asarray(embedding, np.float32)
    values = values - values.mean(axis=0, keepdims=True)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
