"""``omnifm watch``: a page on this machine that follows a run or a comparison while it works."""
