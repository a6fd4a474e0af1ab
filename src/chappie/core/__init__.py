"""The deciding part: observations in, commands out. Pure; time is an argument."""
