"""What watches a run's numbers, its pace and its workers, and what stops it or takes it back."""
