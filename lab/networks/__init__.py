"""Networks in files, whoever made them: their inputs, their outputs, how they are run."""
