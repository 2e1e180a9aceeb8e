"""Which class each output of a released head stands for."""
