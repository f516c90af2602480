"""Fair comparison of algorithms: arms, tuning, cells, and one test."""
