"""The store of contents: put once by their hash, compressed, and loaded many at a time."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from discovery.storage.codec import Packer, Unpacker, compress, decompress
from discovery.storage.models import blobs

BlobRow = dict[str, Any]

_KNOWN = 20_000
_AT_ONCE = 500

_LOAD = sa.select(blobs.c.hash, blobs.c.codec, blobs.c.data).where(
    blobs.c.hash.in_(sa.bindparam("names", expanding=True))
)


class Known:
    """Names of contents that are certainly in the database: no need to compress and send them again.

    Contents are never deleted; a name may be added only after its transaction was committed.
    """

    def __init__(self) -> None:
        self._names: dict[bytes, None] = {}

    def __contains__(self, name: bytes) -> bool:
        return name in self._names

    def add(self, names: Iterable[bytes]) -> None:
        """Remember names; the oldest are forgotten."""
        self._names.update(dict.fromkeys(names))
        surplus = len(self._names) - _KNOWN
        if surplus > 0:
            # One update from another thread in between would only cost a repeated insert.
            for name in list(islice(self._names, surplus)):
                self._names.pop(name, None)


def compressed(packer: Packer, known: Known) -> list[BlobRow]:
    """Rows of the contents that may be new, ordered by name.

    The order is the same in every process: two that insert the same contents at the same time must not wait
    for each other in a circle.
    """
    rows: list[BlobRow] = []
    for name in sorted(packer.contents):
        if name not in known:
            codec, data = compress(packer.contents[name], is_quick=name in packer.numbers)
            rows.append({"hash": name, "codec": codec, "data": data})
    return rows


def load(connection: Connection, names: set[bytes]) -> Unpacker:
    """The contents of these names, ready for reading cells."""
    contents: dict[bytes, bytes] = {}
    wanted = sorted(names)
    for start in range(0, len(wanted), _AT_ONCE):
        found = connection.execute(_LOAD, {"names": wanted[start : start + _AT_ONCE]})
        for name, codec, data in found.all():
            contents[bytes(name)] = decompress(codec, bytes(data))
    return Unpacker(contents)
