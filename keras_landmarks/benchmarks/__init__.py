"""What `benchmark` measures, stage by stage, and what it measures beside."""
