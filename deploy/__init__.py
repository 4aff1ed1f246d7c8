"""Onto the device: environments, bundles, installer. It runs on the maker's machine; pack.sh names what leaves it."""
