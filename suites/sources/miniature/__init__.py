"""The images that come with the package: drawn, or of scikit-learn and scikit-image."""
