"""What a person sees of the fleet: it reads state and owns none."""
