"""Programs that use the platform from outside, and the data of the demo."""
