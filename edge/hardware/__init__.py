"""What a device is built of: its board, the lines of its pins, the light of its camera, a button."""
