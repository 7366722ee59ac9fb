"""What there is in the kitchen of `lrcn.data.cooking`, what goes with what, and how people put it.

Lists go from the most frequent on: by Zipf's law the k-th of a list is 1/k as frequent as its first.
"""

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

SLOTS = ("activity", "object", "tool", "place")

# ---- what there is: a kind, then its members ----

_OBJECTS: Mapping[str, tuple[str, ...]] = {
    "vegetable": ("carrot", "potato", "onion", "cucumber", "tomato", "pepper", "leek", "parsnip", "broccoli"),
    "fruit": ("apple", "orange", "lemon", "kiwi", "pineapple", "avocado"),
    "herb": ("parsley", "chives", "basil", "mint"),
    "bread": ("bread", "roll", "bun"),
    "dairy": ("butter", "cheese", "cream cheese"),
    "egg": ("egg",),
    "meat": ("sausage", "bacon", "ham"),
    "liquid": ("water", "milk", "oil", "broth"),
    "dish": ("soup", "sauce", "pasta", "rice"),
    "spice": ("salt", "black pepper", "paprika"),
}
_TOOLS: Mapping[str, tuple[str, ...]] = {
    "blade": ("knife", "peeler", "grater", "scissors"),
    "spoon": ("spoon", "spatula", "whisk", "fork", "masher"),
    "none": ("hand",),
    "vessel": ("measuring cup", "bottle", "mill"),
    "gadget": ("juicer", "sponge"),
}
_PLACES: Mapping[str, tuple[str, ...]] = {
    "flat": ("cutting board", "plate", "counter"),
    "vessel": ("pan", "pot", "bowl", "glass"),
    "water": ("sink",),
    "store": ("fridge", "drawer", "cupboard"),
}
_ACTIVITIES: Mapping[str, tuple[str, ...]] = {
    "cut": ("cut", "slice", "chop", "peel", "grate", "mash"),
    "mix": ("stir", "whip", "season"),
    "heat": ("fry", "boil"),
    "move": ("take out", "put in", "pour", "spread"),
    "liquid": ("wash", "squeeze", "crack"),
}
KINDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "activity": _ACTIVITIES,
    "object": _OBJECTS,
    "tool": _TOOLS,
    "place": _PLACES,
}


@dataclass(frozen=True)
class _Activity:
    """What is done: how often, to what, with what, where; each list from the most frequent on.

    `verbs` are "cuts/cutting {o}": both forms of the verb, then what follows it. `where` says from or to somewhere.
    """

    often: float
    objects: str
    tools: str
    places: str
    verbs: str
    where: str = ""


_WORLD: Mapping[str, _Activity] = {
    "cut": _Activity(8, "vegetable fruit meat bread herb", "knife,scissors", "cutting board,plate,counter",
                     "cuts/cutting {o},cuts/cutting up {o},chops/chopping {o},cuts/cutting {o} into pieces"),
    "slice": _Activity(6, "vegetable bread fruit meat dairy", "knife", "cutting board,plate",
                       "slices/slicing {o},cuts/cutting {o} into slices,cuts/cutting {o}"),
    "chop": _Activity(4, "herb vegetable", "knife", "cutting board,bowl",
                      "chops/chopping {o},dices/dicing {o},chops/chopping {o} finely,cuts/cutting {o}"),
    "peel": _Activity(5, "vegetable fruit", "peeler,knife,hand", "cutting board,sink,plate,bowl",
                      "peels/peeling {o},removes/removing the skin of {o},skins/skinning {o}"),
    "grate": _Activity(2, "dairy vegetable", "grater", "plate,bowl,cutting board",
                       "grates/grating {o},shreds/shredding {o}"),
    "mash": _Activity(1.5, "vegetable fruit egg", "fork,masher,spoon", "bowl,plate,pot",
                      "mashes/mashing {o},crushes/crushing {o}"),
    "stir": _Activity(5, "dish egg liquid", "spoon,spatula,whisk,fork", "pot,pan,bowl",
                      "stirs/stirring {o},mixes/mixing {o},stirs/stirring"),
    "whip": _Activity(2, "egg dairy", "whisk,fork,spoon", "bowl,glass",
                      "beats/beating {o},whisks/whisking {o},mixes/mixing {o}"),
    "season": _Activity(3, "spice", "hand,mill,spoon", "pan,pot,bowl,plate",
                        "adds/adding {o},seasons/seasoning it with {o},sprinkles/sprinkling {o}"),
    "fry": _Activity(3, "egg meat vegetable", "spatula,fork,spoon", "pan",
                     "fries/frying {o},cooks/cooking {o},heats/heating {o}"),
    "boil": _Activity(2.5, "dish egg liquid vegetable", "spoon,fork", "pot,pan",
                      "boils/boiling {o},cooks/cooking {o},heats/heating {o}"),
    "take out": _Activity(9, "vegetable dairy fruit egg bread meat herb", "hand", "fridge,drawer,cupboard,counter",
                          "takes/taking out {o},gets/getting {o},takes/taking {o},removes/removing {o}", "from"),
    "put in": _Activity(6, "vegetable dish egg meat herb dairy", "hand,spoon,knife", "pan,pot,bowl,plate",
                        "puts/putting {o},adds/adding {o},places/placing {o},throws/throwing {o}", "into"),
    "pour": _Activity(5, "liquid egg", "bottle,measuring cup,hand", "pan,pot,glass,bowl",
                      "pours/pouring {o},adds/adding {o},puts/putting {o}", "into"),
    "spread": _Activity(2.5, "dairy", "knife,spoon", "plate,cutting board",
                        "spreads/spreading {o},spreads/spreading {o} on the bread,puts/putting {o} on the bread"),
    "wash": _Activity(6, "vegetable fruit herb", "hand,sponge", "sink",
                      "washes/washing {o},rinses/rinsing {o},cleans/cleaning {o},rinses/rinsing off {o}"),
    "squeeze": _Activity(1.5, "fruit", "juicer,hand", "bowl,glass",
                         "squeezes/squeezing {o},juices/juicing {o},presses/pressing {o}"),
    "crack": _Activity(2.5, "egg", "hand,knife", "bowl,pan",
                       "cracks/cracking {o},breaks/breaking {o},opens/opening {o}"),
}  # fmt: skip

