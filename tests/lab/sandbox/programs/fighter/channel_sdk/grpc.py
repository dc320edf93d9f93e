"""The fighters import this while they load and cannot start without it."""
