"""Secure aggregation between hospitals and server: Bonawitz et al., Practical Secure Aggregation, CCS 2017, figure 4.

The variant for an active server: keys are authenticated, and the hospitals agree on who has answered before they
unmask. Flower has the same protocol, but draws its masks from a Mersenne Twister whose seed is folded to 32 bits
(``pseudo_rand_gen`` of flwr 1.41), which can be tried out, and exchanges keys that nobody vouches for.
"""
