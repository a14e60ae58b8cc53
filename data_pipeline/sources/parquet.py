"""A Parquet table with image bytes and labels, one file or a folder of them, as a source.

Images are a column of bytes, or of structs with `bytes` and `path` as Hugging Face writes them;
labels are whole numbers or names of classes. A row is never read alone: the images of a row group
come in one piece, so the packer keeps them neighbours (Entry.block).
"""

import fnmatch
import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from data_pipeline.images.decode import EXTENSIONS
from data_pipeline.images.decode import BadSample
from data_pipeline.shards.manifest import Split
from data_pipeline.sources.class_map import ClassMap
from data_pipeline.sources.class_map import alphabetical
from data_pipeline.sources.class_map import read_class_map
from data_pipeline.sources.entry import Entry
from data_pipeline.sources.entry import Source
from data_pipeline.sources.entry import extension_of
from data_pipeline.sources.entry import key_of
from data_pipeline.sources.entry import why_unsafe
from data_pipeline.sources.patience import patiently
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.errors import StorageError
from system.foundation.settings.record import Record

_SPLITS = ("train", "val", "test")  # how names of files begin


class Parquet(Record):
    """A Parquet file, or a folder of them, with a column of images and one of labels."""

    kind: Literal["parquet"] = "parquet"
    url: str = Field(description="a Parquet file, or a folder of them")
    files: str = Field("*.parquet", description="pattern of the names of files in the folder")
    held_out_files: str | None = Field(
        None, description="pattern of those that are held out, such as validation-*; null: none are"
    )
    image: str = Field("image", description="column of bytes, or of structs of bytes and path")
    label: str = Field("label", description="column of whole numbers, or of names of classes")
    key: str | None = Field(
        None, description="column of keys; null: paths of images where each has its own, else rows"
    )
    class_map: str | None = Field(
        None, description="file with the classes; null: the table's own names, else numbers"
    )


@dataclass(frozen=True, slots=True)
class _Row:
    file: str
    group: int
    row: int  # in the row group
    number: int  # in the file
    length: int
    label: int | str | None
    path: str | None
    key: str | None


class ParquetReader:
    """Reads images by row groups; a place is a file's name, the row group, and the row in both."""

    concurrency = 1  # one row group is held, and the next is one long read

    def __init__(self, recipe: Parquet) -> None:
        self._recipe = recipe
        self._files: tuple[str, pq.ParquetFile] | None = None
        self._group: tuple[tuple[str | int, ...], pa.ChunkedArray] | None = None

    def read(self, entry: Entry) -> bytes:
        """The bytes of an image as they are. Raises BadSample where the row has none."""
        *group, row, _ = entry.place  # the last one is the row in the file
        if self._group is None or self._group[0] != tuple(group):
            self._group = None  # two row groups are not held at once
            name, number = str(group[0]), int(group[1])
            images = patiently(self._recipe.url, lambda: self._images(name, number))
            self._group = (tuple(group), images)
        value = self._group[1][int(row)].as_py()
        if value is None:
            raise BadSample("no bytes in the table")
        return bytes(value)

    def where(self, entry: Entry) -> str:
        """The file, and the row in it."""
        name, _, _, number = entry.place
        return f"{name or posixpath.basename(self._recipe.url)} row {number}"

    def _images(self, name: str, group: int) -> pa.ChunkedArray:
        if self._files is None or self._files[0] != name:
            self._files = (name, _open(self._recipe, name))
        file = self._files[1]
        column = _bytes_column(self._recipe, file)
        try:
            images = file.read_row_group(group, columns=[column]).column(0)
        except pa.ArrowException as problem:
            raise DataError(
                f"{storage.join(self._recipe.url, name)}: row group {group} is damaged "
                f"({problem}). Copy this file again."
            ) from problem
        except OSError as problem:
            raise _not_read(self._recipe, name, problem) from problem
        if not pa.types.is_struct(images.type):
            return images
        return pa.chunked_array(
            [pc.struct_field(chunk, "bytes") for chunk in images.chunks], pa.binary()
        )


