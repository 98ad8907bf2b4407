"""The trained models, put to work: a bundle that carries itself, and what asks it."""

from mooc_maml.recommend.answers import Course, Ranked, Recommendation, Unknown
from mooc_maml.recommend.recommender import Recommender

__all__ = ["Course", "Ranked", "Recommendation", "Recommender", "Unknown"]
