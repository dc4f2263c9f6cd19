"""The loops of sketching and of joining, compiled by numba; integers only, so exact anywhere."""

import numpy as np
from numba import njit

from corpus.dedup.alphabet import ALONE, NEWLINE, NOTHING, SPACE, WORD

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX2 = np.uint64(0xC4CEB9FE1A85EC53)
_WORD_SEED = np.uint64(0x243F6A8885A308D3)
_PARAGRAPH_SEED = np.uint64(0x13198A2E03707344)
_HALF = np.uint64(32)
_SHIFT = np.uint64(33)
_TOP = np.uint64(0xFFFFFFFFFFFFFFFF)


@njit(cache=True, inline="always")
def _finalise(x):  # type: ignore[no-untyped-def]
    """MurmurHash3's 64-bit finaliser (Appleby, public domain)."""
    x = (x ^ (x >> _SHIFT)) * _MIX1
    x = (x ^ (x >> _SHIFT)) * _MIX2
    return x ^ (x >> _SHIFT)


@njit(cache=True, inline="always")
def _step(state, value):  # type: ignore[no-untyped-def]
    """One character into a running hash."""
    state = (state ^ value) * _MULTIPLIER
    return state ^ (state >> _HALF)


@njit(cache=True, nogil=True)
def tokenise(codes, kinds, alone, out):  # type: ignore[no-untyped-def]
    """Hashes of the tokens of ``codes`` into ``out`` (u64); returns their number."""
    count = 0
    inside = False
    state = _WORD_SEED
    for code in codes:
        kind = kinds[code]
        if kind == WORD or (kind == ALONE and not alone):
            state = _step(state, np.uint64(code))
            inside = True
            continue
        if inside:
            out[count] = _finalise(state)
            count += 1
            inside = False
            state = _WORD_SEED
        if kind == ALONE:
            out[count] = _finalise(_step(_WORD_SEED, np.uint64(code)))
            count += 1
    if inside:
        out[count] = _finalise(state)
        count += 1
    return count


@njit(cache=True, nogil=True)
def shingle(tokens, width, out):  # type: ignore[no-untyped-def]
    """Hashes of all runs of ``width`` tokens into ``out``, u64, one per run."""
    for start in range(len(tokens) - width + 1):
        mixed = np.uint64(0)
        for place in range(start, start + width):
            mixed = mixed * _MULTIPLIER + tokens[place]
        out[start] = _finalise(mixed)


@njit(cache=True, nogil=True)
def minima(shingles, a, b, out):  # type: ignore[no-untyped-def]
    """Smallest ``(a x + b) >> 32`` over the shingles, for every hash function, u64."""
    for k in range(len(a)):
        out[k] = _TOP
    for x in shingles:
        for k in range(len(a)):
            out[k] = min(out[k], x * a[k] + b[k])
    for k in range(len(a)):
        out[k] = out[k] >> _HALF


@njit(cache=True, nogil=True)
def band_keys(signature, rows, out):  # type: ignore[no-untyped-def]
    """One u64 per band; equal keys of different bands do not agree."""
    for band in range(len(out)):
        key = np.uint64(band + 1)
        for place in range(band * rows, (band + 1) * rows):
            key = _finalise(key * _MULTIPLIER + np.uint64(signature[place]))
        out[band] = key


@njit(cache=True, nogil=True)
def paragraphs(codes, kinds, min_chars, hashes, sizes):  # type: ignore[no-untyped-def]
    """Hash (u64) and UTF-8 bytes of every long paragraph; returns their number.

    A run of white space counts as one space, at the ends as none; a paragraph ends at two
    line ends that stand side by side, and is long by its characters thus counted.
    """
    count = 0
    state = _PARAGRAPH_SEED
    chars = 0
    size = 0
    gap = False
    newline = False
    for place in range(len(codes) + 1):
        ended = place == len(codes)
        code = np.uint32(0)
        kind = NOTHING
        if not ended:
            code = codes[place]
            kind = kinds[code]
            ended = kind == NEWLINE and newline
        if ended:
            if chars >= min_chars:
                hashes[count] = _finalise(state)
                sizes[count] = size
                count += 1
            state = _PARAGRAPH_SEED
            chars = 0
            size = 0
            gap = False
            continue
        newline = kind == NEWLINE
        if kind in (SPACE, NEWLINE):
            gap = chars > 0
            continue
        if gap:
            state = _step(state, np.uint64(32))
            chars += 1
            size += 1
            gap = False
        state = _step(state, np.uint64(code))
        chars += 1
        size += 1 + int(code > 0x7F) + int(code > 0x7FF) + int(code > 0xFFFF)
    return count


@njit(cache=True, nogil=True)
def join(size, one, other):  # type: ignore[no-untyped-def]
    """Component of every node, i64, shape (size,): the smallest node number in it.

    Union by smaller root with path halving over the links ``one[i]``-``other[i]``.
    """
    parent = np.arange(size)
    for i in range(len(one)):
        a = one[i]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        b = other[i]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a < b:
            parent[b] = a
        elif b < a:
            parent[a] = b
    for node in range(size):
        parent[node] = parent[parent[node]]
    return parent
