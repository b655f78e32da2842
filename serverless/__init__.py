"""One process without Ray and MLflow: `sentigraph lite`, AWS Lambda, Cloud Run and Knative.

The plain classes of `deployments/` put together once more: the same checks, cache, batching,
deadlines, errors and scores. A registry, releases, jobs, streams and drift are not here.
"""
