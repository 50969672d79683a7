"""Numbers that judge a model, with their uncertainty. NumPy in, NumPy out."""

from utils.metrics.disentanglement import (
    DCI,
    dci,
    entropies,
    factor_vae_score,
    mutual_information,
    mutual_information_gap,
)
from utils.metrics.likelihood import (
    Estimate,
    active_units,
    importance_bounds,
    kl_per_unit,
    log_mean_exp,
    mean_and_error,
)
from utils.metrics.samples import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    expected_coverage,
    frechet_distance,
    frechet_floor,
    kernel_distance,
    parzen,
    parzen_sigma,
    precision_recall,
)

__all__ = [
    "DCI",
    "DensityCoverage",
    "Estimate",
    "PrecisionRecall",
    "active_units",
    "dci",
    "density_coverage",
    "entropies",
    "expected_coverage",
    "factor_vae_score",
    "frechet_distance",
    "frechet_floor",
    "importance_bounds",
    "kernel_distance",
    "kl_per_unit",
    "log_mean_exp",
    "mean_and_error",
    "mutual_information",
    "mutual_information_gap",
    "parzen",
    "parzen_sigma",
    "precision_recall",
]
