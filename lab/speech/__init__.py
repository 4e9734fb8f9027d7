"""Stand-in for Speaches, the speech-to-text server that the collection deploys."""
