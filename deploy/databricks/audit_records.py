# Databricks notebook source
# MAGIC %md
# MAGIC # Audit records of kt
# MAGIC
# MAGIC Takes the Parquet files that a control plane writes (`kt control-plane run --audit-sinks`, a sink with `object_store`)
# MAGIC into a Delta table with Auto Loader, and makes a view that has each record once. Run it as a job, as often as you like:
# MAGIC a run takes what has come since the last one.

# COMMAND ----------

dbutils.widgets.text("source", "abfss://audit@account.dfs.core.windows.net/kt", "Folder of the sink")
dbutils.widgets.text("checkpoint", "/Volumes/main/kt_audit/checkpoints/records", "Folder of Auto Loader")
dbutils.widgets.text("schema", "main.kt_audit", "Catalogue and schema")

source = dbutils.widgets.get("source")
checkpoint = dbutils.widgets.get("checkpoint")
schema = dbutils.widgets.get("schema")

spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")

# COMMAND ----------

# MAGIC %md
# MAGIC The folders are `date=2026-11-25`: the day of a record's own time, UTC. A later version of kt may add columns; then the
# MAGIC stream ends once and goes on with them at the next run.

# COMMAND ----------

files = (
    spark.readStream.format("cloudFiles")
    .option("cloudFiles.format", "parquet")
    .option("cloudFiles.partitionColumns", "date")
    .option("cloudFiles.schemaHints", "date DATE")
    .option("cloudFiles.schemaLocation", checkpoint)
    .option("cloudFiles.schemaEvolutionMode", "addNewColumns")
    .load(source)
)
taking = (
    files.writeStream.option("checkpointLocation", checkpoint)
    .option("mergeSchema", "true")
    .trigger(availableNow=True)
    .toTable(f"{schema}.records")
)
taking.awaitTermination()

# COMMAND ----------

# MAGIC %md
# MAGIC Delivery is at least once: after a crash at the wrong moment a file can be there twice, under two names. A record is named
# MAGIC by its place in the chain; two with one place and different hashes are no repeat but a finding, and both stay.

# COMMAND ----------

spark.sql(
    f"""
    CREATE OR REPLACE VIEW {schema}.records_once AS
    SELECT * FROM {schema}.records
    QUALIFY row_number() OVER (PARTITION BY instance, epoch, sequence, hash ORDER BY time) = 1
    """
)

# COMMAND ----------

# MAGIC %md
# MAGIC A look: what was stopped in the last seven days, by policy.

# COMMAND ----------

blocked = spark.sql(
    f"""
    SELECT policy, count(*) AS requests
    FROM (SELECT explode(policies) AS policy FROM {schema}.records_once
          WHERE type = 'closed' AND verdict = 'block' AND time > current_timestamp() - INTERVAL 7 DAYS)
    GROUP BY policy ORDER BY requests DESC
    """
)
display(blocked)
