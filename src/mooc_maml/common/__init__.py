"""What any program needs: errors, files, progress, randomness. It knows nothing of courses."""
