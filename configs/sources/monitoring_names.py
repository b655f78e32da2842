"""The specification's names of what watches traffic: name, setting, an example."""

WATCHING = (
    ("DRIFT_DETECTION_ENABLED", "drift.enabled", "true"),
    ("DRIFT_WINDOW_SIZE", "drift.window_size", "2000"),
    ("DRIFT_PSI_THRESHOLD", "drift.psi_threshold", "0.2"),
    ("DRIFT_KS_THRESHOLD", "drift.ks_threshold", "0.01"),
    ("DRIFT_MIN_SAMPLES", "drift.min_samples", "200"),
    ("EXPLAINABILITY_ENABLED", "explanations.enabled", "true"),
    ("EXPLAINABILITY_USE_ATTENTION", "explanations.use_attention", "false"),
    ("EXPLAINABILITY_USE_GRADIENTS", "explanations.use_gradients", "true"),
    ("ADVANCED_METRICS_ENABLED", "kpis.enabled", "true"),
    ("ADVANCED_METRICS_DETAILED_TRACKING", "kpis.detailed", "false"),
    ("ADVANCED_METRICS_HISTORY_HOURS", "kpis.history_hours", "48"),
    ("ADVANCED_METRICS_COST_PER_1K", "kpis.cost_per_1k", "0.02"),
)
