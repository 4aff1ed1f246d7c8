"""The host's training room: data, recipes, fitting, evaluation. Never on the device."""
