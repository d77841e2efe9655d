"""Reads Parquet files with pyarrow and with DuckDB, checks that both see the same, and prints the rows as JSON Lines in the
order of the chain. Moments are microseconds since 1970 UTC. Usage: read_parquet.py FILE…"""

import json
import sys

import duckdb
import pyarrow
import pyarrow.parquet

KEY = ("instance", "ordinal", "epoch", "sequence")


def with_pyarrow(files):
    # One by one: as a dataset it would take `date=…` of the folders for a column, as DuckDB is told not to.
    table = pyarrow.concat_tables([pyarrow.parquet.ParquetFile(file).read() for file in files])
    for name, kind in (("time", pyarrow.timestamp("us", tz="UTC")), ("roles", pyarrow.list_(pyarrow.string()))):
        column = table.schema.field(name).type
        assert column == kind or pyarrow.types.is_list(column) and column.value_type == pyarrow.string(), (name, column)
    moments = [f.name for f in table.schema if pyarrow.types.is_timestamp(f.type)]
    for name in moments:
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, table[name].cast(pyarrow.int64()))
    return moments, table.to_pylist()


def with_duckdb(files, moments):
    as_micros = ", ".join(f"epoch_us({name}) AS {name}" for name in moments)
    found = duckdb.execute(f"SELECT * REPLACE ({as_micros}) FROM read_parquet(?, hive_partitioning = false)", [files])
    names = [column[0] for column in found.description]
    return [dict(zip(names, row)) for row in found.fetchall()]


def in_order(rows):
    return sorted(rows, key=lambda row: [row[name] for name in KEY])


files = sys.argv[1:]
moments, rows = with_pyarrow(files)
rows = in_order(rows)
assert rows == in_order(with_duckdb(files, moments)), "pyarrow and duckdb differ"
for row in rows:
    print(json.dumps(row))
