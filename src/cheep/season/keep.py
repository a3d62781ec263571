# SPDX-License-Identifier: MIT
"""A threshold that a season's verdicts chose, into the model's manifest: from there header and SETTINGS.TXT take it.

And whether the season is like what the threshold in the manifest was calibrated on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cheep import runs
from cheep.detector.scores import kept_threshold, probability, show_probability
from cheep.device.bundle import ModelBundle
from cheep.errors import CheepError
from cheep.evaluate.intervals import Estimate
from cheep.evaluate.outcome import Calibration, LabelCalibration, noise_range
from cheep.files import plain, read_json, write_json
from cheep.job.calibrate import keep_thresholds
from cheep.season.curves import ThresholdRow
from cheep.season.plan import Plan
from cheep.season.schema import USABLE
from cheep.season.store import Season
from cheep.season.tell import SeasonEstimate

#: A site's typical score this many robust deviations from that of the others sounds unlike them.
UNLIKE = 3.0
#: A site is noisier, or quieter, than what was calibrated on, if its noise lies so many dB outside.
NOISE_DB = 3.0
_SAME_THRESHOLD = 1e-6


def keep_season_threshold(
    bundle: ModelBundle, found: SeasonEstimate, row: ThresholdRow, noise: Sequence[tuple[str, float | None]] = ()
) -> tuple[Path, Path]:
    """Write the threshold of the plan's label, and what it was found to give, into the model's manifest.

    The other labels keep theirs, and what their calibration said. ``noise``: site and level of the season's recordings
    (:func:`noise_of`), for the next season to be compared with.

    Raises
    ------
    CheepError
        The model is not the one whose scores were verified.
    """
    plan = found.plan
    if not bundle.model.sha256.startswith(plan.model):
        raise CheepError(
            f"{bundle.path}: sha256 {bundle.model.sha256[:16]} is not {plan.model}, whose detections were verified; "
            "name the run of that model (--run)"
        )
    thresholds = list(bundle.detector.threshold)
    if len(thresholds) == 1:
        thresholds *= len(bundle.labels)
    thresholds[bundle.labels.index(plan.label)] = kept_threshold(float(probability(row.score)))
    detector = type(bundle.detector).parse({**bundle.detector.to_dict(), "threshold": thresholds}, "season")
    manifest = bundle.path.parent / runs.MANIFEST
    before = read_json(manifest, runs.QAT_COMMAND).get("calibration") or {}
    others = [item for item in before.get("labels", ()) if item.get("label") != plan.label]
    chosen = (_as_calibration(found, row, thresholds, bundle),)
    written = keep_thresholds(bundle, Calibration(detector, chosen, noise_range(level for _, level in noise)))
    values = read_json(manifest, runs.QAT_COMMAND)
    values["calibration"]["labels"] += others
    values["calibration"]["temperature"] = before.get("temperature")
    values["calibration"]["season"] = plain(
        {
            "label": plan.label,
            "plan": plan.name,
            "want": plan.want,
            "verdicts": row.verdicts,
            "precision": row.precision.to_dict(),
            "recall": recall.to_dict() if (recall := recall_at(found, row)) else None,
            "sites": sorted(set(plan.counts["site"].tolist())),
            "scores": score_quantiles(plan),
        }
    )
    write_json(manifest, values)
    return written


def recall_at(found: SeasonEstimate, row: ThresholdRow) -> Estimate | None:
    """Return recall at a threshold: known at the plan's own only; above it is lower.

    ``row``: one of ``found.thresholds``.
    """
    return found.whole.recall if row.score <= found.thresholds[0].score else None


def _as_calibration(
    found: SeasonEstimate, row: ThresholdRow, thresholds: list[float | None], bundle: ModelBundle
) -> LabelCalibration:
    plan, rate = found.plan, row.false_alarms
    hours = found.rows[0].hours
    high = rate.high if rate.high is not None else rate.value
    low = rate.low if rate.low is not None else 0.0
    groups = len({(item.site, item.night) for item in plan.items})
    table = found.thresholds
    return LabelCalibration(
        label=plan.label,
        threshold=float(thresholds[bundle.labels.index(plan.label)] or 0.0),
        rate=rate,
        observed=round(rate.value * hours),
        hours=hours,
        recordings=len({item.recording for item in plan.items}),
        groups=groups,
        dispersion=1.0,
        new_hours=hours,
        new_rate=(low, high),
        annotations=0,
        recall=recall_at(found, row),
        target=high,
        met=True,
        promised=False,
        season=f"{rate.text(2)} in the season whose verdicts chose the threshold (plan {plan.name}, {row.verdicts} "
        "verdicts on what lies above it): these sites and nights; others may differ by more",
        hours_needed=hours,
        groups_needed=groups,
        curve={
            "threshold": [kept_threshold(float(probability(item.score))) for item in table],
            "false_alarms_per_hour": [item.false_alarms.value for item in table],
            "recall": [None] * len(table),
        },
    )


def score_quantiles(plan: Plan, site: str = "") -> list[float]:
    """Return the 10, 50, 90 and 99 % points of the clips' scores (logits), of one site or all."""
    rows = plan.counts["site"] == site if site else np.ones(len(plan.counts["site"]), bool)
    order = np.argsort(plan.counts["score"][rows], kind="stable")
    weight = np.cumsum(plan.counts["clips"][rows][order])
    at = np.searchsorted(weight, np.array([0.1, 0.5, 0.9, 0.99]) * weight[-1])
    return [round(float(value), 2) for value in plan.counts["score"][rows][order][np.minimum(at, len(order) - 1)]]


