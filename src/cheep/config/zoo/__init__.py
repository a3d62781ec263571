# SPDX-License-Identifier: MIT
"""The STM32 model zoo's configurations (audio event detection, generations 1 to 4) as run files.

What has a meaning here is taken; what has none is listed once, with why; what would change the result is refused.
docs/zoo.md has the same tables in words.
"""

from cheep.config.zoo.importer import import_zoo, is_zoo

__all__ = ["import_zoo", "is_zoo"]
