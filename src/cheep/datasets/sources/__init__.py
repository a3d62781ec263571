# SPDX-License-Identifier: MIT
"""Where recordings come from: folders by label, and lists."""
