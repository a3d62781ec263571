# SPDX-License-Identifier: MIT
"""From recordings to examples: sources, label files, window selection, manifests and splits.

Nothing here is imported at package level beyond the manifest, so that a command starts quickly.
"""

from cheep.config import SplitConfig
from cheep.datasets.manifest import Manifest, load_manifest
from cheep.datasets.split import assign_splits, check_leaks

__all__ = ["Manifest", "SplitConfig", "assign_splits", "check_leaks", "load_manifest"]
