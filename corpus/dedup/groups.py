"""Vectorised work on records that share a key."""

import numpy as np


def starts(keys: np.ndarray) -> np.ndarray:
    """First place of every run of equal neighbours, i64; ``keys`` lie in order."""
    if not len(keys):
        return np.empty(0, np.int64)
    changed = keys[1:] != keys[:-1]
    return np.concatenate([[0], np.flatnonzero(changed) + 1])


def look_up(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Place in ``keys`` (rising, distinct) of every wanted key, -1 where it is not there."""
    if not len(keys):
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)


def translate(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Value of every wanted key; the key itself where ``keys`` (any order) lacks it."""
    order = np.argsort(keys, kind="stable")
    place = look_up(keys[order], wanted)
    if not len(keys):
        return wanted.copy()
    return np.where(place >= 0, values[order][place], wanted)


def distinct(records: np.ndarray) -> np.ndarray:
    """Distinct records in order, by all fields."""
    if len(records) < 2:
        return records
    names = records.dtype.names or ()
    ordered = records[np.lexsort([records[name] for name in reversed(names)])]
    new = np.zeros(len(ordered), bool)
    new[0] = True
    for name in names:
        new[1:] |= ordered[name][1:] != ordered[name][:-1]
    return ordered[new]
