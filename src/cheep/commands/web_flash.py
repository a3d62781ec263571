# SPDX-License-Identifier: MIT
"""A folder from which a browser flashes ESP32 boards: images, manifest, page.

  cheep web-flash site                              every build of firmware/esp32 (pio run -e esp32s3 ...)
  cheep web-flash site --build firmware/esp32/.pio/build/esp32c3 --serve

Put the folder on any server that speaks https, or --serve it on this machine. The page's JavaScript is the npm package
esp-web-tools, of a pinned version and hash, fetched once; the page loads nothing from elsewhere.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--build", type=Path, action="append", metavar="DIR", help="PlatformIO's folder of a build, one a chip (all)"
    )
    parser.add_argument("--name", default="Cheep", metavar="TEXT", help="what the page calls it (%(default)s)")
    parser.add_argument("--tools", type=Path, metavar="TGZ", help="the npm package, fetched by hand (npm pack)")
    parser.add_argument("--serve", action="store_true", help="serve the folder on this machine until Ctrl-C")
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="of --serve (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write, and serve."""
    from cheep.web.flash import built_folders, write_flash_page
    from cheep.web.serve import make_server

    for image in write_flash_page(args.folder, args.build or built_folders(), args.name, args.tools):
        print(f"{image.chip}: {len(image.data)} bytes, version {image.version or 'unknown'}, sha256 {image.sha256}")
    print(f"{args.folder / 'index.html'}: written; host the folder with https, or --serve it here")
    if args.serve:
        with make_server(args.folder, args.port) as server:
            print(f"http://127.0.0.1:{server.server_address[1]}/  open it in Chrome or Edge; Ctrl-C ends", flush=True)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                return 0
    return 0
