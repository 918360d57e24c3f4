"""What `benchmark` measures, stage by stage."""
