# SPDX-License-Identifier: MIT
"""English, German and former names of birds that are common in European recordings; the species of a subspecies.

BirdNET's Kaleidoscope tables and many people's own know only ``European Robin``. The list is a help, no taxonomy: what
it does not hold is joined with ``--rename``.
"""

from __future__ import annotations

import functools
import re

from cheep.config.data import plain_name

_NAMES = """
Accipiter nisus = Eurasian Sparrowhawk, Sperber; Acrocephalus scirpaceus = Common Reed Warbler, Eurasian Reed Warbler,
Teichrohrsänger; Acrocephalus palustris = Marsh Warbler, Sumpfrohrsänger; Acrocephalus arundinaceus = Great Reed
Warbler, Drosselrohrsänger; Aegithalos caudatus = Long-tailed Tit, Schwanzmeise; Aegolius funereus = Boreal Owl,
Tengmalm's Owl, Raufußkauz; Alauda arvensis = Eurasian Skylark, Feldlerche; Alcedo atthis = Common Kingfisher,
Eisvogel; Anas platyrhynchos = Mallard, Stockente; Anser anser = Greylag Goose, Graugans; Anthus pratensis = Meadow
Pipit, Wiesenpieper; Anthus trivialis = Tree Pipit, Baumpieper; Apus apus = Common Swift, Mauersegler; Ardea cinerea =
Grey Heron, Gray Heron, Graureiher; Asio otus = Long-eared Owl, Waldohreule; Athene noctua = Little Owl, Steinkauz;
Botaurus stellaris = Eurasian Bittern, Great Bittern, Rohrdommel; Bubo bubo = Eurasian Eagle-Owl, Uhu; Buteo buteo =
Common Buzzard, Mäusebussard; Caprimulgus europaeus = Eurasian Nightjar, European Nightjar, Ziegenmelker; Carduelis
carduelis = European Goldfinch, Stieglitz; Certhia brachydactyla = Short-toed Treecreeper, Gartenbaumläufer; Certhia
familiaris = Eurasian Treecreeper, Waldbaumläufer; Chloris chloris = European Greenfinch, Grünfink; Ciconia ciconia =
White Stork, Weißstorch; Cinclus cinclus = White-throated Dipper, Wasseramsel; Coccothraustes coccothraustes =
Hawfinch, Kernbeißer; Columba oenas = Stock Dove, Hohltaube; Columba palumbus = Common Wood-Pigeon, Common Wood
Pigeon, Ringeltaube; Columba livia = Rock Pigeon, Rock Dove, Straßentaube; Corvus corax = Common Raven, Northern Raven,
Kolkrabe; Corvus corone = Carrion Crow, Rabenkrähe; Corvus frugilegus = Rook, Saatkrähe; Corvus monedula = Eurasian
Jackdaw, Western Jackdaw, Dohle; Coturnix coturnix = Common Quail, Wachtel; Crex crex = Corn Crake, Wachtelkönig;
Cuculus canorus = Common Cuckoo, Kuckuck; Cyanistes caeruleus = Eurasian Blue Tit, Blue Tit, Blaumeise; Delichon
urbicum = Common House-Martin, Western House-Martin, Mehlschwalbe; Dendrocopos major = Great Spotted Woodpecker,
Buntspecht; Dendrocoptes medius = Middle Spotted Woodpecker, Mittelspecht; Dryobates minor = Lesser Spotted Woodpecker,
Kleinspecht; Dryocopus martius = Black Woodpecker, Schwarzspecht; Emberiza calandra = Corn Bunting, Grauammer;
Emberiza citrinella = Yellowhammer, Goldammer; Emberiza schoeniclus = Reed Bunting, Common Reed Bunting, Rohrammer;
Erithacus rubecula = European Robin, Robin, Rotkehlchen; Falco tinnunculus = Eurasian Kestrel, Common Kestrel,
Turmfalke; Ficedula hypoleuca = European Pied Flycatcher, Trauerschnäpper; Ficedula parva = Red-breasted Flycatcher,
Zwergschnäpper; Fringilla coelebs = Common Chaffinch, Chaffinch, Buchfink; Fringilla montifringilla = Brambling,
Bergfink; Fulica atra = Eurasian Coot, Common Coot, Blässhuhn; Gallinago gallinago = Common Snipe, Bekassine; Gallinula
chloropus = Eurasian Moorhen, Common Moorhen, Teichhuhn; Garrulus glandarius = Eurasian Jay, Eichelhäher; Glaucidium
passerinum = Eurasian Pygmy-Owl, Sperlingskauz; Grus grus = Common Crane, Kranich; Hippolais icterina = Icterine
Warbler, Gelbspötter; Hirundo rustica = Barn Swallow, Rauchschwalbe; Jynx torquilla = Eurasian Wryneck, Wendehals;
Lanius collurio = Red-backed Shrike, Neuntöter; Linaria cannabina = Eurasian Linnet, Common Linnet, Bluthänfling;
Locustella fluviatilis = River Warbler, Common River Warbler, Schlagschwirl; Locustella naevia = Common
Grasshopper-Warbler, Feldschwirl; Lophophanes cristatus = Crested Tit, European Crested Tit, Haubenmeise; Loxia
curvirostra = Red Crossbill, Common Crossbill, Fichtenkreuzschnabel; Lullula arborea = Wood Lark, Woodlark, Heidelerche;
Luscinia luscinia = Thrush Nightingale, Sprosser; Luscinia megarhynchos = Common Nightingale, Nachtigall; Luscinia
svecica = Bluethroat, Blaukehlchen; Merops apiaster = European Bee-eater, Bienenfresser; Milvus milvus = Red Kite,
Rotmilan; Milvus migrans = Black Kite, Schwarzmilan; Monticola saxatilis = Rufous-tailed Rock-Thrush, Common Rock
Thrush, Steinrötel; Motacilla alba = White Wagtail, Bachstelze; Motacilla cinerea = Grey Wagtail, Gray Wagtail,
Gebirgsstelze; Motacilla flava = Western Yellow Wagtail, Schafstelze; Muscicapa striata = Spotted Flycatcher,
Grauschnäpper; Nucifraga caryocatactes = Eurasian Nutcracker, Spotted Nutcracker, Tannenhäher; Oenanthe oenanthe =
Northern Wheatear, Steinschmätzer; Oriolus oriolus = Eurasian Golden Oriole, Pirol; Parus major = Great Tit, Kohlmeise;
Passer domesticus = House Sparrow, Haussperling; Passer montanus = Eurasian Tree Sparrow, Feldsperling; Perdix perdix =
Gray Partridge, Grey Partridge, Rebhuhn; Periparus ater = Coal Tit, Tannenmeise; Phasianus colchicus = Ring-necked
Pheasant, Common Pheasant, Fasan; Phoenicurus ochruros = Black Redstart, Hausrotschwanz; Phoenicurus phoenicurus =
Common Redstart, Gartenrotschwanz; Phylloscopus collybita = Common Chiffchaff, Chiffchaff, Zilpzalp; Phylloscopus
sibilatrix = Wood Warbler, Waldlaubsänger; Phylloscopus trochilus = Willow Warbler, Fitis; Pica pica = Eurasian Magpie,
Elster; Picus canus = Gray-headed Woodpecker, Grey-headed Woodpecker, Grauspecht; Picus viridis = Eurasian Green
Woodpecker, European Green Woodpecker, Grünspecht; Poecile montanus = Willow Tit, Weidenmeise; Poecile palustris =
Marsh Tit, Sumpfmeise; Prunella modularis = Dunnock, Heckenbraunelle; Pyrrhula pyrrhula = Eurasian Bullfinch, Gimpel;
Rallus aquaticus = Water Rail, Wasserralle; Regulus ignicapilla = Common Firecrest, Sommergoldhähnchen; Regulus regulus
= Goldcrest, Wintergoldhähnchen; Riparia riparia = Bank Swallow, Sand Martin, Uferschwalbe; Saxicola rubetra = Whinchat,
Braunkehlchen; Saxicola rubicola = European Stonechat, Schwarzkehlchen; Scolopax rusticola = Eurasian Woodcock,
Waldschnepfe; Serinus serinus = European Serin, Girlitz; Sitta europaea = Eurasian Nuthatch, Kleiber; Spinus spinus =
Eurasian Siskin, Erlenzeisig; Streptopelia decaocto = Eurasian Collared-Dove, Türkentaube; Streptopelia turtur =
European Turtle-Dove, European Turtle Dove, Turteltaube; Strix aluco = Tawny Owl, Waldkauz; Sturnus vulgaris = European
Starling, Common Starling, Star; Sylvia atricapilla = Eurasian Blackcap, Mönchsgrasmücke; Sylvia borin = Garden Warbler,
Gartengrasmücke; Curruca communis = Greater Whitethroat, Common Whitethroat, Dorngrasmücke; Curruca curruca = Lesser
Whitethroat, Klappergrasmücke; Tachybaptus ruficollis = Little Grebe, Zwergtaucher; Troglodytes troglodytes = Eurasian
Wren, Wren, Zaunkönig; Turdus iliacus = Redwing, Rotdrossel; Turdus merula = Eurasian Blackbird, Common Blackbird,
Blackbird, Amsel; Turdus philomelos = Song Thrush, Singdrossel; Turdus pilaris = Fieldfare, Wacholderdrossel; Turdus
torquatus = Ring Ouzel, Ringdrossel; Turdus viscivorus = Mistle Thrush, Misteldrossel; Tyto alba = Barn Owl, Western
Barn Owl, Schleiereule; Upupa epops = Eurasian Hoopoe, Common Hoopoe, Wiedehopf; Vanellus vanellus = Northern Lapwing,
Kiebitz; Cecropis daurica = Red-rumped Swallow, European Red-rumped Swallow, Rötelschwalbe
"""

