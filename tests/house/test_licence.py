# SPDX-License-Identifier: MIT
"""Every source file says under which licence it is."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {".py", ".sh", ".c", ".h", ".cc", ".js", ".css"}


def test_every_source_file_names_its_licence():
    folders = ["src", "firmware", "tests", "scripts"]
    tracked = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=False)
    names = tracked.stdout.splitlines() or [str(path) for name in folders for path in (ROOT / name).rglob("*.py")]
    paths = [ROOT / name for name in names if Path(name).suffix in SUFFIXES and (ROOT / name).is_file()]
    assert len(paths) > 300
    heads = {path: path.read_text(encoding="utf-8").splitlines()[:2] for path in paths}
    lacking = [path for path, head in heads.items() if not any("SPDX-License-Identifier: MIT" in line for line in head)]
    assert not lacking, "put 'SPDX-License-Identifier: MIT' into the first line"
