"""The prediction log: every prediction as a row of Parquet files. No Ray here."""
