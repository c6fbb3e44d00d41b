"""What calls cost: dated prices, an append-only ledger, and budgets that are never overspent."""
