"""How a duration is measured so that it can be trusted: clocks, samples, ceilings, memory, power and verdicts."""
