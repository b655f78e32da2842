"""The MLflow model, saved as code (so nothing is pickled) by ``server.py``."""

import mlflow
from classifier import from_settings


class Clf(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Texts in, labels and scores out."""

    def load_context(self, context: object) -> None:
        """Opens the model in each worker."""
        self._classifier = from_settings()

    def predict(self, model_input: list[str]) -> list[dict[str, object]]:
        """Runs the texts of one request."""
        return self._classifier.classify(model_input)


mlflow.models.set_model(Clf())
