"""Classifiers on frozen features (ridge, nearest neighbours, logistic regression), and statistics of attention maps."""
