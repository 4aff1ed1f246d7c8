"""What a frame costs an Arm core, counted on an emulated one: instructions, not seconds."""
