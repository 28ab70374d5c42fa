"""Schedules: functions of the number of updates already applied, as values. Called with an array they give an array."""
