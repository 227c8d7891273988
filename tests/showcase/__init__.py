"""A scripted fleet with an incident: what `fleet top --demo` replays and the pictures show."""
