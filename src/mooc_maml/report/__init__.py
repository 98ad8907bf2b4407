"""Figures, findings and the HTML page made from the result files."""
