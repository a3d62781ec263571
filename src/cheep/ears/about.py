# SPDX-License-Identifier: MIT
"""What is known of other people's models: what they hear, and what their licence means for what they teach."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class About:
    """Another model, as its results name it.

    Attributes
    ----------
    name, version
        ``birdnet`` ``2.4``; of a user's own file its name and "".
    sha256
        Of its file (of a SavedModel: of its graph and weights).
    licence
        As its authors give it; "unknown" for a user's own file.
    sample_rate_hz, window_s
        What it hears.
    labels
        One per score.
    """

    name: str
    version: str
    sha256: str
    licence: str
    sample_rate_hz: int
    window_s: float
    labels: tuple[str, ...]

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}".strip()

    def lineage(self, did: str) -> dict[str, str | bool]:
        """Return what the papers of a detector say of this model; ``did``: what it did (judged, taught, annotated)."""
        return {
            "model": self.title,
            "sha256": self.sha256,
            "licence": self.licence,
            "did": did,
            "commercial_use": not non_commercial(self.licence),
            "means": meaning(self.licence),
        }


def non_commercial(licence: str) -> bool:
    """Does a licence forbid commercial use?"""
    return "-NC" in licence.upper().replace(" NC", "-NC")


def meaning(licence: str) -> str:
    """Return in one sentence what a licence asks of a detector that such a model judged or taught."""
    if licence == "unknown":
        return "its licence is not known here: ask its authors before you release a detector that it judged or taught"
    if licence == OWN:
        return "a detector of your own: what its manifest says of its recordings and teachers holds here too"
    if non_commercial(licence):
        return (
            f"{licence}: not for commercial use, and what is derived from it is shared under the same terms; whether a "
            "detector that it judged or taught is derived is not settled: do not sell one without asking its authors"
        )
    return f"{licence}: name the model and its licence in the detector's papers"


BIRDNET_2_4 = "CC BY-NC-SA 4.0"
APACHE = "Apache-2.0"
OWN = "own"  # a detector of the project

#: Samples of one window -> (rate in Hz, name, version, licence) of models whose files do not say it.
KNOWN_WINDOWS = {
    144_000: (48_000, "birdnet", "2.4", BIRDNET_2_4),
    96_000: (32_000, "birdnet", "3.0", "CC BY-NC-SA 4.0"),
    160_000: (32_000, "perch", "2", APACHE),
    15_600: (16_000, "yamnet", "1", APACHE),
}