_OTHER_WORDS: Mapping[str, tuple[str, ...]] = {
    "cutting board": ("cutting board", "chopping board", "board"),
    "pan": ("pan", "frying pan"),
    "pot": ("pot", "saucepan"),
    "fridge": ("refrigerator", "fridge"),
    "cupboard": ("cupboard", "cabinet"),
    "counter": ("counter", "worktop", "table"),
    "peeler": ("peeler", "vegetable peeler"),
    "pepper": ("bell pepper", "pepper"),
    "leek": ("leek", "spring onion"),
    "roll": ("roll", "bread roll"),
    "measuring cup": ("measuring cup", "jug"),
}
_MASS = {
    "broccoli",
    "parsley",
    "chives",
    "basil",
    "mint",
    "bread",
    "butter",
    "cheese",
    "cream cheese",
    "bacon",
    "ham",
}
_MASS |= {*_OBJECTS["liquid"], *_OBJECTS["dish"], *_OBJECTS["spice"]}
_KIND_WORDS = {"vegetable": "the vegetable", "fruit": "the fruit", "herb": "the herbs", "meat": "the meat"}
_PEOPLE = ("the person", "he", "she", "the man", "the woman", "a person", "someone")
_OPENERS = ("", "then", "next", "now", "carefully")


def labels() -> dict[str, tuple[str, ...]]:
    """Slot -> all labels that there are."""
    return {slot: tuple(name for names in KINDS[slot].values() for name in names) for slot in SLOTS}


def scenes() -> Iterator[tuple[tuple[str, ...], float]]:
    """All scenes that there are, a label of each slot, and how frequent each is beside the others."""
    for activity, does in _WORLD.items():
        things = [
            (name, share * of_kind)
            for kind, share in _ranked(does.objects.split())
            for name, of_kind in _ranked(_OBJECTS[kind])
        ]
        with_what, where = _ranked(does.tools.split(",")), _ranked(does.places.split(","))
        for (thing, p), (tool, q), (place, r) in product(things, with_what, where):
            yield (activity, thing, tool, place), does.often * p * q * r


def _ranked(names: Sequence[str]) -> list[tuple[str, float]]:
    """Zipf's law: the k-th is 1/k as frequent as the first."""
    shares = 1 / np.arange(1, len(names) + 1)
    return list(zip(names, (shares / shares.sum()).tolist(), strict=True))


# ---- the people ----


def sentence(scene: Mapping[str, str], rng: np.random.Generator) -> str:
    """What somebody says of a scene, slot -> label."""
    does = _WORLD[scene["activity"]]
    forms, _, after = _one_of(does.verbs.split(","), rng).partition(" ")
    finite, _, going = forms.partition("/")
    verb = finite if rng.random() < 0.65 else f"is {going}"
    told = {"with": 0.3, "where": 0.7 if does.where else 0.4}
    with_what = _with(scene["tool"], rng) if rng.random() < told["with"] else ""
    where = _somewhere(does.where, scene["place"], rng) if rng.random() < told["where"] else ""
    words = [
        _one_of(_OPENERS, rng) if rng.random() < 0.3 else "",
        _one_of(_PEOPLE, rng),
        verb,
        after.format(o=_thing(scene["object"], rng)),
        *([with_what, where] if rng.random() < 0.5 else [where, with_what]),
    ]
    text = " ".join(word for word in words if word)
    return f"{text[0].upper()}{text[1:]}."


def _thing(name: str, rng: np.random.Generator) -> str:
    family = next(family for family, names in _OBJECTS.items() if name in names)
    if family in _KIND_WORDS and rng.random() < 0.08:
        return _KIND_WORDS[family]
    word = _word(name, rng)
    if name in _MASS:
        return _one_of((f"the {word}", f"some {word}", word), rng)
    many = f"{word}es" if word.endswith("o") else f"{word}s"
    return _one_of((f"the {word}", f"{_a(word)} {word}", f"the {many}", many), rng)


def _with(tool: str, rng: np.random.Generator) -> str:
    if tool == "hand":
        return _one_of(("", "by hand"), rng)
    word = _word(tool, rng)
    a = "" if tool == "scissors" else f"{_a(word)} "
    return _one_of((f"with {a}{word}", f"with the {word}", f"using {a}{word}"), rng)


def _somewhere(way: str, place: str, rng: np.random.Generator) -> str:
    into = place not in _PLACES["flat"]
    ways = {
        "from": ("from", "out of") if into else ("from",),
        "into": ("into", "in", "to") if into else ("on", "onto"),
    }
    word = _word(place, rng)
    the = "the" if rng.random() < 0.75 else _a(word)
    return f"{_one_of(ways.get(way, ('in', 'inside') if into else ('on',)), rng)} {the} {word}"


def _word(name: str, rng: np.random.Generator) -> str:
    return _one_of(_OTHER_WORDS.get(name, (name,)), rng)


def _a(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _one_of(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[bisect(_ladder(len(words)), rng.random())]


@cache
def _ladder(count: int) -> tuple[float, ...]:
    """Where each word of a list but the last ends, from 0 to 1."""
    return tuple(np.cumsum([share for _, share in _ranked([""] * count)])[:-1].tolist())
