"""Spark with Iceberg's runtime; the catalog is `frazil`. Usage: spark_peer.py CATALOG_URI SCRATCH_FOLDER"""

import os
import pathlib
import sys

import peer


def main():
    uri, scratch = sys.argv[1:]
    # Python workers are never needed, but Spark looks for the interpreter by name.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    (runtime,) = (pathlib.Path(sys.prefix).parent / "jars").glob("iceberg-spark-runtime-*.jar")
    settings = {
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.jars": str(runtime),
        "spark.local.dir": scratch,
        "spark.sql.catalog.frazil": "org.apache.iceberg.spark.SparkCatalog",
        # Another writer's commit has to be seen by the next query.
        "spark.sql.catalog.frazil.cache-enabled": "false",
        "spark.sql.catalog.frazil.type": "rest",
        "spark.sql.catalog.frazil.uri": uri,
        "spark.sql.defaultCatalog": "frazil",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": f"{scratch}/warehouse",
        "spark.ui.enabled": "false",
    }
    builder = SparkSession.builder.master("local[2]").appName("frazil-tests")
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()

    def sql(sql):
        frame = spark.sql(sql)
        return peer.answer(frame.columns, frame.collect())

    peer.serve({"sql": sql})


if __name__ == "__main__":
    # Timestamps with a zone come back as local times without one; this makes local UTC.
    os.environ["TZ"] = "UTC"
    main()
