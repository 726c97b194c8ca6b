"""What an error says of a name that is not known: the names that are like it."""

import difflib
from collections.abc import Iterable

NAMED = 4  # names in an error


def did_you_mean(wanted: str, known: Iterable[str], otherwise: str = "") -> str:
    """' (did you mean 'tiger cat'?)', with up to four names that are like the wanted one, or `otherwise`.

    A name counts that is like it as a whole, holds it, or holds a word that is like it; case does not matter.
    """
    lower, wanted = {name.lower(): name for name in known}, wanted.lower()
    words = sorted({word for name in lower for word in name.split()})
    like = difflib.get_close_matches(wanted, words, n=2, cutoff=0.75)
    close = [name for name in lower if wanted and wanted in name]
    close += difflib.get_close_matches(wanted, lower, n=NAMED, cutoff=0.7)
    close += [name for word in like for name in lower if word in name.split()]
    names = ", ".join(repr(lower[name]) for name in list(dict.fromkeys(close))[:NAMED])
    return f" (did you mean {names}?)" if names else otherwise
