"""The engine: how a comparison is planned and run."""
