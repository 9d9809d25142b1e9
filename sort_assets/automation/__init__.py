"""Jobs; later sensors, schedules and notifications."""
