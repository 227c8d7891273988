"""What-if: the production policy and its rivals on a market of spot nodes, recorded or made up."""
