"""The invented words that the generator makes people and places of; no list of real people was used."""

from __future__ import annotations

GIVEN_FEMALE = (
    "Alida", "Bente", "Corine", "Doutzen", "Elske", "Femke", "Gerda", "Hilde", "Ilse", "Jantine", "Karlijn", "Liesbeth",
    "Marit", "Nienke", "Odette", "Petra", "Roos", "Saskia", "Tirza", "Ursula", "Veerle", "Wietske", "Yfke", "Zwaantje",
)  # fmt: skip
GIVEN_MALE = (
    "Arend", "Bouke", "Casper", "Diederik", "Egbert", "Folkert", "Gijs", "Hidde", "Idzard", "Jorrit", "Koen", "Lubbert",
    "Menno", "Niek", "Otto", "Pepijn", "Reinier", "Sjoerd", "Tjeerd", "Ulrik", "Vincent", "Wessel", "Yorick", "Zeger",
)  # fmt: skip
PREFIXES = ("van", "van de", "van der", "de", "ter", None, None, None, None, None)
FAMILY_FIRST = (
    "Berken", "Dassen", "Eiken", "Ganzen", "Haviks", "Ijsvogel", "Kievits", "Kwartel", "Leeuweriks", "Meerkoet",
    "Nachtegaal", "Otter", "Pimpel", "Reigers", "Spechten", "Tureluur", "Uilen", "Vlinder", "Wulpen", "Zilver",
)  # fmt: skip
FAMILY_LAST = (
    "akker", "beek", "broek", "donk", "eind", "gaarde", "hof", "horst", "kamp", "laar", "molen", "oord", "poel", "rode",
    "stee", "veen", "voorde", "waard", "wold", "zijl",
)  # fmt: skip
STREET_FIRST = (
    "Amber",
    "Dauw",
    "Fluit",
    "Gieter",
    "Hagel",
    "Klapper",
    "Maan",
    "Nevel",
    "Rijp",
    "Schelp",
    "Toon",
    "Wolk",
)
STREET_LAST = ("dreef", "gang", "laan", "pad", "singel", "straat", "weg", "werf")
MUNICIPALITIES = {"9001": "Ganzenwaard", "9002": "Nevelstede", "9003": "Otterzijl", "9004": "Uilenbroek"}
"""Codes of four digits as in table 33, which gives none of them to anybody."""
COUNTRY = "6030"
"""The Netherlands in table 34."""

DIAGNOSES = (
    "diagnose-kwartelkoorts", "diagnose-zilverreigersyndroom", "diagnose-nevelspierziekte", "diagnose-uilenooggebrek",
    "diagnose-otterstofwisseling", "diagnose-wulpenlongziekte", "diagnose-spechtentremor", "diagnose-berkenhuidziekte",
)  # fmt: skip
"""Diseases that nobody has: any of these words in the wrong place is a leak."""
GROUNDS = ("grondslag-lichamelijk-kwx", "grondslag-verstandelijk-kwx", "grondslag-zintuiglijk-kwx")
PROFILES = ("profiel-kwx-3", "profiel-kwx-4", "profiel-kwx-5", "profiel-kwx-6")
CARE_KINDS = ("intensive-child-care", "stay", "care-at-home")
DOMAINS = ("mobility", "self-care", "communication", "behaviour", "supervision")