def open_parquet(recipe: Parquet) -> Source:
    """All rows, without their images.

    Raises DataError where there is no such table or column, or a label is outside the classes.
    """
    names = patiently(recipe.url, lambda: _names(recipe))
    rows = [row for name in names for row in patiently(recipe.url, partial(_rows_of, recipe, name))]
    if not rows:
        raise DataError(f"{recipe.url}: no rows in {len(names)} files; expected images.")
    classes = _classes(recipe, names[0], rows)
    keys = _keys(rows)
    entries = tuple(
        Entry(
            key,
            _label(recipe, row, classes),
            _extension(row),
            row.length,
            _split(recipe, row),
            (row.file, row.group, row.row, row.number),
            f"{row.file}/{row.group}",
        )
        for key, row in zip(keys, rows, strict=True)
    )
    return Source(classes.names, entries, (), ParquetReader(recipe))


def _names(recipe: Parquet) -> list[str]:
    """Names of the files below the url; an empty one where it is a file itself."""
    filesystem, path = storage.open_filesystem(recipe.url)
    if filesystem.isfile(path):
        return [""]
    found = list(storage.list_sizes(recipe.url))
    patterns = [recipe.files, *([recipe.held_out_files] if recipe.held_out_files else [])]
    names = [name for name in found if any(fnmatch.fnmatchcase(name, each) for each in patterns)]
    if not names:
        raise DataError(
            f"{recipe.url}: no file named {' or '.join(patterns)} among {len(found)} files there; "
            "expected a Parquet file or a folder of them."
        )
    _check_splits(recipe, names)
    return names


def _check_splits(recipe: Parquet, names: list[str]) -> None:
    """Raise DataError where files are named after several splits, and nothing says which is which.

    All would be trained on.
    """
    first = {split: name for name in reversed(names) for split in _SPLITS if name.startswith(split)}
    if recipe.held_out_files is not None or len(first) < 2:
        return
    held_out = next((split for split in _SPLITS[1:] if split in first), "")
    raise DataError(
        f"{recipe.url}: its files are of several splits ({', '.join(sorted(first.values()))}), and "
        "source.held_out_files is not given: all would be trained on. Give both, such as "
        f"'source.files=train*.parquet' 'source.held_out_files={held_out}*.parquet'; what "
        "neither of them names is left out."
    )


def _open(recipe: Parquet, name: str) -> pq.ParquetFile:
    url = storage.join(recipe.url, name)
    filesystem, path = storage.open_filesystem(url)
    try:
        return pq.ParquetFile(filesystem.open(path, "rb"), pre_buffer=True)
    except pa.ArrowException as problem:
        raise DataError(
            f"{url}: not a whole Parquet file ({problem}). Copy this file again."
        ) from problem
    except OSError as problem:
        raise _not_read(recipe, name, problem) from problem


def _not_read(recipe: Parquet, name: str, problem: OSError) -> DataError | StorageError:
    """Arrow says OSError for damage it finds in a file as well as for what a store fails to do."""
    url = storage.join(recipe.url, name)
    if type(problem) is OSError and problem.errno is None:
        return DataError(f"{url}: damaged ({problem}). Copy this file again.")
    return StorageError(f"cannot read {url}: {type(problem).__name__}: {problem}")


def _bytes_column(recipe: Parquet, file: pq.ParquetFile) -> str:
    """The leaf column that holds the bytes of images."""
    kind = _field(recipe, file, recipe.image).type
    is_struct = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    plain = kind.field("bytes").type if is_struct else kind
    if not (pa.types.is_binary(plain) or pa.types.is_large_binary(plain)):
        raise DataError(
            f"{recipe.url}: column {recipe.image!r} is {kind}, expected bytes or a struct with "
            "`bytes`. Name another column with source.image."
        )
    return f"{recipe.image}.bytes" if is_struct else recipe.image


def _field(recipe: Parquet, file: pq.ParquetFile, name: str) -> pa.Field:
    schema = file.schema_arrow
    if schema.get_field_index(name) < 0:
        raise DataError(
            f"{recipe.url}: no column {name!r} among {', '.join(schema.names)}. Name the columns "
            "with source.image, source.label and source.key."
        )
    return schema.field(name)


def _rows_of(recipe: Parquet, name: str) -> list[_Row]:
    return [*_rows(recipe, name)]


