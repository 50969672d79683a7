"""How each notebook's checkpoint is trained on the full schedule, and how it is measured.

A recipe holds what a learner need not read: which models, which data, which settings. The
models and their training functions are the notebook's own, through `utils.lessons.load`.
Each module here has ``NOTEBOOK``, ``train()`` and ``measure(framework, images)``.
"""
