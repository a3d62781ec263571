# SPDX-License-Identifier: MIT
"""What the tests of ears share."""

import pytest

from crow_model import write_crow, write_crow_card


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """What names the crows' model."""
    return write_crow(tmp_path_factory.mktemp("ears"))


@pytest.fixture
def card(tmp_path):
    """Two recordings with crows in one."""
    return write_crow_card(tmp_path / "card")
