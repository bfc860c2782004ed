"""What goes to the Hub, and the card that says what it is."""
