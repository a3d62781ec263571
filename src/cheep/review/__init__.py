# SPDX-License-Identifier: MIT
"""The review: a person listens to clips of a season in the browser; each verdict is on the disk at once."""

from cheep.review.desk import Desk
from cheep.review.server import make_server

__all__ = ["Desk", "make_server"]
