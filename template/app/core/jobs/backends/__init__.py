"""What carries jobs and runs them; the answer to `worker` chooses one."""
