"""Networks in files, whoever made them: what they read, what they give, how they are asked."""
