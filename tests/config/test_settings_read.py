# SPDX-License-Identifier: MIT
"""Every setting that is accepted is read by something that is no setting itself."""

from cheep.config import RunFile
from settings_reads import reads, settings_of

#: Read as a part of the whole: the seed of each word is drawn from all settings of the voices (datasets/voices.py).
BY_CONTENT = ["voices.seed"]


def unread(found):
    every = settings_of()
    kinds = {name: {kind.__name__, *(base.__name__ for base in kind.__mro__)} for name, kind in every.items()}
    out = []
    for name, holders in kinds.items():
        if not any((holder, name.rpartition(".")[2]) in found for holder in holders):
            out.append(name)
    return sorted(out)


def test_every_setting_of_the_run_file_is_read_somewhere():
    assert unread(reads()) == BY_CONTENT


def test_the_check_would_see_a_setting_that_nothing_reads():
    found = reads()
    assert len(settings_of()) > 110 and ("TrainConfig", "dropout") in found
    assert unread(found - {("TrainConfig", "dropout")}) == sorted(["train.dropout", *BY_CONTENT])
    assert unread(found - {("AugmentConfig", "tilt_db")}) == sorted(["train.augment.tilt_db", *BY_CONTENT])
    assert "quantize.qat.epochs" in unread(found - {("QatConfig", "epochs")}), "epochs of training are others"
    assert RunFile.model_fields.keys() >= {"features", "train"}
