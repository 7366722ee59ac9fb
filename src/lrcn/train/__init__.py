"""Learning: recipes, one loop for any task, exact resume, studies."""
