"""Checkpoints as another version of the program has left them."""

import json
from pathlib import Path
from zlib import crc32

from mpignn.storage import snapshot

OLD = "mpignn-checkpoint/1"


def as_of(path: Path, schema: str, writer: str | None) -> None:
    """Make a checkpoint one of another version, whole as that one left it."""
    file = path / snapshot.MANIFEST
    said = json.loads(file.read_bytes())["checkpoint"] | {"schema": schema, "writer": writer}
    if writer is None:
        del said["writer"]
    body = (json.dumps(said) + "}\n").encode()
    file.write_bytes((snapshot._HEAD % crc32(body)).encode() + body)
