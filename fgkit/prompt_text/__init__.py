"""The parts of a prompt, character by character, and the texts of two runtimes."""
