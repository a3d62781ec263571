# SPDX-License-Identifier: MIT
"""The digest by which machines know that their cores compute the same."""

from cheep.features import selftest


def test_the_digest_is_that_of_every_machine(monkeypatch):
    known = selftest.core_digest()
    assert known == "07bceb481c912596e8749e1a5fbd01e16b4572722be5fea968cc264a7d17ca61"
    monkeypatch.setattr(selftest, "quantize", lambda columns, scale, zero: columns.astype("int8"))
    assert selftest.core_digest.__wrapped__() != known
