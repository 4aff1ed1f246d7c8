"""What a device is built of: its board."""
