"""PyIceberg, which has no SQL: its operations are its own. Usage: pyiceberg_peer.py CATALOG_URI

A table is named `namespace.table`. A schema is Iceberg's JSON; a partition spec is a list of [source column, transform].
"""

import datetime
import decimal
import json
import sys

import peer
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import parse_transform


class Operations:
    """One method per op."""

    def __init__(self, catalog):
        self.catalog = catalog

    def create_namespace(self, namespace):
        self.catalog.create_namespace_if_not_exists(namespace)

    def create(self, table, schema, partition=(), properties=None):
        iceberg_schema = Schema.model_validate_json(json.dumps(schema))
        fields = [
            PartitionField(
                source_id=iceberg_schema.find_field(column).field_id,
                field_id=1000 + position,
                transform=parse_transform(transform),
                name=f"{column}_{transform}".replace("[", "_").replace("]", ""),
            )
            for position, (column, transform) in enumerate(partition)
        ]
        self.catalog.create_table(
            table, schema=iceberg_schema, partition_spec=PartitionSpec(*fields), properties=properties or {}
        )

    def append(self, table, rows):
        """Rows are objects; times and dates are ISO 8601 text, decimals text."""
        loaded = self.catalog.load_table(table)
        schema = loaded.schema().as_arrow()
        loaded.append(pa.Table.from_pylist([from_json(row, pa.struct(schema)) for row in rows], schema=schema))

    def scan(self, table, columns=("*",), filter=None, limit=None, snapshot=None, ref=None):
        loaded = self.catalog.load_table(table)
        options = {"row_filter": filter} if filter else {}
        scan = loaded.scan(selected_fields=tuple(columns), limit=limit, snapshot_id=snapshot, **options)
        if ref is not None:
            scan = scan.use_ref(ref)
        found = scan.to_arrow()
        return peer.answer(found.column_names, [tuple(row.values()) for row in found.to_pylist()])

    def count(self, table):
        """Rows by reading them: PyIceberg's own count trusts the metadata."""
        scan = self.catalog.load_table(table).scan()
        return peer.answer(["count"], [[sum(batch.num_rows for batch in scan.to_arrow_batch_reader())]])

    def checksum(self, table, columns):
        """Rows, then sum, minimum and maximum of each integer column."""
        found = self.catalog.load_table(table).scan(selected_fields=tuple(columns)).to_arrow()
        row = [found.num_rows]
        for column in columns:
            values = found[column]
            row += [pc.sum(values).as_py(), pc.min(values).as_py(), pc.max(values).as_py()]
        return peer.answer([], [row])

    def drop(self, table):
        self.catalog.drop_table(table)

    def list(self, namespace):
        return peer.answer(["table"], [[".".join(name)] for name in sorted(self.catalog.list_tables(namespace))])

    def snapshots(self, table):
        snapshots = self.catalog.load_table(table).metadata.snapshots
        rows = [[snapshot.snapshot_id, snapshot.summary.operation.value] for snapshot in snapshots]
        return peer.answer(["snapshot_id", "operation"], rows)

    def history(self, table):
        """The ancestors of the head, each with its parent."""
        rows = self.catalog.load_table(table).inspect.history().to_pylist()
        rows = [[row["snapshot_id"], row["parent_id"]] for row in rows if row["is_current_ancestor"]]
        return peer.answer(["snapshot_id", "parent_id"], rows)


def from_json(value, kind):
    """JSON as the Python value that Arrow takes for a type."""
    if value is None:
        return None
    if pa.types.is_timestamp(kind):
        return datetime.datetime.fromisoformat(value)
    if pa.types.is_date(kind):
        return datetime.date.fromisoformat(value)
    if pa.types.is_decimal(kind):
        return decimal.Decimal(value)
    if pa.types.is_struct(kind):
        return {field.name: from_json(value.get(field.name), field.type) for field in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [from_json(item, kind.value_type) for item in value]
    return value


def main():
    operations = Operations(RestCatalog("frazil", uri=sys.argv[1]))
    names = [name for name in vars(Operations) if not name.startswith("_")]
    peer.serve({name: getattr(operations, name) for name in names})


if __name__ == "__main__":
    main()
