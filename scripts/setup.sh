#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Prepare this machine: system packages and .venv. Safe to run again; does nothing when all is there.
#   scripts/setup.sh main    what the main job needs
#   scripts/setup.sh all     that, and what the tests and the emulated boards need
set -euo pipefail
cd "$(dirname "$0")/.."
level=${1:-all}
main_packages=(gcc libc6-dev ffmpeg libportaudio2)
test_packages=(espeak-ng flite g++ clang lld make gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm chromium pulseaudio pulseaudio-utils libasound2-plugins mosquitto)
# For the same event lines on other cores (scripts/check_cores.py): where they cannot be had, that check skips those cores.
core_packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-riscv64-linux-gnu libc6-dev-riscv64-cross qemu-user gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc)
case $level in
    main) packages=("${main_packages[@]}"); requirements=requirements.txt ;;
    all) packages=("${main_packages[@]}" "${test_packages[@]}"); requirements=requirements-dev.txt ;;
    *) echo "setup.sh: '$level': must be main or all" >&2; exit 2 ;;
esac

supported='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'
find_python() {
    for name in python3.11 python3.12 python3.10 python3; do
        if command -v "$name" >/dev/null && "$name" -c "$supported" 2>/dev/null; then echo "$name"; return; fi
    done
}

install_packages() {
    command -v apt-get >/dev/null || { echo "setup.sh: no apt-get here; install yourself: $*" >&2; return; }
    local missing=() sudo=()
    for name in "$@"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    echo "setup: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

install_packages "${packages[@]}"
[ "$level" != all ] || install_packages "${core_packages[@]}" || echo "setup: without ${core_packages[*]}"
if [ "$level" = all ] && command -v apt-cache >/dev/null; then  # clang's sanitizers, named after its version
    version=$(apt-cache depends clang | sed -n 's/^ *Depends: clang-\([0-9]*\)$/\1/p')
    [ -z "$version" ] || ! apt-cache show "libclang-rt-$version-dev" >/dev/null 2>&1 || install_packages "libclang-rt-$version-dev"
fi
python=$(find_python)
if [ -z "$python" ]; then
    install_packages python3 python3-venv
    python=$(find_python)
fi
[ -n "$python" ] || { echo "setup.sh: needs Python 3.10, 3.11 or 3.12; none found" >&2; exit 2; }
if [ ! -x .venv/bin/python ]; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install_packages "$(basename "$(readlink -f "$(command -v "$python")")")-venv"
    "$python" -m venv .venv
fi
# A .venv that is a link belongs to another checkout (git worktrees share it): that one's cheep stays the installed one.
home=$(dirname "$(readlink -f .venv)")
stamp=.venv/cheep-$level-$(cat requirements*.txt pyproject.toml scripts/setup.sh | sha256sum | cut -c1-16)
if [ ! -e "$stamp" ] || ! grep -qsxF "$home/src" .venv/lib/python*/site-packages/_cheep.pth; then
    echo "setup: installing Python packages of $requirements"
    .venv/bin/python -m pip install -q --disable-pip-version-check -r "$requirements"
    # Cheep itself, in place: 'cheep' and 'python -m cheep' work wherever .venv is active.
    if [ -f "$home/pyproject.toml" ]; then
        isolation=()
        ! .venv/bin/python -c 'import hatchling.build' 2>/dev/null || isolation=(--no-build-isolation)  # no network then
        .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps "${isolation[@]}" -e "$home"
    fi
    touch "$stamp"
fi
echo "setup: ready ($level)"
