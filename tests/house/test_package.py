# SPDX-License-Identifier: MIT
"""The package: what it declares, what its wheel holds, and that the wheel alone does the job."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cheep import resources
from cheep.cli import main
from cheep.config import load_run_file
from cheep.errors import CheepError
from cheep.project import changed_core, create_project

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

pytestmark = pytest.mark.xdist_group("package")

ROOT = Path(__file__).resolve().parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LISTS = {
    "requirements.txt": DECLARED["project"]["dependencies"],
    "requirements-dev.txt": DECLARED["dependency-groups"]["dev"],
    **{f"requirements-{name}.txt": found for name, found in DECLARED["project"]["optional-dependencies"].items()},
}


def test_every_list_of_pins_is_declared():
    assert {path.name for path in ROOT.glob("requirements*.txt")} == set(LISTS)


@pytest.mark.parametrize("name", LISTS)
def test_pins_are_of_the_declared_packages_and_in_their_ranges(name):
    ranges = {canonicalize_name(r.name): r.specifier for r in map(Requirement, LISTS[name])}
    pins: dict[str, list[Requirement]] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith(("#", "-r ")):
            pin = Requirement(line)
            pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    assert set(pins) == set(ranges), f"{name} and pyproject.toml name different packages"
    for package, found in pins.items():
        for pin in found:
            version = re.fullmatch(r"==([^=*,]+)", str(pin.specifier))
            assert version, f"{name}: {pin}: must be one version (==)"
            assert ranges[package].contains(version[1], prereleases=True), (
                f"{name}: {pin}: outside of {ranges[package]} in pyproject.toml; change one of the two"
            )


def test_every_dependency_says_what_it_is_for():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for requirement in [item for found in LISTS.values() for item in found]:
        assert re.search(rf'^ *"{re.escape(requirement)}", +# \S', text, re.M), f"{requirement}: no purpose beside it"


def test_importing_a_script_runs_nothing():
    """Processes that multiprocessing spawns import the script that started them, under this very name."""
    scripts = [*sorted((ROOT / "src").glob("*.py")), *sorted((ROOT / "scripts").glob("*.py"))]
    assert len(scripts) > 20
    program = "import runpy, sys\nfor path in sys.argv[1:]:\n    runpy.run_path(path, run_name='__mp_main__')"
    command = [sys.executable, "-c", program, *scripts]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "scripts")])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel as a user builds it, without network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_what_is_not_python_and_nothing_that_was_made(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    command = ["git", "ls-files", "-z", "src/cheep", "firmware", "recipes"]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if tracked.returncode == 0:
        files = [name for name in tracked.stdout.decode().split("\0") if (ROOT / name).is_file()]
        expected = {re.sub("^src/", "", re.sub("^(firmware|recipes)/", r"cheep/\1/", name)) for name in files}
        held = {name for name in names if not name.startswith("cheep-")}
        assert expected <= held
        assert not {name for name in held if "/generated/" in name or "/build/" in name or ".pio" in name}
    for name in (
        "cheep/LICENSE",
        "cheep/firmware/common/src/cheep_frontend.c",
        "cheep/firmware/audiomoth/audiomoth.ld",
        "cheep/firmware/esp32/sdkconfig.defaults",
        "cheep/firmware/esp32/sdkconfig.console.esp32s3",
        "cheep/recipes/own_birds.yaml",
        "cheep/compiler/kernels.c",
        "cheep/report/templates/report.html.j2",
        "cheep/web/page/index.html",
    ):
        assert name in names


def test_headers_go_to_the_project_that_is_stood_in(tmp_path, monkeypatch):
    monkeypatch.delenv("CHEEP_FIRMWARE", raising=False)
    monkeypatch.chdir(tmp_path)
    assert resources.generated_folder() == ROOT / "firmware" / "common" / "src" / "generated"  # the checkout's
    (tmp_path / "firmware" / "common" / "include").mkdir(parents=True)
    (tmp_path / "firmware" / "common" / "include" / "cheep_frontend.h").touch()
    assert resources.generated_folder() == tmp_path / "firmware" / "common" / "src" / "generated"
    assert resources.firmware_root() == ROOT / "firmware"  # the C core that computes is always the program's own


def test_without_checkout_and_project_headers_go_to_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("CHEEP_FIRMWARE", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resources, "_CHECKOUT", tmp_path / "none")
    assert resources.generated_folder() == Path("generated")
    with pytest.raises(CheepError, match="cheep new DIR"):
        resources.firmware_projects()


class Installed:
    """The wheel in an empty environment of its own; the packages it depends on are this environment's."""

    def __init__(self, wheel: Path, folder: Path):
        self.venv = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.venv], check=True)
        self.packages = next((self.venv / "lib").glob("python*/site-packages"))
        (self.packages / "heavy.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        pip = [self.venv / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--ignore-installed", wheel], check=True)  # a checkout's is no wheel

    def run(self, command: str, folder: Path) -> str:
        """Type ``command`` in ``folder``, in a shell that knows nothing of this checkout; return what it printed."""
        environment = {
            "PATH": f"{self.venv / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.venv.parent),
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
            "LC_ALL": "C.UTF-8",
        }
        shell = ["bash", "-euo", "pipefail", "-c", command]
        done = subprocess.run(shell, capture_output=True, text=True, check=False, cwd=folder, env=environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def files(self) -> set[str]:
        """The files of the package, but for bytecode."""
        found = {path for path in (self.packages / "cheep").rglob("*") if path.is_file() and path.suffix != ".pyc"}
        return {path.relative_to(self.packages).as_posix() for path in found}

    def record(self) -> list[str]:
        """The same as the wheel installed them."""
        text = next(self.packages.glob("cheep-*.dist-info/RECORD")).read_text(encoding="utf-8")
        return [
            name
            for row in csv.reader(text.splitlines())
            if (name := row[0]).startswith("cheep/") and ".pyc" not in name
        ]


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    return Installed(wheel, tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="module")
def demo(installed, tmp_path_factory):
    """A folder, empty before the installed program has made its demo there."""
    folder = tmp_path_factory.mktemp("anywhere")
    installed.run("cheep demo --size small --epochs 1 --qat-epochs 1", folder)
    return folder


def test_the_wheel_makes_the_demo_in_an_empty_folder_and_writes_nothing_into_itself(installed, demo):
    where = installed.run("python -c 'import cheep; print(cheep.__file__)'", demo).strip()
    assert Path(where).parent == installed.packages / "cheep"
    assert {path.name for path in demo.iterdir()} == {"datasets", "runs", "generated"}
    assert (demo / "runs" / "demo" / "report.html").stat().st_size > 10_000
    assert {"model.h", "mel_filter_bank.h", "model_compiled.c"} <= {p.name for p in (demo / "generated").iterdir()}
    assert installed.files() == set(installed.record())


def test_a_project_of_ones_own_builds_its_firmware(installed, demo, tmp_path):
    folder = tmp_path / "Vögel im Wald"
    assert "cheep split-dataset --config run.yaml" in installed.run("cheep new 'Vögel im Wald'", tmp_path)
    laid_out = {path.name for path in folder.iterdir()}
    assert laid_out == {"README.md", "run.yaml", "recipes", "recordings", "firmware", ".gitignore"}
    shutil.copytree(demo / "runs", folder / "runs", symlinks=True)
    for command in commands_of(folder / "README.md")[3:4]:
        installed.run(command, folder)
    recording = demo / "datasets" / "demo" / "soundscape.wav"
    installed.run("make -C firmware/host", folder)
    board = installed.run(f"firmware/host/build/cheep-host {recording}", folder)
    simulated = installed.run(f"cheep simulate {recording}", folder)
    assert [x for x in board.splitlines() if '"event"' in x] == [x for x in simulated.splitlines() if '"event"' in x]
    assert '"type":"boot"' in board
    installed.run("cheep upload audiomoth --only-check", folder)
    installed.run(
        "for board in audiomoth esp32; do python -m platformio project config -d firmware/$board; done", folder
    )


def commands_of(readme: Path) -> list[str]:
    """The commands of a README's bash blocks."""
    blocks = re.findall(r"^```bash\n(.*?)^```", readme.read_text(encoding="utf-8"), re.M | re.S)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.slow
def test_every_command_of_a_projects_readme(installed, demo, tmp_path):
    """Also by ``make check-package``."""
    installed.run("cheep new birds", tmp_path)
    folder = tmp_path / "birds"
    for label in ("buzzer", "triller", "whistler", "background"):
        shutil.copytree(demo / "datasets" / "demo" / label, folder / "recordings" / label)
    with (folder / "run.yaml").open("a", encoding="utf-8") as stream:
        stream.write("train:\n  model: sepconv_s\n  epochs: 1\nquantize:\n  qat:\n    epochs: 1\n")
    commands = commands_of(folder / "README.md")
    assert len(commands) == 5
    for command in commands[:4]:
        installed.run(command, folder)
    installed.run(commands[4] + " --only-check", folder)
    assert (folder / "firmware" / "common" / "src" / "generated" / "model_compiled.c").is_file()


def test_a_project_is_laid_out_in_an_empty_folder_only(tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    assert main("new", [str(tmp_path / "full")]) == 2
    assert "notes.txt" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["notes.txt"]
    assert main("new", [str(tmp_path / "full" / "notes.txt")]) == 2
    (tmp_path / "empty").mkdir()
    assert main("new", [str(tmp_path / "empty")]) == 0
    assert load_run_file(tmp_path / "empty" / "run.yaml").data.folder == "recordings"


def test_a_core_that_is_not_the_programs_is_named(tmp_path, monkeypatch):
    assert changed_core() == []
    create_project(tmp_path / "birds")
    monkeypatch.chdir(tmp_path / "birds")
    assert changed_core() == []
    core = tmp_path / "birds" / "firmware" / "common"
    (core / "include" / "cheep_ring.h").unlink()
    with (core / "src" / "cheep_frontend.c").open("a") as stream:
        stream.write("/* mine */\n")
    assert changed_core() == ["cheep_frontend.c", "cheep_ring.h"]


def test_a_project_that_could_not_be_finished_leaves_nothing(tmp_path, monkeypatch):
    def no_space(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cheep.project.write_text", no_space)
    with pytest.raises(OSError, match="No space"):
        create_project(tmp_path / "birds")
    assert not list(tmp_path.iterdir())
