"""Changes files at random, as fuzzers do."""

from __future__ import annotations

import random


def mutated(content: bytes, draw: random.Random) -> bytes:
    """With some bytes changed, removed, doubled or inserted."""
    mutable = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(mutable))
        match draw.randrange(4):
            case 0:
                mutable[place] = draw.randrange(256)
            case 1:
                del mutable[place : place + draw.randint(1, 50)]
            case 2:
                mutable[place:place] = mutable[place : place + draw.randint(1, 50)]
            case 3:
                mutable[place:place] = draw.randbytes(draw.randint(1, 9))
    return bytes(mutable)
