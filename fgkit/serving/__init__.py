"""A bundle asked as apps ask it: prompts, conversations, ways of sending, speed."""
