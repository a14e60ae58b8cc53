"""Small tables of images, as Hugging Face writes them and otherwise."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NAMES = ("tench", "goldfish", "cock")


def write_table(
    path: Path,
    images: Sequence[bytes | None],
    *,
    rows_per_group: int = 4,
    paths: Sequence[str] | None = None,
    labels: Sequence[object] | None = None,
    named: bool = True,
) -> Path:
    """A table with structs of bytes and path, and with the names of classes in its schema."""
    found = paths or [f"{path.stem}_{index}.JPEG" for index in range(len(images))]
    chosen = [index % len(NAMES) for index in range(len(images))] if labels is None else labels
    structs = [{"bytes": image, "path": name} for image, name in zip(images, found, strict=True)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(structs, kind), "label": pa.array([*chosen])})
    if named:
        features = {"label": {"names": [*NAMES], "_type": "ClassLabel"}}
        head = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": head})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path
