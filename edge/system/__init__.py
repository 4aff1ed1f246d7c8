"""What a program has of its operating system: signals, streams, memory, the service manager, text files, its name."""
