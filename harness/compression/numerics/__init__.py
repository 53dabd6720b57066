"""The mathematics that compression methods share: pure functions, each citing its source."""
