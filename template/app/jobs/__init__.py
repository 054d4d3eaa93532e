"""What is done after the answer: every module here is found by itself, and so are its tasks."""
