# SPDX-License-Identifier: MIT
"""Listen to clips of a season in the browser and say what is right: each verdict is on the disk at once.

The page is served on this machine only, and asks nothing of any other. Ctrl-C ends it; give the command again to go
on. Two reviewers work on one season under two names (--reviewer).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("season", type=Path, metavar="SEASON", help="folder that cheep scan made")
    parser.add_argument("--reviewer", metavar="NAME", help="whose verdicts these are (default: your login name)")
    parser.add_argument("--plan", metavar="NAME", help="plan to open with (default: the first; the page has all)")
    parser.add_argument("--model", metavar="ID", help="beginning of its id, where the season has several")
    parser.add_argument("--context", type=float, default=2.0, metavar="S", help="sound around a clip (%(default)g s)")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="of the page (default: a free one)")
    parser.add_argument(
        "--embed",
        type=int,
        default=0,
        metavar="N",
        help="embeddings of up to N detections, kept in the season: orders 'value' and 'like this one'",
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address only")


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    import webbrowser

    from cheep.commands._progress import Progress, close, working
    from cheep.errors import CheepError
    from cheep.review import Desk, make_server
    from cheep.review.desk import default_reviewer
    from cheep.season import Season

    working("reading the season")
    desk = Desk(Season(args.season), args.reviewer or default_reviewer(), args.model, args.context, args.plan)
    if args.embed < 0:
        raise CheepError(f"--embed {args.embed}: must be 0 or more")
    if args.embed:
        for text in desk.embed(args.embed, Progress("recordings"))[:12]:
            print(text, file=sys.stderr)
    with make_server(desk, args.port) as server:
        close()  # from here on it is the page that works
        about = desk.about()
        plans = ", ".join(plan["name"] for plan in about["plans"]) or "none (cheep season plan)"
        print(f"{about['detections']} detection(s), plans: {plans}; verdicts of {about['reviewer']}: {desk.log.path}")
        print(f"{server.url()}  open it in a browser on this machine; Ctrl-C ends", flush=True)
        if not args.no_browser:
            webbrowser.open(server.url())
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
