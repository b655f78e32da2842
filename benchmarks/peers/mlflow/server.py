"""``mlflow models serve``: a pyfunc model behind MLflow's own scoring server. It does not batch.

The model is saved into a temporary folder and served from this environment.
"""

import os
import sys
import tempfile
from pathlib import Path

import mlflow
from classifier import settings

if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp(prefix="bench-mlflow-")) / "model"
    mlflow.pyfunc.save_model(
        folder,
        python_model=str(Path(__file__).with_name("model.py")),
        pip_requirements=["mlflow"],
    )
    options = {
        "--model-uri": folder,
        "--env-manager": "local",
        "--host": "127.0.0.1",
        "--port": settings().port,
        "--workers": settings().workers,
    }
    arguments = [str(word) for option in options.items() for word in option]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "models", "serve", *arguments])
