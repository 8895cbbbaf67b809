"""One module per contestant, each with ``run(task: Task) -> Result``, run in a process of its own."""
