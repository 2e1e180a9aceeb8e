"""How long jobs take: as earlier runs say, as a short measurement says, or as assumed speeds say."""
