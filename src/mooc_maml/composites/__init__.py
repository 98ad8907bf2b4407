"""Models made of the baselines, on the same protocol: one file a model, the table in `registry`.

`train_composites` trains them after the baselines, which it reads from their folder, so that an
edit here trains no baseline again. `features`, `pooling` and `windows` are the mixture's.
"""
