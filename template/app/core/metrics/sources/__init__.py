"""What is measured: a module for each subject, with its instruments and what they listen to."""
