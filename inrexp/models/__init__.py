"""Classifiers: any network with its normalisation and labels, a registry by name, a faster copy, a randomised copy."""