def noise_of(season: Season) -> list[tuple[str, float | None]]:
    """Return site and noise level, dB of full scale, of each recording that counts."""
    rows = season.recordings(["site", "noise_db", "status"]).to_pylist()
    return [(row["site"], row["noise_db"]) for row in rows if row["status"] in USABLE]


def _noise_warnings(then: Sequence[float] | None, noise: Sequence[tuple[str, float | None]]) -> list[str]:
    """Return the sites whose typical noise lies outside that of the recordings that the threshold was calibrated on."""
    if not then:
        return []
    by_site: dict[str, list[float]] = {}
    for site, level in noise:
        if level is not None:
            by_site.setdefault(site, []).append(level)
    out = []
    for site, levels in sorted(by_site.items()):
        level = float(np.median(levels))
        off = level - min(max(level, then[0] - NOISE_DB), then[1] + NOISE_DB)
        if off:
            out.append(
                f"site {site}: its quiet is {level:.0f} dB of full scale, {'above' if off > 0 else 'below'} the "
                f"{then[0]:.0f} to {then[1]:.0f} dB of the recordings that the threshold was calibrated on (another "
                f"gain, wind, water, traffic): it may hear {'less far' if off > 0 else 'further'} there"
            )
    return out


def warnings_of(
    found: SeasonEstimate,
    manifest: dict,
    noise: Sequence[tuple[str, float | None]] = (),
    own: float | None = None,
) -> list[str]:
    """Return in what the season differs from what the model's threshold was calibrated on.

    ``own``: the threshold, 0..1, that made the season's detections; what was promised of another is not compared.
    Compared are false alarms per hour (intervals that do not meet), scores (their quantiles, where an earlier season
    chose the threshold), noise (``noise``: site and level of each recording, dB of full scale), and sites: new ones,
    and those that sound unlike the others.
    """
    out = []
    plan, label = found.plan, found.plan.label
    calibration = manifest.get("calibration") or {}
    before = next((item for item in calibration.get("labels", ()) if item.get("label") == label), None)
    now = found.whole.false_alarms
    if before is None:
        out.append(f"{label}: its threshold was never calibrated (cheep calibrate, or --keep here)")
    elif own is not None and abs(before["threshold"] - own) > _SAME_THRESHOLD:
        out.append(
            f"{label}: the plan's detections are those of threshold {show_probability(own, 3)}, not of the calibrated "
            f"one, {show_probability(before['threshold'], 3)}: what calibration promised is not compared (cheep season "
            "detect --like RUN, then a new plan)"
        )
    elif now is not None:
        then = Estimate(**before["false_alarms_per_hour"])
        if now.low is not None and then.high is not None and now.low > then.high:
            out.append(
                f"{now.text(2)} false alarms per hour, where calibration promised {then.text(2)}: the season is not "
                "like the recordings that the threshold was calibrated on"
            )
    season = calibration.get("season") or {}
    if season.get("label") == label:
        new = sorted(set(plan.counts["site"].tolist()) - set(season["sites"]))
        if new:
            out.append(f"sites that the threshold was not chosen on: {', '.join(new[:8])}{' ...' if new[8:] else ''}")
        moved = score_quantiles(plan)[1] - season["scores"][1]
        spread = max(0.5, season["scores"][2] - season["scores"][0])
        if abs(moved) > spread / 2:
            way = "higher" if moved > 0 else "lower"
            out.append(f"scores lie {abs(moved):.1f} log-odds {way} than when the threshold was chosen")
    out += _noise_warnings(calibration.get("noise_db"), noise)
    sites = sorted(set(plan.counts["site"].tolist()))
    if len(sites) > 2:
        middle = np.array([score_quantiles(plan, site)[2] for site in sites])
        off = np.abs(middle - np.median(middle))
        scale = max(0.3, 1.4826 * float(np.median(off)))
        for site, value in zip(sites, off, strict=True):
            if value > UNLIKE * scale:
                out.append(
                    f"site {site} sounds unlike the others (its scores): what holds there may not hold elsewhere"
                )
    return out
