"""The package: what it declares, what its wheel holds, and that the wheel alone does the job."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cheep.errors import CheepError

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
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
    command = ["git", "ls-files", "-z", "src/cheep", "firmware"]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if tracked.returncode == 0:
        files = [name for name in tracked.stdout.decode().split("\0") if (ROOT / name).is_file()]
        expected = {re.sub("^src/", "", re.sub("^firmware/", "cheep/firmware/", name)) for name in files}
        held = {name for name in names if not name.startswith("cheep-")}
        assert expected <= held
        assert not {name for name in held if "/generated/" in name or "/build/" in name or ".pio" in name}
    for name in (
        "cheep/firmware/common/src/cheep_frontend.c",
        "cheep/firmware/audiomoth/audiomoth.ld",
        "cheep/firmware/esp32/sdkconfig.defaults",
        "cheep/compiler/kernels.c",
        "cheep/report/templates/report.html.j2",
        "cheep/web/page/index.html",
    ):
        assert name in names


def test_headers_go_to_the_project_that_is_stood_in(tmp_path, monkeypatch):
    from cheep import resources

    monkeypatch.delenv("CHEEP_FIRMWARE", raising=False)
    monkeypatch.chdir(tmp_path)
    assert resources.generated_folder() == ROOT / "firmware" / "common" / "src" / "generated"  # the checkout's
    (tmp_path / "firmware" / "common" / "include").mkdir(parents=True)
    (tmp_path / "firmware" / "common" / "include" / "cheep_frontend.h").touch()
    assert resources.generated_folder() == tmp_path / "firmware" / "common" / "src" / "generated"
    assert resources.firmware_root() == ROOT / "firmware"  # the C core that computes is always the program's own


def test_without_checkout_and_project_headers_go_to_the_current_folder(tmp_path, monkeypatch):
    from cheep import resources

    monkeypatch.delenv("CHEEP_FIRMWARE", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resources, "_CHECKOUT", tmp_path / "none")
    assert resources.generated_folder() == Path("generated")
    with pytest.raises(CheepError, match="cheep new DIR"):
        resources.firmware_projects()
