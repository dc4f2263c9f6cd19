"""CLD2's codes as ISO 639 codes."""

from functools import lru_cache

UNKNOWN = "und"
"""ISO 639-2's code for an undetermined language."""
_NAMES = {
    "iw": "he",
    "jw": "jv",
    "no": "nb",  # CLD2's Norwegian is Bokmål; Nynorsk is ``nn``
    "mo": "ro",
    "sh": "sr",
    "un": UNKNOWN,
}


@lru_cache(maxsize=512)
def iso_code(code: str) -> str:
    """ISO 639 code of a CLD2 code, without script or region; ``und`` for what is none.

    CLD2 also tells scripts without a language (``xx-Goth``) and jokes (``zzp``, Pig Latin).
    """
    base = code.split("-")[0]
    if base == "xx" or base.startswith("zz") or base == "tlh":
        return UNKNOWN
    return _NAMES.get(base, base)
