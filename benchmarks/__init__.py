"""Compare training methods: tasks, models, the run store and the command lines."""
