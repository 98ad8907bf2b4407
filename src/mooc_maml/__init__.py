"""Few-shot next-course recommendation for MOOC learners with second-order MAML."""
