"""DistributionValidator: finds features whose distribution differs from that of a baseline."""
