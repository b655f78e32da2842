"""Where settings come from: environment, .env files, Vault."""
