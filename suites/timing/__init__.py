"""Measuring durations: clocks, sampling, ceilings, memory, power, and checks that mark numbers as suspect."""
