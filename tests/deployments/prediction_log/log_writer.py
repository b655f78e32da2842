"""Run by a test: a prediction log whose store never takes anything, until it is killed.

``python log_writer.py BUFFER_DIR ROWS``; says ``kept`` when all rows are promised.
"""

import sys
import time
from pathlib import Path

from test_prediction_log import Away, answered, open_test_log

if __name__ == "__main__":
    log, metrics = open_test_log(Path(sys.argv[1]), Away(), rows_per_file=40)
    for number in range(int(sys.argv[2])):
        log.add(answered(f"p-{number}"))
    while metrics.totals()["sentiment_prediction_log_rows_total"] < int(sys.argv[2]):
        time.sleep(0.01)
    print("kept", flush=True)
    time.sleep(60)
