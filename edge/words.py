"""What a cue is called, in the wearer's language; displays, the page, the terminal and the voice read it here."""

from __future__ import annotations

from edge.config import LookSettings
from edge.types import Cue

# A word names what can be seen on a face, never what may be felt. A display shows one of them at most, so none has more
# than 12 letters. In the tables are: what the small vocabulary calls expressions, the model's seven classes by the
# visible expression, the states, the reasons for `unsure` (`new`: that a face is there is all that is known),
# distances, sides.
WORDS: dict[str, dict[str, str]] = {
    "en": {
        "smile": "smile",
        "surprise": "surprise",
        "upset": "upset",
        "neutral": "neutral",
        "angry": "scowl",
        "disgust": "grimace",
        "fear": "wide-eyed",
        "happy": "smile",
        "sad": "frown",
        "unsure": "unsure",
        "new": "face",
        "away": "away",
        "poor": "unclear",
        "faint": "faint",
        "torn": "mixed",
        "no_face": "nobody",
        "no_camera": "camera",
        "paused": "paused",
        "stopped": "stopped",
        "near": "near",
        "middle": "middle",
        "far": "far",
        "left": "left",
        "ahead": "ahead",
        "right": "right",
    },
    "de": {
        "smile": "Lächeln",
        "surprise": "Staunen",
        "upset": "verstimmt",
        "neutral": "neutral",
        "angry": "finster",
        "disgust": "Naserümpfen",
        "fear": "großäugig",
        "happy": "Lächeln",
        "sad": "Trauermiene",
        "unsure": "unklar",
        "new": "Gesicht",
        "away": "abgewandt",
        "poor": "undeutlich",
        "faint": "schwach",
        "torn": "gemischt",
        "no_face": "niemand",
        "no_camera": "Kamera",
        "paused": "Pause",
        "stopped": "gestoppt",
        "near": "nah",
        "middle": "mittel",
        "far": "fern",
        "left": "links",
        "ahead": "vorn",
        "right": "rechts",
    },
    "es": {
        "smile": "sonrisa",
        "surprise": "sorpresa",
        "upset": "disgusto",
        "neutral": "neutra",
        "angry": "ceño",
        "disgust": "mueca",
        "fear": "susto",
        "happy": "sonrisa",
        "sad": "puchero",
        "unsure": "incierta",
        "new": "cara",
        "away": "apartada",
        "poor": "indistinta",
        "faint": "débil",
        "torn": "mixta",
        "no_face": "nadie",
        "no_camera": "cámara",
        "paused": "pausa",
        "stopped": "parado",
        "near": "cerca",
        "middle": "medio",
        "far": "lejos",
        "left": "izquierda",
        "ahead": "enfrente",
        "right": "derecha",
    },
    "fr": {
        "smile": "sourire",
        "surprise": "surprise",
        "upset": "contrarié",
        "neutral": "neutre",
        "angry": "renfrogné",
        "disgust": "grimace",
        "fear": "effaré",
        "happy": "sourire",
        "sad": "moue",
        "unsure": "incertain",
        "new": "visage",
        "away": "détourné",
        "poor": "indistinct",
        "faint": "faible",
        "torn": "mixte",
        "no_face": "personne",
        "no_camera": "caméra",
        "paused": "pause",
        "stopped": "arrêté",
        "near": "près",
        "middle": "moyen",
        "far": "loin",
        "left": "gauche",
        "ahead": "devant",
        "right": "droite",
    },
}

