"""The types of the columns that are kept, which the files of a source may not agree on."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from charlm.text.sources.formats import read_kept_types
from charlm.text.sources.records import Request


def common_types(files: Sequence[tuple[Path, Request]], format: str) -> dict[str, pa.DataType]:
    """Return the type of each column to keep: that of the first file in which it has values.

    If a list or struct is always empty there, a later file gives the type of its elements. The
    types of a single file are left out.
    """
    columns = files[0][1].keep_columns
    if len(files) == 1 or not columns:
        return {}
    common, *others = [read_kept_types(path, request, format) for path, request in files]
    for types in others:
        common = [_merge(*pair) for pair in zip(common, types, strict=True)]
    return {name: kind for name, (kind, _) in zip(columns, common, strict=True)}


def _merge(
    one: tuple[pa.DataType, bool], other: tuple[pa.DataType, bool]
) -> tuple[pa.DataType, bool]:
    """Return the type of a column of two files, and whether it has values in any of them."""
    if not other[1]:
        return one
    if not one[1]:
        return other
    if _lacks_type(one[0]):
        schemas = [pa.schema([("", kind)]) for kind, _ in (one, other)]
        try:
            return pa.unify_schemas(schemas, promote_options="permissive").field(0).type, True
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            pass
    return one


def _lacks_type(kind: pa.DataType) -> bool:
    """Return whether a type has elements or fields of the type null."""
    fields = (kind.field(index).type for index in range(kind.num_fields))
    return pa.types.is_null(kind) or any(map(_lacks_type, fields))


def with_types(table: pa.Table, types: Mapping[str, pa.DataType]) -> pa.Table:
    """Return a table with some of its columns cast.

    Raises:
        ArrowInvalid, ArrowNotImplementedError: A column has values that cannot be cast.
    """
    for name, kind in types.items():
        values = table[name]
        if values.type != kind:
            empty = values.null_count == len(values)
            values = pa.nulls(len(values), kind) if empty else values.cast(kind)
            table = table.set_column(table.schema.get_field_index(name), name, values)
    return table
