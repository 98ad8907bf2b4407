"""The recommender over HTTP: the application, its limits, and the processes that serve it."""
