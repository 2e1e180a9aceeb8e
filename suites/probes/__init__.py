"""What is read from frozen features: ridge regression, nearest neighbours, logistic regression; attention distances."""
