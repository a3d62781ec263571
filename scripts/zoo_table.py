# SPDX-License-Identifier: MIT
"""What becomes of the STM32 model zoo's configurations in a folder: a table in Markdown (docs/zoo.md).

  python scripts/zoo_table.py stm32ai-modelzoo-services/audio_event_detection

Every .yaml and .yml file below the folder is imported. Its recordings, tables, models and files to predict are taken to
be there (empty stand-ins of the same kind), nothing else is changed, and nothing is run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from cheep.config.reader import settings_of
from cheep.config.source import Override, read_source
from cheep.config.zoo import import_zoo, is_zoo
from cheep.errors import CheepError
from cheep.pipeline.checks import check

#: Settings of ours that are paths: what stands in for each.
STAND_INS = {
    **{("data", *part, name): kind for part in ((), ("validation",), ("test",), ("calibration",))
       for name, kind in (("folder", "folder"), ("audio_root", "folder"), ("csv", "table.csv"))},
    ("predict", "files"): "folder",
    ("run", "model"): "model",
    ("train", "backbone"): "model",
}  # fmt: skip


def overrides_of(path: Path, stand_ins: Path) -> list[Override]:
    """Return what puts stand-ins in the place of the paths of a file."""
    imported = import_zoo(read_source(path))
    values, out = imported.values, []
    for place, kind in STAND_INS.items():
        value: Any = values
        for part in place:
            value = value.get(part) if isinstance(value, dict) else None
        if not value:
            continue
        target = stand_ins / (kind if kind != "model" else f"model{Path(str(value)).suffix}")
        if kind == "folder":
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        line = imported.line(place)
        out.append(Override(".".join(place), str(target), f"line {line}" if isinstance(line, int) else line))
    return out


def outcomes(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (file, outcome, what is said) of every configuration below ``folder``."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".yaml", ".yml") and path.is_file())
    if not paths:
        raise CheepError(f"{folder}: no .yaml files in it; name a folder of the zoo's audio event detection")
    with tempfile.TemporaryDirectory() as temporary:
        for path in paths:
            name = str(path.relative_to(folder))
            try:
                if not is_zoo(read_source(path)):
                    yield name, "-", "is no configuration of the zoo"
                    continue
                run_file = settings_of(read_source(path, overrides_of(path, Path(temporary))), check)
                listed = len(import_zoo(read_source(path)).notes)
                yield name, "passes", f"{', '.join(run_file.run.steps)}; {listed} settings listed"
            except CheepError as error:
                text = str(error).replace(f"{temporary}/", "")
                lines = [line.strip() for line in text.splitlines()[1:]] or [text]
                yield name, "refused", "<br>".join(lines)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the zoo's configurations")
    args = parser.parse_args()
    try:
        rows = list(outcomes(args.folder))
    except CheepError as error:
        print(f"zoo_table: {error}", file=sys.stderr)
        return error.exit_status
    print("| file | | |\n|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    passed = sum(outcome == "passes" for _, outcome, _ in rows)
    print(f"\n{len(rows)} files: {passed} pass, {sum(outcome == 'refused' for _, outcome, _ in rows)} are refused.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
