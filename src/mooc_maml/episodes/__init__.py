"""From pairs to few-shot tasks: learner split, episodes, their store, leakage checks."""
