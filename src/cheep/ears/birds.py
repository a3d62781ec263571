# SPDX-License-Identifier: MIT
"""Which labels of a large model are birds: a detector of ``bird`` is not confirmed by a coyote.

BirdNET and Perch bear scientific names, of frogs, insects and mammals too, and none says which is which. Told by the
genus, and by the last word of the English name where there is one. Complete for BirdNET 2.4 (6,522 labels); of larger
models it knows the common ones.
"""

from __future__ import annotations

import re

from cheep.config.data import plain_name

#: What people call a detector's label that stands for any bird.
ANY_BIRD = frozenset(("bird", "birds", "aves", "vogel", "vögel", "voegel", "oiseau", "ave", "songbird", "songbirds"))

_FROGS_INSECTS_MAMMALS = """
Acris Alytes Anaxyrus Boana Bombina Bufo Bufotes Crinia Dendropsophus Discoglossus Dryophytes Duttaphrynus
Eleutherodactylus Epidalea Fejervarya Gastrophryne Hyla Hyliola Hyperolius Incilius Leptodactylus Limnodynastes
Lithobates Litoria Osteopilus Pelobates Pelodytes Pelophylax Physalaemus Pseudacris Ranoidea Rana Rhinella Scaphiopus
Scinax Smilisca Spea Uperoleia Xenopus Acheta Allonemobius Amblycorypha Anaxipha Apis Atlanticus Bombus Chorthippus
Chrysochraon Cicada Cicadetta Conocephalus Cyrtoxipha Decticus Eunemobius Euchorthippus Gampsocleis Gomphocerippus
Gryllodes Gryllotalpa Gryllus Isophya Leptophyes Magicicada Meconema Mecostethus Metrioptera Microcentrum Miogryllus
Neoconocephalus Neonemobius Neotibicen Nemobius Oecanthus Omocestus Orchelimum Orocharis Pholidoptera Phyllopalpus
Platycleis Pseudochorthippus Pterophylla Roeseliana Ruspolia Scudderia Stenobothrus Stethophyma Tettigonia Alouatta
Bison Bos Canis Capra Capreolus Cervus Cynomys Dama Equus Felis Homo Hylobates Lutra Lynx Macaca Marmota Martes Meles
Nyctalus Ochotona Odocoileus Ovis Panthera Phascolarctos Pipistrellus Procyon Rattus Sciurus Sus Tamias Tamiasciurus
Tursiops Urocitellus Ursus Vulpes
"""
_OTHER_GENERA = frozenset(_FROGS_INSECTS_MAMMALS.split())
_OTHER_NAMES = """
bat bee bullfrog bumblebee chipmunk cicada conehead coyote cricket deer dog fox frog grasshopper howler katydid locust
monkey shieldback spadefoot squirrel toad treefrog trig wolf
"""
_OTHER_WORDS = frozenset(_OTHER_NAMES.split())
_SPECIES = re.compile(r"[A-Z][a-z]+( [a-z][a-z-]+){1,2}")


def is_bird(label: str) -> bool:
    """Is a label "Scientific name_Common name", or the first alone, that of a bird?

    Things that are no species (engine, noise) bear one name twice, or no scientific one.
    """
    scientific, _, common = label.partition("_")
    if scientific == common or not _SPECIES.fullmatch(scientific):
        return False
    words = re.split(r"[ -]", common.casefold())
    return scientific.split()[0] not in _OTHER_GENERA and words[-1] not in _OTHER_WORDS


def means_any_bird(label: str) -> bool:
    """Does a detector's label stand for birds of any kind?"""
    return plain_name(label) in ANY_BIRD
