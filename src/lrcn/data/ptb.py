"""The words of a caption as the caption metrics count them: the Penn Treebank's, lower-cased, without punctuation.

Published scores of captions are computed on the text that Stanford's PTBTokenizer gives (CoreNLP 3.4.1, called with
`-preserveLines -lowerCase`), less a list of punctuation marks: pycocoevalcap's `tokenizer/ptbtokenizer.py`. This gives
the same text without Java. The rules were written from what that program does with words, abbreviations, numbers and
every character of Unicode's first plane, not from its source; docs/metrics.md says how often the two agree.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

# pycocoevalcap's list, and the quotes and dashes that the program spells with its marks. Brackets are on that list
# too, but in capitals: the program gives -lrb-, so parentheses stay as words.
_REMOVED = frozenset(
    ["''", "'", "``", "`", *".?!,:;-", "--", "...", *'"\u2018\u2019\u201c\u201d\xab\xbb\u2039\u203a']
)
_REMOVED |= frozenset("\u2013\u2014\u2015\u2026")


def ptb_tokenize(captions: Iterable[str]) -> list[str]:
    """Gives each caption's words with one blank between them; one that holds no word gives "".

    A line break within a caption counts as a blank. Each caption is read by itself.
    """
    return [_words(caption) if _ACROSS.search(caption) else _words_of_pieces(caption) for caption in captions]


def _words_of_pieces(caption: str) -> str:
    """The words of a caption in which no token holds or looks across a blank: of nearly all captions, quickly."""
    return " ".join([words for piece in caption.split() if (words := _words_of_piece(piece))])


@lru_cache(maxsize=2**17)
def _words_of_piece(piece: str) -> str:
    word = piece.lower()
    return word if word.isascii() and word.isalpha() and word not in _IN_TWO else _words(piece)


def _words(text: str) -> str:
    return " ".join([word for token in _tokens(_known(text)) if (word := token.lower()) not in _REMOVED])


def _tokens(text: str) -> list[str]:
    """Cuts off the longest token that any rule finds, again and again; of equally long ones the earlier rule's."""
    tokens = []
    at = 0
    while at < len(text):
        longest = max((match for rule in _RULES if (match := rule.match(text, at))), key=re.Match.end)
        tokens += [_spelled(token) for token in longest.groups() if token]
        at = longest.end(longest.lastindex or 0)
    return tokens


def _spelled(token: str) -> str:
    if "\u2019" in token:
        token = _CURLY.sub(r"\1'\2", token)
    return _ALONE.get(token) or token.translate(_WITHIN)


def _known(text: str) -> str:
    """The text with a blank in place of each character that the program drops."""
    if "&" in text:
        for entity, character in _ENTITIES.items():
            text = text.replace(entity, character)
    return text if text.isascii() and text.isprintable() else "".join(map(_known_character, text))


@lru_cache(maxsize=2**16)
def _known_character(character: str) -> str:
    if character == "\xad":
        # A soft hyphen shows where a word may be broken, and is no part of it.
        return ""
    if re.match(rf"[\t!-~{_SYMBOLS}\u2010\u2011]", character):
        return character
    letter = unicodedata.category(character) in _LETTERS and not 0xFE00 <= ord(character) <= 0xFE0F
    return character if letter and ord(character) < 0x10000 else " "


# Words that are two.
_IN_TWO = frozenset(["cannot", "gonna", "gotta", "lemme", "gimme", "wanna"])

# What is a token of its own outside ASCII; all other characters but letters are dropped, emoji among them.
_SYMBOLS = (
    r"\u00a1-\u00a9\u00ab\u00ac\u00ae-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7\u037e\u0387\u0589\u05be\u05c0\u05c3"
    r"\u05c6\u05f3\u05f4\u060c\u061b\u061e\u061f\u066a\u066d\u06d4\u0964\u0965\u0e3f\u2013-\u2023\u2026\u2030-\u203b"
    r"\u203e-\u2042\u2044\u2070\u2074-\u207e\u2080-\u208e\u20a0\u20a4\u20ac\u2100\u2101\u2103-\u2106\u2108\u2109\u2114"
    r"\u2116-\u2118\u211e-\u2123\u2125\u2127\u2129\u212e\u213a\u213b\u2140-\u2144\u214a-\u214d\u214f\u2153-\u215e"
    r"\u2190-\u2bff\u3001\u3002\u3012\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0\uffe1\uffe5\uffe6"
)
_LETTERS = frozenset(["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd"])

