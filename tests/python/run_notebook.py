"""Runs deploy/databricks/audit_records.py over Parquet files with DuckDB in the place of Spark, each file taken twice, and checks that
the view has each record once. Usage: run_notebook.py NOTEBOOK FILE…"""

import sys

import duckdb

notebook, files = sys.argv[1], sys.argv[2:]
database = duckdb.connect()


class Widgets:
    def __init__(self):
        self.values = {}

    def text(self, name, default, label):
        self.values[name] = default

    def get(self, name):
        # DuckDB's database is what Databricks calls a catalogue; this one has none of that name.
        return "kt_audit" if name == "schema" else self.values[name]


class Dbutils:
    widgets = Widgets()


class Stream:
    """Remembers the options that are set, and makes the table from the files."""

    def __init__(self):
        self.options = {}
        self.readStream = self.writeStream = self

    def format(self, name):
        return self.option("format", name)

    def option(self, name, value):
        self.options[name] = value
        return self

    def load(self, source):
        return self.option("source", source)

    def trigger(self, availableNow):
        return self.option("trigger", availableNow)

    def toTable(self, name):
        twice = files + files
        database.execute(f"CREATE TABLE {name} AS SELECT * FROM read_parquet(?, hive_partitioning = true)", [twice])
        return self

    def awaitTermination(self):
        pass

    def sql(self, text):
        # Spark's words for the same things.
        text = text.replace("explode(", "unnest(").replace("current_timestamp()", "current_timestamp")
        return database.execute(text).fetchall()


shown = []
spark = Stream()
with open(notebook, encoding="utf-8") as code:
    exec(compile(code.read(), notebook, "exec"), {"dbutils": Dbutils, "spark": spark, "display": shown.append})

assert spark.options["cloudFiles.format"] == "parquet", spark.options
of_files = database.execute("SELECT count(*) FROM read_parquet(?, hive_partitioning = false)", [files]).fetchone()[0]
table, once, distinct = (
    database.execute(f"SELECT {what}").fetchone()[0]
    for what in (
        "count(*) FROM kt_audit.records",
        "count(*) FROM kt_audit.records_once",
        "count(DISTINCT (instance, epoch, sequence)) FROM kt_audit.records_once",
    )
)
assert (table, once, distinct) == (2 * of_files, of_files, of_files), (of_files, table, once, distinct)
assert len(shown) == 1
