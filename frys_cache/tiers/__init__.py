"""The tiers below memory, and how blocking code runs what is written for them as coroutines."""
