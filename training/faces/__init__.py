"""What the verifier and the scanner of faces are fitted on, how, and by what they are judged."""