# The same as whole sentences, and what follows one after a comma; `other` takes the name of an unknown class.
SENTENCES: dict[str, dict[str, str]] = {
    "en": {
        "smile": "The face shows a smile.",
        "surprise": "The face shows surprise.",
        "upset": "The face looks upset.",
        "neutral": "The face is neutral.",
        "angry": "The face shows a scowl.",
        "disgust": "The face shows a grimace.",
        "fear": "The face is wide-eyed.",
        "happy": "The face shows a smile.",
        "sad": "The face shows a frown.",
        "other": "The face shows: {}.",
        "unsure": "The expression is unsure.",
        "new": "A face is turned to you.",
        "away": "Unsure: the face is turned away.",
        "poor": "Unsure: the face is not clear enough.",
        "faint": "Unsure: nothing stands out in the face.",
        "torn": "Unsure: two expressions are equally likely.",
        "no_face": "There is no face.",
        "no_camera": "The camera gives no picture.",
        "paused": "Cuelens is paused.",
        "stopped": "Cuelens has stopped.",
        "near": "near",
        "middle": "at a middle distance",
        "far": "far away",
        "left": "on the left",
        "ahead": "straight ahead",
        "right": "on the right",
    },
    "de": {
        "smile": "Das Gesicht zeigt ein Lächeln.",
        "surprise": "Das Gesicht zeigt Staunen.",
        "upset": "Das Gesicht wirkt verstimmt.",
        "neutral": "Das Gesicht ist neutral.",
        "angry": "Das Gesicht ist finster.",
        "disgust": "Das Gesicht zeigt ein Naserümpfen.",
        "fear": "Das Gesicht ist großäugig.",
        "happy": "Das Gesicht zeigt ein Lächeln.",
        "sad": "Das Gesicht zeigt eine Trauermiene.",
        "other": "Das Gesicht zeigt: {}.",
        "unsure": "Der Ausdruck ist unklar.",
        "new": "Ein Gesicht ist Ihnen zugewandt.",
        "away": "Unklar: das Gesicht ist abgewandt.",
        "poor": "Unklar: das Gesicht ist nicht deutlich genug.",
        "faint": "Unklar: im Gesicht sticht nichts hervor.",
        "torn": "Unklar: zwei Ausdrücke sind gleich wahrscheinlich.",
        "no_face": "Es ist kein Gesicht da.",
        "no_camera": "Die Kamera gibt kein Bild.",
        "paused": "Cuelens macht Pause.",
        "stopped": "Cuelens ist stehen geblieben.",
        "near": "nah",
        "middle": "in mittlerer Entfernung",
        "far": "weit weg",
        "left": "links",
        "ahead": "geradeaus",
        "right": "rechts",
    },
    "es": {
        "smile": "La cara muestra una sonrisa.",
        "surprise": "La cara muestra sorpresa.",
        "upset": "La cara muestra disgusto.",
        "neutral": "La cara es neutra.",
        "angry": "La cara frunce el ceño.",
        "disgust": "La cara hace una mueca.",
        "fear": "La cara es de susto.",
        "happy": "La cara muestra una sonrisa.",
        "sad": "La cara hace un puchero.",
        "other": "La cara muestra: {}.",
        "unsure": "La expresión es incierta.",
        "new": "Una cara mira hacia usted.",
        "away": "Incierta: la cara está apartada.",
        "poor": "Incierta: la cara no se ve con claridad.",
        "faint": "Incierta: nada destaca en la cara.",
        "torn": "Incierta: dos expresiones son igual de probables.",
        "no_face": "No hay ninguna cara.",
        "no_camera": "La cámara no da imagen.",
        "paused": "Cuelens está en pausa.",
        "stopped": "Cuelens se ha parado.",
        "near": "cerca",
        "middle": "a media distancia",
        "far": "lejos",
        "left": "a la izquierda",
        "ahead": "de frente",
        "right": "a la derecha",
    },
    "fr": {
        "smile": "Le visage montre un sourire.",
        "surprise": "Le visage montre de la surprise.",
        "upset": "Le visage paraît contrarié.",
        "neutral": "Le visage est neutre.",
        "angry": "Le visage est renfrogné.",
        "disgust": "Le visage fait une grimace.",
        "fear": "Le visage paraît effaré.",
        "happy": "Le visage montre un sourire.",
        "sad": "Le visage fait la moue.",
        "other": "Le visage montre : {}.",
        "unsure": "L'expression est incertaine.",
        "new": "Un visage est tourné vers vous.",
        "away": "Incertain : le visage est détourné.",
        "poor": "Incertain : le visage n'est pas assez net.",
        "faint": "Incertain : rien ne ressort du visage.",
        "torn": "Incertain : deux expressions sont aussi probables.",
        "no_face": "Il n'y a pas de visage.",
        "no_camera": "La caméra ne donne pas d'image.",
        "paused": "Cuelens est en pause.",
        "stopped": "Cuelens s'est arrêté.",
        "near": "tout près",
        "middle": "à moyenne distance",
        "far": "loin",
        "left": "à gauche",
        "ahead": "en face",
        "right": "à droite",
    },
}


def is_dark(cue: Cue, look: LookSettings) -> bool:
    """Return whether the wearer is shown nothing: nobody, a face that shows nothing, one that is not read yet."""
    if cue.state == "expression":
        return cue.expression == "neutral" and not look.neutral
    if cue.state == "unsure":
        return cue.reason == "new" and not look.presence
    return cue.state == "no_face"


def word(cue: Cue, look: LookSettings) -> str:
    """Return the one word of a cue, empty where it is dark; a class that the table lacks is its own word.

    All reasons but `new` are one word: they may change while the cue is steady.
    """
    if is_dark(cue, look):
        return ""
    key = "new" if cue.reason == "new" else cue.expression or cue.state
    return WORDS[look.language].get(key, key)


def describe(cue: Cue, look: LookSettings) -> str:
    """Return a cue as one sentence; unlike `word` also where it is dark.

    Where somebody is follows only for a face that is not read yet, and the side where the wearer has the arrow: what
    is read aloud must not change with every step.
    """
    sentences = SENTENCES[look.language]
    key = cue.expression or cue.reason or cue.state
    sentence = sentences[key] if key in WORDS[look.language] else sentences["other"].format(key)
    where: list[str] = []
    if cue.reason == "new" and cue.distance is not None:
        where.append(sentences[cue.distance])
    if cue.side is not None and (cue.reason == "new" or (look.arrow and cue.side != "ahead")):
        where.append(sentences[cue.side])
    return ", ".join([sentence.removesuffix("."), *where]) + "."
