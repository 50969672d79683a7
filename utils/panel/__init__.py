"""The live panel: one widget for every training run, one callback for every framework.

A lesson gives `Panel` a training function for each framework and a control for each
hyperparameter; the learner trains, pauses, stops, compares. `printing_report` and `run` train
the same functions in plain code, without a panel.
"""

from utils.panel.panel import Panel
from utils.panel.records import History, Run
from utils.panel.reports import keras_callback, printing_report, run, settings

__all__ = ["History", "Panel", "Run", "keras_callback", "printing_report", "run", "settings"]
