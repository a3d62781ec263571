# SPDX-License-Identifier: MIT
"""The README's commands, typed in order: a copy of the checkout in a path with spaces and umlauts, a bare shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import soundfile

from xeno_canto_server import KEY, Server

pytestmark = pytest.mark.xdist_group("readme")

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("src", "scripts", "firmware", "recipes")
MADE = shutil.ignore_patterns("__pycache__", "generated", ".pio", "cheep-host")
# What is typed with more behind it, so that it is quick or needs no board; and what is typed in another form.
MORE = {
    "cheep train": "--epochs 1 --model sepconv_s",
    "cheep train-qat": "--epochs 1",
    "cheep upload audiomoth": "--only-check",
    "pip install .": "--no-deps --no-build-isolation --dry-run",  # test_package.py installs the wheel
}
INSTEAD = {"make test": "make --dry-run test"}  # of which this test is a part


def blocks() -> list[list[str]]:
    """The commands of each bash block, without comments."""
    found = re.findall(r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    return [[line.split("  #")[0].strip() for line in block.splitlines()] for block in found]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy, with a .venv that finds the packages of this one's."""
    folder = tmp_path_factory.mktemp("readme") / "Vögel im Wald"
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy2(path, folder)
        elif path.name in COPIED:
            shutil.copytree(path, folder / path.name, ignore=MADE)
    subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
    packages = next((folder / ".venv" / "lib").glob("python*/site-packages"))
    (packages / "heavy.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


def type_in(folder: Path, commands: list[str], **more: str) -> str:
    """Type the commands in one shell that knows nothing; return what it printed."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder.parent),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
        "LC_ALL": "C.UTF-8",
        "PIP_NO_INDEX": "1",
        **more,
    }
    script = "\n".join(["set -eo pipefail", *(f"echo '$ {line}'\n{line}" for line in commands)])
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def typed(line: str, server: str) -> str:
    """What the test types for a line of the README."""
    if line.startswith("cheep download-dataset"):
        return f"{line} --server {server} --interval 0 --max-recordings 2"
    return INSTEAD.get(line, f"{line} {MORE.get(line, '')}".strip())


def test_the_commands_of_the_readme(checkout):
    two, *rest = blocks()
    assert two == ["make demo", "make test"]
    said = type_in(checkout, [INSTEAD.get(line, line) for line in two], DEMO="--size small --epochs 1 --qat-epochs 1")
    assert "report:   runs/demo/report.html" in said

    shutil.rmtree(checkout / "firmware" / "common" / "src" / "generated")  # the next headers are of another model
    demo = checkout / "datasets" / "demo"
    for label in ("whistler", "buzzer", "background"):
        shutil.copytree(demo / label, checkout / "datasets" / "mine" / label)
    pcm, rate = soundfile.read(demo / "soundscape.wav", dtype="int16", stop=30 * 8000)
    soundfile.write(checkout / "recording.wav", pcm, rate)
    lines = [line for block in rest for line in block]
    assert lines[0] == "source .venv/bin/activate" and len(lines) > 12
    assert {*MORE, *INSTEAD} <= {*two, *lines}
    with Server(6) as server:
        said = type_in(checkout, [typed(line, server.url) for line in lines], XENO_CANTO_API_KEY=KEY)
    assert (checkout / "firmware" / "host" / "build" / "cheep-host").is_file()
    assert (checkout / "firmware" / "common" / "src" / "generated" / "model_compiled.c").is_file()
    assert (checkout.parent / "my_birds" / "run.yaml").is_file()
    assert list((checkout / "datasets" / "xeno-canto").rglob("*.flac"))
    assert '"type":"boot"' in said


def test_every_page_that_the_readme_names_exists():
    for name in re.findall(r"\]\(([\w./-]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name


def test_every_command_that_the_readme_names_exists():
    from cheep.cli import command_names

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^cheep ([a-z][\w-]*)|`cheep ([a-z][\w-]*)", text, re.M))
    assert {first or second for first, second in named} <= set(command_names())
