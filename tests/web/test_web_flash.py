# SPDX-License-Identifier: MIT
"""The page that flashes boards: images, manifest, and the page in a real Chromium up to the choice of a port."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile
import threading

import pytest

from cheep.cli import main
from cheep.errors import CheepError
from cheep.resources import firmware_root
from cheep.web import flash
from cheep.web.esp_image import CHIPS, app_place, check_image, merge, read_build
from cheep.web.serve import make_server
from chromium_page import chromium

ESP32, S3, C3 = 0, 9, 5


def image(chip, segments, hashed=True):
    """An image of an ESP chip as esptool makes them (https://docs.espressif.com, firmware image format)."""
    header = struct.pack("<BBBBI", 0xE9, len(segments), 2, 0x20, 0x40080000)
    header += struct.pack("<B3sHBHH4sB", 0xEE, b"\0\0\0", chip, 0, 0, 0xFFFF, b"\0\0\0\0", int(hashed))
    data, checksum = header, 0xEF
    for i, body in enumerate(segments):
        body = body.ljust(-(-len(body) // 4) * 4, b"\0")
        data += struct.pack("<II", 0x3F400020 + 0x10000 * i, len(body)) + body
        for value in body:
            checksum ^= value
    data = data.ljust(len(data) + 15 - len(data) % 16, b"\0") + bytes([checksum])
    return data + (hashlib.sha256(data).digest() if hashed else b"")


def table():
    """The project's own partition table in its binary form."""
    kinds, subtypes = {"app": 0, "data": 1}, {"nvs": 2, "ota": 0, "phy": 1, "ota_0": 0x10, "ota_1": 0x11}
    data = b""
    for line in (firmware_root() / "esp32" / "partitions.csv").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, kind, subtype, offset, size = (item.strip() for item in line.split(",")[:5])
            number = subtypes[subtype] if subtype in subtypes else int(subtype, 0)
            place = (int(offset, 0), int(size, 0), name.encode(), 0)
            data += struct.pack("<HBBII16sI", 0x50AA, kinds[kind], number, *place)
    data += b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(data).digest()
    return data.ljust(0xC00, b"\xff")


def app(chip, seed=b"app", version=b"1.2.3"):
    description = struct.pack("<IIII", 0xABCD5432, 0, 0, 0) + version.ljust(32, b"\0") + b"cheep"
    return image(chip, [description.ljust(256, b"\0"), hashlib.sha512(seed).digest() * 700])


def build(folder, chip, **changes):
    folder.mkdir(parents=True)
    parts = {"bootloader.bin": image(chip, [b"boot" * 500]), "partitions.bin": table(), "firmware.bin": app(chip)}
    for name, data in {**parts, **changes}.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(("chip", "start"), [(ESP32, 0x1000), (S3, 0), (C3, 0), (18, 0x2000)])
def test_three_parts_become_one_image(tmp_path, chip, start):
    found = read_build(build(tmp_path / "esp", chip))
    assert found.chip == CHIPS[chip][0] and found.version == "1.2.3"
    boot = image(chip, [b"boot" * 500])
    assert found.data[start : start + len(boot)] == boot
    assert set(found.data[:start]) | set(found.data[start + len(boot) : 0x8000]) <= {0xFF}
    assert found.data[0x8000:0x8C00] == table()
    assert set(found.data[0x8C00:0x10000]) == {0xFF}  # no choice of an application: the first one starts
    assert found.data[0x10000:] == app(chip)
    assert app_place(table(), "table") == (0x10000, 0x1F0000)


def test_what_is_damaged_is_refused():
    good = app(S3)
    assert check_image(good, "app") == S3 == check_image(image(S3, [b"abc"], hashed=False), "app")
    for cut in (0, 10, 30, 500, len(good) - 40, len(good) - 33, len(good) - 1):
        with pytest.raises(CheepError, match=r"cut off|no image|damaged"):
            check_image(good[:cut], "app")
    for place in (40, 300, len(good) - 33, len(good) - 1):
        changed = bytearray(good)
        changed[place] ^= 1
        with pytest.raises(CheepError, match="damaged"):
            check_image(bytes(changed), "app")
    other = bytearray(good)
    other[12] = 200
    with pytest.raises(CheepError, match="chip number 200, which is not known; known are ESP32"):
        check_image(bytes(other), "app")
    boot = image(S3, [b"boot" * 500])
    with pytest.raises(CheepError, match="bootloader for ESP32-S3, application for ESP32-C3"):
        merge(boot, table(), app(C3))
    with pytest.raises(CheepError, match=r"its place 2031616 \(partitions.csv\)"):
        merge(boot, table(), image(S3, [b"x" * 2_100_000]))
    with pytest.raises(CheepError, match=r"ends at 0x.*, behind 0x8000"):
        merge(image(S3, [b"x" * 0x8000]), table(), good)
    with pytest.raises(CheepError, match="the MD5 of its entries"):
        merge(boot, table().replace(b"ota_1", b"ota_2"), good)
    with pytest.raises(CheepError, match="no partition table"):
        merge(boot, b"\xff" * 0xC00, good)


def tools_archive(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def test_mistakes_are_named(tmp_path, capsys, monkeypatch):
    def status(*arguments):
        return main("web-flash", [str(item) for item in arguments]), capsys.readouterr().err

    first, second = build(tmp_path / "a", S3), build(tmp_path / "b", S3)
    site = tmp_path / "site"
    other = tmp_path / "other.tgz"
    other.write_bytes(tools_archive({"package/dist/web/install-button.js": b"alert(1)"}))
    code, said = status(site, "--build", first, "--tools", other)
    assert code == 2 and "not esp-web-tools 10.4.0: its hash is sha512-" in said and not (site / "index.html").exists()
    code, said = status(site, "--build", first, "--build", second)
    assert code == 2 and "both for ESP32-S3; name one of them (--build)" in said
    code, said = status(site, "--build", tmp_path)
    assert code == 2 and "bootloader.bin, partitions.bin, firmware.bin missing; build it: pio run" in said
    monkeypatch.setattr(flash, "firmware_projects", lambda: tmp_path)
    code, said = status(site)
    assert code == 2 and "no build; make one: pio run" in said
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9")
    monkeypatch.setenv("CHEEP_CACHE", str(tmp_path / "cache"))
    code, said = status(site, "--build", first)
    assert code == 2 and "npm pack esp-web-tools@10.4.0, then --tools esp-web-tools-10.4.0.tgz" in said


# The page


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The page of three boards, with the real package from npm."""
    folder = tmp_path_factory.mktemp("site")
    try:
        flash.fetch_tools()
    except CheepError as error:
        if "cannot be fetched" in str(error):
            pytest.skip("npm's registry cannot be reached, and esp-web-tools is not in the cache: nothing to show")
        raise
    builds = [build(folder / "builds" / f"{chip}", chip) for chip in (ESP32, S3, C3)]
    flash.write_flash_page(folder / "site", builds, "Cheep")
    return folder / "site"


@pytest.fixture
def address(site):
    with make_server(site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_the_manifest_has_a_build_for_each_chip(site):
    manifest = json.loads((site / "manifest.json").read_text())
    assert (manifest["name"], manifest["version"]) == ("Cheep", "1.2.3")
    assert [item["chipFamily"] for item in manifest["builds"]] == ["ESP32", "ESP32-S3", "ESP32-C3"]
    for chip, item in zip((ESP32, S3, C3), manifest["builds"], strict=True):
        (part,) = item["parts"]
        data = (site / part["path"]).read_bytes()
        assert part["offset"] == 0 and hashlib.sha256(data).hexdigest() == part["sha256"]
        assert data[CHIPS[chip][1]] == 0xE9 and data[0x10000:] == app(chip)
    assert b"Apache License" in (site / "esp-web-tools" / "LICENSE").read_bytes()


def test_the_page_in_chromium_up_to_the_choice_of_a_port(site, address):
    with chromium() as browser:
        browser.open(address)
        browser.wait_for("!document.getElementById('install').hidden && customElements.get('esp-web-install-button')")
        assert browser.evaluate("document.getElementById('state').textContent") == "The images are whole."
        assert browser.evaluate("document.getElementById('name').textContent") == "Cheep 1.2.3"
        cells = browser.evaluate("[...document.querySelectorAll('tbody td:first-child')].map(c => c.textContent)")
        assert cells == ["ESP32", "ESP32-S3", "ESP32-C3"]
        assert browser.evaluate("document.getElementById('install').hasAttribute('install-supported')")
        # headless: nobody chooses, and the chooser stays open. That the browser was asked, and has not refused, is seen
        browser.evaluate(
            "(() => { const real = navigator.serial.requestPort.bind(navigator.serial); window.asked = [];"
            "window.no = [];"
            "navigator.serial.requestPort = (...options) => { const chosen = real(...options); asked.push(options);"
            "chosen.catch(error => no.push(error.name)); return chosen } })()"
        )
        browser.evaluate("document.querySelector('#install button').click()")
        browser.wait_for("asked.length === 1")
        browser.evaluate("new Promise(done => setTimeout(done, 300))")
        assert browser.evaluate("no") == []
        # a person who closes it without a port is helped by the package's own dialog, from this server
        browser.evaluate("navigator.serial.requestPort = () => Promise.reject(new DOMException('', 'NotFoundError'))")
        browser.evaluate("document.querySelector('#install button').click()")
        browser.wait_for("!!document.querySelector('ewt-no-port-picked-dialog')")
        assert browser.console == []
        assert all(url.startswith((address, "data:")) for url in browser.requests)


def test_an_image_that_has_changed_is_not_flashed(site, address):
    path = next(site.glob("cheep-esp32-s3-*.bin"))
    good = path.read_bytes()
    try:
        path.write_bytes(good[:-1] + b"!")
        with chromium() as browser:
            browser.open(address)
            browser.wait_for("!document.getElementById('trouble').hidden")
            assert "do not flash it" in browser.evaluate("document.getElementById('trouble').textContent")
            assert browser.evaluate("document.getElementById('install').hidden")
    finally:
        path.write_bytes(good)
