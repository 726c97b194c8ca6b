"""Classifiers: any module with its normalisation and labels, by name, folded, randomised."""