#: Former scientific names that lists and programs still have.
_FORMER = """
Aquila pennata = Hieraaetus pennatus; Carduelis cannabina = Linaria cannabina; Carduelis chloris = Chloris chloris;
Carduelis flammea = Acanthis flammea; Carduelis spinus = Spinus spinus; Dendrocopos medius = Dendrocoptes medius;
Dendrocopos minor = Dryobates minor; Hirundo daurica = Cecropis daurica; Larus ridibundus = Chroicocephalus
ridibundus; Miliaria calandra = Emberiza calandra; Parus ater = Periparus ater; Parus caeruleus = Cyanistes caeruleus;
Parus cristatus = Lophophanes cristatus; Parus montanus = Poecile montanus; Parus palustris = Poecile palustris;
Regulus ignicapillus = Regulus ignicapilla; Saxicola torquatus = Saxicola rubicola; Saxicola torquata = Saxicola
rubicola; Sylvia communis = Curruca communis; Sylvia curruca = Curruca curruca; Sylvia melanocephala = Curruca
melanocephala; Sylvia nisoria = Curruca nisoria; Coloeus monedula = Corvus monedula; Charadrius dubius = Thinornis
dubius; Anas strepera = Mareca strepera; Tetrao tetrix = Lyrurus tetrix; Bonasa bonasia = Tetrastes bonasia; Cyanecula
svecica = Luscinia svecica; Streptopelia senegalensis = Spilopelia senegalensis; Delichon urbica = Delichon urbicum
"""
_BINOMIAL = re.compile(r"([A-Z][a-z]+ [a-z]{3,})(?: [a-z]{3,}| ?\(.*|,? [A-Z][^ ]*\.?,? ?[0-9]*)?")
_NO_EPITHET = ("sp", "spp", "cf", "aff", "indet", "species")


@functools.lru_cache(maxsize=1)
def _table() -> dict[str, str]:
    table = {}
    for entry in " ".join(_NAMES.split()).split(";"):
        scientific, names = entry.split("=")
        for name in (scientific, *names.split(",")):
            table[plain_name(name)] = plain_name(scientific)
    for entry in " ".join(_FORMER.split()).split(";"):
        former, name = entry.split("=")
        table[plain_name(former)] = plain_name(name)
    return table


def scientific_of(name: str) -> str:
    """Return the scientific name (plain: ``erithacus_rubecula``) of an English or German one; empty: not known."""
    return _table().get(plain_name(name), "")


def species_of(name: str) -> str:
    """Return the species (plain: ``turdus_merula``) of a subspecies or of a name with its author; empty: it is neither.

    ``Turdus cf. merula`` and ``Turdus sp.`` are no species.
    """
    found = _BINOMIAL.fullmatch(name.strip())
    if not found or found[1] == name.strip() or set(plain_name(name).split("_")) & set(_NO_EPITHET):
        return ""
    return plain_name(found[1])
