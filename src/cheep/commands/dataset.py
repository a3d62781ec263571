# SPDX-License-Identifier: MIT
"""Look at a data set: inspect, sample, check for leaks, read AudioMoth cards, find doubtful windows, add voices.

inspect MANIFEST     counts, hours, licences, recordists, levels, bands, duplicates, leaks
sample MANIFEST      a small manifest: some examples of each label, recordings in turn
card FOLDER          what AudioMoth recordings say of time, device, gain, battery and temperature, as CSV
teacher MANIFEST     a cross-validated model doubts windows; a page to listen to them; a manifest without them
soften MANIFEST      soft labels for training, by a large model's ears, also for mixes of windows
annotate FOLDER      boxes with confidences for recordings, by a large model's ears
voices WORD ...      a data set of spoken words, said by the speech synthesizers of this machine
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from cheep.commands._cluster import add_cluster
from cheep.commands._progress import Progress
from cheep.commands._settings import add_setting, settings_from
from cheep.config import VoicesConfig
from cheep.errors import CheepError, GateError

_SHOWN = 12  # problems that are named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    sub = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    inspect = sub.add_parser("inspect", help="what a manifest holds and what is wrong with it")
    inspect.add_argument("manifest", type=Path, nargs="?", help="default: dataset.csv of the latest run")
    inspect.add_argument("--listen", type=int, default=2000, help="audio files to open, 0: none (%(default)s)")
    inspect.add_argument("--html", type=Path, help="write a page, too")
    inspect.add_argument(
        "--sample-rate", type=int, help="of the detector to be, Hz (default: the manifest's, else 8000)"
    )
    inspect.add_argument("--jobs", type=int, help="worker processes (default: one per core)")
    add_cluster(inspect)
    sample = sub.add_parser("sample", help="some examples of each label")
    sample.add_argument("manifest", type=Path, help="the one to take examples from")
    sample.add_argument("-o", "--output", type=Path, required=True, help="the small manifest")
    sample.add_argument("-n", "--per-label", type=int, default=100, help="examples of each label (%(default)s)")
    sample.add_argument("--seed", type=int, default=1, help="of the choice (%(default)s)")
    card = sub.add_parser("card", help="AudioMoth headers as CSV")
    card.add_argument("folder", type=Path, help="recordings of an AudioMoth")
    teacher = sub.add_parser("teacher", help="find the windows whose label a cross-validated model doubts")
    teacher.add_argument("manifest", type=Path, nargs="?", help="default: dataset.csv of the latest run")
    teacher.add_argument(
        "-o", "--output", type=Path, help="manifest without them (default: dataset.taught.csv beside it)"
    )
    teacher.add_argument("--page", type=Path, help="contact sheet (default: contact_sheet.html beside it)")
    teacher.add_argument(
        "--drop", type=float, help="largest share of each label to drop (0.05 by the forest, 0.3 by a large model)"
    )
    teacher.add_argument("--below", type=float, default=0.2, help="plausibility that counts as doubtful (%(default)s)")
    teacher.add_argument("--keep", type=Path, help="text file of the numbers to keep, as the page gives it")
    teacher.add_argument("--sample-rate", type=int, help="Hz (default: the manifest's, else 8000)")
    teacher.add_argument("--seed", type=int, default=1, help="of groups and model (%(default)s)")
    teacher.add_argument("--jobs", type=int, help="worker processes (default: one per core)")
    teacher.add_argument(
        "--by",
        default="forest",
        metavar="MODEL",
        help="forest (needs nothing else, finds little), birdnet, perch, or FILE,LABELS[,RATE]: a large model's ears",
    )
    add_cluster(teacher)
    soft = sub.add_parser("soften", help="soft labels for training, by a large model's ears")
    soft.add_argument("manifest", type=Path, nargs="?", help="default: dataset.csv of the latest run")
    soft.add_argument("--by", default="birdnet", metavar="MODEL", help="birdnet, perch, or FILE,LABELS[,RATE]")
    soft.add_argument(
        "--mixes", type=int, default=0, metavar="N", help="also N pairs of windows, mixed (0: removes them again)"
    )
    soft.add_argument("--seed", type=int, default=1, help="of groups and pairs (%(default)s)")
    soft.add_argument("--jobs", type=int, help="worker processes (default: one per core)")
    add_cluster(soft)
    heard = sub.add_parser("annotate", help="boxes with confidences for recordings, by a large model's ears")
    heard.add_argument("folder", type=Path, metavar="FOLDER", help="recordings, or a season")
    heard.add_argument("--by", default="birdnet", metavar="MODEL", help="birdnet, perch, or FILE,LABELS[,RATE]")
    heard.add_argument(
        "--species",
        action="append",
        default=[],
        metavar="NAME",
        help="scientific or common name, or the model's label (may be given again; default: all)",
    )
    heard.add_argument("--min-confidence", type=float, default=0.5, metavar="C", help="0..1 (%(default)s)")
    heard.add_argument("--step", type=float, metavar="S", help="from window to window (default: the model's window)")
    heard.add_argument("-o", "--output", type=Path, default=Path("annotations.csv"), help="(%(default)s)")
    heard.add_argument("--jobs", type=int, help="worker processes (default: one per core)")
    add_cluster(heard)
    voices = sub.add_parser("voices", help="spoken words from synthetic speakers (espeak-ng, flite)")
    voices.add_argument("words", nargs="+", metavar="WORD", help="a label, and what is said")
    voices.add_argument("-o", "--output", type=Path, required=True, help="folder to fill")
    add_cluster(voices)
    for options, name in ((("-n", "--per-word"), "per_word"), (("--language",), "language"),
                          (("--sample-rate",), "sample_rate_hz"), (("--seed",), "seed")):  # fmt: skip
        add_setting(voices, options, name, VoicesConfig)


def run(args: argparse.Namespace) -> int:
    """Dispatch to the subcommand."""
    actions = {
        "inspect": _inspect,
        "sample": _sample,
        "card": _card,
        "teacher": _teacher,
        "soften": _soften,
        "annotate": _annotate,
        "voices": _voices,
    }
    return actions[args.action](args)


def _manifest_path(given: Path | None) -> Path:
    if given is not None:
        return given
    from cheep.runs import DATASET, find_run

    return find_run() / DATASET


def _inspect(args: argparse.Namespace) -> int:
    from cheep.datasets.about import rate_of
    from cheep.datasets.inspect import inspect_manifest
    from cheep.datasets.inspect_report import inspection_html, inspection_text
    from cheep.datasets.manifest import load_manifest
    from cheep.files import write_text

    path = _manifest_path(args.manifest)
    found = inspect_manifest(
        load_manifest(path),
        args.listen,
        progress=Progress("files"),
        jobs=args.jobs,
        sample_rate_hz=rate_of(path, args.sample_rate),
    )
    print(inspection_text(found), end="")
    if args.html:
        write_text(args.html, inspection_html(found, f"Data set {path.name}"))
        print(f"page: {args.html}")
    if found.leaks:
        raise GateError(f"{path}: {len(found.leaks)} leak(s): training would hear what it is tested on")
    return 0


def _sample(args: argparse.Namespace) -> int:
    from cheep.datasets.about import carry_about
    from cheep.datasets.inspect import sample_manifest
    from cheep.datasets.manifest import load_manifest

    result = sample_manifest(load_manifest(args.manifest), args.per_label, args.seed)
    result.write(args.output)
    carry_about(args.manifest, args.output)
    print(f"{args.output}: {len(result)} examples")
    return 0


def _card(args: argparse.Namespace) -> int:
    from cheep.audio import list_audio
    from cheep.datasets.audiomoth import read_card_header

    if not args.folder.is_dir():
        raise CheepError(f"{args.folder}: no such folder")
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["file", "time", "device", "deployment", "gain", "battery_v", "battery_bound", "temperature_c"])
    others = told = 0
    found = list_audio(args.folder)
    for path in found.audio:
        if path.suffix.lower() not in (".wav", ".wave"):
            continue
        try:
            header = read_card_header(path)
        except CheepError as error:
            print(error, file=sys.stderr)
            continue
        if header is None:
            others += 1
            continue
        told += 1
        time = header.time.isoformat() if header.time else ""
        values = [header.battery_v, header.battery_bound, header.temperature_c]
        shown = ["" if value is None else value for value in values]
        out.writerow(
            [path.relative_to(args.folder).as_posix(), time, header.device, header.deployment, header.gain, *shown]
        )
    if others:
        print(f"{others} WAV file(s) without an AudioMoth header", file=sys.stderr)
    if not told:
        there = f"{len(found.audio)} other recording(s)" if found.audio else found.passed_over() or "nothing"
        raise CheepError(f"{args.folder}: no WAV of an AudioMoth ({there} there); give the card or a copy of it")
    return 0


def _teacher(args: argparse.Namespace) -> int:
    from cheep.datasets.about import carry_about, rate_of
    from cheep.datasets.contact_sheet import contact_sheet
    from cheep.datasets.manifest import load_manifest
    from cheep.datasets.teacher import FOREST_DROP, PROBE_DROP, TeacherConfig, read_kept, teach
    from cheep.ears import Ears, hear_manifest
    from cheep.ears.papers import PAPERS, add_papers, papers_beside, sign
    from cheep.files import write_text

    path = _manifest_path(args.manifest)
    rate = rate_of(path, args.sample_rate)
    manifest = load_manifest(path)
    share = args.drop if args.drop is not None else FOREST_DROP if args.by == "forest" else PROBE_DROP
    given = {"drop": share, "below": args.below, "seed": args.seed, "sample_rate_hz": rate}
    if args.by == "forest":
        config = TeacherConfig.parse(given, "options")
        result = teach(manifest, config, Progress("files"), args.jobs)
        print(
            "the forest knows these recordings only: of ten windows that it doubts two or so are wrong (--by birdnet)"
        )
    else:
        ears = Ears(args.by)
        config = TeacherConfig.parse({**given, "judge": "probe"}, "options")
        heard = hear_manifest(manifest, ears, path.parent, Progress("files"), args.jobs)
        result = teach(manifest, config, jobs=args.jobs, statistics=heard.embeddings)
        result.problems += heard.problems
        paper = sign(path.with_name(PAPERS), ears.about, "judged labels")
        print(f"judged by {ears.about.title}: {paper['means']}")
    for text in result.problems[:_SHOWN]:
        print(text, file=sys.stderr)
    if result.problems:
        print(f"{len(result.problems)} recording(s) could not be read: their windows stay, and nobody judged them")
    kept = read_kept(args.keep, len(manifest)) if args.keep else frozenset()
    dropped = [row for row in result.doubtful if row not in kept]
    page = args.page or path.with_name("contact_sheet.html")
    write_text(page, contact_sheet(manifest, result, rate, kept))
    output = args.output or path.with_name(path.stem + ".taught.csv")
    result.without(manifest, dropped).write(output)
    carry_about(path, output)
    if output.parent != path.parent:
        add_papers(output.with_name(PAPERS), papers_beside(path))
    print(f"cross-validated accuracy of the teacher: {result.accuracy:.3f} over {len(set(result.fold.tolist()))} folds")
    for label, (count, total) in result.counts(manifest, dropped).items():
        print(f"  {label}: {count} of {total} training windows dropped")
    print(f"listen: {page}\n{output}: {len(manifest) - len(dropped)} examples")
    return 0


def _soften(args: argparse.Namespace) -> int:
    import numpy as np

    from cheep.datasets.manifest import load_manifest
    from cheep.datasets.soft import SOFT_LABELS, write_soft
    from cheep.ears import Ears
    from cheep.ears.papers import PAPERS, sign
    from cheep.ears.soften import soften

    if args.mixes < 0:
        raise CheepError(f"--mixes {args.mixes}: must be 0 or more")
    path = _manifest_path(args.manifest)
    manifest = load_manifest(path)
    ears = Ears(args.by)
    made = soften(
        manifest, ears, path.parent, mixes=args.mixes, seed=args.seed, progress=Progress("files"), jobs=args.jobs
    )
    for text in made.problems[:_SHOWN]:
        print(text, file=sys.stderr)
    if len(made.manifest) != len(manifest) or made.mixes:
        made.manifest.write(path)
    write_soft(path.with_name(SOFT_LABELS), load_manifest(path), made.labels, made.values)
    paper = sign(path.with_name(PAPERS), ears.about, "taught soft labels")
    print(f"{ears.about.title}: {paper['means']}")
    lost = f"; {len(made.problems)} recording(s) could not be read" if made.problems else ""
    there = int(np.isfinite(made.values).all(axis=1).sum())
    print(f"a probe on its embeddings is right on {made.accuracy:.3f} of windows whose group it has not heard")
    print(f"{path.with_name(SOFT_LABELS)}: {there} windows, {made.mixes} of them mixes{lost}")
    print("next: cheep train --soft-weight 0.5 (docs/ears.md says what it is worth)")
    return 0


def _annotate(args: argparse.Namespace) -> int:
    from cheep.audio import audio_files
    from cheep.ears import Ears, places_of
    from cheep.ears.annotate import COLUMNS, annotate
    from cheep.ears.papers import PAPERS, sign
    from cheep.files import write_csv
    from cheep.season import Season
    from cheep.season.export import usable_files
    from cheep.season.store import SEASON_FILE

    if args.output.exists():
        raise CheepError(
            f"{args.output}: is there already, perhaps corrected by somebody; name another (-o), or delete it"
        )
    season = Season(args.folder) if (args.folder / SEASON_FILE).is_file() else None
    paths = audio_files(args.folder) if season is None else usable_files(season)
    ears = Ears(args.by)
    wanted = places_of(args.species, ears.about.labels)
    found = annotate(
        paths,
        ears,
        wanted,
        min_confidence=args.min_confidence,
        step_s=args.step,
        kept=args.output.parent,
        progress=Progress("recordings"),
        jobs=args.jobs,
    )
    write_csv(args.output, COLUMNS, found.rows)
    lineage = sign(args.output.with_suffix(f".{PAPERS}"), ears.about, "annotated recordings")
    for text in found.problems[:_SHOWN]:
        print(text, file=sys.stderr)
    print(f"{ears.about.title}: {lineage['means']}")
    if found.others:
        most = ", ".join(f"{label} {count}" for label, count in found.others.most_common(5))
        print(f"also heard, not asked for: {most}" + (", ..." if len(found.others) > 5 else ""))
    lost = f"; {len(found.problems)} could not be heard" if found.problems else ""
    print(f"{args.output}: {len(found.rows)} boxes; nothing in {found.without} of {len(paths)} recordings{lost}")
    believed = f"--min-confidence {args.min_confidence:g}"
    print(f"next: cheep split-dataset {args.folder} --annotations {args.output} {believed}")
    return 0


def _voices(args: argparse.Namespace) -> int:
    from cheep.datasets.voices import synthesize_words

    config = settings_from(args, VoicesConfig)
    path = synthesize_words(args.words, args.output, config, Progress("files"))
    print(f"{path}: {len(set(args.words))} word(s), {config.per_word} times each")
    print(f"next: cheep split-dataset FOLDER --train-only {args.output}")
    return 0