# What the program spells in its own way: as a token alone, and within one, where blanks become no-break ones.
_ALONE = dict(zip("[]{}¢£€¤\u20a0", ("-lsb-", "-rsb-", "-lcb-", "-rcb-", "cents", "#", *"$$$"), strict=True))
_ALONE |= {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", "&lt;": "<", "&gt;": ">"}
_ENTITIES = {"&amp;": "&", "&apos;": "'", "&quot;": '"', "&nbsp;": " "}
_WITHIN = str.maketrans({"(": "-lrb-", ")": "-rrb-", " ": "\xa0"})

# ---- the rules ----

_L = rf"[^\x00-@\[-`{{-\x7f\d{_SYMBOLS}]"  # a letter
_X = rf"[^\x00-/:-@\[-`{{-\x7f{_SYMBOLS}]"  # a letter or a digit
_WORD = rf"{_L}{_X}*(?:[.!?]{_L}{_X}*)*"
_QUOTE = "['\u2019`]"
_ENDINGS = "(?:[sSdDmM]|ll|LL|re|RE|ve|VE)"
_CURLY = re.compile(rf"^([nN]?)\u2019({_ENDINGS}|[tT])$")
_ABBREVIATIONS = (
    "adj|adm|adv|ala?|alex|apr|assoc|atty|aug|ave|bhd|brig|calif|capt|cf|cie|col?|colo|conn|corp|cos|cpl|ct|dak|dec"
    "|dept|det|drs?|elec|ens|esq|est|etc|ext|feb|fla|fri|ft|ga|gen|gov|hon|inc|ind|insp|intl|invt|jan|jos|jr|jul|jun"
    "|kan|ky|ltd?|maj|mar|md|mfg|mich|minn|mme|mont?|mo|mrs?|ms|mtg?|natl|neb|nev|nov|oct|penn|pfc|ph|plc|pres|prof"
    "|pte|ptys?|pvt|rd|reps?|rev|rt|sens?|sept?|seq|sfc|sgt|spc|sq|sr|ste?|sys|tel|thu|thurs|tue|tues|univ|va|vs|vt"
    "|wed|wisc?|wm|wyo"
)
# After an initial, one of these begins a new sentence.
_STARTERS = (
    "A|About|According|Additionally|After|An|As|At|But|Earlier|He|Her|Here|However|If|In|It|Last|Many|More|Now|Once|One"
    "|Other|Our|She|Since|So|Some|Such|That|The|Their|Then|There|These|They|This|We|What|When|While|Yet|You"
)
_FILES = (
    "bat|bmp|c|cgi|class|cpp|dll|docx?|exe|gif|gz|h|html?|jar|java|jpe?g|mov|mp3|pdf|php|pl|png|ppt|ps|py|sql|tar|txt"
    "|wav|x|xml|zip"
)

# A rule's groups are its tokens; what it matches after them only counts for its length.
_RULES = [
    re.compile(pattern, re.DOTALL)
    for pattern in (
        # Words, whole and in two parts: can not, gon na, 't is, do n't, dog 's.
        rf"(?i:(can)(not)|(gon)(na)|(got)(ta)|(lem|gim)(me)|(wan)(na))(?!{_X})",
        rf"('[tT])([iI][sS]|[wW][aA][sS])(?!{_X})",
        rf"({_WORD})(?:'{_ENDINGS}(?![A-Za-z]))?",
        rf"([A-Za-z]*[A-MO-Za-mo-z])[nN]{_QUOTE}[tT]",
        rf"([nN]{_QUOTE}[tT])",
        rf"('{_ENDINGS})(?![A-Za-z])",
        rf"(\u2019{_ENDINGS})",
        # Joined by hyphens, slashes and underscores.
        r"([A-Za-z0-9][A-Za-z0-9.,]*(?:-[A-Za-z0-9]+)+)",
        rf"({_X}+(?:[-_]{_X}+)*)",
        r"([A-Za-z0-9]+(?:-[A-Za-z]+){0,2}(?:/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2})",
        # Numbers, fractions, telephone numbers, years, files.
        r"([-+]?[.,:]?\d+(?:[.,:]\d+)*)",
        r"((?:\d{1,4}[- ])?\d{1,4}/\d{1,4})(?!\d)",
        r"((?:\(\d{2,3}\) ?|(?:\d{2,4}[- ])?\d{2,4}[- ])\d{3,4}[- ]?\d{3,5})(?!\d)",
        r"('\d\d)(?:[ \t]|$)",
        r"(['\u2019][2-9]0s)",
        rf"({_X}+(?:\.{_X}+)*\.(?i:{_FILES}))(?=[ \t.?!,]|$)",
        # Abbreviations, initials, and any word whose full stop a comma follows.
        r"([A-Za-z](?:\.[A-Za-z])+\.)",
        rf"((?i:{_ABBREVIATIONS})\.)",
        r"((?:Ark|ARK|Az|AZ|Del|DEL|Ill|ILL|La|LA|Mass|MASS|Miss|MISS|Ore|ORE|Pa|PA|Tex|TEX|Wash|WASH)\.)",
        r"((?i:art|ca|figs?|nos?|op|pp|prop)\.)[ \t]?\d",
        rf"((?:{_WORD}|{_X}+)\.)[,;:]",
        rf"([A-Za-z]\.)(?![ \t]+(?:{_STARTERS}|{_STARTERS.upper()})(?:[ \t]|$))",
        # Words with an apostrophe of their own.
        r"('(?i:em|till?|cause)|\u2019(?:em|till?|cause))",
        r"('[nN](?:['\u2019]|(?=[ \t]|$))|\u2019[nN]['\u2019]?)",
        r"([dDjJlLyY]['\u2019]|[oO]l['\u2019])",
        rf"([A-HJ-XZn]{_QUOTE}{_L}{{2,}}|[dlo]{_QUOTE}{_X}{{2,}})",
        rf"({_L}+[aeiouyAEIOUY]{_QUOTE}[aeiouA-Z]{_L}*)",
        r"((?i:s'mores|nor'easter|c'mon|e'er|li'l|nat'l|ev'ry|cont'd\.|dunkin'|somethin'))",
        # Addresses, tags, names of the net, companies, currencies.
        r"((?:https?://|(?:[\w-]+\.)+(?:com|net|org|edu)/)[^\s\"<>()]*[^\s\"<>().,?!;:])",
        r"(www\.(?:[\w-]+\.)+(?:com|net|org|edu))",
        r"(<?[A-Za-z0-9][^ \t<>\"|()]*@[^ \t<>\"|().]+(?:\.+[^ \t<>\"|().]+)*>?)",
        r"(</?[A-Za-z][\w:.@-]*(?: +[A-Za-z][\w:.-]*(?: *= *(?:'[^'>]*'|\"[^\">]*\"))?)* */?>|<[!?][^>]+>)",
        rf"(@[A-Za-z_][A-Za-z0-9_]*|#{_L}+|[cCfF]#|[cC]\+\+)",
        r"([A-Z]+(?:[+&][A-Z]+)+)",
        r"([A-Z]+\$)",
        # Faces and runs of marks.
        r"([<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]])(?![A-Za-z0-9])",
        r"([-^x=~<>']_[-^x=~<>'])",
        r"(?:(-----+)|--+)",
        r"([?!]+|''|``|__+|\*\*+|##+|<<|>>|@@)",
        r"(&#\d+;)",
        r"(&[lg]t;)|\.\.\.+",
        # Any other character is a token.
        r"([^ \t\u2010\u2011])|.",
    )
]

# Where a rule may look across a blank: tags, telephone numbers, fractions, No. 5, initials.
_ACROSS = re.compile(r"[<(\d.](?:(?<=<)|(?<=\()\d|(?<=\d)\s\d|(?<=\.)\s(?:\d|(?<=\b[A-Za-z]\.\s)))")
