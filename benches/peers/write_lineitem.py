"""Writes lineitem as a rival does and says how many rows it wrote per second of processor time.

Usage: write_lineitem.py pyiceberg|duckdb|spark INPUT.parquet SCRATCH_FOLDER
"""

import os
import pathlib
import resource
import statistics
import sys

ROW_GROUP_ROWS = 1 << 20
REPEATS = 3


def cpu_of(pid):
    """Processor seconds of a process; of this one, children that ended included, without a pid."""
    if pid is None:
        return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(rows, work, pid=None, warm_ups=0):
    speeds = []
    for turn in range(warm_ups + REPEATS):
        before = cpu_of(pid)
        work(turn)
        if turn >= warm_ups:
            speeds.append(rows / (cpu_of(pid) - before))
    print(f"rows per CPU second: {statistics.median(speeds)}")


def pyiceberg(source, scratch):
    import pyarrow.parquet
    from pyiceberg.catalog.sql import SqlCatalog

    rows = pyarrow.parquet.read_table(source)
    catalog = SqlCatalog("bench", uri=f"sqlite:///{scratch}/catalog.db", warehouse=f"file://{scratch}")
    catalog.create_namespace("n")
    properties = {
        "write.parquet.compression-codec": "zstd",
        "write.parquet.compression-level": "1",
        "write.parquet.row-group-limit": str(ROW_GROUP_ROWS),
    }

    def work(turn):
        table = catalog.create_table(f"n.t{turn}", rows.schema, properties=properties)
        table.append(rows)

    measure(rows.num_rows, work)


def duckdb(source, scratch):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    connection.execute(f"CREATE TABLE lineitem AS SELECT * FROM read_parquet('{source}')")
    (rows,) = connection.execute("SELECT count(*) FROM lineitem").fetchone()
    options = f"FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {ROW_GROUP_ROWS}"

    def work(turn):
        connection.execute(f"COPY lineitem TO '{scratch}/{turn}.parquet' ({options})")

    measure(rows, work)


def spark(source, scratch):
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    (runtime,) = (pathlib.Path(sys.prefix).parent / "jars").glob("iceberg-spark-runtime-*.jar")
    settings = {
        "spark.driver.memory": "2g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.jars": str(runtime),
        "spark.local.dir": scratch,
        "spark.sql.catalog.bench": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.bench.type": "hadoop",
        "spark.sql.catalog.bench.warehouse": f"{scratch}/warehouse",
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
    }
    builder = SparkSession.builder.master("local[2]").appName("frazil-bench")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    lineitem = session.read.parquet(source)
    rows = lineitem.count()
    lineitem.createOrReplaceTempView("lineitem")

    def work(turn):
        session.sql(
            f"CREATE TABLE bench.n.t{turn} USING iceberg TBLPROPERTIES ('write.parquet.compression-codec' = 'zstd', "
            "'write.parquet.compression-level' = '1') AS SELECT * FROM lineitem"
        )

    # The first run compiles.
    measure(rows, work, session.sparkContext._gateway.proc.pid, warm_ups=1)
    session.stop()


if __name__ == "__main__":
    peer, source, scratch = sys.argv[1:]
    {"pyiceberg": pyiceberg, "duckdb": duckdb, "spark": spark}[peer](source, scratch)
