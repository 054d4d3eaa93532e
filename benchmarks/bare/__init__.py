"""What the service is compared with: the same endpoints, tables and tokens, and nothing else."""
