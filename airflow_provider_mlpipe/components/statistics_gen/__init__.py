"""StatisticsGen: descriptive statistics of every split."""
