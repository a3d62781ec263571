# SPDX-License-Identifier: MIT
"""One module per subcommand: ``add_arguments(parser)`` and ``run(args) -> int``. The only code that prints."""

from cheep.commands._cluster import working_on
from cheep.commands._progress import close as end_progress
from cheep.commands._progress import working as begin_progress

__all__ = ["begin_progress", "end_progress", "working_on"]
