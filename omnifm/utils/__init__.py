"""Small tools that know nothing of learning."""
