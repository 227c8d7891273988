"""Word from the cloud that this node is about to go: who is asked, and what an answer means."""