def _rows(recipe: Parquet, name: str) -> Iterator[_Row]:
    file = _open(recipe, name)
    images = _bytes_column(recipe, file)
    paths = f"{recipe.image}.path" if images != recipe.image and _has_paths(recipe, file) else None
    wanted = [recipe.label, *filter(None, [recipe.key, paths])]
    for column in (recipe.label, *filter(None, [recipe.key])):
        _field(recipe, file, column)
    number = 0
    for group in range(file.num_row_groups):
        about = file.metadata.row_group(group)
        table = file.read_row_group(group, columns=wanted)
        labels = table[recipe.label].to_pylist()
        none = [None] * about.num_rows
        keys = none if recipe.key is None else [str(each) for each in table[recipe.key].to_pylist()]
        found = (
            none if paths is None else [each["path"] for each in table[recipe.image].to_pylist()]
        )
        length = _bytes_of(about, images) // max(1, about.num_rows)
        for row, (label, path, key) in enumerate(zip(labels, found, keys, strict=True)):
            yield _Row(name, group, row, number, length, label, path, key)
            number += 1


def _has_paths(recipe: Parquet, file: pq.ParquetFile) -> bool:
    kind = _field(recipe, file, recipe.image).type
    return kind.get_field_index("path") >= 0 and pa.types.is_string(kind.field("path").type)


def _bytes_of(group: Any, column: str) -> int:
    columns = [group.column(index) for index in range(group.num_columns)]
    return sum(each.total_uncompressed_size for each in columns if each.path_in_schema == column)


def _classes(recipe: Parquet, first: str, rows: list[_Row]) -> ClassMap:
    """From the map, from what Hugging Face wrote into the schema, or from the labels."""
    if recipe.class_map is not None:
        return read_class_map(recipe.class_map)
    head = (_open(recipe, first).schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        names = tuple(json.loads(head)["info"]["features"][recipe.label]["names"])
    except (ValueError, KeyError, TypeError):
        names = ()
    if names:
        return ClassMap(recipe.url, {name: label for label, name in enumerate(names)}, names)
    labels = {row.label for row in rows}
    if all(isinstance(label, str) for label in labels):
        return alphabetical((str(label) for label in labels), recipe.url)
    count = max((label for label in labels if isinstance(label, int)), default=-1) + 1
    return ClassMap(recipe.url, {}, tuple(str(label) for label in range(count)))


def _label(recipe: Parquet, row: _Row, classes: ClassMap) -> int:
    if isinstance(row.label, str):
        return classes.label(row.label)
    if not isinstance(row.label, int) or not 0 <= row.label < len(classes.names):
        raise DataError(
            f"{storage.join(recipe.url, row.file)} row {row.number}: label {row.label!r}, expected "
            f"0 to {len(classes.names) - 1}. Leave out files without labels (such as a test split) "
            "with source.files, or name another column with source.label."
        )
    return row.label


def _keys(rows: list[_Row]) -> list[str]:
    """A key for each row: its own, or its path where no two have the same, or its number."""
    if all(row.key is not None for row in rows):
        return [_checked(row) for row in rows]
    paths = [row.path for row in rows]
    if all(path and why_unsafe(path) is None for path in paths) and len({*paths}) == len(paths):
        return [key_of(str(path)) for path in paths]
    return [f"{key_of(row.file) or 'row'}-{row.number:08d}" for row in rows]


def _checked(row: _Row) -> str:
    key = str(row.key)
    reason = why_unsafe(key)
    if reason is not None:
        raise DataError(
            f"{row.file or 'the table'} row {row.number}: key {key!r} is {reason}. Name another "
            "column with source.key, or none."
        )
    return posixpath.join(posixpath.dirname(key), posixpath.basename(key).replace(".", "_"))


def _extension(row: _Row) -> str:
    named = extension_of(row.path or "")
    return named if named in EXTENSIONS else ""


def _split(recipe: Parquet, row: _Row) -> Split | None:
    if recipe.held_out_files is None:
        return None
    name = posixpath.basename(row.file or recipe.url)
    return "held_out" if fnmatch.fnmatchcase(name, recipe.held_out_files) else "train"
