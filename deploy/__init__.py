"""Onto the device: environments, bundles, installer. Runs on the maker's machine; only device/ leaves it."""
