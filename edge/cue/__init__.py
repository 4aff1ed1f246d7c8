"""The cue: what the readings of a face amount to, who the partner is, and which word is shown. Pure."""
