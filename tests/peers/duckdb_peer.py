"""DuckDB with its iceberg extension; the catalog is attached as `frazil`. Usage: duckdb_peer.py CATALOG_URI"""

import importlib.util
import pathlib
import sys

import duckdb
import peer


def load(connection, extension):
    """Loads an extension from its PyPI package, so that nothing is fetched when the tests run."""
    package = importlib.util.find_spec(f"duckdb_extension_{extension}")
    folder = pathlib.Path(package.submodule_search_locations[0])
    (path,) = folder.glob(f"extensions/*/{extension}.duckdb_extension")
    connection.execute(f"LOAD '{path}'")


def main():
    uri = sys.argv[1]
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "memory_limit": "1GB", "threads": "2"})
    for extension in ("httpfs", "avro", "iceberg"):
        load(connection, extension)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"ATTACH '' AS frazil (TYPE iceberg, ENDPOINT '{uri}', AUTHORIZATION_TYPE 'none', MAX_TABLE_STALENESS '0 seconds')"
        if len(sys.argv) > 2 else
        f"ATTACH '' AS frazil (TYPE iceberg, ENDPOINT '{uri}', AUTHORIZATION_TYPE 'none')"
    )

    def sql(sql):
        cursor = connection.execute(sql)
        columns = [column[0] for column in cursor.description or []]
        return peer.answer(columns, cursor.fetchall())

    peer.serve({"sql": sql})


if __name__ == "__main__":
    main()
