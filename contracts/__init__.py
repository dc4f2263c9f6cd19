"""Ground floor: the shapes that rooms hand each other, and nothing else.

Depends on the standard library, numpy, pydantic, pyarrow and blake3 only; every
room may import it, and it imports no room.
"""
