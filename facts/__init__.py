"""What is read from the hosts and repository of this application: scripts and pure parsers, no judgement."""
