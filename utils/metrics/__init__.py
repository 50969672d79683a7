"""Numbers that judge a model, with their uncertainty. NumPy in, NumPy out."""

from utils.metrics.likelihood import (
    Estimate,
    active_units,
    importance_bounds,
    kl_per_unit,
    log_mean_exp,
    mean_and_error,
)

__all__ = [
    "Estimate",
    "active_units",
    "importance_bounds",
    "kl_per_unit",
    "log_mean_exp",
    "mean_and_error",
]
